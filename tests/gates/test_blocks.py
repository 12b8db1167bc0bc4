"""Bits a block at a time: every row once, counts and padding as the mask has them."""

import pytest
import torch
from cases.tables import random_mask

from gatentk import reference
from gatentk.gates import blocks


def test_every_row_is_visited_once_in_order(monkeypatch):
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 100)
    bits = reference.pack_bits(random_mask(3, 10, 130))
    assert blocks.block_rows(bits) == 3
    visited = [(layer, block) for layer, block in blocks.blocks(bits)]
    assert [layer for layer, _ in visited] == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(torch.cat([block for _, block in visited]), bits.flatten(0, 1))


@pytest.mark.parametrize("width", [1, 127, 128, 129])
def test_ones_and_padding(width):
    mask = random_mask(1, 20, width)[0]
    bits = reference.pack_bits(mask)
    assert blocks.count_ones(bits) == int(mask.sum())
    assert not blocks.padding_is_set(bits, width)
    wide = reference.pack_bits(torch.ones(1, width, dtype=torch.bool))
    assert blocks.padding_is_set(wide, width - 1) == (width % 128 != 1)
