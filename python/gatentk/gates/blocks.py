"""Bits of a table about a megabyte at a time, which stays in the cache: walks, counts and the padding of rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gatentk import ops

_BLOCK_BYTES = 1 << 20
_ONES_OF_BYTE = torch.tensor([byte.bit_count() for byte in range(256)])


def block_rows(bits: Tensor) -> int:
    """Rows of a block."""
    return max(1, _BLOCK_BYTES // max(1, bits.shape[-1]))


def blocks(bits: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows of one layer after the other, about a megabyte at a time, with the layer's number."""
    if not bits.numel():
        return  # any number of rows or layers may be empty
    step = block_rows(bits)
    for layer in range(bits.shape[0]):
        for start in range(0, bits.shape[1], step):
            yield layer, bits[layer, start : start + step]


def count_ones(block: Tensor) -> int:
    """Bits that are set."""
    # A histogram of the bytes reads 0.9 GB/s, a look-up of each byte 0.2, bit tricks in steps of torch 0.6.
    return int(torch.bincount(block.reshape(-1), minlength=256).cpu() @ _ONES_OF_BYTE)


def count_neurons(rows: Tensor, width: int, block: int) -> int:
    """Neurons whose bit is set, where `block` neighbours share one."""
    neurons, missing = block * count_ones(rows), -width % block
    if missing:
        last = width // block
        neurons -= missing * int((rows[:, last // 8] >> last % 8 & 1).sum())
    return neurons


def padding_is_set(block: Tensor, width: int) -> bool:
    """Whether a bit beyond `width` is set in a row of the block."""
    used = width % ops.ROW_ALIGNMENT
    if used == 0:
        return False
    padding = ops.pack_bits(torch.arange(ops.ROW_ALIGNMENT, device=block.device) >= used)
    return bool((block[:, -padding.numel() :] & padding).any())
