"""Bits against bits: how many gates two samples have on in common."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import describe, like_input, of_dtype
from gatentk.ops.arguments import check_device, check_packed
from gatentk.ops.bits import expand_bits
from gatentk.ops.cuda import on_cuda
from gatentk.ops.layouts import ROW_ALIGNMENT, contiguous_rows, counts, gate_view
from gatentk.ops.plans import GateLayer
from gatentk.ops.registration import register


def gate_gram(bits_a: Any, bits_b: Any = None) -> Any:
    """Neurons that are on in both of two samples: count[i, j] = popcount(a_i & b_j).

    Args:
        bits_a: (n_a, row bytes) packed gates, tensor or array of uint8, or a layer of a gate table, of whose blocks all
            neurons are counted.
        bits_b: (n_b, row bytes), or a layer if `bits_a` is one, of the same width and of any block; bits_a itself if
            left out (then one triangle is computed).

    Returns:
        int32 (n_a, n_b), numpy unless `bits_a` is a tensor or a layer.

    Raises:
        TypeError, ValueError: what is not packed bits in rows of a multiple of 16 bytes; rows of different lengths or
            on different devices; one layer alone, or layers of different widths.

    >>> from gatentk.ops import pack_bits
    >>> gate_gram(pack_bits(torch.tensor([[True, False, True], [True, True, True]])))
    tensor([[2, 2],
            [2, 3]], dtype=torch.int32)
    >>> gate_gram(GateLayer(pack_bits(torch.tensor([[True, False], [True, True]])), width=5, block=3))
    tensor([[3, 3],
            [3, 5]], dtype=torch.int32)
    """
    if isinstance(bits_a, GateLayer):
        return _count_neurons(bits_a, bits_b)
    if isinstance(bits_b, GateLayer):
        raise TypeError(f"bits_b: expected packed bits as bits_a, got {describe(bits_b)}")
    left = _bit_matrix("bits_a", bits_a)
    right = None if bits_b is None else _bit_matrix("bits_b", bits_b)
    if right is not None and right.shape[1] != left.shape[1]:
        raise ValueError(f"bits_b: expected rows of {left.shape[1]} bytes as bits_a, got {describe(right)}")
    if right is not None:
        check_device("bits_b", right, left, "bits_a")
    return like_input(torch.ops.gatentk.gate_gram(left, right), bits_a)


def _count_neurons(a: GateLayer, b: object) -> Tensor:
    """The counts of layers: units on in both, times the block, less what the last unit has fewer."""
    if b is not None and not isinstance(b, GateLayer):
        raise TypeError(f"bits_b: expected a layer of a gate table as bits_a, got {describe(b)}")
    if b is not None and b.width != a.width:
        raise ValueError(f"bits_b: expected a layer of width {a.width} as bits_a, got one of width {b.width}")
    if b is not None and b.block != a.block:
        a, b = (GateLayer(expand_bits(side.bits, side.width, side.block), side.width) for side in (a, b))
    counted: Tensor = gate_gram(a.bits, None if b is None else b.bits)
    counted *= a.block
    missing = -a.width % a.block
    if missing:
        last_a = _column(a.bits, a.units - 1)
        last_b = last_a if b is None else _column(b.bits, b.units - 1)
        counted -= missing * (last_a[:, None] * last_b)
    return counted


def _column(bits: Tensor, unit: int) -> Tensor:
    """Gates of one unit, int32 (n,)."""
    return (bits[:, unit // 8] >> unit % 8 & 1).to(torch.int32)


def _bit_matrix(name: str, bits: Any) -> Tensor:
    bits = bits if isinstance(bits, Tensor) else of_dtype(name, bits, torch.uint8)
    check_packed(name, bits)
    if bits.dim() != 2 or bits.shape[1] % (ROW_ALIGNMENT // 8):
        raise ValueError(
            f"{name}: expected shape (n, row bytes), a multiple of {ROW_ALIGNMENT // 8} bytes, got {describe(bits)}"
        )
    check_device(name, bits)
    result: Tensor = bits
    return result


def _count_on_cpu(bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
    left = contiguous_rows(bits_a)
    right = left if bits_b is None else contiguous_rows(bits_b)
    out = counts(bits_a, bits_b)
    _core.gate_gram(
        gate_view(left),
        left.shape[0],
        gate_view(right),
        right.shape[0],
        left.shape[1],
        bits_b is None,
        out.data_ptr(),
        torch.get_num_threads(),
    )
    return out


register(
    "gate_gram(Tensor bits_a, Tensor? bits_b) -> Tensor", cpu=_count_on_cpu, cuda=on_cuda("gate_gram"), fake=counts
)
