"""The compiled core as a whole: choice of instruction set, threads, one OpenMP runtime."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gatentk import ops


def run(code, **environment):
    """A fresh interpreter; its standard output."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_portable_kernels_are_always_there():
    names = ops.available_isas()
    assert "portable" in names
    assert len(set(names)) == len(names)
    assert set(names) <= {"avx512", "avx2", "portable", "wide"}


def test_instruction_sets_can_be_switched_at_run_time(isa):
    assert ops.isa() == isa


def test_an_unknown_instruction_set_is_refused_and_changes_nothing():
    before = ops.isa()
    with pytest.raises(
        ValueError,
        match=r"^name: expected one of the instruction sets '.*'portable'.* that this processor runs, got 'sse9'$",
    ):
        ops.select_isa("sse9")
    assert ops.isa() == before


def test_the_best_instruction_set_is_chosen_or_the_one_the_environment_names():
    code = "import gatentk; print(gatentk.ops.isa(), gatentk.ops.available_isas()[0])"
    chosen, best = run(code, GATENTK_ISA="").stdout.split()
    assert chosen == best != "wide"
    assert run(code, GATENTK_ISA="portable").stdout.split() == ["portable", best]


def expected_of(name):
    names = ", ".join(f"'{isa}'" for isa in ops.available_isas())
    return f"GATENTK_ISA: expected one of the instruction sets {names} that this processor runs, got '{name}'"


@pytest.mark.parametrize("name", ["avx2,portable", "\N{GREEK SMALL LETTER ALPHA}"])
def test_a_wrong_name_in_the_environment_is_a_clear_error_when_the_core_is_imported(name):
    result = run("import gatentk.ops", GATENTK_ISA=name, PYTHONUTF8="1")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"ValueError: {expected_of(name)}"


@pytest.mark.parametrize(
    "command",
    [
        "info",
        "ntk --data synthetic --out d",
        *(
            pytest.param(command, marks=pytest.mark.slow)
            for command in ("bench", "demo --out d", "paper angles --out d", "train --data synthetic --out d")
        ),
    ],
)
def test_every_command_says_in_one_line_that_the_name_is_wrong(command, tmp_path):
    code = f"import os, gatentk.cli; os.chdir({str(tmp_path)!r}); gatentk.cli.main({command.split()!r})"
    result = run(code, GATENTK_ISA="foo")
    assert result.returncode == 2
    assert result.stderr == f"Error: {expected_of('foo')}\n"
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_instruction_set():
    result = run("import gatentk.cli; gatentk.cli.main(['--help'])", GATENTK_ISA="foo")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_one_openmp_runtime_serves_torch_and_the_core():
    code = (
        "import gatentk.ops\n"
        "import torch\n"
        "a = torch.ones(300, 300)\n"
        "gatentk.ops.gram_ntk([a], [a]); a @ a\n"
        "print(open('/proc/self/maps').read())"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr
    libraries = {line.split()[-1] for line in result.stdout.splitlines() if "/" in line}
    runtimes = {path for path in libraries if re.search(r"/lib[giv]?omp[0-9]?[-.0-9a-f]*\.so", path)}
    assert len(runtimes) == (1 if ops.openmp() else len(runtimes)), runtimes
    assert any("gatentk/_core" in path for path in libraries)


def test_instruction_sets_agree_within_rounding(generator):
    x = torch.randn(40, 30, generator=generator, dtype=torch.float64)
    results = []
    before = ops.isa()
    try:
        for name in ops.available_isas():
            ops.select_isa(name)
            results.append((ops.gram_ntk([x], [x]), ops.infinite_ntk(x, None, [1, 8], "relu")))
    finally:
        ops.select_isa(before)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_any_number_of_threads_gives_the_same_bits(isa, threads, generator):
    x = torch.randn(130, 40, generator=generator)
    mask = x > 0

    def everything():
        bits = ops.pack_bits(mask)
        return [
            bits,
            ops.unpack_bits(bits, 40),
            ops.gram_ntk([x], [x], gates=[bits]),
            ops.gram_ntk([x], [x], [x[:50]], [x[:50]]),
            *(ops.infinite_ntk(x, None, [3], quantity) for quantity in ops.QUANTITIES),
            ops.infinite_ntk(x, x[:50], [1, 2], "relu"),
        ]

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = everything()
        torch.set_num_threads(threads)
        result = everything()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_peak_is_a_positive_rate():
    assert ops.fma_peak(torch.float32) > 1e6
    assert ops.fma_peak(torch.float64) > 1e6
    with pytest.raises(TypeError, match=r"^dtype: expected torch\.float32 or torch\.float64 .*, got torch\.int32"):
        ops.fma_peak(torch.int32)
