"""What the compiler made of the CUDA kernels: against the table of resources, and the mix of instructions."""

import csv
import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "cuda_static.py"


@pytest.fixture(scope="module")
def static():
    spec = importlib.util.spec_from_file_location("cuda_static", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cuda_static"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(static):
    """The compiled module, if there is one."""
    if importlib.util.find_spec("gatentk._cuda") is None:
        pytest.skip("gatentk was built without CUDA kernels (no nvcc)")
    if static.cuobjdump() is None:
        pytest.skip("cuobjdump is not installed")
    return static.built_module()


@pytest.fixture(scope="module")
def kernels(static, built):
    return static.read_kernels(built)


@pytest.fixture(scope="module")
def cores(static, kernels):
    return {(kernel.name, kernel.architecture): static.core(kernel) for kernel in kernels}


def checked_in(text):
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def test_nothing_is_spilled(kernels):
    assert kernels
    for kernel in kernels:
        assert (kernel.spills, kernel.stack) == (0, 0), (kernel.name, kernel.architecture)


def test_every_kernel_says_how_many_threads_it_takes(kernels):
    assert all(32 <= kernel.threads <= 1024 for kernel in kernels)


def test_resources_are_those_of_the_table(static, built):
    committed = static.TABLE.read_text()
    version = re.match(r"# nvcc ([0-9.]+)", committed)[1]
    if static.toolkit() != version:
        pytest.skip(f"the table is of nvcc {version}, this is {static.toolkit() or 'another compiler'}")
    found = {(row["kernel"], row["sm"]): row for row in checked_in(static.resource_table())}
    expected = {(row["kernel"], row["sm"]): row for row in checked_in(committed)}
    architectures = {sm for _, sm in found}
    assert found == {key: row for key, row in expected.items() if key[1] in architectures}


def test_configurations_claim_no_more_resident_blocks_than_fit(static, built):
    core = static.importlib.import_module("gatentk._cuda")
    blocks = {(row["kernel"], int(row["sm"])): int(row["blocks"]) for row in checked_in(static.TABLE.read_text())}
    for family in ("masked_matmul", "gram"):
        for entry in getattr(core, f"{family}_configurations")():
            for architecture, resident in entry["resident"].items():
                assert resident <= blocks[entry["kernels"][0], architecture], (entry["name"], architecture)


def arithmetic(static, family):
    """The kernel of each configuration's name."""
    core = static.importlib.import_module("gatentk._cuda")
    return {entry["name"]: entry["kernels"][0] for entry in getattr(core, f"{family}_configurations")()}


@pytest.mark.parametrize("family", ["masked_matmul", "gram"])
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_strict_products_issue_mostly_multiply_adds(static, cores, family, architecture):
    for name, kernel in arithmetic(static, family).items():
        if name.startswith("strict") and (kernel, architecture) in cores:
            assert cores[kernel, architecture].share("fp32") >= 0.7, (name, architecture)


@pytest.mark.parametrize("family", ["masked_matmul", "gram"])
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_tensor_cores_limit_the_large_tiles(static, cores, family, architecture):
    checked = 0
    for name, kernel in arithmetic(static, family).items():
        if name.endswith("128x128") and not name.startswith("strict") and (kernel, architecture) in cores:
            assert cores[kernel, architecture].beside_tensor(copies=False) < 0.7, (name, architecture)
            checked += 1
    if any(sm == architecture for _, sm in cores):
        assert checked >= 2


def test_popcounts_or_one_bit_tensor_cores_limit_gate_gram(static, cores):
    counted = 0
    for (name, architecture), core in cores.items():
        if not name.startswith("gate_gram_tile<128, true>") and not name.startswith("gate_gram_tile<64, false>"):
            continue
        if core is None:  # a tensor kernel where the compiler has no one-bit products
            assert architecture >= 100
            continue
        pipes = core.pipes
        if pipes["bit"]:
            assert core.beside_tensor(copies=False) < 0.7
        else:
            # POPC takes 8 cycles, LOP3 and IADD3 two.
            assert 8 * pipes["special"] >= 2 * pipes["integer"]
        counted += 1
    assert counted >= 2 or not cores


# The tool itself, on text


def test_instructions_are_sorted_by_pipe(static):
    lines = {
        "HMMA.1688.F32.TF32 R4, R8, R12, R4": "tensor32",
        "@P0 FFMA R1, R2, R3, R1": "fp32",
        "@!UP1 LDSM.16.M88.4 R4, [R2]": "shared",
        "LDGSTS.E [R1], [R2.64]": "shared",
        "DMMA.8x8x4 R4, R8, R12, R4": "tensor64",
        "POPC R1, R2": "special",
        "LOP3.LUT R1, R2, R3, RZ, 0xc0, !PT": "integer",
        "LDL R1, [R1+0x4]": "memory",
        "BRA 0x100": "control",
    }
    assert {line: static.pipe(line) for line in lines} == lines


def test_blocks_end_at_branches_and_begin_at_their_targets(static):
    kernel = static.Kernel("k", 80)
    kernel.instructions = [(0, "MOV R1, R2"), (16, "FFMA R1, R1, R1, R1"), (32, "@P0 BRA 0x10"), (48, "EXIT")]
    assert static.basic_blocks(kernel) == [["MOV R1, R2"], ["FFMA R1, R1, R1, R1", "@P0 BRA 0x10"], ["EXIT"]]


def test_spills_are_counted(static):
    kernel = static.Kernel("k", 80)
    kernel.instructions = [(0, "STL [R1], R2"), (16, "@P0 LDL R2, [R1]"), (32, "LDG.E R2, [R4.64]")]
    assert kernel.spills == 2


def test_issue_slots_beside_the_tensor_pipe(static):
    copies = [Counter(integer=8), Counter(shared=4), Counter(integer=1)]
    core = static.Core(static.Kernel("k", 90), Counter(tensor32=10, integer=12, shared=2), copies)
    assert core.beside_tensor(copies=False) == 14 / 40
    assert core.beside_tensor(copies=True) == 26 / 40
    assert core.share("integer") == 0.5
