"""The prototypes in Triton: what is asked of its compiler, and what that makes."""

from collections import Counter

import pytest
from sass import prototypes
from sass.pipes import Work
from sass.prototypes import MEASURED, Prototype, compile_prototype, multiply_adds
from sass.reading import cuobjdump


def test_arguments_are_those_of_the_kernels():
    forward, gradient = Prototype(*MEASURED[0]), Prototype(*MEASURED[-1])
    assert (forward.kind, gradient.kind) == ("forward", "weight gradient")
    names = ["X", "W", "OUT", "ROWS", "COUNTS", "n", "K", "m", "G", "BM", "BN", "BK", "PRECISION"]
    assert list(forward.signature()) == names
    assert list(gradient.signature())[:8] == ["D", "X", "OUT", "ROWS", "COUNTS", "n", "blocks", "m"]
    assert (forward.signature()["X"], forward.signature()["ROWS"], forward.signature()["G"]) == (
        "*bf16",
        "*i32",
        "constexpr",
    )
    assert forward.constants() == {"G": 128, "BM": 128, "BN": 128, "BK": 64, "PRECISION": "tf32"}


def test_multiply_adds_of_both_kinds_of_tensor_instructions():
    assert multiply_adds(Work(Counter(tensor16=3)), "bf16") == 3 * 16 * 8 * 16
    assert multiply_adds(Work(Counter(tensor32=3)), "tf32x3") == 3 * 16 * 8 * 8
    # m64 n128 k16 takes 64 cycles of each part, which makes a quarter of it.
    assert multiply_adds(Work(Counter(warpgroup=1), warpgroup=64), "bf16") == 64 * 128 * 16 / 4
    assert multiply_adds(Work(Counter(warpgroup=1), warpgroup=64), "tf32") == 64 * 128 * 8 / 4


@pytest.mark.skipif(not prototypes.installed(), reason="Triton is not installed")
@pytest.mark.skipif(cuobjdump() is None, reason="cuobjdump is not installed")
def test_triton_takes_warpgroup_products_on_sm_90(tmp_path):
    prototype = Prototype(*MEASURED[0])
    kernels = {sm: compile_prototype(prototype, sm, tmp_path)[0] for sm in (80, 90)}
    pipes = {sm: Work.of([text for _, text in kernel.instructions]).pipes for sm, kernel in kernels.items()}
    assert pipes[80]["tensor16"]
    assert not pipes[80]["warpgroup"]
    assert pipes[90]["warpgroup"]
    assert not pipes[90]["tensor16"]
