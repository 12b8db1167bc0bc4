"""Figures and table of all kernels."""

from __future__ import annotations

from typing import Any

from gatentk.activations import LABELS
from gatentk.papers.frame.colours import COLOURS
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Plot, Table
from gatentk.papers.grelu_conditioning.cells import COMPARED, FiniteCell, InfiniteCell, Settings, kernel_cells
from gatentk.reporting import figures, style


def plots(settings: Settings, results: Results) -> list[Plot]:
    """Angle, condition number and steps by depth, a figure a data set."""
    shown = []
    for name in settings.samples:
        n = results[InfiniteCell(name, "relu", settings.depths[0])].samples
        figure, (angle, condition, speed) = figures.panels(
            [
                ("Smallest gradient angle", f"{name}, unit rows, infinite width"),
                ("Condition number", f"solid: all samples; dashed and dots: {settings.finite_samples}"),
                ("Steps of gradient descent", f"until the loss is {settings.target:.0%} of its start"),
            ],
            [("Depth", "degrees"), ("Depth", "λmax / λmin"), ("Depth", "steps")],
        )
        for activation in COMPARED:
            _lines(settings, results, name, activation, (angle, condition, speed))
        for axes in (condition, speed):
            figures.logarithmic(axes)
        angle.set_ylim(bottom=0)
        for axes in (angle, condition, speed):
            figures.integers(axes)
        figures.legend(angle)
        caption = (
            f"Kernels of {n:,} samples of {name}: smallest angle between gradients, condition number and steps of "
            f"gradient descent by depth. Dashed: {settings.finite_samples} of the samples, infinite width; dots: the "
            f"same samples, width {settings.width:,}."
        )
        shown.append(Plot(f"grelu-{name}", caption, figure))
    return shown


def _lines(settings: Settings, results: Results, name: str, activation: str, axes: Any) -> None:
    angle, condition, speed = axes
    colour, label, depths = COLOURS[activation], LABELS[activation], settings.depths
    cells = [results[InfiniteCell(name, activation, d)] for d in depths]
    angle.plot(depths, [c.min_angle for c in cells], color=colour, label=label)
    known = [(d, c.condition) for d, c in zip(depths, cells, strict=True) if c.resolved]
    if known:
        condition.plot(*zip(*known, strict=True), color=colour, label=label)
    unknown = [(d, c.condition_bound) for d, c in zip(depths, cells, strict=True) if not c.resolved]
    figures.bounds(condition, [d for d, _ in unknown], [v for _, v in unknown], colour)
    some = [results[InfiniteCell(name, activation, d, some=True)].condition_bound for d in settings.finite_depths]
    condition.plot(settings.finite_depths, some, color=colour, linestyle=style.DASHED, linewidth=1)
    for depth in settings.finite_depths:
        values = [results[FiniteCell(name, activation, depth, s)].condition_bound for s in range(settings.seeds)]
        condition.plot([depth] * len(values), values, ".", color=colour, markersize=4)
    steps = [(d, c.steps) for d, c in zip(depths, cells, strict=True) if c.steps is not None]
    if steps:
        speed.plot(*zip(*steps, strict=True), color=colour, label=label)


def table(settings: Settings, results: Results) -> Table:
    """All kernels of the two kinds of network."""
    columns = ["data", "samples", "depth", "network", "seed", "min angle (deg)", "condition", "at least", "steps"]
    rows = []
    for cell in kernel_cells(settings):
        r, seed = results[cell], cell.seed if isinstance(cell, FiniteCell) else None
        kernel = [cell.data, r.samples, cell.depth, LABELS[cell.activation], seed]
        rows.append([*kernel, r.min_angle, r.condition, r.condition_bound, r.steps])
    return Table("grelu-conditioning", "All kernels", columns, rows)
