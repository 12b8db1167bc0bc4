"""Activations to block form and back."""

import pytest
import torch
from cases.blocks import NAMES, Blocks
from cases.tensors import DENSITIES, LAYOUTS, scatter
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops
from gatentk.ops.block_form import units_of

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["f32", "f64", "bf16"])


@DTYPES
@given(
    n=st.integers(0, 90),
    width=st.integers(0, 150),
    block=st.sampled_from([1, 3, 8, 16, 64]) | st.integers(1, 170),
    density=DENSITIES,
    gated=st.booleans(),
    layout=LAYOUTS,
)
@settings(max_examples=50)
def test_there_and_back(dtype, n, width, block, density, gated, layout):
    case = Blocks(n, (width, 5), (block, 5), torch.float32, density, ("in",) if gated else ())
    gate, mask = case.gates[0], case.masks[0]
    z = scatter(torch.where(mask, case.z, torch.nan).to(dtype), layout)
    expected = torch.where(mask, case.z, 0).to(dtype)
    blocks = NAMES.to_blocks(z, gate, block)
    assert blocks.dtype == dtype
    assert blocks.shape == (units_of(width, block), n, block)
    for unit in range(blocks.shape[0]):
        extent = min(block, width - unit * block)
        assert torch.equal(blocks[unit, :, :extent], expected[:, unit * block : unit * block + extent])
        assert not blocks[unit, :, extent:].any()
    assert torch.equal(NAMES.from_blocks(blocks, [], width), expected)
    dirty = NAMES.to_blocks(z, [], block)
    assert torch.equal(NAMES.from_blocks(dirty, gate, width), expected)


def test_units_cover_the_width():
    assert [units_of(width, 32) for width in (0, 1, 32, 33)] == [0, 1, 1, 2]


@pytest.mark.parametrize("name", ["to_blocks", "from_blocks"])
def test_opcheck(name):
    case = Blocks(6, (20, 12), (8, 5), torch.float64)
    factor = case.z if name == "to_blocks" else case.block_forms()[0]
    last = 8 if name == "to_blocks" else 20
    torch.library.opcheck(getattr(NAMES, name).default, (factor.requires_grad_(), case.gates[0], last))


BITS = ops.pack_bits(torch.ones(3, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("^block: expected at least 1 neuron, got 0", lambda: NAMES.to_blocks(torch.ones(3, 8), [], 0)),
        (r"^z: expected shape \(n, width\)", lambda: NAMES.to_blocks(torch.ones(2, 3, 4), [], 4)),
        ("^gate: expected packed bits", lambda: NAMES.to_blocks(torch.ones(4, 8), [BITS], 4)),
        ("^gate: expected packed bits", lambda: NAMES.from_blocks(torch.ones(2, 3, 4), [BITS[:2]], 8)),
        ("^blocks: expected the block form .* of width 9", lambda: NAMES.from_blocks(torch.ones(2, 3, 4), [], 9)),
    ],
)
def test_bad_arguments_are_refused_by_name(message, call):
    with pytest.raises(ValueError, match=message):
        call()
