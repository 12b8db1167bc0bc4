"""Packed bits: masks to bits, bits to masks, and bits of samples to bits of neurons."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import FLOATS, check_integer, describe
from gatentk.ops import cuda
from gatentk.ops.arguments import check_bit_matrix, check_bits, check_device, check_packed
from gatentk.ops.layouts import contiguous_rows, gate_view, packed, row_bytes, transposed, units, unpacked
from gatentk.ops.registration import below_autograd, recordable, register, sliced


def pack_bits(mask: Tensor) -> Tensor:
    """Pack a mask into bits, least significant bit first.

    Args:
        mask: bool, (..., width).

    Returns:
        uint8, (..., row_bytes(width)): rows padded with zeros to a multiple of 128 bits.

    Raises:
        TypeError: `mask` is not a bool tensor.
        ValueError: it is a scalar, or on a device without kernels.

    >>> pack_bits(torch.tensor([[True, False, True], [False, True, False]]))[:, 0]
    tensor([5, 2], dtype=torch.uint8)
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask: expected a bool tensor, got {describe(mask)}")
    if mask.dim() == 0:
        raise ValueError("mask: expected shape (..., width), got a scalar")
    check_device("mask", mask)
    result: Tensor = torch.ops.gatentk.pack_bits(mask)
    return result


def _pack_on_cpu(mask: Tensor) -> Tensor:
    rows = mask.reshape(-1, mask.shape[-1]) if mask.numel() else mask.new_empty(mask.shape[:-1].numel(), mask.shape[-1])
    rows = contiguous_rows(rows)
    bits = packed(mask)
    n, width = rows.shape
    _core.pack_bits(rows.data_ptr(), rows.stride(0), n, width, bits.data_ptr(), bits.shape[-1], torch.get_num_threads())
    return bits


register("pack_bits(Tensor mask) -> Tensor", cpu=_pack_on_cpu, cuda=cuda.on_cuda("pack_bits"), fake=packed)


def unpack_bits(bits: Tensor, width: int) -> Tensor:
    """The inverse of `pack_bits`.

    Args:
        bits: uint8, (..., row_bytes(width)).
        width: bits of a row.

    Returns:
        bool, (..., width).

    Raises:
        TypeError: `bits` is not uint8.
        ValueError: its rows do not have row_bytes(width) bytes, or it is on a device without kernels.

    >>> unpack_bits(pack_bits(torch.tensor([True, False, True])), 3)
    tensor([ True, False,  True])
    """
    check_bits("bits", bits, width)
    result: Tensor = torch.ops.gatentk.unpack_bits(bits, width)
    return result


def _unpack_on_cpu(bits: Tensor, width: int) -> Tensor:
    mask = unpacked(bits, width)
    if mask.numel():
        rows = contiguous_rows(bits.reshape(-1, bits.shape[-1]))
        _core.unpack_bits(
            rows.data_ptr(), rows.stride(0), rows.shape[0], width, mask.data_ptr(), torch.get_num_threads()
        )
    return mask


register(
    "unpack_bits(Tensor bits, int width) -> Tensor", cpu=_unpack_on_cpu, cuda=cuda.on_cuda("unpack_bits"), fake=unpacked
)


def expand_bits(bits: Tensor, width: int, block: int) -> Tensor:
    """Bits of neurons of those of blocks, of which the last may be shorter.

    Args:
        bits: uint8, (..., row_bytes(units(width, block))).
        width: neurons.
        block: neighbouring neurons that share a bit.

    Returns:
        uint8, (..., row_bytes(width)).

    >>> unpack_bits(expand_bits(pack_bits(torch.tensor([True, False])), 5, 3), 5)
    tensor([ True,  True,  True, False, False])
    """
    if block == 1:
        return bits
    check_bits("bits", bits, units(width, block))
    result: Tensor = torch.ops.gatentk.expand_bits(bits, width, block)
    return result


def expand_on_cpu(bits: Tensor, width: int, block: int) -> Tensor:
    """As `expand_bits`, without asking torch what runs it."""
    out = _expanded(bits, width, block)
    if out.numel():
        rows = contiguous_rows(bits.reshape(-1, bits.shape[-1]))
        threads = torch.get_num_threads()
        _core.expand_bits(gate_view(rows), rows.shape[0], width, block, out.data_ptr(), out.shape[-1], threads)
    return out


def _expand(bits: Tensor, width: int, block: int) -> Tensor:
    """In plain torch."""
    mask = unpack_bits(bits, units(width, block))
    if block % 8:
        return pack_bits(mask.index_select(-1, torch.arange(width, device=mask.device) // block))
    # Whole bytes of a block: 0 or 255, so that there is never a byte for each neuron.
    used = -(-width // 8)
    octets = mask.to(torch.uint8).mul_(255).index_select(-1, torch.arange(used, device=mask.device) // (block // 8))
    result = bits.new_zeros((*bits.shape[:-1], row_bytes(width)))
    result[..., :used] = octets
    if width % 8:
        result[..., used - 1] &= (1 << width % 8) - 1
    return result


def _expanded(bits: Tensor, width: int, block: int) -> Tensor:
    """Room for the bits of neurons, after a check that those of blocks fit."""
    check_bits("bits", bits, units(width, block))
    return bits.new_empty((*bits.shape[:-1], row_bytes(width)))


register("expand_bits(Tensor bits, int width, int block) -> Tensor", cpu=expand_on_cpu, cuda=_expand, fake=_expanded)


def transpose_bits(bits: Tensor, width: int) -> Tensor:
    """Neuron-major bits of sample-major ones, and the reverse.

    Args:
        bits: uint8, (n, row_bytes(width)).
        width: bits of a row.

    Returns:
        uint8, (width, row_bytes(n)).

    Raises:
        TypeError: `bits` is not uint8.
        ValueError: it is no matrix whose rows have row_bytes(width) bytes, or on a device without kernels.

    >>> mask = torch.tensor([[True, False, True], [False, True, False]])
    >>> torch.equal(transpose_bits(pack_bits(mask), 3), pack_bits(mask.T))
    True
    """
    check_bit_matrix("bits", bits, width)
    result: Tensor = torch.ops.gatentk.transpose_bits(bits, width)
    return result


def transpose_on_cpu(bits: Tensor, width: int) -> Tensor:
    """As `transpose_bits`, of bits that were checked, without asking torch what runs it: that takes 20 us."""
    rows, out = contiguous_rows(bits), transposed(bits, width)
    threads = torch.get_num_threads()
    _core.transpose_bits(rows.data_ptr(), rows.stride(0), rows.shape[0], width, out.data_ptr(), out.shape[1], threads)
    return out


register(
    "transpose_bits(Tensor bits, int width) -> Tensor",
    cpu=transpose_on_cpu,
    cuda=cuda.on_cuda("transpose_bits"),
    fake=transposed,
)


# Values of rows where their gates are on


def gate_rows(values: Tensor, bits: Tensor, block: int = 1) -> Tensor:
    """Values where their gate is on, exact zeros elsewhere, whatever stands there; differentiable to any order.

    Args:
        values: float32, float64 or bfloat16, (..., width); may be expanded, as a bias is.
        bits: uint8, (..., row_bytes(units(width, block))).
        block: neighbouring values that share a bit.

    Returns:
        (..., width), contiguous.

    Raises:
        TypeError, ValueError: values or bits of another kind or shape, a block below 1.

    >>> gate_rows(torch.tensor([[1.0, 2.0, 3.0]]), pack_bits(torch.tensor([[False, True]])), 2)
    tensor([[0., 0., 3.]])
    """
    block = check_integer("block", block, 1)
    if not isinstance(values, Tensor) or values.dtype not in (*FLOATS, torch.bfloat16):
        raise TypeError(f"values: expected a float32 or float64 or bfloat16 tensor, got {describe(values)}")
    check_device("values", values)
    check_packed("bits", bits)
    check_device("bits", bits, values, "values")
    result: Tensor = torch.ops.gatentk.gate_rows(values, bits, block)
    return result


def gated(values: Tensor, bits: Tensor | None, block: int = 1) -> Tensor:
    """Exact zeros where a gate is off, whatever stands there; bits as of `gate_rows`, None where all is on."""
    if bits is None:
        return values
    result: Tensor = torch.ops.gatentk.gate_rows(values, bits, block)
    return result


def gate_in_place(values: Tensor, bits: Tensor, block: int) -> Tensor:
    """As `gated`, but values (n, width) that nobody else has become exact zeros where they are."""
    if not values.is_contiguous():
        return gated(values, bits, block)
    if cuda.serves(values):
        _check_gates(values, bits, block)
        return cuda.kernels().gate_rows(values, bits, block, values)
    if values.dtype not in FLOATS:
        return gated(values, bits, block)
    _check_gates(values, bits, block)
    return _write(values, bits, block, values)


def gate_rows_on_cpu(values: Tensor, bits: Tensor, block: int) -> Tensor:
    """As `gate_rows`, without asking torch what runs it."""
    if values.dtype not in FLOATS or values.dim() != 2:
        return _gate_rows(values, bits, block)
    _check_gates(values, bits, block)
    return _write(contiguous_rows(values), bits, block, values.new_empty(values.shape))


def _write(rows: Tensor, bits: Tensor, block: int, out: Tensor) -> Tensor:
    n, width = rows.shape
    stored = contiguous_rows(bits)
    run = _core.gate_rows_f32 if out.dtype == torch.float32 else _core.gate_rows_f64
    gates = gate_view(stored)
    run(rows.data_ptr(), rows.stride(0), n, width, block, gates, out.data_ptr(), width, torch.get_num_threads())
    return out


def _gate_on_cuda(values: Tensor, bits: Tensor, block: int) -> Tensor:
    return cuda.kernels().gate_rows(values, bits, block, _gated_rows(values, bits, block))


def _gate_rows(values: Tensor, bits: Tensor, block: int) -> Tensor:
    """In plain torch."""
    out = _gated_rows(values, bits, block)
    width = values.shape[-1]
    mask = unpack_bits(bits, units(width, block))
    on = mask if block == 1 else mask.repeat_interleave(block, -1)[..., :width]
    return out.copy_(torch.where(on, values, 0))


def _gated_rows(values: Tensor, bits: Tensor, block: int) -> Tensor:
    """Room for the values, after a check that the gates fit them."""
    _check_gates(values, bits, block)
    return values.new_empty(values.shape)


def _check_gates(values: Tensor, bits: Tensor, block: int) -> None:
    if block < 1 or values.dim() == 0:
        raise ValueError(
            f"values: expected shape (..., width) and blocks of 1 or more, got {describe(values)}, {block}"
        )
    expected = (*values.shape[:-1], row_bytes(units(values.shape[-1], block)))
    if bits.dtype != torch.uint8 or bits.shape != expected:
        raise ValueError(f"bits: expected packed bits (uint8) of shape {expected}, got {describe(bits)}")


class _DifferentiableGates(torch.autograd.Function):
    """Masked values are linear in the values: gradient and tangent are masked the same way."""

    @staticmethod
    def forward(values: Tensor, bits: Tensor, block: int) -> Tensor:
        return below_autograd(torch.ops.gatentk.gate_rows, values, bits, block)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        values, bits, ctx.block = inputs
        ctx.dtype = values.dtype  # torch lets gradients and tangents of any dtype through
        ctx.save_for_backward(recordable(bits))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return torch.ops.gatentk.gate_rows(grad.to(ctx.dtype), *ctx.saved_tensors, ctx.block), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: Any) -> Tensor:
        result: Tensor = torch.ops.gatentk.gate_rows(tangent.to(ctx.dtype), *ctx.saved_tensors, ctx.block)
        return result

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], values: Tensor, bits: Tensor, block: int) -> tuple[Tensor, int]:
        """Leading dimensions are batches anyway."""
        batched = (
            tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip((values, bits), in_dims, strict=False)
        )
        return torch.ops.gatentk.gate_rows(*batched, block), 0


# Rows whose gates are on: (..., width) and packed bits (..., row_bytes(units(width, block))).
register(
    "gate_rows(Tensor values, Tensor bits, int block) -> Tensor",
    cpu=gate_rows_on_cpu,
    cuda=_gate_on_cuda,
    fake=_gated_rows,
    differentiable=_DifferentiableGates.apply,
)


# Biases, and their gradients


def add_gated_bias(out: Tensor, bias: Tensor, bits: Tensor, block: int) -> Tensor:
    """`out` itself, new contiguous rows (n, width) on the CPU in float32 or float64, plus a bias where gates are on."""
    _check_gates(out, bits, block)
    bias, bits = bias.contiguous(), contiguous_rows(bits)
    run = _core.add_gated_bias_f32 if out.dtype == torch.float32 else _core.add_gated_bias_f64
    n, width = out.shape
    run(out.data_ptr(), out.stride(0), n, width, block, gate_view(bits), bias.data_ptr(), torch.get_num_threads())
    return out


def _sums_on_cpu(values: Tensor, bits: Tensor, block: int) -> Tensor:
    if values.dtype not in FLOATS:
        return _sums(values, bits, block)
    out = _room_for_sums(values, bits, block)
    rows, bits = contiguous_rows(values), contiguous_rows(bits)
    run = _core.gated_sums_f32 if out.dtype == torch.float32 else _core.gated_sums_f64
    n, width = rows.shape
    run(rows.data_ptr(), rows.stride(0), n, width, block, gate_view(bits), out.data_ptr(), torch.get_num_threads())
    return out


def _sums(values: Tensor, bits: Tensor, block: int) -> Tensor:
    """In plain torch."""
    return gated(values, bits, block).sum(0)


def _room_for_sums(values: Tensor, bits: Tensor, block: int) -> Tensor:
    _check_gates(values, bits, block)
    if values.dim() != 2:
        raise ValueError(f"values: expected shape (n, width), got {describe(values)}")
    return values.new_empty(values.shape[1])


class _DifferentiableSums(torch.autograd.Function):
    """Sums of masked rows are linear in the rows."""

    @staticmethod
    def forward(values: Tensor, bits: Tensor, block: int) -> Tensor:
        return below_autograd(torch.ops.gatentk.gated_sums, values, bits, block)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        values, bits, ctx.block = inputs
        ctx.dtype, ctx.shape = values.dtype, values.shape
        ctx.save_for_backward(recordable(bits))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        rows = grad.to(ctx.dtype).expand(ctx.shape)
        return torch.ops.gatentk.gate_rows(rows, *ctx.saved_tensors, ctx.block), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *rest: Any) -> Tensor:
        result: Tensor = torch.ops.gatentk.gated_sums(tangent.to(ctx.dtype), *ctx.saved_tensors, ctx.block)
        return result

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        return sliced(torch.ops.gatentk.gated_sums)(info, in_dims, *inputs)


# Sums over the rows (n, width) of what is on: the gradient of a bias.
register(
    "gated_sums(Tensor values, Tensor bits, int block) -> Tensor",
    cpu=_sums_on_cpu,
    cuda=_sums,
    fake=_room_for_sums,
    differentiable=_DifferentiableSums.apply,
)
