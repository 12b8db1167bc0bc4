"""Pipes and loops: the tool on text, and what was compiled on the mix of its instructions."""

import importlib
from collections import Counter

import pytest
from sass.loops import product_core, product_tiles
from sass.pipes import PIPE_CYCLES, Core, Work, core, main_loop, pipe, shared_cycles, warpgroup_cycles
from sass.reading import Kernel, basic_blocks
from sass.tiles import Tile

ARCHITECTURES = [80, 90, 100]


def found_cores(kernels, family):
    """Cores of a family of products by configuration and architecture."""
    tiles = product_tiles(importlib.import_module("gatentk._cuda"))
    return {
        (tiles[kernel.name][1].name, kernel.architecture): product_core(kernel, *tiles[kernel.name])
        for kernel in kernels
        if kernel.name in tiles and tiles[kernel.name][0] == family
    }


def test_strict_products_issue_mostly_multiply_adds(kernels):
    cores = found_cores(kernels, "gram")
    strict = {key: found for key, found in cores.items() if key[0].startswith("strict")}
    assert strict
    for key, found in strict.items():
        assert found.share("fp32") >= 0.7, key


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tensor_cores_limit_the_large_tiles(kernels, architecture):
    checked = 0
    for key, found in found_cores(kernels, "gram").items():
        if key[0].endswith("128x128") and not key[0].startswith("strict") and key[1] == architecture:
            assert found.beside_tensor(copies=False) < 0.7, key
            checked += 1
    assert checked >= 2 or all(kernel.architecture != architecture for kernel in kernels)


def test_popcounts_or_one_bit_tensor_cores_limit_gate_gram(kernels):
    counted = 0
    for kernel in kernels:
        if not kernel.name.startswith(("gate_gram_tile<128, true>", "gate_gram_tile<64, false>")):
            continue
        found = core(kernel)
        if found is None:  # a tensor kernel where the compiler has no one-bit products
            assert kernel.architecture >= 100
            continue
        if found.work.pipes["bit"]:
            assert found.beside_tensor(copies=False) < 0.7
        else:
            # POPC takes 8 cycles, LOP3 and IADD3 two.
            assert 8 * found.work.pipes["special"] >= 2 * found.work.pipes["integer"]
        counted += 1
    assert counted >= 2


# The tool itself, on text


def test_instructions_are_sorted_by_pipe():
    lines = {
        "HMMA.1688.F32.TF32 R4, R8, R12, R4": "tensor32",
        "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24": "warpgroup",
        "@P0 FFMA R1, R2, R3, R1": "fp32",
        "@!UP1 LDSM.16.M88.4 R4, [R2]": "shared",
        "LDGSTS.E [R1], [R2.64]": "shared",
        "DMMA.8x8x4 R4, R8, R12, R4": "tensor64",
        "POPC R1, R2": "special",
        "F2F.F32.F64 R1, R2": "special",
        "F2FP.TF32.F32.PACK_B R1, R2": "integer",  # as many lanes a cycle as integer instructions
        "LOP3.LUT R1, R2, R3, RZ, 0xc0, !PT": "integer",
        "LDL R1, [R1+0x4]": "memory",
        "BRA 0x100": "control",
    }
    assert {line: pipe(line) for line in lines} == lines


def test_warpgroup_products_take_the_cycles_of_the_peak():
    # Four parts make 64 x 128 x 16 multiply-adds, 512 of bfloat16 a cycle each.
    assert warpgroup_cycles("HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24") == 64 * 128 * 16 / 4 / 512
    assert warpgroup_cycles("HGMMA.64x256x8.F32.TF32 R24, gdesc[UR8], R24") == 64 * 256 * 8 / 4 / 256
    assert warpgroup_cycles("HMMA.16816.F32.BF16 R4, R8, R12, R4") == 0


def test_shared_memory_serves_128_bytes_a_cycle_to_four_parts():
    assert shared_cycles("LDSM.16.MT88.4 R4, [R2]") == shared_cycles("LDGSTS.E.BYPASS.128 [R1], [R2.64]") == 4 * 4
    assert shared_cycles("@P1 LDS R4, [R2]") == 4
    assert shared_cycles("FFMA R1, R2, R3, R1") == 0


def test_peaks_are_those_of_the_data_sheets():
    # Multiply-adds of bfloat16, TF32 and doubles by multiprocessors and clock; of mma.sync on sm_90 64%.
    for architecture, device, peaks in ((80, 108 * 1.41, (312, 156, 19.5)), (90, 132 * 1.83, (633, 317, 31))):
        cycles = PIPE_CYCLES[architecture]
        sizes = {"tensor16": 16 * 8 * 16, "tensor32": 16 * 8 * 8, "tensor64": 8 * 8 * 4}
        found = [2 * 4 * size / cycles[name] * device / 1e3 for name, size in sizes.items()]
        assert found == pytest.approx(peaks, rel=0.01)


def test_issue_slots_beside_the_tensor_pipe():
    work = Work(Counter(tensor32=10, integer=12, shared=2))
    found = Core(Kernel("k", 80), work, Work(Counter(integer=8, shared=4)), repeats=2)
    assert found.beside_tensor(copies=False) == 14 / 80
    assert found.beside_tensor(copies=True) == (2 * 14 + 12) / 160
    assert found.share("integer") == 0.5


def loop(*inner, repeats=1):
    """A kernel with a main loop that copies, and in it one that multiplies."""
    lines = ["MOV R1, R2", *["LDGSTS.E.128 [R1], [R2.64]"] * 4, "BRA 0x60"]
    lines += [*inner, "@P0 BRA 0x60", "@P1 BRA 0x10", "EXIT"]
    return Kernel("k", 80, instructions=[(16 * i, line) for i, line in enumerate(lines)])


def test_a_turn_is_the_main_loop_with_its_inner_one_repeated():
    kernel = loop(*["HMMA.16816.F32.BF16 R4, R8, R12, R4"] * 32, "LDSM.16.M88.4 R4, [R2]")
    tile = Tile("t", "bf16", 64, 64, 128, ("k",))  # 32 products a warp and turn
    found = core(kernel, tile, whole_loop=True)
    assert (found.repeats, found.work.pipes["tensor16"]) == (1, 32)
    assert found.copies.pipes == Counter(shared=4, control=2)
    half = core(loop(*["HMMA.16816.F32.BF16 R4, R8, R12, R4"] * 16), tile, whole_loop=True)
    assert half.repeats == 2
    assert half.turn.pipes["tensor16"] == 32


def test_sums_that_are_added_now_and_then_count_as_often():
    adds = ["FADD R1, R1, R2"] * 8
    kernel = loop(*["HMMA.1688.F32.TF32 R4, R8, R12, R4"] * 96, "@P2 BRA 0x60", *adds)
    tile = Tile("t", "tf32x3", 64, 64, 128, ("k",))
    assert core(kernel, tile, whole_loop=True).copies.pipes["fp32"] == 8 / 16


def test_the_main_loop_is_the_smallest_one_that_copies():
    kernel = loop("HMMA.16816.F32.BF16 R4, R8, R12, R4")
    (block,) = (b for b in basic_blocks(kernel) if b[0][1].startswith("HMMA"))
    assert main_loop(kernel, block) == (16, 16 * 8)
    alone = Kernel("k", 80, instructions=[(0, "FFMA R1, R1, R1, R1"), (16, "EXIT")])
    assert main_loop(alone, alone.instructions[:1]) == (0, 0)


def test_code_without_products_has_no_core():
    assert core(Kernel("k", 80, instructions=[(0, "MOV R1, R2"), (16, "EXIT")])) is None


def test_gates_that_are_read_now_and_then_count_as_often():
    products = ["HMMA.16816.F32.BF16 R4, R8, R12, R4"] * 32
    lines = ["@P2 BRA 0x50", "@P3 BRA 0x50", "LDG.E R1, [R2.64]", "LOP3.LUT R1, R2, R3, RZ, 0xc0, !PT"]
    lines += ["LDGSTS.E.128 [R1], [R2.64]", "@P4 BRA 0x280", *products, "@P1 BRA 0x10", "EXIT"]
    kernel = Kernel("k", 80, instructions=[(16 * i, line) for i, line in enumerate(["MOV R1, R2", *lines])])
    found = core(kernel, Tile("t", "bf16", 64, 64, 128, ("k",)), whole_loop=True)
    assert found.copies.pipes["memory"] == found.copies.pipes["integer"] == 1 / 16
    assert found.copies.pipes["shared"] == 1


def test_a_first_turn_before_the_loop_is_not_its_core():
    products = ["HMMA.16816.F32.BF16 R4, R8, R12, R4"] * 32
    peeled = [*["LDGSTS.E.128 [R1], [R2.64]"] * 8, *products, "@P0 BRA 0x290"]
    lines = [*peeled, "LDGSTS.E.128 [R1], [R2.64]", *products, "@P1 BRA 0x290", "EXIT"]
    kernel = Kernel("k", 80, instructions=[(16 * i, line) for i, line in enumerate(lines)])
    found = core(kernel, Tile("t", "bf16", 64, 64, 128, ("k",)), whole_loop=True)
    assert found.turn.pipes == Counter(tensor16=32, shared=1, control=1)
