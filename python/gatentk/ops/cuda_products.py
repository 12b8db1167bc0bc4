"""The ways to a masked product on a CUDA device: dense, by kernels that skip blocks, by the same without skipping."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from gatentk.checks import describe
from gatentk.ops import cuda
from gatentk.ops.arguments import check_bit_matrix
from gatentk.ops.bits import gate_in_place, gated
from gatentk.ops.cpu_products import masked_factors
from gatentk.ops.cuda_paths import Work, choose, is_tiled, is_told, obstacle, work_of
from gatentk.ops.layouts import MaskedProduct, row_bytes, units

# Bits, perhaps with them unit-major and the lists of samples that `block_lists` makes of these; empty where all is on.
Gate = Sequence[Tensor]


def product_on_cuda(product: MaskedProduct, method: str) -> Tensor:
    """The product by the way that its sizes, gates and the device ask for.

    Args:
        method: "auto", "masked" or "dense".
    """
    # Gates of neurons leave no tile empty: on an H100 cuBLAS was faster in every arithmetic (docs/cuda.md).
    if method == "dense" or not any(product.gates) or (method == "auto" and max(product.blocks) == 1):
        return _dense_product(product)
    kernels = cuda.kernels()
    work = work_of(product, kernels.arithmetic(product.a.dtype))
    if work is None:
        return _dense_product(product)
    way = choose(work, method, kernels.architecture(product.a))
    if way == "dense":
        if method == "masked" and is_told(work):
            say_that_it_is_dense(str(obstacle(work)))
        return _dense_product(product)
    run = _whole_product if way == "whole" else _weight_gradient if work.kind == "weight_gradient" else _rows
    out = run(kernels, product, work)
    return out if product.bias is None else _gated_result(out.add_(product.bias), product)


def _dense_product(p: MaskedProduct) -> Tensor:
    """By torch, which adds a bias before it rounds, and masks around it."""
    left, right = masked_factors(p)
    return _gated_result(left @ right if p.bias is None else torch.addmm(p.bias, left, right), p)


def _gated_result(out: Tensor, p: MaskedProduct) -> Tensor:
    return gate_in_place(out, p.gate_out[0], p.blocks[2]) if p.gate_out else out


def _rows(kernels: cuda.CudaKernels, p: MaskedProduct, work: Work) -> Tensor:
    """Rows of the result whose gates are on; the left factor's gates travel with it."""
    block_left, block_out = work.blocks
    n, width = p.shape
    left, bits = p.a, None
    if is_tiled(block_left):
        check_gate("gate_a", p.gate_a, *_size(left), block_left)
        bits = p.gate_a[0]
    elif p.gate_a:
        left = gated(left, p.gate_a[0], block_left)
    lists = _lists(kernels, p.gate_out, n, width, block_out)
    return kernels.block_matmul(left, p.b, not p.transpose_b, bits, block_left, lists, block_out)


def _whole_product(kernels: cuda.CudaKernels, p: MaskedProduct, work: Work) -> Tensor:
    """Without gates, of masked factors; then masked."""
    of_a, of_b, _ = p.blocks
    left = gated(p.a, p.gate_a[0], of_a) if p.gate_a else p.a
    if work.kind == "weight_gradient":
        right = gated(p.b, p.gate_b[0], of_b) if p.gate_b else p.b
        return kernels.block_weight_gradient(left, right, None, None, work.blocks)
    return _gated_result(kernels.block_matmul(left, p.b, not p.transpose_b, None, 0, None, 0), p)


def _weight_gradient(kernels: cuda.CudaKernels, p: MaskedProduct, work: Work) -> Tensor:
    """Sums over samples that are on in both blocks."""
    left, units_left = _factor(kernels, "gate_a", p.a, p.gate_a, work.blocks[0])
    right, units_right = _factor(kernels, "gate_b", p.b, p.gate_b, work.blocks[1])
    return kernels.block_weight_gradient(left, right, units_left, units_right, work.blocks)


def _factor(
    kernels: cuda.CudaKernels, name: str, matrix: Tensor, gate: Gate, block: int
) -> tuple[Tensor, Tensor | None]:
    """A factor (n, width) and its unit-major bits; masked, and without any, if tiles do not fit its blocks."""
    if not is_tiled(block):
        return gated(matrix, gate[0], block) if gate else matrix, None
    n, width = _size(matrix)
    check_gate(name, gate, n, width, block)
    return matrix, _unit_major(kernels, gate, width, block)


def _size(matrix: Tensor) -> tuple[int, int]:
    n, width = matrix.shape
    return n, width


def _unit_major(kernels: cuda.CudaKernels, gate: Gate, width: int, block: int) -> Tensor:
    """Unit-major bits: those that came with a gate, or new ones."""
    return gate[1] if len(gate) > 1 else kernels.transpose_bits(gate[0], units(width, block))


def _lists(kernels: cuda.CudaKernels, gate: Gate, n: int, width: int, block: int) -> Tensor:
    """Lists of samples: those that came with a gate, or new ones."""
    check_gate("gate_out", gate, n, width, block)
    return gate[2] if len(gate) > 2 else kernels.block_lists(_unit_major(kernels, gate, width, block), n)


def check_gate(name: str, gate: Gate, n: int, width: int, block: int) -> None:
    """Refuse bits or what came with them that kernels would read beyond; what lists say cannot be looked at."""
    count = units(width, block)
    check_bit_matrix(name, gate[0], count)
    expected = [(n, row_bytes(count)), (count, row_bytes(n)), (count, n + 1)]
    dtypes = torch.uint8, torch.uint8, torch.int32
    if len(gate) > 3 or any(
        g.shape != shape or g.dtype != dtype or g.device != gate[0].device or (index and not g.is_contiguous())
        for index, (g, shape, dtype) in enumerate(zip(gate, expected, dtypes, strict=False))
    ):
        raise ValueError(
            f"{name}: expected bits of {n} samples and perhaps plans as a GateLayer makes them of shapes "
            f"{expected[1]} and {expected[2]}, got {', '.join(describe(g) for g in gate)}"
        )


@cache
def say_that_it_is_dense(why: str) -> None:
    """Warn once for each reason."""
    warnings.warn(
        f'method="masked": a product with gates of blocks is dense, as kernels for blocks cannot compute it: {why}',
        UserWarning,
        stacklevel=2,
    )
