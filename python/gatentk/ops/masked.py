"""Masked products: what gates leave on is multiplied, the rest is skipped, in gradients too."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gatentk.checks import FLOATS, check_integer, describe
from gatentk.ops import cuda
from gatentk.ops.arguments import check_bits, check_device, check_matrix
from gatentk.ops.autocast import as_matmul, same_dtype, without_autocast
from gatentk.ops.bits import add_gated_bias
from gatentk.ops.cpu_products import PATHS, has_block_kernel
from gatentk.ops.cuda_paths import reads_lists
from gatentk.ops.cuda_products import product_on_cuda
from gatentk.ops.layouts import MaskedProduct, units
from gatentk.ops.paths import path
from gatentk.ops.plans import GateLayer, GateRows, block_of, checked_plans
from gatentk.ops.registration import (
    batch_dims,
    below_autograd,
    bilinear_tangent,
    is_plain,
    on_memory,
    recordable,
    register,
    sliced,
)

Gate = Tensor | GateRows | None
METHODS = ("auto", "masked", "dense")
CUDA_DTYPES = (*FLOATS, torch.bfloat16)


def masked_linear(
    z: Tensor,
    weight: Tensor,
    gate_in: Gate = None,
    gate_out: Gate = None,
    method: str = "auto",
    block: int | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """`gate_out o ((gate_in o z) @ weight.T + bias)`, visiting only what is on ([G], Sec. 2: t_k = D_k W_k t_{k-1}).

    The gradients by `z` and by `weight` are masked products too, and so are theirs: differentiable to any order.

    Weights that are not finite show for certain only where what is on and not zero meets them. Where it is off or zero,
    0 * inf, dense products give NaN, while those that skip, which "auto" may choose, can leave it out. So ask
    `torch.isfinite` of the weights, not of the results.

    Under torch.autocast results have its dtype by every method, as those of torch.matmul. Where no kernel takes that
    dtype, which is so on the CPU and for float16, products are made in float32 and rounded once. float64 stays.

    Args:
        z: (..., n, in_features), float32, float64 or bfloat16, whose products are summed in float32 and rounded once.
            Without `gate_in` its exact zeros are the mask.
        weight: (out_features, in_features) of the same dtype.
        gate_in: (..., n, row_bytes(in_features)) packed bits, or a layer of a gate table, which caches its plans.
        gate_out: the same for out_features; outputs that are off are exact zeros.
        method: "masked" skips, "dense" multiplies everything, "auto" chooses by sizes, densities and a calibration of
            the processor (docs/skipping.md), on a CUDA device by sizes and what is predicted for it (docs/cuda.md).
            There "masked" skips blocks of a multiple of 32 neurons, in rows of a multiple of 16 bytes; what it cannot
            skip is dense, in the precision of torch's products, which is told once where gates are of blocks.
        block: neighbouring neurons that share a bit, ceil(width / block) bits a row; left out, it is that of the
            layer, or 1 for packed bits.
        bias: (out_features) of the same dtype, or None. Kernels for blocks on a CUDA device add it to the rounded
            product, so that bfloat16 is rounded twice there.

    Returns:
        (..., n, out_features).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices that do not fit each other, an unknown method, another block
            than that of a layer.

    >>> from gatentk.ops import pack_bits
    >>> z, weight = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 10.0, 100.0], [1.0, 1.0, 1.0]])
    >>> masked_linear(z, weight, gate_in=pack_bits(torch.tensor([[True, False, True]])))
    tensor([[301.,   4.]])
    >>> masked_linear(z, weight, gate_in=pack_bits(torch.tensor([[True, False]])), block=2)
    tensor([[21.,  3.]])
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(map(repr, METHODS))}, got {method!r}")
    check_matrix("z", z, CUDA_DTYPES, True)
    check_matrix("weight", weight, CUDA_DTYPES, True)
    if weight.dim() != 2 or weight.shape[1] != z.shape[-1]:
        raise ValueError(f"weight: expected shape (out_features, {z.shape[-1]}), got {describe(weight)}")
    if weight.dtype != z.dtype and not same_dtype(weight, z):
        raise TypeError(f"weight: expected {z.dtype} as z, got {describe(weight)}")
    check_device("weight", weight, z, "z")
    if bias is not None:
        _check_bias(bias, weight)
    if block is not None:
        block = check_integer("block", block, 1)
    inside, block_in = _gate("gate_in", gate_in, z.shape, z, block, method)
    outside, block_out = _gate("gate_out", gate_out, (*z.shape[:-1], weight.shape[0]), z, block, method)
    rows = z if z.dim() == 2 else z.reshape(-1, z.shape[-1])
    product = MaskedProduct(
        rows, weight, False, True, inside, [], outside, METHODS.index(method), (block_in, 1, block_out), bias
    )
    result = multiply(product)
    return result if z.dim() == 2 else result.reshape(*z.shape[:-1], weight.shape[0])


def _check_bias(bias: object, weight: Tensor) -> None:
    if not isinstance(bias, Tensor) or bias.shape != weight.shape[:1]:
        raise ValueError(f"bias: expected a tensor of shape ({weight.shape[0]},), got {describe(bias)}")
    if bias.dtype != weight.dtype and not same_dtype(bias, weight):
        raise TypeError(f"bias: expected {weight.dtype} as weight, got {describe(bias)}")
    check_device("bias", bias, weight, "weight")


def _gate(
    name: str, gate: Gate, shape: Sequence[int], z: Tensor, block: int | None, method: str
) -> tuple[list[Tensor], int]:
    """Bits of rows of `shape`, with their plans where they come with them and z's device uses them, and their block."""
    if gate is None:
        return [], 1
    if isinstance(gate, Tensor):
        bits, own = gate, block or 1
    else:
        bits, own = gate.bits, block_of(gate)
        if block not in (None, own):
            raise ValueError(f"block: expected {own} as in {name}, got {block}")
    width = shape[-1]
    if own > max(width, 1):
        raise ValueError(f"block: expected a number from 1 to {width}, the width of {name}, got {own}")
    check_bits(name, bits, units(width, own), z, "z")
    if bits.shape[:-1] != shape[:-1]:
        raise ValueError(f"{name}: expected bits of {tuple(shape[:-1])} rows, got {describe(bits)}")
    matrix = bits if bits.dim() == 2 else bits.reshape(-1, bits.shape[-1])
    if isinstance(gate, Tensor):
        return [matrix], own
    if not cuda.serves(z):
        return [bits, *checked_plans(gate, name, width, own)], own
    # Those of others would have to be compared, which waits for the device.
    planned = isinstance(gate, GateLayer) and bits.dim() == 2 and reads_lists(method, bits.shape[0], width, own)
    return [matrix, *(checked_plans(gate, name, width, own) if planned else ())], own


def _multiply_on_cpu(*arguments: Any) -> Tensor:
    product = MaskedProduct(*arguments)
    if product.a.dtype == torch.bfloat16:
        say_that_bfloat16_is_slow()
        bias = None if product.bias is None else product.bias.float()
        wide = product._replace(a=product.a.float(), b=product.b.float(), bias=bias)
        return _multiply_on_cpu(*wide).bfloat16()
    method = METHODS[product.method]
    if method == "auto":
        name, product = path(product)
    elif method == "dense":
        name = "dense"
    else:
        name = "blocks" if has_block_kernel(product) else "neurons"
    out = PATHS[name](product)
    return out if product.bias is None else _add_in_place(product.bias, out, product)


def _add_in_place(bias: Tensor, out: Tensor, p: MaskedProduct) -> Tensor:
    """A bias where the gates of a new result on the CPU are on."""
    return add_gated_bias(out, bias, p.gate_out[0], p.blocks[2]) if p.gate_out else out.add_(bias)


_multiply = on_memory(_multiply_on_cpu)


def multiply(p: MaskedProduct) -> Tensor:
    """`torch.ops.gatentk.masked_matmul(*p)` of a product that was checked, without the dispatcher where that can be."""
    if not _is_plain(p):
        result: Tensor = torch.ops.gatentk.masked_matmul(*p)
    elif torch.is_grad_enabled() and torch._C._any_requires_grad(p.a, p.b, p.bias):
        result = _ProductAtOnce.apply(*p)
    else:
        result = _multiply(*p)
    return result


def _is_plain(p: MaskedProduct) -> bool:
    """Whether its tensors are; plans were made, or checked, by us."""
    bits = (*p.gate_a[:1], *p.gate_b[:1], *p.gate_out[:1])
    return is_plain(p.a, p.b, *bits, *(() if p.bias is None else (p.bias,)))


@cache
def say_that_bfloat16_is_slow() -> None:
    """Warn once: with width 2048 copies and product take 1.8 times as long as in float32 for 64 rows, 6 for one row."""
    warnings.warn(
        "bfloat16 on the CPU: masked products are computed in float32 from copies of their factors and then rounded, "
        "which is slower than float32 where rows are few; convert the network by .float() for speed",
        UserWarning,
        stacklevel=2,
    )


def _multiply_on_cuda(*arguments: Any) -> Tensor:
    product = MaskedProduct(*arguments)
    return product_on_cuda(product, METHODS[product.method])


# Each factor's gradient is a masked product again: the gates travel with the matrices that they mask.


def _gradient_by_a(p: MaskedProduct, grad: Tensor) -> MaskedProduct:
    of_a, of_b, of_out = p.blocks
    if p.transpose_a:
        gates, blocks = (p.gate_b, p.gate_out, p.gate_a), (of_b, of_out, of_a)
        return MaskedProduct(p.b, grad, p.transpose_b, True, *gates, p.method, blocks)
    gates, blocks = (p.gate_out, p.gate_b, p.gate_a), (of_out, of_b, of_a)
    return MaskedProduct(grad, p.b, False, not p.transpose_b, *gates, p.method, blocks)


def _gradient_by_b(p: MaskedProduct, grad: Tensor) -> MaskedProduct:
    of_a, of_b, of_out = p.blocks
    if p.transpose_b:
        gates, blocks = (p.gate_out, p.gate_a, p.gate_b), (of_out, of_a, of_b)
        return MaskedProduct(grad, p.a, True, p.transpose_a, *gates, p.method, blocks)
    gates, blocks = (p.gate_a, p.gate_out, p.gate_b), (of_a, of_out, of_b)
    return MaskedProduct(p.a, grad, not p.transpose_a, False, *gates, p.method, blocks)


def _gradient_by_bias(p: MaskedProduct, grad: Tensor) -> Tensor:
    if not p.gate_out:
        return grad.sum(0)
    result: Tensor = torch.ops.gatentk.gated_sums(grad, p.gate_out[0], p.blocks[2])
    return result


class _DifferentiableProduct(torch.autograd.Function):
    """The product with its gradients, tangents and batches, to any order."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        return below_autograd(torch.ops.gatentk.masked_matmul, *inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p = MaskedProduct(*inputs)
        ctx.transposed, ctx.method, ctx.blocks = (p.transpose_a, p.transpose_b), p.method, p.blocks
        ctx.lengths = [len(gate) for gate in p.gates]
        ctx.has_bias = p.bias is not None
        ctx.save_for_backward(p.a, p.b, *map(recordable, (*p.gate_a, *p.gate_b, *p.gate_out)))
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        p = _saved(ctx)
        grad = grad.to(p.a.dtype)  # torch lets any dtype through to here
        by_bias = _gradient_by_bias(p, grad) if ctx.has_bias and ctx.needs_input_grad[-1] else None
        with without_autocast():  # the dtypes are those that the product was computed with
            by_a, by_b = (
                multiply(gradient(p, grad)) if needed else None
                for gradient, needed in zip((_gradient_by_a, _gradient_by_b), ctx.needs_input_grad, strict=False)
            )
        return by_a, by_b, None, None, None, None, None, None, None, by_bias

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        p, by_bias = _saved(ctx), tangents[-1]
        of_factors = dict(zip(("a", "b"), tangents, strict=False))
        parts = []
        if any(tangent is not None for tangent in of_factors.values()):
            parts.append(bilinear_tangent(torch.ops.gatentk.masked_matmul, p, of_factors))
        if by_bias is not None:
            rows = by_bias.to(p.a.dtype).expand(p.shape)
            parts.append(torch.ops.gatentk.gate_rows(rows, p.gate_out[0], p.blocks[2]) if p.gate_out else rows.clone())
        total: Tensor = sum(parts[1:], start=parts[0])
        return total

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        p = MaskedProduct(*inputs)
        dim_a, dim_b, _, _, dims_gate_a, dims_gate_b, dims_gate_out, _, _, dim_bias = in_dims
        if (
            not p.transpose_a
            and dim_b is None
            and dim_bias is None
            and all(d is None for d in batch_dims(dims_gate_b, p.gate_b))
        ):
            # Only rows are batched: they all go through one product. Plans do not fit any more.
            def flat(gate: list[Tensor], dims: Any) -> list[Tensor]:
                return [_flat_rows(gate[0], batch_dims(dims, gate)[0], info.batch_size)] if gate else []

            rows = p._replace(
                a=_flat_rows(p.a, dim_a, info.batch_size),
                gate_a=flat(p.gate_a, dims_gate_a),
                gate_out=flat(p.gate_out, dims_gate_out),
            )
            out = torch.ops.gatentk.masked_matmul(*rows)
            return out.reshape(info.batch_size, -1, out.shape[-1]), 0
        return sliced(torch.ops.gatentk.masked_matmul)(info, in_dims, *inputs)


class _ProductAtOnce(torch.autograd.Function):
    """The same where nobody transforms it: in this form torch needs 20 us less."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        out = _multiply(*inputs)
        _DifferentiableProduct.setup_context(ctx, inputs, out)
        return out

    backward = staticmethod(_DifferentiableProduct.backward)


def _saved(ctx: Any) -> MaskedProduct:
    a, b, *rest = ctx.saved_tensors
    gates = iter(rest)
    gate_a, gate_b, gate_out = ([next(gates) for _ in range(length)] for length in ctx.lengths)
    transpose_a, transpose_b = ctx.transposed
    return MaskedProduct(a, b, transpose_a, transpose_b, gate_a, gate_b, gate_out, ctx.method, ctx.blocks)


def _flat_rows(matrix: Tensor, dim: int | None, batch: int) -> Tensor:
    """Rows of all matrices of a batch below each other."""
    stacked = matrix.expand(batch, *matrix.shape) if dim is None else matrix.movedim(dim, 0)
    return stacked.reshape(-1, stacked.shape[-1])


register(
    "masked_matmul(Tensor a, Tensor b, bool transpose_a, bool transpose_b, Tensor[] gate_a, Tensor[] gate_b, "
    "Tensor[] gate_out, int method, int[] blocks=[1, 1, 1], Tensor? bias=None) -> Tensor",
    cpu=_multiply_on_cpu,
    cuda=_multiply_on_cuda,
    fake=lambda *arguments: MaskedProduct(*arguments).result(),
    # Autograd functions have no defaults.
    differentiable=lambda *arguments: _DifferentiableProduct.apply(*MaskedProduct(*arguments)),
    autocast=as_matmul,
)
