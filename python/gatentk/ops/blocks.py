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

from gatentk.checks import describe
from gatentk.ops.autocast import as_matmul, without_autocast
from gatentk.ops.bits import pack_bits, unpack_bits
from gatentk.ops.layouts import row_bytes
from gatentk.ops.registration import below_autograd, recordable, register, sliced

Gate = list[Tensor]


def units_of(width: int, block: int) -> int:
    """Blocks of a layer; the last one is shorter if `block` does not divide the width.

    >>> units_of(100, 32)
    4
    """
    if block < 1:
        raise ValueError(f"block: expected at least 1 neuron, got {block}")
    return -(-width // block)


def neuron_mask(gate: Gate, width: int, block: int) -> Tensor | None:
    """The gates of single neurons, bool (n, width); None where all is on."""
    if not gate:
        return None
    return unpack_bits(gate[0], units_of(width, block)).repeat_interleave(block, -1)[:, :width]


def masked_rows(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    """Block form to (n, width), zeros where gates are off whatever stands there."""
    units, n, block = blocks.shape
    rows = blocks.transpose(0, 1).reshape(n, units * block)[:, :width]
    mask = neuron_mask(gate, width, block)
    return rows if mask is None else torch.where(mask, rows, 0)


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
        units = units_of(width_out, self.block_out)
        check_gate("gate_out", self.gate_out, self.z.shape[1], units)
        if self.weight.dtype != self.z.dtype:
            raise TypeError(f"weight: expected {self.z.dtype} as z, got {describe(self.weight)}")
        return self.z.new_empty(units, self.z.shape[1], self.block_out)


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


def check_blocks(name: str, blocks: Tensor, width: int) -> None:
    """Refuse what is no block form of activations of `width`."""
    if blocks.dim() != 3 or blocks.shape[0] != units_of(width, blocks.shape[2]):
        raise ValueError(f"{name}: expected the block form (units, n, block) of width {width}, got {describe(blocks)}")


def check_gate(name: str, gate: Gate, n: int, units: int) -> None:
    """Refuse what is no gate list of n samples of `units` units."""
    expected = ((n, row_bytes(units)), (units, row_bytes(n)))
    if len(gate) > 2 or any(g.dtype != torch.uint8 or g.shape != e for g, e in zip(gate, expected, strict=False)):
        raise ValueError(
            f"{name}: expected packed bits of shape {expected[0]} and perhaps unit-major ones of shape {expected[1]}, "
            f"got {', '.join(describe(g) for g in gate)}"
        )


# Block form and back


def _to_blocks(z: Tensor, gate: Gate, block: int) -> Tensor:
    blocks = _blocks(z, gate, block)
    units, n, _ = blocks.shape
    mask = neuron_mask(gate, z.shape[1], block)
    values = z if mask is None else torch.where(mask, z, 0)
    padded = torch.nn.functional.pad(values, (0, units * block - z.shape[1]))
    return blocks.copy_(padded.reshape(n, units, block).transpose(0, 1))


def _blocks(z: Tensor, gate: Gate, block: int) -> Tensor:
    if z.dim() != 2:
        raise ValueError(f"z: expected shape (n, width), got {describe(z)}")
    units = units_of(z.shape[1], block)
    check_gate("gate", gate, z.shape[0], units)
    return z.new_empty(units, z.shape[0], block)


def _from_blocks(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    return _rows(blocks, gate, width).copy_(masked_rows(blocks, gate, width))


def _rows(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    check_blocks("blocks", blocks, width)
    check_gate("gate", gate, blocks.shape[1], blocks.shape[0])
    return blocks.new_empty(blocks.shape[1], width)


class _ToBlocks(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, gate: Gate, block: int) -> Tensor:
        return below_autograd(torch.ops.gatentk.to_blocks, z, gate, block)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        z, gate, ctx.block = inputs
        ctx.width = z.shape[1]
        ctx.save_for_backward(*map(recordable, gate))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return torch.ops.gatentk.from_blocks(grad, list(ctx.saved_tensors), ctx.width), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: Any) -> Tensor:
        result: Tensor = torch.ops.gatentk.to_blocks(tangent, list(ctx.saved_tensors), ctx.block)
        return result

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.to_blocks)(info, in_dims, *inputs)


class _FromBlocks(torch.autograd.Function):
    @staticmethod
    def forward(blocks: Tensor, gate: Gate, width: int) -> Tensor:
        return below_autograd(torch.ops.gatentk.from_blocks, blocks, gate, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        blocks, gate, ctx.width = inputs
        ctx.block = blocks.shape[2]
        ctx.save_for_backward(*map(recordable, gate))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return torch.ops.gatentk.to_blocks(grad, list(ctx.saved_tensors), ctx.block), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: Any) -> Tensor:
        result: Tensor = torch.ops.gatentk.from_blocks(tangent, list(ctx.saved_tensors), ctx.width)
        return result

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.from_blocks)(info, in_dims, *inputs)


# Products


def _multiply(*arguments: Any) -> Tensor:
    p = BlockProduct(*arguments)
    out = p.result()
    rows = masked_rows(p.z, p.gate_in, p.widths[0]) @ (p.weight if p.transpose else p.weight.T)
    return out.copy_(_to_blocks(rows, p.gate_out, p.block_out))


def _multiply_transposed(*arguments: Any) -> Tensor:
    p = BlockWeightGradient(*arguments)
    out = p.result()
    return out.copy_(masked_rows(p.left, p.gate_left, p.rows).T @ masked_rows(p.right, p.gate_right, p.columns))


def _multiply_on_cuda(*arguments: Any) -> Tensor:
    """By the kernels that read a bit for each neuron."""
    p = BlockProduct(*arguments)
    p.result()
    width_in, width_out = p.widths
    rows = torch.ops.gatentk.masked_matmul(
        masked_rows(p.z, [], width_in),
        p.weight,
        False,
        not p.transpose,
        _neuron_bits(p.gate_in, width_in, p.z.shape[2]),
        [],
        _neuron_bits(p.gate_out, width_out, p.block_out),
        0,
    )
    return _to_blocks(rows, [], p.block_out)


def _multiply_transposed_on_cuda(*arguments: Any) -> Tensor:
    p = BlockWeightGradient(*arguments)
    p.result()
    result: Tensor = torch.ops.gatentk.masked_matmul(
        masked_rows(p.left, [], p.rows),
        masked_rows(p.right, [], p.columns),
        True,
        False,
        _neuron_bits(p.gate_left, p.rows, p.left.shape[2]),
        _neuron_bits(p.gate_right, p.columns, p.right.shape[2]),
        [],
        0,
    )
    return result


def _neuron_bits(gate: Gate, width: int, block: int) -> Gate:
    mask = neuron_mask(gate, width, block)
    return [] if mask is None else [pack_bits(mask)]


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
        p = _Product.saved(ctx)
        changes: dict[str, Any] = {"z": by_z, "weight": by_weight}
        parts = [
            torch.ops.gatentk.block_product(*p._replace(**{name: tangent.to(p.z.dtype)}))
            for name, tangent in changes.items()
            if tangent is not None
        ]
        total: Tensor = sum(parts[1:], start=parts[0])
        return total

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
        p = _WeightGradient.saved(ctx)
        changes: dict[str, Any] = {"left": by_left, "right": by_right}
        parts = [
            torch.ops.gatentk.block_weight_gradient(*p._replace(**{name: tangent.to(p.left.dtype)}))
            for name, tangent in changes.items()
            if tangent is not None
        ]
        total: Tensor = sum(parts[1:], start=parts[0])
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.block_weight_gradient)(info, in_dims, *inputs)


register(
    "to_blocks(Tensor z, Tensor[] gate, int block) -> Tensor",
    cpu=_to_blocks,
    cuda=_to_blocks,
    fake=_blocks,
    differentiable=_ToBlocks.apply,
)
register(
    "from_blocks(Tensor blocks, Tensor[] gate, int width) -> Tensor",
    cpu=_from_blocks,
    cuda=_from_blocks,
    fake=_rows,
    differentiable=_FromBlocks.apply,
)
register(
    "block_product(Tensor z, Tensor weight, bool transpose, Tensor[] gate_in, Tensor[] gate_out, int block_out) "
    "-> Tensor",
    cpu=_multiply,
    cuda=_multiply_on_cuda,
    fake=lambda *arguments: BlockProduct(*arguments).result(),
    differentiable=_Product.apply,
    autocast=as_matmul,
)
register(
    "block_weight_gradient(Tensor left, Tensor right, Tensor[] gate_left, Tensor[] gate_right, int rows, int columns) "
    "-> Tensor",
    cpu=_multiply_transposed,
    cuda=_multiply_transposed_on_cuda,
    fake=lambda *arguments: BlockWeightGradient(*arguments).result(),
    differentiable=_WeightGradient.apply,
    autocast=as_matmul,
)
