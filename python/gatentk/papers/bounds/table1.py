"""[G, Table 1]: widths, iterations and steps of [G] and of the works that it compares with, by the sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from gatentk import ntk
from gatentk.papers.bounds import training
from gatentk.papers.bounds.problem import SMALL, ackley
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Plot, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number
from gatentk.spectra import spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# "work" is what the table calls them.
WORKS = {
    "du": "Du et al.",
    "zou2018": "Zou et al. 2018",
    "allen-zhu": "Allen-Zhu et al.",
    "zou2019": "Zou & Gu 2019",
    "g": "[G], GReLU",
}
DEPTHS = (2, 5, 10, 20, 50, 100)
LOSSES = tuple(10.0**-power for power in range(1, 13))


@dataclass(frozen=True)
class Bounds:
    """log10 of the table's columns by work."""

    width: dict[str, float]
    iterations: dict[str, float]
    step: dict[str, float]

    def columns(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """The three columns, in the order of the table."""
        return self.width, self.iterations, self.step


@dataclass(frozen=True)
class TableNumbers(Bounds):
    """The table with the smallest eigenvalue of the limiting kernel of two layers."""

    lambda_0: float


def bounds(n: int, depth: int, d_x: int, d_y: int, eps: float, lambda_0: float, failure: float) -> Bounds:
    """Every row of [G, Table 1], constants left out.

    Du's row is for two layers; its step and its iterations contain the smallest eigenvalue of the limiting kernel.
    """
    ln, lL, accuracy = math.log10(n), math.log10(depth), math.log10(math.log(1 / eps))
    du_step, allen_zhu_width = math.log10(lambda_0) - 2 * ln, 24 * ln + 12 * lL
    width = {
        "du": 6 * ln - 4 * math.log10(lambda_0) - 3 * math.log10(failure),
        "zou2018": 26 * ln + 38 * lL,
        "allen-zhu": allen_zhu_width,
        "zou2019": 8 * ln + 12 * lL,
        "g": 2 * ln + lL,
    }
    step = {
        "du": du_step,
        "zou2018": -29 * ln - 47 * lL,
        "allen-zhu": -28 * ln - 14 * lL - 5 * math.log10(allen_zhu_width * math.log(10)),
        "zou2019": -8 * ln - 14 * lL,
        "g": math.log10(d_x) - 4 * ln - 3 * lL - math.log10(d_y),
    }
    iterations = {
        "du": accuracy - du_step - math.log10(lambda_0),
        "zou2018": 8 * ln + 9 * lL,
        "allen-zhu": 6 * ln + 2 * lL + accuracy,
        "zou2019": 2 * ln + 2 * lL + accuracy,
        "g": math.log10(math.log(n**3 * depth / (d_x * eps))),
    }
    return Bounds(width, iterations, step)


@dataclass(frozen=True)
class Row(Cell[Settings, TableNumbers]):
    """All works at one number of samples."""

    KEY = "table n {n}"

    n: int

    def cost(self, settings: Settings) -> float:
        """The work of a spectrum."""
        return SMALL + 30.0 * self.n**3

    def compute(self, settings: Settings) -> TableNumbers:
        """The bounds for Ackley data, with one output."""
        part = settings.table
        x, _ = ackley(self.n)
        lambda_0 = float(spectrum(ntk.infinite(x, depth=1, components=True)[0]).lmin)
        row = bounds(self.n, part.depth, 2 * self.n, 1, part.eps, lambda_0, part.failure)
        return TableNumbers(*row.columns(), lambda_0)


def cells(settings: Settings) -> Iterator[Row]:
    """A row for each number of samples."""
    return (Row(n) for n in settings.table.samples)


def claims(settings: Settings, results: Results) -> list[Claim]:
    """That the width of [G] is the smallest."""
    part = settings.table
    widths = {n: results[Row(n)].width for n in part.samples}
    holds = all(min(w, key=w.__getitem__) == "g" for w in widths.values())
    last = part.samples[-1]
    shown = ", ".join(f"{name} {_power(widths[last][work])}" for work, name in WORKS.items())
    return [
        Claim(
            "[G, Table 1]",
            "The width that guarantees convergence is far below that of earlier works: n^2 L.",
            f"At n = {last}, L = {part.depth}, up to constants: {shown}. That of [G] is "
            f"{'' if holds else 'not '}the smallest at every n from {part.samples[0]} to {last}.",
            holds,
        )
    ]


def _power(exponent: float) -> str:
    """10^exponent as a number where it is one to read."""
    return number(10**exponent) if abs(exponent) < 300 else f"10^{exponent:.0f}"


def by_depth(settings: Settings, results: Results) -> dict[int, Bounds]:
    """The table at the middle number of samples."""
    part, n = settings.table, settings.table.middle
    lambda_0 = results[Row(n)].lambda_0
    return {depth: bounds(n, depth, 2 * n, 1, part.eps, lambda_0, part.failure) for depth in DEPTHS}


def by_loss(settings: Settings, results: Results) -> dict[float, Bounds]:
    """The table at the middle number of samples, by the loss that is to be reached."""
    part, n = settings.table, settings.table.middle
    lambda_0 = results[Row(n)].lambda_0
    return {eps: bounds(n, part.depth, 2 * n, 1, eps, lambda_0, part.failure) for eps in LOSSES}


def plot_by_samples(settings: Settings, results: Results) -> Plot:
    """Every column by the number of samples, with what was measured in trainings."""
    part, t = settings.table, settings.training
    figure, axes = figures.panels(
        [
            ("Width that is enough", f"depth {part.depth}, constants 1"),
            ("Iterations", f"to a loss of {given(part.eps)}"),
            ("Step size", "of gradient descent"),
        ],
        [("Samples n", "width m"), ("Samples n", "iterations"), ("Samples n", "step")],
        height=4.0,
    )
    columns = zip(*(results[Row(n)].columns() for n in part.samples), strict=True)
    for axis, column in zip(axes, columns, strict=True):
        _draw(axis, part.samples, column)
    trained = training.at_sufficient_width(settings, results)
    known = {n: runs for n, runs in trained.items() if all(r.converged for r in runs)}
    measured: list[list[float]] = [
        [t.sufficient_width(n) for n in known],
        [fmean(r.steps_to(-1) for r in runs) for runs in known.values()],
        [fmean(1 / r.lmax for r in runs) for runs in known.values()],
    ]
    for axis, values in zip(axes, measured, strict=True):
        label = f"measured, GReLU, depth {t.last_depth}"
        axis.plot(list(known), values, ".", color=style.INK, label=label, markersize=5)
    _legend_below(figure, axes)
    caption = (
        "Bounds of Table 1 of [G] by number of samples, and dots where networks of width n^2 L were trained with a "
        f"step of 1/lambda_max to {given(t.targets[-1])} of the loss at the start."
    )
    return Plot("bounds-table", caption, figure)


def plot_by_depth_and_loss(settings: Settings, results: Results) -> Plot:
    """Widths and iterations by depth, and iterations by the loss that is to be reached."""
    part, n = settings.table, settings.table.middle
    figure, axes = figures.panels(
        [
            ("Width that is enough", f"n = {n}, constants 1"),
            ("Iterations", f"n = {n}, to a loss of {given(part.eps)}"),
            ("Iterations", f"n = {n}, depth {part.depth}"),
        ],
        [("Depth L", "width m"), ("Depth L", "iterations"), ("Loss to be reached", "iterations")],
        height=4.0,
    )
    depths, losses = by_depth(settings, results), by_loss(settings, results)
    _draw(axes[0], list(depths), [row.width for row in depths.values()])
    _draw(axes[1], list(depths), [row.iterations for row in depths.values()])
    _draw(axes[2], list(losses), [row.iterations for row in losses.values()])
    axes[2].invert_xaxis()
    _legend_below(figure, axes)
    return Plot("bounds-others", f"Bounds of Table 1 of [G] for {n} samples, by depth and by loss.", figure)


def _draw(axis: Axes, x: Sequence[float], logs: Sequence[Mapping[str, float]]) -> None:
    """A line for every work, of bounds given as logarithms at each x."""
    for colour, (work, label) in zip(style.COLOURS, WORKS.items(), strict=False):
        values = [10 ** at[work] for at in logs]
        axis.plot(x, values, color=colour, label=label, linewidth=2 if work == "g" else 1.2)
    axis.set_xscale("log")
    figures.logarithmic(axis)


def _legend_below(figure: Figure, axes: Sequence[Axes]) -> None:
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, frameon=False, fontsize=7.5)


def table_by_samples(settings: Settings, results: Results) -> Table:
    """Every work at each number of samples."""
    part = settings.table
    rows = [
        [n, name, *(column[work] for column in results[Row(n)].columns())]
        for n in part.samples
        for work, name in WORKS.items()
    ]
    return Table(
        "bounds-table",
        f"Table 1 of [G], log10, constants 1, depth {part.depth}, eps {given(part.eps)}",
        ["samples", "work", "width", "iterations", "step"],
        rows,
    )


def table_by_depth_and_loss(settings: Settings, results: Results) -> Table:
    """Every work at each depth, then at each loss that is to be reached."""
    every = [
        *(("depth", depth, at) for depth, at in by_depth(settings, results).items()),
        *(("eps", eps, at) for eps, at in by_loss(settings, results).items()),
    ]
    rows = [
        [by, value, name, *(column[work] for column in at.columns())]
        for by, value, at in every
        for work, name in WORKS.items()
    ]
    return Table(
        "bounds-others",
        f"Table 1 of [G] by depth and by loss, log10, constants 1, n = {settings.table.middle}",
        ["by", "value", "work", "width", "iterations", "step"],
        rows,
    )
