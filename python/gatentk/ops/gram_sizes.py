"""Gram products of factors of any size, whose own products overflow or underflow where the kernel does not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gatentk.ops.bits import gated
from gatentk.ops.layouts import GramProblem
from gatentk.scaling import SAFE, times_power_of_two


def at_any_size(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`compute`, which multiplies factors in their dtype, where its result shows that this was too small or large."""

    def run(*arguments: Any) -> Tensor:
        problem, out = GramProblem(*arguments), compute(*arguments)
        if (out.is_cuda and torch.cuda.is_current_stream_capturing()) or _is_ordinary(problem, out):
            return out
        out = _balanced(problem, compute, out)
        peak = float(out.abs().max())
        smallest = torch.finfo(out.dtype).smallest_normal
        if 0 < peak < smallest:
            warnings.warn(
                f"the largest entry of a kernel, {peak:.3g}, is below {smallest:.3g}, the smallest normal number of "
                f"{out.dtype}: its entries have lost digits; scale the samples up, or use float64",
                RuntimeWarning,
                stacklevel=2,
            )
        return out

    return run


def _is_ordinary(problem: GramProblem, out: Tensor) -> bool:
    """Whether the largest entry is of a size to which factors of ordinary size lead.

    The products of factors of safe size keep their digits up to a share of 2^-60 (2^-200) of the largest one. That
    takes n reads for a kernel, whose largest entry is on the diagonal, where looking at the factors took 3 percent of
    the time.
    """
    entries = out.diagonal(dim1=-2, dim2=-1) if problem.symmetric else out
    if entries.numel() == 0:
        return True
    low, high = torch.aminmax(entries)
    peak = max(-float(low), float(high))
    return 2.0 ** -SAFE[out.dtype] <= peak <= 2.0 ** (2 * SAFE[out.dtype])  # false for NaN


def _balanced(problem: GramProblem, compute: Callable[..., Tensor], out: Tensor) -> Tensor:
    """The result by way of factors scaled by powers of two; `out` where none needs it."""
    acts, acts_b, by_acts = _scaled(problem.acts, problem.acts_b, problem.gates_act, problem.bias)
    deltas, deltas_b, by_deltas = _scaled(problem.deltas, problem.deltas_b, problem.gates_delta, None)
    totals = [a + d for a, d in zip(by_acts, by_deltas, strict=True)]
    if not any(by_acts) and not any(by_deltas):
        return out
    # A factor that overflows all the same ends as 0, as it stands beside a larger number.
    bias = [math.ldexp(b, -power) if b else b for b, power in zip(problem.bias, by_acts, strict=True)]
    scaled = problem._replace(acts=acts, acts_b=acts_b, deltas=deltas, deltas_b=deltas_b, bias=bias, components=True)
    layers = [times_power_of_two(term.double(), power) for term, power in zip(compute(*scaled), totals, strict=True)]
    result = torch.stack(layers) if problem.components else sum(layers[1:], start=layers[0])
    return result.to(out.dtype)


def _scaled(
    left: list[Tensor], right: list[Tensor], gates: list[Tensor | None], bias: list[float] | None
) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """Factors of a peak in [1/2, 1) where their product would be extreme, and the exponents that undo it, by layer."""
    new_left, new_right, exponents = list(left), list(right), []
    for layer, factor in enumerate(left):
        first = _exponent(gated(factor, gates[layer]))
        second = _exponent(right[layer]) if right else first
        total = first + second
        # Beside a bias small products need no digits of their own.
        if abs(total) <= 2 * SAFE[factor.dtype] or (bias is not None and bias[layer] and total < 0):
            exponents.append(0)
            continue
        new_left[layer] = times_power_of_two(factor, -first)
        if right:
            new_right[layer] = times_power_of_two(right[layer], -second)
        exponents.append(total)
    return new_left, new_right, exponents


def _exponent(factor: Tensor) -> int:
    """e with the largest entry in [2^(e-1), 2^e); 0 for zeros and what is not finite."""
    peak = float(factor.abs().max()) if factor.numel() else 0.0
    return math.frexp(peak)[1] if math.isfinite(peak) else 0
