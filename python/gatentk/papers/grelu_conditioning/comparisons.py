"""What is claimed of ReLU and GReLU kernels."""

from __future__ import annotations

from itertools import pairwise

from gatentk.activations import LABELS
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Claim
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.papers.grelu_conditioning.cells import COMPARED, FiniteCell, InfiniteCell, LimitCell, Settings
from gatentk.reporting.text import number

CLOSE = 0.02  # relative, to a limit


def condition(settings: Settings, results: Results, name: str) -> Claim:
    """That GReLU's kernel is the better conditioned one at every depth."""
    depths = settings.depths
    pairs = [[results[InfiniteCell(name, a, d)] for a in COMPARED] for d in depths]
    unresolved = any(not r.resolved for pair in pairs for r in pair)
    holds = all(grelu.condition is not None and relu.condition_bound > grelu.condition for relu, grelu in pairs)
    shown = ", ".join(
        f"L = {d}: {relu.condition_text} and {grelu.condition_text}"
        for d, (relu, grelu) in zip(depths, pairs, strict=True)
    )
    return Claim(
        "infinite width",
        f"On unit rows of {name} the condition number of GReLU's kernel is below that of ReLU's at every depth.",
        f"{pairs[0][0].samples:,} samples, ReLU and GReLU: {shown}.",
        holds if not unresolved or holds else None,
    )


def limits(settings: Settings, results: Results) -> Claim:
    """What condition numbers tend to with depth."""
    limit = settings.limit
    conditions = {a: [results[LimitCell(a, depth)].condition for depth in limit.depths] for a in COMPARED}
    known = {a: [value for value in values if value is not None] for a, values in conditions.items()}
    limits = {"relu": (results[LimitCell("relu", limit.depths[0])].samples + 3) / 3, "grelu": 1.0}
    is_known = known == conditions
    holds = is_known and all(
        abs(values[-1] / limits[a] - 1) <= CLOSE and all(p > q for p, q in pairwise(values))
        for a, values in known.items()
    )
    shown = "; ".join(
        f"{LABELS[a]} {', '.join('unresolved' if v is None else number(v) for v in values)} (limit {number(limits[a])})"
        for a, values in conditions.items()
    )
    return Claim(
        "[S, Sec. 7] corrected; new for GReLU",
        "With depth the condition number on unit rows tends to (n + 3)/3 for ReLU (not to 1, as [S] remarks) and to 1 "
        "for GReLU.",
        f"{limit.n} samples of {limit.data}, L = {', '.join(f'{depth:,}' for depth in limit.depths)}: {shown}.",
        holds if is_known else None,
    )


def speed(settings: Settings, results: Results, name: str) -> Claim:
    """That fewer steps of gradient descent follow."""
    rows = [(d, *(results[InfiniteCell(name, a, d)].steps for a in COMPARED)) for d in settings.depths]
    known = [(d, relu, grelu) for d, relu, grelu in rows if relu is not None and grelu is not None]
    holds = all(grelu < relu for _, relu, grelu in known) if known else None
    shown = ", ".join(f"L = {d}: {number(float(r))} and {number(float(g))}" for d, r, g in known)
    return Claim(
        "kernel regime",
        "A better condition number means fewer steps of gradient descent.",
        f"{name}: steps of size 1/lambda_max until the square loss of the labels is {settings.target:.0%} of that at "
        f"the start, ReLU and GReLU: {shown or 'more than can be counted'}.",
        holds,
    )


def finite(settings: Settings, results: Results, name: str) -> Claim:
    """That networks of finite width show the same order."""
    means = {
        (a, d): geometric_mean([results[FiniteCell(name, a, d, s)].condition_bound for s in range(settings.seeds)])
        for a in COMPARED
        for d in settings.finite_depths
    }
    holds = all(means["grelu", d] < means["relu", d] for d in settings.finite_depths)
    shown = ", ".join(
        f"L = {d}: {number(means['relu', d])} and {number(means['grelu', d])}" for d in settings.finite_depths
    )
    limits = ", ".join(
        " and ".join(results[InfiniteCell(name, a, d, some=True)].condition_text for a in COMPARED)
        for d in settings.finite_depths
    )
    return Claim(
        "finite width",
        f"Networks of width {settings.width:,} show the same order.",
        f"{name}, {settings.finite_samples} samples, geometric means over {settings.seeds} seeds, ReLU and GReLU: "
        f"{shown}. At infinite width these samples have {limits}.",
        holds,
    )
