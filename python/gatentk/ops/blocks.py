"""Products of activations in block form: gates that whole blocks of neurons share leave out tiles on both sides.

The block form of activations (n, width) is (units, n, block): unit u of sample i holds the values of the neurons
u * block, ..., u * block + block - 1, exact zeros where its gate is off and beyond the width. Layers that follow each
other hand it on without unpacking. Gates are those of units: `[bits]` or `[bits, unit_major]`, packed (n, row bytes of
units) and their `transpose_bits`, which the kernels need and otherwise make on the way; an empty list means that all is
on. What is off in a factor counts as zero whatever stands there.

The four operations of `torch.ops.gatentk` are closed under differentiation:

    to_blocks(z, gate, block)                                               (n, width) to block form
    from_blocks(blocks, gate, width)                                        and back
    block_product(z, weight, transpose, gate_in, gate_out, block_out)       z @ weight.T, transposed z @ weight
    block_weight_gradient(left, right, gate_left, gate_right, rows, columns)     left.T @ right, (rows, columns)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import describe
from gatentk.ops.autocast import as_matmul, without_autocast
from gatentk.ops.block_form import (
    Gate,
    block_view,
    check_blocks,
    check_gate,
    masked_rows,
    plain_to_blocks,
    rows_view,
    units_of,
    with_unit_major,
)
from gatentk.ops.layouts import contiguous_rows
from gatentk.ops.registration import below_autograd, bilinear_tangent, recordable, register, sliced


class BlockProduct(NamedTuple):
    """z @ weight.T, or z @ weight if it is transposed, of activations in block form."""

    z: Tensor
    weight: Tensor
    transpose: bool
    gate_in: Gate
    gate_out: Gate
    block_out: int

    @property
    def widths(self) -> tuple[int, int]:
        """Of the factor and of the result."""
        out_features, in_features = self.weight.shape
        return (out_features, in_features) if self.transpose else (in_features, out_features)

    def result(self) -> Tensor:
        """Room for the result, after a check that the factors fit each other."""
        width_in, width_out = self.widths
        check_blocks("z", self.z, width_in)
        check_gate("gate_in", self.gate_in, self.z.shape[1], self.z.shape[0])
        count = units_of(width_out, self.block_out)
        check_gate("gate_out", self.gate_out, self.z.shape[1], count)
        if self.weight.dtype != self.z.dtype:
            raise TypeError(f"weight: expected {self.z.dtype} as z, got {describe(self.weight)}")
        return self.z.new_empty(count, self.z.shape[1], self.block_out)


class BlockWeightGradient(NamedTuple):
    """left.T @ right of activations in block form."""

    left: Tensor
    right: Tensor
    gate_left: Gate
    gate_right: Gate
    rows: int
    columns: int

    def result(self) -> Tensor:
        """Room for the result, after a check that the factors fit each other."""
        check_blocks("left", self.left, self.rows)
        check_blocks("right", self.right, self.columns)
        check_gate("gate_left", self.gate_left, self.left.shape[1], self.left.shape[0])
        check_gate("gate_right", self.gate_right, self.right.shape[1], self.right.shape[0])
        if self.right.dtype != self.left.dtype or self.right.shape[1] != self.left.shape[1]:
            raise ValueError(f"right: expected the samples and the dtype of left, got {describe(self.right)}")
        return self.left.new_empty(self.rows, self.columns)


# Products


def _multiply_on_cpu(*arguments: Any) -> Tensor:
    p = BlockProduct(*arguments)
    if p.z.dtype == torch.bfloat16:
        return _multiply_on_cpu(*p._replace(z=p.z.float(), weight=p.weight.float())).bfloat16()
    out, (width_in, width_out) = p.result(), p.widths
    z, gate_in = p.z.contiguous(), with_unit_major(p.gate_in, width_in, p.z.shape[2])
    gate_out = with_unit_major(p.gate_out, width_out, p.block_out)
    _run_product(block_view(z, gate_in, width_in), p.weight, p.transpose, block_view(out, gate_out, width_out))
    return out


def _multiply_transposed_on_cpu(*arguments: Any) -> Tensor:
    p = BlockWeightGradient(*arguments)
    if p.left.dtype == torch.bfloat16:
        return _multiply_transposed_on_cpu(*p._replace(left=p.left.float(), right=p.right.float())).bfloat16()
    out, left, right = p.result(), p.left.contiguous(), p.right.contiguous()
    gate_left = with_unit_major(p.gate_left, p.rows, left.shape[2])
    gate_right = with_unit_major(p.gate_right, p.columns, right.shape[2])
    _run_gradient(block_view(left, gate_left, p.rows), block_view(right, gate_right, p.columns), out)
    return out


def multiply_rows(
    z: Tensor, weight: Tensor, transpose: bool, gate_in: Gate, gate_out: Gate, block_in: int, block_out: int
) -> Tensor:
    """`block_product` of rows (n, width) on the CPU, float32 or float64, without going through block form.

    Where there is no gate_in, samples whose values of a block are all zeros are skipped in it. The block of a side
    without gates is only how fine that is looked for; 1 leaves it to the kernels.
    """
    out = z.new_empty(z.shape[0], weight.shape[1 if transpose else 0])
    rows, gate_in = contiguous_rows(z), with_unit_major(gate_in, z.shape[1], block_in)
    gate_out = with_unit_major(gate_out, out.shape[1], block_out)
    _run_product(rows_view(rows, gate_in, block_in), weight, transpose, rows_view(out, gate_out, block_out))
    return out


def weight_gradient_of_rows(
    left: Tensor, right: Tensor, gate_left: Gate, gate_right: Gate, block_left: int, block_right: int
) -> Tensor:
    """`block_weight_gradient` of rows (n, width), as `multiply_rows`."""
    out = left.new_empty(left.shape[1], right.shape[1])
    left, gate_left = contiguous_rows(left), with_unit_major(gate_left, left.shape[1], block_left)
    right, gate_right = contiguous_rows(right), with_unit_major(gate_right, right.shape[1], block_right)
    _run_gradient(rows_view(left, gate_left, block_left), rows_view(right, gate_right, block_right), out)
    return out


def _run_product(z: _core.Blocks, weight: Tensor, transpose: bool, out: _core.Blocks) -> None:
    weight = contiguous_rows(weight)
    run = _core.block_product_f32 if weight.dtype == torch.float32 else _core.block_product_f64
    run(z, weight.data_ptr(), weight.stride(0), transpose, out, torch.get_num_threads())


def _run_gradient(left: _core.Blocks, right: _core.Blocks, out: Tensor) -> None:
    run = _core.block_weight_gradient_f32 if out.dtype == torch.float32 else _core.block_weight_gradient_f64
    run(left, right, out.data_ptr(), out.stride(0), torch.get_num_threads())


def _multiply_on_cuda(*arguments: Any) -> Tensor:
    """By the masked product of rows."""
    p = BlockProduct(*arguments)
    p.result()
    rows = torch.ops.gatentk.masked_matmul(
        masked_rows(p.z, [], p.widths[0]),
        p.weight,
        False,
        not p.transpose,
        p.gate_in,
        [],
        p.gate_out,
        0,
        [p.z.shape[2], 1, p.block_out],
    )
    return plain_to_blocks(rows, [], p.block_out)


def _multiply_transposed_on_cuda(*arguments: Any) -> Tensor:
    p = BlockWeightGradient(*arguments)
    p.result()
    result: Tensor = torch.ops.gatentk.masked_matmul(
        masked_rows(p.left, [], p.rows),
        masked_rows(p.right, [], p.columns),
        True,
        False,
        p.gate_left,
        p.gate_right,
        [],
        0,
        [p.left.shape[2], p.right.shape[2], 1],
    )
    return result


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return below_autograd(torch.ops.gatentk.block_product, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p = BlockProduct(*inputs)
        ctx.transpose, ctx.block_out, ctx.gates_in = p.transpose, p.block_out, len(p.gate_in)
        ctx.save_for_backward(p.z, p.weight, *map(recordable, (*p.gate_in, *p.gate_out)))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def saved(ctx: Any) -> BlockProduct:
        z, weight, *gates = ctx.saved_tensors
        return BlockProduct(z, weight, ctx.transpose, gates[: ctx.gates_in], gates[ctx.gates_in :], ctx.block_out)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        p = _Product.saved(ctx)
        grad = grad.to(p.z.dtype)  # torch lets any dtype through to here
        by_z = by_weight = None
        with without_autocast():  # the dtypes are those that the product was computed with
            if ctx.needs_input_grad[0]:
                by_z = torch.ops.gatentk.block_product(
                    grad, p.weight, not p.transpose, p.gate_out, p.gate_in, p.z.shape[2]
                )
            if ctx.needs_input_grad[1]:
                factors = (p.z, grad, p.gate_in, p.gate_out) if p.transpose else (grad, p.z, p.gate_out, p.gate_in)
                by_weight = torch.ops.gatentk.block_weight_gradient(*factors, *p.weight.shape)
        return by_z, by_weight, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, by_z: Tensor | None, by_weight: Tensor | None, *rest: Any) -> Tensor:
        tangents = {"z": by_z, "weight": by_weight}
        return bilinear_tangent(torch.ops.gatentk.block_product, _Product.saved(ctx), tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.block_product)(info, in_dims, *inputs)


class _WeightGradient(torch.autograd.Function):
    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return below_autograd(torch.ops.gatentk.block_weight_gradient, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p = BlockWeightGradient(*inputs)
        ctx.rows, ctx.columns, ctx.gates_left = p.rows, p.columns, len(p.gate_left)
        ctx.save_for_backward(p.left, p.right, *map(recordable, (*p.gate_left, *p.gate_right)))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def saved(ctx: Any) -> BlockWeightGradient:
        left, right, *gates = ctx.saved_tensors
        return BlockWeightGradient(left, right, gates[: ctx.gates_left], gates[ctx.gates_left :], ctx.rows, ctx.columns)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        p = _WeightGradient.saved(ctx)
        grad = grad.to(p.left.dtype)
        by_left = by_right = None
        product = torch.ops.gatentk.block_product
        with without_autocast():
            if ctx.needs_input_grad[0]:
                by_left = product(p.right, grad, False, p.gate_right, p.gate_left, p.left.shape[2])
            if ctx.needs_input_grad[1]:
                by_right = product(p.left, grad, True, p.gate_left, p.gate_right, p.right.shape[2])
        return by_left, by_right, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, by_left: Tensor | None, by_right: Tensor | None, *rest: Any) -> Tensor:
        tangents = {"left": by_left, "right": by_right}
        return bilinear_tangent(torch.ops.gatentk.block_weight_gradient, _WeightGradient.saved(ctx), tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.block_weight_gradient)(info, in_dims, *inputs)


register(
    "block_product(Tensor z, Tensor weight, bool transpose, Tensor[] gate_in, Tensor[] gate_out, int block_out) "
    "-> Tensor",
    cpu=_multiply_on_cpu,
    cuda=_multiply_on_cuda,
    fake=lambda *arguments: BlockProduct(*arguments).result(),
    differentiable=_Product.apply,
    autocast=as_matmul,
)
register(
    "block_weight_gradient(Tensor left, Tensor right, Tensor[] gate_left, Tensor[] gate_right, int rows, int columns) "
    "-> Tensor",
    cpu=_multiply_transposed_on_cpu,
    cuda=_multiply_transposed_on_cuda,
    fake=lambda *arguments: BlockWeightGradient(*arguments).result(),
    differentiable=_WeightGradient.apply,
    autocast=as_matmul,
)
