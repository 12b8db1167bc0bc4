"""Block form of activations, (units, n, block): what its gates and shapes are, there and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import FLOATS, describe
from gatentk.ops.arguments import check_bit_matrix
from gatentk.ops.bits import gated, transpose_on_cpu
from gatentk.ops.layouts import contiguous_rows, gate_view, row_bytes, units
from gatentk.ops.registration import below_autograd, recordable, register, sliced

# Bits of units, perhaps followed by their unit-major ones; empty where all is on.
Gate = list[Tensor]


def units_of(width: int, block: int) -> int:
    """Blocks of a layer; the last one is shorter if `block` does not divide the width.

    >>> units_of(100, 32)
    4
    """
    if block < 1:
        raise ValueError(f"block: expected at least 1 neuron, got {block}")
    return units(width, block)


def masked_rows(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    """Block form to (n, width) in plain torch, zeros where gates are off whatever stands there."""
    count, n, block = blocks.shape
    rows = blocks.transpose(0, 1).reshape(n, count * block)[:, :width]
    return gated(rows, gate[0], block) if gate else rows


def block_view(blocks: Tensor, gate: Gate, width: int) -> _core.Blocks:
    """Contiguous block form as the kernels take it."""
    _, n, block = blocks.shape
    return blocks.data_ptr(), n, width, block, n * block, block, True, gate_view(gate[1] if gate else None)


def rows_view(rows: Tensor, gate: Gate, block: int) -> _core.Blocks:
    """A matrix (n, width) of contiguous rows as the kernels take it."""
    n, width = rows.shape
    return rows.data_ptr(), n, width, block, block, rows.stride(0), False, gate_view(gate[1] if gate else None)


def with_unit_major(gate: Gate, width: int, block: int) -> Gate:
    """A gate list with rows of contiguous unit-major bits, which live as long as it does."""
    if not gate:
        return gate
    if len(gate) == 2:
        return [gate[0], contiguous_rows(gate[1])]
    count = units(width, block)
    check_bit_matrix("bits", gate[0], count)
    return [gate[0], transpose_on_cpu(gate[0], count)]


def check_blocks(name: str, blocks: Tensor, width: int) -> None:
    """Refuse what is no block form of activations of `width`."""
    if blocks.dim() != 3 or blocks.shape[0] != units_of(width, blocks.shape[2]):
        raise ValueError(f"{name}: expected the block form (units, n, block) of width {width}, got {describe(blocks)}")


def check_gate(name: str, gate: Gate, n: int, count: int) -> None:
    """Refuse what is no gate list of n samples of `count` units."""
    expected = ((n, row_bytes(count)), (count, row_bytes(n)))
    if len(gate) > 2 or any(g.dtype != torch.uint8 or g.shape != e for g, e in zip(gate, expected, strict=False)):
        raise ValueError(
            f"{name}: expected packed bits of shape {expected[0]} and perhaps unit-major ones of shape {expected[1]}, "
            f"got {', '.join(describe(g) for g in gate)}"
        )


def plain_to_blocks(z: Tensor, gate: Gate, block: int) -> Tensor:
    """In plain torch."""
    blocks = _blocks(z, gate, block)
    count, n, _ = blocks.shape
    padded = torch.nn.functional.pad(gated(z, gate[0], block) if gate else z, (0, count * block - z.shape[1]))
    return blocks.copy_(padded.reshape(n, count, block).transpose(0, 1))


def _to_blocks_on_cpu(z: Tensor, gate: Gate, block: int) -> Tensor:
    if z.dtype not in FLOATS:
        return plain_to_blocks(z, gate, block)
    blocks, width = _blocks(z, gate, block), z.shape[1]
    rows, gate = contiguous_rows(z), with_unit_major(gate, width, block)
    run = _core.copy_blocks_f32 if z.dtype == torch.float32 else _core.copy_blocks_f64
    run(rows_view(rows, [], block), block_view(blocks, gate, width), torch.get_num_threads())
    return blocks


def _blocks(z: Tensor, gate: Gate, block: int) -> Tensor:
    if z.dim() != 2:
        raise ValueError(f"z: expected shape (n, width), got {describe(z)}")
    count = units_of(z.shape[1], block)
    check_gate("gate", gate, z.shape[0], count)
    return z.new_empty(count, z.shape[0], block)


def _from_blocks(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    """In plain torch."""
    return _rows(blocks, gate, width).copy_(masked_rows(blocks, gate, width))


def _from_blocks_on_cpu(blocks: Tensor, gate: Gate, width: int) -> Tensor:
    if blocks.dtype not in FLOATS:
        return _from_blocks(blocks, gate, width)
    rows, block = _rows(blocks, gate, width), blocks.shape[2]
    blocks, gate = blocks.contiguous(), with_unit_major(gate, width, block)
    run = _core.copy_blocks_f32 if rows.dtype == torch.float32 else _core.copy_blocks_f64
    run(block_view(blocks, [], width), rows_view(rows, gate, block), torch.get_num_threads())
    return rows


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


register(
    "to_blocks(Tensor z, Tensor[] gate, int block) -> Tensor",
    cpu=_to_blocks_on_cpu,
    cuda=plain_to_blocks,
    fake=_blocks,
    differentiable=_ToBlocks.apply,
)
register(
    "from_blocks(Tensor blocks, Tensor[] gate, int width) -> Tensor",
    cpu=_from_blocks_on_cpu,
    cuda=_from_blocks,
    fake=_rows,
    differentiable=_FromBlocks.apply,
)
