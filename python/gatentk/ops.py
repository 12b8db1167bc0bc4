"""Operations on tensors, registered with torch; it and `cuda_ops` alone call the compiled modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gatentk import _core, cuda_ops
from gatentk.checks import FLOATS, describe, like_input
from gatentk.layouts import ROW_ALIGNMENT as ROW_ALIGNMENT
from gatentk.layouts import (
    contiguous_rows,
    gram_problems,
    gram_shape,
    infinite_problems,
    infinite_shape,
    product_shape,
    view,
)
from gatentk.layouts import gates as gate_view
from gatentk.layouts import row_bytes as row_bytes

_library = torch.library.Library("gatentk", "DEF")


def isa() -> str:
    """Name of the instruction set whose kernels are in use: "avx512", "avx2" or "portable"."""
    return _core.isa()


def available_isas() -> list[str]:
    """Instruction sets this build has and this processor runs, best first; "wide" only serves tests."""
    return _core.available_isas()


def select_isa(name: str) -> None:
    """Use the kernels of another instruction set in the whole process; ValueError if it is not available."""
    _core.select_isa(name)


def openmp() -> bool:
    """Whether the compiled core was built with threads."""
    return _core.openmp


def fma_peak(dtype: torch.dtype) -> float:
    """Measured peak of fused multiply-adds in operations per second, with torch's number of threads."""
    measure = _core.fma_peak_f32 if dtype == torch.float32 else _core.fma_peak_f64
    return measure(torch.get_num_threads())


def cuda_precision() -> str:
    """How float32 products of masked and Gram products are made on CUDA devices: "strict", "tf32x3" or "tf32"."""
    return cuda_ops.precision()


def select_cuda_precision(name: str) -> None:
    """Choose how float32 numbers are multiplied on CUDA devices, in the whole process.

    Args:
        name: "strict" uses fused multiply-adds in float32. "tf32x3" makes three products on tensor cores for each, as
            accurate as a float32 product, though an infinite factor gives NaN. "tf32" makes one, of factors rounded
            to 11 bits. "auto", the choice at the start, follows torch: "tf32" where `torch.backends.cuda.matmul`
            allows TF32, "tf32x3" elsewhere. Dense products are torch's own.

    Raises:
        ValueError: another name.
    """
    cuda_ops.select_precision(name)


def _check_device(name: str, tensor: Tensor, like: Tensor | None = None, like_name: str = "") -> None:
    """Refuse devices without kernels, and another device than that of `like`."""
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"{name}: there are kernels for CUDA and CPU tensors only, got one on {tensor.device}; use {name}.cpu()"
        )
    if like is not None and tensor.device != like.device:
        raise ValueError(f"{name}: expected a tensor on {like.device} as {like_name}, got {describe(tensor)}")


# Packed bits


def pack_bits(mask: Tensor) -> Tensor:
    """Pack a mask into bits, least significant bit first.

    Args:
        mask: bool, (..., width).

    Returns:
        uint8, (..., row_bytes(width)): rows padded with zeros to a multiple of 128 bits.

    Raises:
        TypeError: `mask` is not a bool tensor.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        raise TypeError(f"mask: expected a bool tensor, got {describe(mask)}")
    if mask.dim() == 0:
        raise ValueError("mask: expected shape (..., width), got a scalar")
    _check_device("mask", mask)
    result: Tensor = torch.ops.gatentk.pack_bits(mask)
    return result


def unpack_bits(bits: Tensor, width: int) -> Tensor:
    """The inverse of `pack_bits`: uint8 (..., row_bytes(width)) to bool (..., width).

    Raises:
        TypeError: `bits` is not uint8.
        ValueError: its rows do not have row_bytes(width) bytes.
    """
    _check_bits("bits", bits, width)
    result: Tensor = torch.ops.gatentk.unpack_bits(bits, width)
    return result


def _check_bits(name: str, bits: object, width: int, like: Tensor | None = None, like_name: str = "") -> None:
    if not isinstance(bits, Tensor) or bits.dtype != torch.uint8:
        raise TypeError(f"{name}: expected packed bits (uint8), got {describe(bits)}")
    if width < 0 or bits.dim() == 0 or bits.shape[-1] != row_bytes(width):
        raise ValueError(
            f"{name}: expected rows of {row_bytes(max(width, 0))} bytes for width {width}, got {describe(bits)}"
        )
    _check_device(name, bits, like, like_name)


_library.define("pack_bits(Tensor mask) -> Tensor")
_library.define("unpack_bits(Tensor bits, int width) -> Tensor")


@torch.library.impl(_library, "pack_bits", "CPU")
def _pack_bits_cpu(mask: Tensor) -> Tensor:
    rows = mask.reshape(-1, mask.shape[-1]) if mask.numel() else mask.new_empty(mask.shape[:-1].numel(), mask.shape[-1])
    rows = contiguous_rows(rows)
    bits = torch.empty(*mask.shape[:-1], row_bytes(mask.shape[-1]), dtype=torch.uint8)
    n, width = rows.shape
    _core.pack_bits(rows.data_ptr(), rows.stride(0), n, width, bits.data_ptr(), bits.shape[-1], torch.get_num_threads())
    return bits


@torch.library.register_fake("gatentk::pack_bits", lib=_library)
def _pack_bits_fake(mask: Tensor) -> Tensor:
    return mask.new_empty((*mask.shape[:-1], row_bytes(mask.shape[-1])), dtype=torch.uint8)


@torch.library.impl(_library, "unpack_bits", "CPU")
def _unpack_bits_cpu(bits: Tensor, width: int) -> Tensor:
    mask = torch.empty(*bits.shape[:-1], width, dtype=torch.bool)
    if mask.numel():
        rows = contiguous_rows(bits.reshape(-1, bits.shape[-1]))
        _core.unpack_bits(
            rows.data_ptr(), rows.stride(0), rows.shape[0], width, mask.data_ptr(), torch.get_num_threads()
        )
    return mask


@torch.library.register_fake("gatentk::unpack_bits", lib=_library)
def _unpack_bits_fake(bits: Tensor, width: int) -> Tensor:
    return bits.new_empty((*bits.shape[:-1], width), dtype=torch.bool)


# Hadamard products of Gram matrices

Gates = Tensor | tuple[Tensor | None, Tensor | None] | None


def gram_ntk(
    acts: Sequence[Tensor],
    deltas: Sequence[Tensor],
    acts_b: Sequence[Tensor] | None = None,
    deltas_b: Sequence[Tensor] | None = None,
    gates: Sequence[Gates] | None = None,
    components: bool = False,
    *,
    bias: Sequence[float] | None = None,
) -> Tensor:
    """Sum over layers of (A A^T + bias) o (Delta Delta^T), the layerwise finite-width NTK.

    Rows that are masked cost nothing: only products with active elements of the left factor are computed, and of a
    symmetric result only one triangle. Differentiable (backward and beyond by dense products).

    Args:
        acts: one (..., n, a_l) tensor a layer, float32 or float64.
        deltas: one (..., n, d_l) tensor a layer; widths may differ from those of `acts` and between layers. A delta
            of width 0 counts as all ones: the term is A A^T + bias.
        acts_b, deltas_b: the right factors, (..., n_b, a_l) and (..., n_b, d_l), for a rectangular kernel; either
            may be left out to use `acts` or `deltas` themselves.
        gates: one entry a layer: packed bits of shape (..., n, row_bytes) that mask both `acts` and `deltas` of the
            layer, a pair (bits of acts, bits of deltas), or None. Elements whose bit is 0 count as zero. Without
            gates the exact zeros are the mask. The right factors, if given, are used as they are.
        components: keep the layers apart.
        bias: constants added to A A^T, 1 for a layer with a bias vector; zeros if left out.

    Returns:
        (..., n, n_b), with `components` (layers, ..., n, n_b); the dtype of the input. Sums over layers are kept in
        float64 inside.

    Raises:
        TypeError, ValueError: lists of different lengths, tensors of different dtypes, or shapes that do not fit.
    """
    left, right = _check_factors("acts", acts, acts_b), _check_factors("deltas", deltas, deltas_b)
    layers = len(acts)
    if len(deltas) != layers:
        raise ValueError(f"deltas: expected {layers} tensors, one a layer as in acts, got {len(deltas)}")
    rectangular = acts_b is not None or deltas_b is not None
    offsets = [0.0] * layers if bias is None else [float(b) for b in bias]
    if len(offsets) != layers:
        raise ValueError(f"bias: expected {layers} numbers, one a layer, got {len(offsets)}")
    _check_layers(list(acts), list(deltas), left, right)
    gates_act, gates_delta = _split_gates(gates, acts, deltas)
    result: Tensor = torch.ops.gatentk.gram_ntk(
        list(acts),
        list(deltas),
        left if rectangular else [],
        right if rectangular else [],
        gates_act,
        gates_delta,
        offsets,
        components,
    )
    return result


def _check_list(name: str, tensors: object) -> None:
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}: expected a list of tensors, one a layer, got {describe(tensors)}")
    if len(tensors) == 0:
        raise ValueError(f"{name}: expected at least one layer")
    for layer, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor) or tensor.dtype not in FLOATS:
            raise TypeError(f"{name}[{layer}]: expected a float32 or float64 tensor, got {describe(tensor)}")
        if tensor.dim() < 2:
            raise ValueError(f"{name}[{layer}]: expected shape (..., n, width), got {describe(tensor)}")
        _check_device(f"{name}[{layer}]", tensor)


def _check_factors(name: str, first: Sequence[Tensor], second: Sequence[Tensor] | None) -> list[Tensor]:
    """The right factors of `name`: `second`, or `first` where it is left out."""
    _check_list(name, first)
    if second is not None:
        _check_list(f"{name}_b", second)
    right = list(first if second is None else second)
    if len(right) != len(first):
        raise ValueError(f"{name}_b: expected {len(first)} tensors, one a layer as in {name}, got {len(right)}")
    for layer, (a, b) in enumerate(zip(first, right, strict=True)):
        if a.shape[-1] != b.shape[-1]:
            raise ValueError(f"{name}_b[{layer}]: expected width {a.shape[-1]} as in {name}, got {describe(b)}")
    return right


def _check_layers(acts: list[Tensor], deltas: list[Tensor], acts_b: list[Tensor], deltas_b: list[Tensor]) -> None:
    for name, tensors, model in (
        ("acts", acts, acts[0]),
        ("deltas", deltas, acts[0]),
        ("acts_b", acts_b, acts_b[0]),
        ("deltas_b", deltas_b, acts_b[0]),
    ):
        for layer, tensor in enumerate(tensors):
            if tensor.shape[:-1] != model.shape[:-1] or tensor.shape[:-2] != acts[0].shape[:-2]:
                raise ValueError(
                    f"{name}[{layer}]: expected shape {(*acts[0].shape[:-2], model.shape[-2])} + (width,), "
                    f"got {describe(tensor)}"
                )
            if tensor.dtype != acts[0].dtype:
                raise TypeError(f"{name}[{layer}]: expected {acts[0].dtype} as acts[0], got {describe(tensor)}")
            _check_device(f"{name}[{layer}]", tensor, acts[0], "acts[0]")


def _split_gates(
    gates: Sequence[Gates] | None, acts: Sequence[Tensor], deltas: Sequence[Tensor]
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    if gates is None:
        return [None] * len(acts), [None] * len(acts)
    if len(gates) != len(acts):
        raise ValueError(f"gates: expected {len(acts)} entries, one a layer, got {len(gates)}")
    pairs = [entry if isinstance(entry, tuple) else (entry, entry) for entry in gates]
    for layer, (pair, act, delta) in enumerate(zip(pairs, acts, deltas, strict=True)):
        for bits, factor in zip(pair, (act, delta), strict=True):
            if bits is None:
                continue
            _check_bits(f"gates[{layer}]", bits, factor.shape[-1], factor, "the factor that they mask")
            if bits.shape[:-1] != factor.shape[:-1]:
                raise ValueError(f"gates[{layer}]: expected {tuple(factor.shape[:-1])} rows, got {describe(bits)}")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


_library.define(
    "gram_ntk(Tensor[] acts, Tensor[] deltas, Tensor[] acts_b, Tensor[] deltas_b, Tensor?[] gates_act, "
    "Tensor?[] gates_delta, float[] bias, bool components) -> Tensor"
)


@torch.library.impl(_library, "gram_ntk", "CPU")
def _gram_ntk_cpu(
    acts: list[Tensor],
    deltas: list[Tensor],
    acts_b: list[Tensor],
    deltas_b: list[Tensor],
    gates_act: list[Tensor | None],
    gates_delta: list[Tensor | None],
    bias: list[float],
    components: bool,
) -> Tensor:
    run = _core.gram_f32 if acts[0].dtype == torch.float32 else _core.gram_f64
    out = torch.empty(gram_shape(acts, acts_b, components), dtype=acts[0].dtype)
    n, n_b = out.shape[-2:]
    for terms, matrix in gram_problems(acts, deltas, acts_b, deltas_b, gates_act, gates_delta, bias, out, components):
        run(n, n_b, not acts_b, terms, matrix.data_ptr(), max(n_b, 1), torch.get_num_threads())
    return out


@torch.library.register_fake("gatentk::gram_ntk", lib=_library)
def _gram_ntk_fake(
    acts: list[Tensor],
    deltas: list[Tensor],
    acts_b: list[Tensor],
    deltas_b: list[Tensor],
    gates_act: list[Tensor | None],
    gates_delta: list[Tensor | None],
    bias: list[float],
    components: bool,
) -> Tensor:
    return acts[0].new_empty(gram_shape(acts, acts_b, components))


def _gram_ntk_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    acts, deltas, acts_b, deltas_b, gates_act, gates_delta, ctx.bias, ctx.components = inputs
    ctx.layers, ctx.rectangular = len(acts), bool(acts_b)
    ctx.save_for_backward(*chain(acts, deltas, acts_b, deltas_b, gates_act, gates_delta))


def _masked(factor: Tensor, gates: Tensor | None) -> Tensor:
    """Exact zeros where a gate is off, whatever stands there."""
    return factor if gates is None else torch.where(unpack_bits(gates, factor.shape[-1]), factor, 0)


def _gram_ntk_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    saved, layers = list(ctx.saved_tensors), ctx.layers
    parts = 6 if ctx.rectangular else 4
    columns = [saved[i * layers : (i + 1) * layers] for i in range(parts)]
    acts, deltas, gates_act, gates_delta = columns[0], columns[1], columns[-2], columns[-1]
    result: list[list[Tensor]] = [[], [], [], []]
    for layer in range(layers):
        a, d = _masked(acts[layer], gates_act[layer]), _masked(deltas[layer], gates_delta[layer])
        a_b, d_b = (columns[2][layer], columns[3][layer]) if ctx.rectangular else (a, d)
        g = grad[layer] if ctx.components else grad
        by_act = g * (d @ d_b.mT) if d.shape[-1] else g
        by_delta = g * (a @ a_b.mT + ctx.bias[layer])
        for side, weight, left, right, gates in (
            (0, by_act, a, a_b, gates_act[layer]),
            (1, by_delta, d, d_b, gates_delta[layer]),
        ):
            if ctx.rectangular:
                result[side].append(_masked(weight @ right, gates))
                result[side + 2].append(weight.mT @ left)
            else:
                result[side].append(_masked((weight + weight.mT) @ right, gates))
    # torch takes a list of optional tensors for a list only if all of them are there.
    by_gates = [[None] * layers if all(g is not None for g in gates) else None for gates in (gates_act, gates_delta)]
    return (*result, *by_gates, None, None)


torch.library.register_autograd("gatentk::gram_ntk", _gram_ntk_backward, setup_context=_gram_ntk_save, lib=_library)


# Infinite width

QUANTITIES = tuple(_core.Quantity.__members__)

_library.define("infinite_ntk(Tensor x, Tensor? z, int[] depths, str quantity) -> Tensor")


def infinite_ntk(x: Tensor, z: Tensor | None, depths: Sequence[int], quantity: str) -> Tensor:
    """Kernels and angles of infinitely wide networks at several depths in one pass; see `gatentk.ntk`.

    Args:
        x: (..., n, d), float32 or float64; no row may be zero.
        z: (..., n_z, d), or None for x itself (then one triangle is computed).
        depths: rising and distinct; a single one for "relu_components", at least 1 for "grelu" and "grelu_angle".
        quantity: "relu", "relu_components", "relu_angle", "grelu", "grelu_angle" or "embedding_angle".

    Returns:
        (len(depths), ..., n, n_z); (depth + 1, ..., n, n_z) for "relu_components".

    Raises:
        TypeError, ValueError: tensors that do not fit each other, an unknown quantity, depths that do not rise. That
            rows are finite and not zero is checked by `gatentk.ntk`, not here.
    """
    _check_list("samples", [x] if z is None else [x, z])
    if z is not None and (z.dtype != x.dtype or z.shape[:-2] != x.shape[:-2] or z.shape[-1] != x.shape[-1]):
        raise ValueError(f"z: expected {x.dtype} and the leading and last dimensions of x, got {describe(z)}")
    if z is not None:
        _check_device("z", z, x, "x")
    lowest = 1 if quantity.startswith("grelu") else 0
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    if not depths or depths[0] < lowest or any(b <= a for a, b in pairwise(depths)):
        raise ValueError(f"depths: expected rising integers of at least {lowest}, got {list(depths)}")
    if quantity == "relu_components" and len(depths) != 1:
        raise ValueError(f"depths: expected a single depth for relu_components, got {list(depths)}")
    result: Tensor = torch.ops.gatentk.infinite_ntk(x, z, list(depths), quantity)
    return result


@torch.library.impl(_library, "infinite_ntk", "CPU")
def _infinite_ntk_cpu(x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
    run = _core.infinite_ntk_f32 if x.dtype == torch.float32 else _core.infinite_ntk_f64
    out = torch.empty(infinite_shape(x, z, depths, quantity), dtype=x.dtype)
    n, n_z = out.shape[-2:]
    for rows, columns, matrices in infinite_problems(x, z, out):
        run(
            _core.Quantity.__members__[quantity],
            depths,
            z is None,
            rows,
            columns,
            matrices.data_ptr(),
            x.shape[:-2].numel() * n * n_z,
            n_z,
            torch.get_num_threads(),
        )
    return out


@torch.library.register_fake("gatentk::infinite_ntk", lib=_library)
def _infinite_ntk_fake(x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
    return x.new_empty(infinite_shape(x, z, depths, quantity))


# Masked products


class GateRows(Protocol):
    """Packed gates of a batch of samples with their plans, such as `gatentk.gates.GateLayer`."""

    @property
    def bits(self) -> Tensor:
        """uint8, (n, row_bytes(width))."""

    @property
    def plans(self) -> tuple[Tensor, Tensor]:
        """What `build_plan` makes of the bits, sample-major and neuron-major."""


Gate = Tensor | GateRows | None
METHODS = ("auto", "masked", "dense")
CUDA_DTYPES = (*FLOATS, torch.bfloat16)
CUDA_PRECISIONS = cuda_ops.PRECISIONS

# Where the dense product is chosen, measured in float32 against torch's (MKL, AVX2, 2 cores, loaded). With gates it has
# to mask its factors first: at 4 to 1,024 rows of 16 to 1,024 neurons at 50%, and at 512 rows up to density 1, it took
# at least 1.04 times as long as the masked forward product and 0.8 times as long as the weight gradient. A single row
# takes dot products with the weights whose output is on, if these lie in rows; otherwise packing them costs 3 to 25
# times as much as a dense matrix-vector product. Without gates the zeros must be found: dense wins from 65% of
# non-zeros on (width 1,024), and at width 256.
DENSE_DENSITY = 0.65
SMALLEST_UNGATED = 512


def masked_linear(
    z: Tensor, weight: Tensor, gate_in: Gate = None, gate_out: Gate = None, method: str = "auto"
) -> Tensor:
    """`gate_out o ((gate_in o z) @ weight.T)`, visiting only what is on ([G], Sec. 2: t_k = D_k W_k t_{k-1}).

    The gradients by `z` and by `weight` are masked products too, and so are theirs: differentiable to any order.

    Args:
        z: (..., n, in_features), float32 or float64, on a CUDA device also bfloat16 (its products are summed in
            float32). Without `gate_in` its exact zeros are the mask.
        weight: (out_features, in_features) of the same dtype.
        gate_in: (..., n, row_bytes(in_features)) packed bits, or a layer of a gate table, which caches its plans.
        gate_out: the same for out_features; outputs that are off are exact zeros.
        method: "masked" skips, "dense" multiplies everything, "auto" chooses by size and density; on a CUDA device it
            skips where there are gates, because zeros cannot be counted without waiting for the device.

    Returns:
        (..., n, out_features).

    Raises:
        TypeError, ValueError: shapes, dtypes or devices that do not fit each other, an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(map(repr, METHODS))}, got {method!r}")
    _check_matrix("z", z, CUDA_DTYPES)
    _check_matrix("weight", weight, CUDA_DTYPES)
    if weight.dim() != 2 or weight.shape[1] != z.shape[-1]:
        raise ValueError(f"weight: expected shape (out_features, {z.shape[-1]}), got {describe(weight)}")
    if weight.dtype != z.dtype:
        raise TypeError(f"weight: expected {z.dtype} as z, got {describe(weight)}")
    _check_device("weight", weight, z, "z")
    inside = _gate("gate_in", gate_in, z.shape, z)
    outside = _gate("gate_out", gate_out, (*z.shape[:-1], weight.shape[0]), z)
    rows = z.reshape(-1, z.shape[-1]) if z.dim() != 2 else z
    # The compiler takes the operation itself, torch.func only the autograd function around it.
    product = torch.ops.gatentk.masked_matmul if torch.compiler.is_compiling() else _MaskedProduct.apply
    result: Tensor = product(rows, weight, False, True, inside, [], outside, METHODS.index(method))
    return result if z.dim() == 2 else result.reshape(*z.shape[:-1], weight.shape[0])


def _check_matrix(name: str, matrix: object, on_cuda: tuple[torch.dtype, ...] = FLOATS) -> None:
    """Refuse what is no matrix of float32, float64 or, on a CUDA device, one of the dtypes `on_cuda`."""
    known = on_cuda if isinstance(matrix, Tensor) and matrix.is_cuda else FLOATS
    if not isinstance(matrix, Tensor) or matrix.dtype not in known:
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in known)
        raise TypeError(f"{name}: expected a {names} tensor, got {describe(matrix)}")
    if matrix.dim() < 2:
        raise ValueError(f"{name}: expected a matrix (..., rows, columns), got {describe(matrix)}")
    _check_device(name, matrix)


def _gate(name: str, gate: Gate, shape: Sequence[int], z: Tensor) -> list[Tensor]:
    """Bits of rows of `shape`, followed by their plans where they come with them and the device of z has a use."""
    if gate is None:
        return []
    bits = gate if isinstance(gate, Tensor) else gate.bits
    _check_bits(name, bits, shape[-1], z, "z")
    if bits.shape[:-1] != torch.Size(shape[:-1]):
        raise ValueError(f"{name}: expected bits of {tuple(shape[:-1])} rows, got {describe(bits)}")
    if isinstance(gate, Tensor) or bits.is_cuda:
        return [bits if bits.dim() == 2 else bits.reshape(-1, bits.shape[-1])]
    plans = gate.plans
    for plan, neuron_major in zip(plans, (False, True), strict=True):
        expected = _plan_shape(bits.shape[0], shape[-1], neuron_major)
        if bits.dim() != 2 or plan.dtype != torch.uint8 or plan.shape != expected or not plan.is_contiguous():
            raise ValueError(f"{name}: expected plans of its bits as build_plan makes them, got {describe(plan)}")
    return [bits, *plans]


_library.define(
    "masked_matmul(Tensor a, Tensor b, bool transpose_a, bool transpose_b, Tensor[] gate_a, Tensor[] gate_b, "
    "Tensor[] gate_out, int method) -> Tensor"
)


def _choose_dense(a: Tensor, rows: int, columns: int, gated: bool, row_wise: bool) -> bool:
    """The measured rule of method "auto": `rows` x `columns` outputs, the left factor stored as `a`."""
    if rows == 1 or gated:
        return rows == 1 and not row_wise
    if min(a.numel() // max(rows, 1), columns) < SMALLEST_UNGATED:
        return True
    return int(torch.count_nonzero(a)) > DENSE_DENSITY * a.numel()


def _dense_product(
    a: Tensor,
    b: Tensor,
    transpose_a: bool,
    transpose_b: bool,
    gate_a: list[Tensor],
    gate_b: list[Tensor],
    gate_out: list[Tensor],
) -> Tensor:
    left, right = (_masked(m, g[0] if g else None) for m, g in ((a, gate_a), (b, gate_b)))
    out = (left.T if transpose_a else left) @ (right.T if transpose_b else right)
    return _masked(out, gate_out[0] if gate_out else None)


@torch.library.impl(_library, "masked_matmul", "CPU")
def _masked_matmul_cpu(
    a: Tensor,
    b: Tensor,
    transpose_a: bool,
    transpose_b: bool,
    gate_a: list[Tensor],
    gate_b: list[Tensor],
    gate_out: list[Tensor],
    method: int,
) -> Tensor:
    out = a.new_empty(product_shape(a, b, transpose_a, transpose_b))
    chosen = METHODS[method]
    if chosen == "dense" or (
        chosen == "auto" and _choose_dense(a, out.shape[0], out.shape[1], bool(gate_a), transpose_b and not gate_b)
    ):
        return _dense_product(a, b, transpose_a, transpose_b, gate_a, gate_b, gate_out)
    run = _core.masked_matmul_f32 if a.dtype == torch.float32 else _core.masked_matmul_f64
    a, b = contiguous_rows(a), contiguous_rows(b)
    gates = [[contiguous_rows(part) for part in gate] for gate in (gate_a, gate_b, gate_out)]
    bits_a, bits_b, bits_out = (gate[0] if gate else None for gate in gates)
    plan = gates[0][2 if transpose_a else 1].data_ptr() if len(gate_a) == 3 else 0
    run(
        view(a, bits_a, transpose_a),
        plan,
        view(b, bits_b, not transpose_b),
        out.data_ptr(),
        out.stride(0),
        gate_view(bits_out),
        torch.get_num_threads(),
    )
    return out


@torch.library.register_fake("gatentk::masked_matmul", lib=_library)
def _masked_matmul_fake(
    a: Tensor,
    b: Tensor,
    transpose_a: bool,
    transpose_b: bool,
    gate_a: list[Tensor],
    gate_b: list[Tensor],
    gate_out: list[Tensor],
    method: int,
) -> Tensor:
    return a.new_empty(product_shape(a, b, transpose_a, transpose_b))


def _masked_matmul_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, b, ctx.transpose_a, ctx.transpose_b, gate_a, gate_b, gate_out, ctx.method = inputs
    ctx.lengths = [len(gate) for gate in (gate_a, gate_b, gate_out)]
    ctx.save_for_backward(a, b, *gate_a, *gate_b, *gate_out)


def _masked_matmul_gradients(
    ctx: Any, grad: Tensor, product: Callable[..., Tensor]
) -> tuple[Tensor | None, Tensor | None]:
    """Each factor's gradient is a masked product again: the gates travel with the matrices that they mask."""
    a, b, *rest = ctx.saved_tensors
    gates = iter(rest)
    gate_a, gate_b, gate_out = ([next(gates) for _ in range(length)] for length in ctx.lengths)
    by_a = by_b = None
    if ctx.needs_input_grad[0]:
        if ctx.transpose_a:
            by_a = product(b, grad, ctx.transpose_b, True, gate_b, gate_out, gate_a, ctx.method)
        else:
            by_a = product(grad, b, False, not ctx.transpose_b, gate_out, gate_b, gate_a, ctx.method)
    if ctx.needs_input_grad[1]:
        if ctx.transpose_b:
            by_b = product(grad, a, True, ctx.transpose_a, gate_out, gate_a, gate_b, ctx.method)
        else:
            by_b = product(a, grad, not ctx.transpose_a, False, gate_a, gate_out, gate_b, ctx.method)
    return by_a, by_b


def _masked_matmul_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    by_gates = [[None] * length for length in ctx.lengths]
    return *_masked_matmul_gradients(ctx, grad, torch.ops.gatentk.masked_matmul), None, None, *by_gates, None


torch.library.register_autograd(
    "gatentk::masked_matmul", _masked_matmul_backward, setup_context=_masked_matmul_save, lib=_library
)


class _MaskedProduct(torch.autograd.Function):
    """The same product for torch.func, whose transforms refuse what `register_autograd` makes."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _masked_matmul_save(ctx, inputs, output)
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        a, b, *rest = ctx.saved_tensors
        gates = iter(rest)
        lists = [[next(gates) for _ in range(length)] for length in ctx.lengths]
        parts = [
            _MaskedProduct.apply(left, right, ctx.transpose_a, ctx.transpose_b, *lists, ctx.method)
            for left, right in ((tangents[0], b), (a, tangents[1]))
            if left is not None and right is not None
        ]
        total: Tensor = sum(parts[1:], start=parts[0])
        return total

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        result: Tensor = torch.ops.gatentk.masked_matmul(*inputs)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return *_masked_matmul_gradients(ctx, grads[0], _MaskedProduct.apply), None, None, None, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        a, b, transpose_a, transpose_b, gate_a, gate_b, gate_out, method = inputs
        if not transpose_a and in_dims[1] is None and not any(d is not None for d in _dims(in_dims[5], gate_b)):
            # Only rows are batched: they all go through one product.
            rows = _flat_rows(a, in_dims[0], info.batch_size)
            bits_a, bits_out = (
                [_flat_rows(gate[0], _dims(dims, gate)[0], info.batch_size)]
                if gate
                else []  # plans do not fit any more
                for gate, dims in ((gate_a, in_dims[4]), (gate_out, in_dims[6]))
            )
            out = _MaskedProduct.apply(rows, b, False, transpose_b, bits_a, gate_b, bits_out, method)
            return out.reshape(info.batch_size, -1, out.shape[-1]), 0
        slices = [
            _MaskedProduct.apply(*(_slice(value, dims, i) for value, dims in zip(inputs, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(slices), 0


def _dims(dims: Any, values: list[Tensor]) -> list[int | None]:
    """Batch dimensions of a list of tensors; vmap gives None for an empty or unbatched list."""
    return dims if isinstance(dims, list) else [dims] * len(values)


def _flat_rows(matrix: Tensor, dim: int | None, batch: int) -> Tensor:
    """Rows of all matrices of a batch below each other."""
    stacked = matrix.expand(batch, *matrix.shape) if dim is None else matrix.movedim(dim, 0)
    return stacked.reshape(-1, stacked.shape[-1])


def _slice(value: Any, dims: Any, index: int) -> Any:
    """Member `index` of a batched argument, or of a list of them; what has no batch dimension as it is."""
    if isinstance(value, list):
        return [_slice(member, dim, index) for member, dim in zip(value, _dims(dims, value), strict=True)]
    return value if dims is None or not isinstance(value, Tensor) else value.select(dims, index)


def _sliced_vmap(op: Any) -> Callable[..., tuple[Tensor, int]]:
    """A batching rule that runs an operation once for each member."""

    def rule(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        members = [
            op(*(_slice(value, dims, i) for value, dims in zip(inputs, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(members), 0

    return rule


_library.define("build_plan(Tensor bits, int width, bool neuron_major) -> Tensor")


def build_plan(bits: Tensor, width: int, neuron_major: bool = False) -> Tensor:
    """The order in which a masked product visits the neurons that are on.

    Args:
        bits: (n, row_bytes(width)) packed gates.
        width: neurons.
        neuron_major: groups are four neurons and the product runs over samples, as in the weight gradient;
            otherwise four samples and over neurons.

    Returns:
        uint8 (groups, blocks, plan bytes); its size depends on n and width only.

    Raises:
        TypeError, ValueError: bits that do not fit the width, or on a CUDA device, where products need no plan.
    """
    _check_bits("bits", bits, width)
    if bits.dim() != 2:
        raise ValueError(f"bits: expected shape (n, row bytes), got {describe(bits)}")
    if bits.is_cuda:
        raise ValueError(
            f"bits: masked products on {bits.device} need no plan, they read the bits; pass the bits as gates"
        )
    result: Tensor = torch.ops.gatentk.build_plan(bits, width, neuron_major)
    return result


def _plan_shape(n: int, width: int, neuron_major: bool) -> tuple[int, int, int]:
    rows, columns = (width, n) if neuron_major else (n, width)
    return -(-rows // _core.group_rows), -(-columns // _core.block_columns), _core.plan_bytes


@torch.library.impl(_library, "build_plan", "CPU")
def _build_plan_cpu(bits: Tensor, width: int, neuron_major: bool) -> Tensor:
    plan = bits.new_empty(_plan_shape(bits.shape[0], width, neuron_major))
    rows, columns = (width, bits.shape[0]) if neuron_major else (bits.shape[0], width)
    stored = contiguous_rows(bits)
    _core.build_plan(gate_view(stored), neuron_major, rows, columns, plan.data_ptr(), torch.get_num_threads())
    return plan


@torch.library.register_fake("gatentk::build_plan", lib=_library)
def _build_plan_fake(bits: Tensor, width: int, neuron_major: bool) -> Tensor:
    return bits.new_empty(_plan_shape(bits.shape[0], width, neuron_major))


# Products in a fixed order, for gates

_library.define("ordered_linear(Tensor x, Tensor weight, bool relu) -> Tensor")


def ordered_linear(x: Tensor, weight: Tensor, relu: bool = False) -> Tensor:
    """`x @ weight.T`, each element one chain of fused multiply-adds over rising columns, starting from 0.

    So a row's result depends on nothing but the row and the weight: not on the batch, the threads or the
    instruction set. No gradient.

    Args:
        x: (n, in_features), float32 or float64.
        weight: (out_features, in_features) of the same dtype.
        relu: negative results become 0.

    Returns:
        (n, out_features).
    """
    _check_matrix("x", x)
    _check_matrix("weight", weight)
    if x.dim() != 2:
        raise ValueError(f"x: expected shape (n, in_features), got {describe(x)}")
    if weight.dim() != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight: expected shape (out_features, {x.shape[-1]}), got {describe(weight)}")
    if weight.dtype != x.dtype:
        raise TypeError(f"weight: expected {x.dtype} as x, got {describe(weight)}")
    _check_device("weight", weight, x, "x")
    result: Tensor = torch.ops.gatentk.ordered_linear(x.detach(), weight.detach(), relu)
    return result


@torch.library.impl(_library, "ordered_linear", "CPU")
def _ordered_linear_cpu(x: Tensor, weight: Tensor, relu: bool) -> Tensor:
    run = _core.ordered_linear_f32 if x.dtype == torch.float32 else _core.ordered_linear_f64
    out = x.new_empty(x.shape[0], weight.shape[0])
    x, weight = contiguous_rows(x), contiguous_rows(weight)
    run(view(x), view(weight), relu, out.data_ptr(), out.stride(0), torch.get_num_threads())
    return out


@torch.library.register_fake("gatentk::ordered_linear", lib=_library)
def _ordered_linear_fake(x: Tensor, weight: Tensor, relu: bool) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


# Bits against bits

_library.define("gate_gram(Tensor bits_a, Tensor? bits_b) -> Tensor")
_library.define("transpose_bits(Tensor bits, int width) -> Tensor")


def gate_gram(bits_a: Any, bits_b: Any = None) -> Any:
    """Neurons that are on in both of two samples: count[i, j] = popcount(a_i & b_j).

    Args:
        bits_a: (n_a, row bytes) packed gates, tensor or numpy array of uint8.
        bits_b: (n_b, row bytes); bits_a itself if left out (then one triangle is computed).

    Returns:
        int32 (n_a, n_b), numpy if `bits_a` is.
    """
    left = _bit_matrix("bits_a", bits_a)
    right = None if bits_b is None else _bit_matrix("bits_b", bits_b)
    if right is not None and right.shape[1] != left.shape[1]:
        raise ValueError(f"bits_b: expected rows of {left.shape[1]} bytes as bits_a, got {describe(right)}")
    if right is not None:
        _check_device("bits_b", right, left, "bits_a")
    return like_input(torch.ops.gatentk.gate_gram(left, right), bits_a)


def _bit_matrix(name: str, bits: Any) -> Tensor:
    if isinstance(bits, np.ndarray) and bits.dtype == np.uint8:
        bits = torch.from_numpy(np.ascontiguousarray(bits) if bits.flags.writeable else bits.copy())
    if not isinstance(bits, Tensor) or bits.dtype != torch.uint8:
        raise TypeError(f"{name}: expected packed bits (uint8), got {describe(bits)}")
    if bits.dim() != 2 or bits.shape[1] % (ROW_ALIGNMENT // 8):
        raise ValueError(
            f"{name}: expected shape (n, row bytes), a multiple of {ROW_ALIGNMENT // 8} bytes, got {describe(bits)}"
        )
    _check_device(name, bits)
    return bits


@torch.library.impl(_library, "gate_gram", "CPU")
def _gate_gram_cpu(bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
    left = contiguous_rows(bits_a)
    right = left if bits_b is None else contiguous_rows(bits_b)
    out = torch.empty(left.shape[0], right.shape[0], dtype=torch.int32)
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


@torch.library.register_fake("gatentk::gate_gram", lib=_library)
def _gate_gram_fake(bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
    return bits_a.new_empty((bits_a.shape[0], (bits_a if bits_b is None else bits_b).shape[0]), dtype=torch.int32)


def transpose_bits(bits: Tensor, width: int) -> Tensor:
    """Neuron-major bits (width, row_bytes(n)) of sample-major ones (n, row_bytes(width)), and the reverse."""
    _check_bits("bits", bits, width)
    if bits.dim() != 2:
        raise ValueError(f"bits: expected shape (n, row bytes), got {describe(bits)}")
    result: Tensor = torch.ops.gatentk.transpose_bits(bits, width)
    return result


@torch.library.impl(_library, "transpose_bits", "CPU")
def _transpose_bits_cpu(bits: Tensor, width: int) -> Tensor:
    rows = contiguous_rows(bits)
    out = bits.new_empty(width, row_bytes(bits.shape[0]))
    _core.transpose_bits(
        rows.data_ptr(),
        rows.stride(0),
        rows.shape[0],
        width,
        out.data_ptr(),
        out.shape[1],
        torch.get_num_threads(),
    )
    return out


@torch.library.register_fake("gatentk::transpose_bits", lib=_library)
def _transpose_bits_fake(bits: Tensor, width: int) -> Tensor:
    return bits.new_empty(width, row_bytes(bits.shape[0]))


# CUDA tensors


def _on_cuda(name: str) -> Callable[..., Tensor]:
    """The operation `name` of `cuda_ops.kernels`, which are loaded when it is called."""

    def run(*arguments: Any) -> Tensor:
        result: Tensor = getattr(cuda_ops.kernels(), name)(*arguments)
        return result

    return run


def _masked_matmul_cuda(
    a: Tensor,
    b: Tensor,
    transpose_a: bool,
    transpose_b: bool,
    gate_a: list[Tensor],
    gate_b: list[Tensor],
    gate_out: list[Tensor],
    method: int,
) -> Tensor:
    arguments = a, b, transpose_a, transpose_b, gate_a, gate_b, gate_out
    chosen = METHODS[method]
    if chosen == "dense" or (chosen == "auto" and not (gate_a or gate_b or gate_out)):
        return _dense_product(*arguments)
    return _on_cuda("masked_matmul")(*arguments)


_CUDA = {
    **{
        name: _on_cuda(name)
        for name in (
            "pack_bits",
            "unpack_bits",
            "transpose_bits",
            "ordered_linear",
            "gram_ntk",
            "infinite_ntk",
            "gate_gram",
        )
    },
    "masked_matmul": _masked_matmul_cuda,
}
for _name, _run in _CUDA.items():
    _library.impl(_name, _run, "CUDA")


# Batching rules for torch.func.vmap

for _name in ("pack_bits", "unpack_bits", "build_plan", "ordered_linear", "gate_gram", "transpose_bits"):
    torch.library.register_vmap(
        f"gatentk::{_name}", _sliced_vmap(getattr(torch.ops.gatentk, _name).default), lib=_library
    )
