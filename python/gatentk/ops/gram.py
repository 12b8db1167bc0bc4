"""Hadamard products of Gram matrices: the layerwise kernel of finite width."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from gatentk import _core
from gatentk.checks import describe
from gatentk.ops.arguments import check_bits, check_device, check_list
from gatentk.ops.autocast import in_float32, same_dtype, without_autocast
from gatentk.ops.bits import gated
from gatentk.ops.cuda import on_cuda
from gatentk.ops.gram_sizes import at_any_size
from gatentk.ops.layouts import GramProblem
from gatentk.ops.registration import below_autograd, recordable, register

FactorGates = Tensor | tuple[Tensor | None, Tensor | None] | None
Settings = tuple[int, list[float], bool]  # layers, bias, components


def gram_ntk(
    acts: Sequence[Tensor],
    deltas: Sequence[Tensor],
    acts_b: Sequence[Tensor] | None = None,
    deltas_b: Sequence[Tensor] | None = None,
    gates: Sequence[FactorGates] | None = None,
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
        float64 inside. Factors may have any size; a RuntimeWarning says that the result is so small that it lost
        digits.

    Raises:
        TypeError, ValueError: lists of different lengths, tensors of different dtypes, or shapes that do not fit.

    >>> acts, deltas = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0], [3.0]])
    >>> gram_ntk([acts], [deltas])
    tensor([[5., 6.],
            [6., 9.]])
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
    factors_b = (left, right) if rectangular else ([], [])
    problem = GramProblem(list(acts), list(deltas), *factors_b, gates_act, gates_delta, offsets, components)
    result: Tensor = torch.ops.gatentk.gram_ntk(*problem)
    return result


def _check_factors(name: str, first: Sequence[Tensor], second: Sequence[Tensor] | None) -> list[Tensor]:
    """The right factors of `name`: `second`, or `first` where it is left out."""
    check_list(name, first)
    if second is not None:
        check_list(f"{name}_b", second)
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
            if not same_dtype(tensor, acts[0]):
                raise TypeError(f"{name}[{layer}]: expected {acts[0].dtype} as acts[0], got {describe(tensor)}")
            check_device(f"{name}[{layer}]", tensor, acts[0], "acts[0]")


def _split_gates(
    gates: Sequence[FactorGates] | None, acts: Sequence[Tensor], deltas: Sequence[Tensor]
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
            check_bits(f"gates[{layer}]", bits, factor.shape[-1], factor, "the factor that they mask")
            if bits.shape[:-1] != factor.shape[:-1]:
                raise ValueError(f"gates[{layer}]: expected {tuple(factor.shape[:-1])} rows, got {describe(bits)}")
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _compute_on_cpu(*arguments: Any) -> Tensor:
    problem = GramProblem(*arguments)
    out = problem.result()
    run = _core.gram_f32 if out.dtype == torch.float32 else _core.gram_f64
    n, n_b = out.shape[-2:]
    for terms, matrix in problem.members(out):
        run(n, n_b, problem.symmetric, terms, matrix.data_ptr(), max(n_b, 1), torch.get_num_threads())
    return out


class _DifferentiableGram(torch.autograd.Function):
    """The sum with its gradients by dense products; its tensors follow one another, as torch looks into no lists."""

    @staticmethod
    def forward(settings: Settings, *tensors: Tensor | None) -> Tensor:
        return below_autograd(torch.ops.gatentk.gram_ntk, *_assembled(settings, tensors))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.settings = inputs[0]
        problem = _assembled(ctx.settings, inputs[1:])
        gates = [None if bits is None else recordable(bits) for bits in (*problem.gates_act, *problem.gates_delta)]
        ctx.save_for_backward(*inputs[1 : len(inputs) - len(gates)], *gates)
        ctx.save_for_forward(*ctx.to_save)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        problem = _assembled(ctx.settings, ctx.saved_tensors)
        by_gates = [None] * (len(problem.gates_act) + len(problem.gates_delta))
        with without_autocast():
            return None, *chain(*_gradients(problem, grad)), *by_gates

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        with without_autocast():
            return _tangent(_assembled(ctx.settings, ctx.saved_tensors), _assembled(ctx.settings, tangents[1:]))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], settings: Settings, *tensors: Tensor | None) -> tuple[Tensor, int]:
        """Leading dimensions are batches anyway."""
        batched = [_batch_first(tensor, dim, info.batch_size) for tensor, dim in zip(tensors, in_dims[1:], strict=True)]
        problem = _assembled(settings, batched)
        return torch.ops.gatentk.gram_ntk(*problem), int(problem.components)


def _apply(*arguments: Any) -> Tensor:
    problem = GramProblem(*arguments)
    settings = len(problem.acts), problem.bias, problem.components
    result: Tensor = _DifferentiableGram.apply(settings, *chain(*problem[:6]))
    return result


def _assembled(settings: Settings, tensors: Sequence[Any]) -> GramProblem:
    """The problem of acts, deltas, acts_b and deltas_b or neither, and gates, one after the other."""
    layers, bias, components = settings
    lists = [list(tensors[start : start + layers]) for start in range(0, len(tensors), layers)]
    acts, deltas, *right, gates_act, gates_delta = lists
    acts_b, deltas_b = right or ([], [])
    return GramProblem(acts, deltas, acts_b, deltas_b, gates_act, gates_delta, bias, components)


def _batch_first(tensor: Tensor | None, dim: int | None, batch: int) -> Tensor | None:
    if tensor is None:
        return None
    return tensor.expand(batch, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def _gradients(problem: GramProblem, grad: Tensor) -> list[list[Tensor]]:
    """By acts, deltas, acts_b and deltas_b, the last two empty where the right factors are the left ones."""
    result: list[list[Tensor]] = [[], [], [], []]
    for layer, (gate_act, gate_delta) in enumerate(zip(problem.gates_act, problem.gates_delta, strict=True)):
        a, d = gated(problem.acts[layer], gate_act), gated(problem.deltas[layer], gate_delta)
        a_b, d_b = (a, d) if problem.symmetric else (problem.acts_b[layer], problem.deltas_b[layer])
        g = grad[layer] if problem.components else grad
        by_act = g * (d @ d_b.mT) if d.shape[-1] else g
        by_delta = g * (a @ a_b.mT + problem.bias[layer])
        for side, weight, left, right, bits in ((0, by_act, a, a_b, gate_act), (1, by_delta, d, d_b, gate_delta)):
            if problem.symmetric:
                result[side].append(gated((weight + weight.mT) @ right, bits))
            else:
                result[side].append(gated(weight @ right, bits))
                result[side + 2].append(weight.mT @ left)
    return result


def _tangent(problem: GramProblem, tangents: GramProblem) -> Tensor:
    """Where the result goes as the factors go to `tangents`, None for those that stay."""
    terms = []
    for layer, (gate_act, gate_delta) in enumerate(zip(problem.gates_act, problem.gates_delta, strict=True)):
        a, da = _masked_with_tangent(problem.acts[layer], tangents.acts[layer], gate_act)
        d, dd = _masked_with_tangent(problem.deltas[layer], tangents.deltas[layer], gate_delta)
        if problem.symmetric:
            a_b, da_b, d_b, dd_b = a, da, d, dd
        else:
            a_b, da_b = _masked_with_tangent(problem.acts_b[layer], tangents.acts_b[layer], None)
            d_b, dd_b = _masked_with_tangent(problem.deltas_b[layer], tangents.deltas_b[layer], None)
        of_acts, of_deltas = da @ a_b.mT + a @ da_b.mT, dd @ d_b.mT + d @ dd_b.mT
        if d.shape[-1]:
            of_acts = of_acts * (d @ d_b.mT)
        terms.append(of_acts + (a @ a_b.mT + problem.bias[layer]) * of_deltas)
    return torch.stack(terms) if problem.components else sum(terms[1:], start=terms[0])


def _masked_with_tangent(factor: Tensor, tangent: Tensor | None, bits: Tensor | None) -> tuple[Tensor, Tensor]:
    return gated(factor, bits), torch.zeros_like(factor) if tangent is None else gated(tangent, bits)


register(
    "gram_ntk(Tensor[] acts, Tensor[] deltas, Tensor[] acts_b, Tensor[] deltas_b, Tensor?[] gates_act, "
    "Tensor?[] gates_delta, float[] bias, bool components) -> Tensor",
    cpu=at_any_size(_compute_on_cpu),
    cuda=at_any_size(on_cuda("gram_ntk")),
    fake=lambda *arguments: GramProblem(*arguments).result(),
    differentiable=_apply,
    autocast=in_float32,
)
