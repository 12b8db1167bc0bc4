"""Packed bits on a CUDA device: packing, transposing and masking by them, against the CPU's and plain torch."""

import pytest
import torch
from cases.bits import LAYOUTS, draw, scatter_bits
from cases.tensors import scatter

from gatentk import ops, reference
from gatentk.ops.bits import gate_in_place

SIZES = [(0, 5), (5, 0), (1, 1), (3, 127), (4, 128), (5, 129), (33, 300), (130, 70)]


@pytest.mark.parametrize(("n", "width"), SIZES)
def test_bits_are_those_of_plain_torch_and_come_back(device, n, width):
    mask = draw(n, n, width, 0.5)
    bits = ops.pack_bits(mask.to(device))
    assert bits.device.type == device.type
    assert torch.equal(bits.cpu(), reference.pack_bits(mask))
    assert torch.equal(ops.unpack_bits(bits, width).cpu(), mask)
    assert torch.equal(ops.transpose_bits(bits, width).cpu(), reference.pack_bits(mask.mT))


def test_leading_dimensions_and_vectors(device):
    mask = draw(0, 24, 70, 0.5).reshape(2, 3, 4, 70)
    for part in (mask, mask[0, 0, 0], mask[:0]):
        bits = ops.pack_bits(part.to(device))
        assert torch.equal(bits.cpu(), reference.pack_bits(part))
        assert torch.equal(ops.unpack_bits(bits, 70).cpu(), part)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bits_and_masks_in_any_layout(device, layout):
    mask = draw(1, 9, 150, 0.5).to(device)
    spread = scatter_bits(mask, layout)
    assert torch.equal(ops.pack_bits(spread).cpu(), reference.pack_bits(spread.cpu()))
    bits = scatter_bits(ops.pack_bits(mask), layout)
    assert torch.equal(ops.unpack_bits(bits, 150).cpu(), reference.unpack_bits(bits.cpu(), 150))
    transposed = reference.pack_bits(reference.unpack_bits(bits.cpu(), 150).mT)
    assert torch.equal(ops.transpose_bits(bits, 150).cpu(), transposed)


def test_rows_that_start_anywhere(device):
    """Kernels read rows in pieces of 16 bytes; tensors may start at any byte."""
    mask = draw(2, 7, 200, 0.5)
    bits = reference.pack_bits(mask)
    for offset in (1, 8, 15):
        memory = torch.zeros(bits.numel() + offset, dtype=torch.uint8, device=device)
        shifted = memory[offset:].view(bits.shape).copy_(bits)
        assert torch.equal(ops.unpack_bits(shifted, 200).cpu(), mask)
        memory = torch.zeros(mask.numel() + offset, dtype=torch.bool, device=device)
        assert torch.equal(ops.pack_bits(memory[offset:].view(mask.shape).copy_(mask)).cpu(), bits)


@pytest.mark.parametrize("name", ["pack_bits", "unpack_bits", "transpose_bits"])
def test_opcheck(device, name):
    mask = draw(3, 5, 140, 0.5)
    bits = reference.pack_bits(mask).to(device)
    arguments = (mask.to(device),) if name == "pack_bits" else (bits, 140)
    torch.library.opcheck(getattr(torch.ops.gatentk, name).default, arguments)


def test_vmap(device):
    masks = torch.stack([draw(seed, 6, 140, 0.5) for seed in range(3)])
    bits = torch.func.vmap(ops.pack_bits)(masks.to(device))
    assert torch.equal(bits.cpu(), reference.pack_bits(masks))
    assert torch.equal(torch.func.vmap(lambda b: ops.unpack_bits(b, 140))(bits).cpu(), masks)


# Values where their gates are on


def poisoned(seed, n, width, block, dtype):
    """Values that are NaN where they are off, the mask of their blocks, and values that are zeros there."""
    mask = draw(seed, n, -(-width // block), 0.5)
    on = mask.repeat_interleave(block, 1)[:, :width]
    values = torch.arange(n * width).reshape(n, width).remainder(251).to(dtype)
    return torch.where(on, values, torch.nan), mask, torch.where(on, values, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("block", [1, 3, 32, 500])
@pytest.mark.parametrize(("n", "width"), SIZES)
def test_values_stay_where_their_gate_is_on(device, dtype, block, n, width):
    values, mask, expected = poisoned(0, n, width, block, dtype)
    found = ops.gate_rows(values.to(device), ops.pack_bits(mask.to(device)), block)
    assert found.dtype == dtype
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
def test_values_and_gates_in_any_layout(device, layout):
    values, mask, expected = poisoned(1, 9, 150, 4, torch.float32)
    bits = scatter_bits(ops.pack_bits(mask.to(device)), layout)
    assert torch.equal(ops.gate_rows(scatter(values.to(device), layout), bits, 4).cpu(), expected)


def test_values_become_zeros_in_place(device):
    for width in (64, 61):
        values, mask, expected = poisoned(2, 9, width, 4, torch.float32)
        values, gates = values.to(device), ops.pack_bits(mask.to(device))
        assert gate_in_place(values, gates, 4) is values
        assert torch.equal(values.cpu(), expected)


def test_biases_and_their_gradients(device):
    bias = torch.arange(70.0).to(device).requires_grad_()
    mask = draw(4, 6, 24, 0.5)
    on = mask.repeat_interleave(3, 1)[:, :70]
    rows = ops.gate_rows(bias.expand(2, 3, 70), ops.pack_bits(mask.to(device)).reshape(2, 3, -1), 3)
    assert torch.equal(rows.detach().cpu().reshape(6, 70), torch.where(on, torch.arange(70.0), 0))
    (gradient,) = torch.autograd.grad(rows.sum(), bias)
    assert torch.equal(gradient.cpu(), on.sum(0).float())
    sums = torch.ops.gatentk.gated_sums(torch.ones(6, 70, device=device), ops.pack_bits(mask.to(device)), 3)
    assert torch.equal(sums.cpu(), on.sum(0).float())


def test_opcheck_of_values(device):
    values, mask, _ = poisoned(5, 5, 140, 7, torch.float64)
    values = values.nan_to_num().to(device).requires_grad_()
    torch.library.opcheck(torch.ops.gatentk.gate_rows.default, (values, ops.pack_bits(mask.to(device)), 7))
