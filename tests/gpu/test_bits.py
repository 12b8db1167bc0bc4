"""Packed bits on a CUDA device: packing, unpacking and transposing, against the CPU's and plain torch."""

import pytest
import torch
from cases.bits import LAYOUTS, draw, scatter_bits

from gatentk import ops, reference

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
