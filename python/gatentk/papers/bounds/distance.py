"""[G, Eq. 5, Cor. 4, Thm 3]: how far training moves weights, kernel and outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from gatentk.papers.bounds import training
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Claim, Plot
from gatentk.papers.frame.statistics import exponent
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number

FALLING = -0.3  # power of the width that counts as a fall like m^-1/2: few widths and seeds leave 0.1 of noise

Measure = Literal["tau", "drift", "linearised"]  # of `TrainingNumbers`


def tau_order(n: int, depth: int, width: int, d_y: int = 1) -> float:
    """d_y sqrt(n/m) / L ([G], Eq. 5)."""
    return d_y * math.sqrt(n / width) / depth


def radius(n: int, depth: int, width: int, d_y: int = 1) -> float:
    """R of [G, Thm 3], derived without dividing a norm by a squared norm; constants and logarithms left out."""
    return math.sqrt(n / width) * math.pow(depth, 2) * math.sqrt(2 * n) * math.pow(d_y, 1.5)


def claims(settings: Settings, results: Results) -> list[Claim]:
    """That all three fall with the width, and stay below their bounds."""
    return [_weights(settings, results), _kernel(settings, results), _outputs(settings, results)]


def _measured(settings: Settings, results: Results, measure: Measure, depth: int) -> dict[int, list[float]]:
    """The values of all seeds by width."""
    t = settings.training
    runs = {width: training.seeds(settings, results, t.samples, depth, width) for width in t.widths}
    return {width: [getattr(run, measure) for run in same] for width, same in runs.items()}


def _means(settings: Settings, results: Results, measure: Measure) -> dict[int, list[float]]:
    """Means over seeds, by depth and width."""
    return {
        depth: list(map(fmean, _measured(settings, results, measure, depth).values()))
        for depth in settings.training.depths
    }


def _exponents(settings: Settings, means: Mapping[int, Sequence[float]]) -> dict[int, float]:
    return {depth: exponent(settings.training.widths, values) for depth, values in means.items()}


def _powers(exponents: Mapping[int, float]) -> str:
    return ", ".join(f"m^{power:.2f} (L = {depth})" for depth, power in exponents.items())


def _fall(exponents: Mapping[int, float]) -> bool:
    return all(power < FALLING for power in exponents.values())


def _weights(settings: Settings, results: Results) -> Claim:
    n, widths = settings.training.samples, settings.training.widths
    means = _means(settings, results, "tau")
    exponents = _exponents(settings, means)
    scaled = {d: [v / tau_order(n, d, w) for v, w in zip(values, widths, strict=True)] for d, values in means.items()}
    return Claim(
        "[G, Eq. 5]",
        "Weights stay close to their start: tau = max_k |W_k(t) - W_k(0)|_2 is of order d_y sqrt(n/m) / L.",
        f"n = {n}: tau falls like {_powers(exponents)}, and is "
        + ", ".join(
            f"{number(min(values))} to {number(max(values))} times that (L = {d})" for d, values in scaled.items()
        )
        + ".",
        _fall(exponents),
    )


def _kernel(settings: Settings, results: Results) -> Claim:
    n, widths = settings.training.samples, settings.training.widths
    means = _means(settings, results, "drift")
    exponents = _exponents(settings, means)
    bound = {d: [3 * radius(n, d, w) for w in widths] for d in means}
    pairs = [(v, b) for d, values in means.items() for v, b in zip(values, bound[d], strict=True)]
    smallest = min(b for _, b in pairs)
    return Claim(
        "[G, Cor. 4, Thm 3 corrected]",
        "The kernel moves by at most 3R relative, R = n^(1/2) L^2 d_x^(1/2) d_y^(3/2) / m^(1/2) up to constants and "
        "logarithms. (As printed R comes from a norm divided by a squared norm; this is the chain done right.)",
        f"The largest change by width falls like {_powers(exponents)}. At m = {widths[-1]:,}: "
        + ", ".join(f"{values[-1]:.2%} where 3R = {number(bound[d][-1])} (L = {d})" for d, values in means.items())
        + f". The bound is {number(min(b / v for v, b in pairs))} or more times that"
        + ("." if smallest < 1 else ", and says little at these widths because 3R is not below 1."),
        all(v <= b for v, b in pairs) and _fall(exponents),
    )


def _outputs(settings: Settings, results: Results) -> Claim:
    means = _means(settings, results, "linearised")
    exponents = _exponents(settings, means)
    return Claim(
        "[G, Thm 3]",
        "The network stays close to its linearisation, the closer the wider.",
        f"The largest relative distance of the outputs falls like {_powers(exponents)}; at m = "
        f"{settings.training.widths[-1]:,} it is "
        + ", ".join(f"{values[-1]:.2%} (L = {d})" for d, values in means.items())
        + ".",
        _fall(exponents),
    )


def plot(settings: Settings, results: Results) -> Plot:
    """All three by width and depth."""
    t = settings.training
    n, widths = t.samples, t.widths
    figure, axes = figures.panels(
        [
            ("Change of weights", "largest spectral norm over layers"),
            ("Change of the kernel", "relative, Frobenius norm"),
            ("Distance from linear", "relative, outputs"),
        ],
        [("Width m", "tau"), ("Width m", "|K(t) - K(0)| / |K(0)|"), ("Width m", "|y - y NTK| / |y|")],
    )
    measures: tuple[Measure, ...] = ("tau", "drift", "linearised")
    for axis, measure in zip(axes, measures, strict=True):
        for colour, depth in zip(style.COLOURS, t.depths, strict=False):
            measured = _measured(settings, results, measure, depth)
            axis.plot(widths, list(map(fmean, measured.values())), color=colour, label=f"depth {depth}")
            for w, values in measured.items():
                axis.plot([w] * len(values), values, ".", color=colour, markersize=3)
            if measure == "tau":
                order = [tau_order(n, depth, w) for w in widths]
                axis.plot(widths, order, color=colour, linestyle=style.DASHED, linewidth=1, label="√(n/m) / L")
            if measure == "drift":
                bound = [3 * radius(n, depth, w) for w in widths]
                axis.plot(widths, bound, color=colour, linestyle=style.DASHED, linewidth=1, label="3R")
        axis.set_xscale("log", base=2)
        figures.logarithmic(axis)
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    for axis in axes:
        figures.legend(axis)
    caption = (
        f"How far {n} samples move weights, kernel and outputs until the loss is {given(t.targets[-1])} of its start; "
        "lines: means, dots: seeds, dashed: the orders of [G, Eq. 5] and of Cor. 4."
    )
    return Plot("bounds-distance", caption, figure)
