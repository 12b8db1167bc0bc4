"""[G, Thm 1] and the rate of [S] and [G]: gradient descent converges, how fast, and with which step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from gatentk import ntk
from gatentk.papers.bounds import training
from gatentk.papers.bounds.distance import tau_order
from gatentk.papers.bounds.problem import SMALL, descend, network, scaled_ackley
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.bounds.training import TrainingNumbers
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Table
from gatentk.papers.frame.statistics import exponent
from gatentk.reporting.text import given, number
from gatentk.spectra import spectrum

ROUNDING = 1e-9  # relative, for inequalities that hold with equality in the worst case


def claims(settings: Settings, results: Results) -> list[Claim]:
    """That all trainings converge at width n^2 L, at the rate of the condition number, in logarithmic time."""
    by_n = training.at_sufficient_width(settings, results)
    claims = [_converges(settings, results), _rate(settings, results)]
    if not _all_converged(by_n.values()) or len(settings.training.targets) < 3:
        return claims
    return [*claims, _time_by_loss(settings, by_n), _time_by_samples(settings, by_n)]


def _all_converged(trainings: Iterable[Sequence[TrainingNumbers]]) -> bool:
    return all(run.converged for runs in trainings for run in runs)


def _converges(settings: Settings, results: Results) -> Claim:
    t = settings.training
    by_n = training.at_sufficient_width(settings, results)
    converged = _all_converged(by_n.values())
    narrow = " and ".join(f"{_narrowest(settings, results, d) or 'none'} (L = {d})" for d in t.depths)
    return Claim(
        "[G, Thm 1]",
        "At width n^2 L gradient descent reaches a loss of zero from every start.",
        f"L = {t.last_depth}, n = {', '.join(map(str, by_n))}, {t.seeds} seeds each, steps of 1/lambda_max: "
        f"{'all' if converged else 'not all'} reach {given(t.targets[-1])} of the loss at the start. At "
        f"n = {t.samples} all seeds converge from width {narrow} on, the smallest tried being {min(t.widths)}.",
        converged,
    )


def _narrowest(settings: Settings, results: Results, depth: int) -> int | None:
    """The smallest width from which on all trainings reach every target."""
    t = settings.training
    narrowest = None
    for width in sorted(t.widths, reverse=True):
        if not all(r.converged for r in training.seeds(settings, results, t.samples, depth, width)):
            break
        narrowest = width
    return narrowest


def _rate(settings: Settings, results: Results) -> Claim:
    everything = [results[cell] for cell in training.cells(settings)]
    worst = max(run.worst_rate for run in everything)
    return Claim(
        "[S; G, Thm 1]",
        "The loss falls at least as fast as (1 - 1/kappa)^t, kappa that of the kernel at the start, with steps of "
        "1/lambda_max.",
        f"Over {len(everything)} trainings and all t > 0 the loss is at most {number(worst)} times that.",
        worst <= 1 + ROUNDING,
    )


def _time_by_loss(settings: Settings, by_n: dict[int, list[TrainingNumbers]]) -> Claim:
    targets = settings.training.targets
    middle, end = len(targets) // 2, len(targets) - 1

    def pace(runs: Sequence[TrainingNumbers], i: int, j: int) -> float:
        """Steps for each factor of 10, from one target to another."""
        steps = fmean(run.steps_to(j) for run in runs) - fmean(run.steps_to(i) for run in runs)
        return steps / math.log10(targets[i] / targets[j])

    # The same early and late if the time is logarithmic in 1/eps.
    early = {n: pace(runs, 0, middle) for n, runs in by_n.items()}
    late = {n: pace(runs, middle, end) for n, runs in by_n.items()}
    predicted = max(
        abs(run.steps_to(-1) / run.predicted[-1] - 1) for runs in by_n.values() for run in runs if run.predicted[-1]
    )
    return Claim(
        "[G, Thm 1, Table 1]",
        "The time to reach a loss eps is logarithmic in 1/eps.",
        "Steps for each factor of 10 in the loss, in the first and in the second half: "
        + ", ".join(f"n = {n}: {number(early[n])} and {number(late[n])}" for n in by_n)
        + f". A constant kernel predicts the number of steps within {predicted:.0%}.",
        max(late[n] / early[n] for n in by_n) < 2,
    )


def _time_by_samples(settings: Settings, by_n: dict[int, list[TrainingNumbers]]) -> Claim:
    steps = {n: fmean(run.steps_to(-1) for run in runs) for n, runs in by_n.items()}
    first, last = min(steps), max(steps)
    return Claim(
        "[G, Thm 1, Table 1]",
        "The time is logarithmic in n, too: log(n^3 L / (d_x eps)) steps.",
        f"Steps to {given(settings.training.targets[-1])} of the start: "
        + ", ".join(f"{number(t)} at n = {n}" for n, t in steps.items())
        + f". From n = {first} to {last} they change by a factor of {number(steps[last] / steps[first])}, like "
        f"n^{exponent(list(steps), list(steps.values())):.2f}; these few n cannot tell a logarithm from a small power, "
        "and the step 1/lambda_max is not that of the theorem.",
        None,
    )


def table(settings: Settings, results: Results) -> Table:
    """All trainings, with what they are compared with."""
    columns = ["samples", "depth", "width", "seed", "condition", "steps", "steps predicted", "tau", "order of tau"]
    rows = [
        [
            *(cell.n, cell.depth, cell.width, cell.seed, r.lmax / r.lmin if r.lmin > 0 else None, r.iterations[-1]),
            *(r.predicted[-1], r.tau, tau_order(cell.n, cell.depth, cell.width), r.drift, r.linearised),
        ]
        for cell in training.cells(settings)
        for r in [results[cell]]
    ]
    return Table(
        "bounds-training",
        f"Trainings to {given(settings.training.targets[-1])} of the loss at the start, steps of 1/lambda_max",
        [*columns, "kernel drift", "linearised"],
        rows,
    )


@dataclass(frozen=True)
class LiteralNumbers:
    """What came of a training with a step that is given.

    Attributes:
        width, step: as they were used.
        product, product_at_end: of the step and the largest eigenvalue of the kernel; the latter if the loss fell.
        loss: relative to that at the start, if it fell.
        fell: whether it did.
    """

    width: int
    step: float
    product: float
    product_at_end: float | None
    loss: float | None
    fell: bool


@dataclass(frozen=True)
class LiteralStep(Cell[Settings, LiteralNumbers]):
    """Gradient descent at width n^2 L d_y with a multiple of the step d_x / (n^4 L^3 d_y)."""

    KEY = "literal n {n} factor {factor:g} seed {seed}"

    n: int
    factor: float
    seed: int

    def cost(self, settings: Settings) -> float:
        """The work of the steps, as for `Training`."""
        part = settings.literal
        return SMALL + part.steps * 10 * part.depth**3 * self.n**4

    def compute(self, settings: Settings) -> LiteralNumbers:
        """Losses and products, for one output."""
        n, depth = self.n, settings.literal.depth
        width, step = n**2 * depth, self.factor * 2 * n / (n**4 * depth**3)
        x, labels = scaled_ackley(n, width)
        net = network(n, width, depth, self.seed)
        gates = net.gate_table(x)
        largest = float(spectrum(ntk.empirical(net, x)).lmax)
        losses: list[float] = []
        for _ in range(settings.literal.steps + 1):
            outputs = net(x, gates=gates)
            losses.append(float((outputs - labels).detach().square().sum()))
            if not losses[-1] < 1e6 * losses[0]:
                break
            descend(net, outputs, labels, step)
        fell = losses[-1] < losses[0]
        return LiteralNumbers(
            width=width,
            step=step,
            product=step * largest,
            product_at_end=step * float(spectrum(ntk.empirical(net, x)).lmax) if fell else None,
            loss=losses[-1] / losses[0] if fell else None,
            fell=fell,
        )


def literal_cells(settings: Settings) -> Iterator[LiteralStep]:
    """All trainings, by number of samples, seed and factor."""
    part = settings.literal
    for n in part.samples:
        for seed in range(part.seeds):
            for factor in part.factors:
                yield LiteralStep(n, factor, seed)


def literal_claims(settings: Settings, results: Results) -> list[Claim]:
    """That the printed step converges."""
    part = settings.literal
    first, *others = (
        (factor, [results[LiteralStep(n, factor, seed)] for n in part.samples for seed in range(part.seeds)])
        for factor in part.factors
    )
    ends = [r.product_at_end for r in first[1] if r.product_at_end is not None and r.product > 2]
    return [
        Claim(
            "[G, Thm 1]",
            "The step d_x / (n^4 L^3 d_y) converges at width n^2 L d_y. (The theorem has both up to constants; here "
            "they are taken literally.)",
            f"n = {', '.join(map(str, part.samples))}, L = {part.depth}, {part.steps} steps: {_outcome(first[1])}. "
            + "".join(f"With {given(factor)} times the step {_outcome(runs)}. " for factor, runs in others)
            + "With a constant kernel gradient descent converges below a product of 2 only"
            + (
                f"; networks that learn above it leave that regime, and end with products of {number(min(ends))} to "
                f"{number(max(ends))}. "
                if ends
                else ". "
            )
            + "So the constant of the step matters.",
            all(r.fell for r in first[1]),
        )
    ]


def _outcome(runs: Sequence[LiteralNumbers]) -> str:
    products = [r.product for r in runs]
    return (
        f"the loss falls in {sum(r.fell for r in runs)} of {len(runs)} runs, step x lambda_max being "
        f"{number(min(products))} to {number(max(products))} at the start"
    )
