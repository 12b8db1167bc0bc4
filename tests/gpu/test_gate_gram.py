"""Counts of common gates on a CUDA device, against unpacked masks."""

import pytest
import torch
from cases.bits import LAYOUTS, counts, draw, scatter_bits

from gatentk import ops, reference


@pytest.mark.parametrize(
    ("n_a", "n_b", "width"), [(0, 3, 10), (1, 1, 1), (5, 4, 0), (33, 70, 129), (130, 65, 300), (64, 128, 512)]
)
def test_counts_are_those_of_the_unpacked_masks(device, n_a, n_b, width):
    a, b = draw(0, n_a, width, 0.5), draw(1, n_b, width, 0.7)
    bits_a, bits_b = (reference.pack_bits(mask).to(device) for mask in (a, b))
    found = ops.gate_gram(bits_a, bits_b)
    assert found.dtype == torch.int32
    assert found.device.type == device.type
    assert torch.equal(found.cpu(), counts(a, b))
    assert torch.equal(ops.gate_gram(bits_a).cpu(), counts(a, a))


def test_counts_beyond_sixteen_bits(device):
    mask = torch.ones(3, 70001, dtype=torch.bool)
    mask[1] = draw(0, 1, 70001, 0.5)[0]
    assert torch.equal(ops.gate_gram(reference.pack_bits(mask).to(device)).cpu(), counts(mask, mask))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_of_bits_in_any_layout(device, layout):
    bits = reference.pack_bits(draw(0, 20, 300, 0.5)).to(device)
    spread = scatter_bits(bits, layout)
    assert torch.equal(ops.gate_gram(spread).cpu(), reference.gate_gram(spread.cpu()))
    assert torch.equal(ops.gate_gram(spread, bits).cpu(), reference.gate_gram(spread.cpu(), bits.cpu()))


def test_opcheck(device):
    bits = reference.pack_bits(draw(0, 9, 140, 0.5)).to(device)
    for other in (None, bits[:4]):
        torch.library.opcheck(torch.ops.gatentk.gate_gram.default, (bits, other))


def test_vmap(device):
    bits = torch.stack([reference.pack_bits(draw(seed, 6, 140, 0.5)) for seed in range(3)])
    found = torch.func.vmap(ops.gate_gram)(bits.to(device)).cpu()
    assert torch.equal(found, torch.stack([reference.gate_gram(b) for b in bits]))
