"""The two plots of a study: smallest angle and condition number against depth."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from gatentk.activations import FUNCTIONS, LABELS
from gatentk.reporting import figures
from gatentk.reporting.style import BLUE, DASHED, DOTTED, GREEN, INK, ORANGE, SMALL, SOLID
from gatentk.reporting.text import data_name, number
from gatentk.study.sentences import mean_name
from gatentk.study.summary import Point, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gatentk.study.config import StudyConfig
    from gatentk.study.samples import StudySamples

# Colours tell widths and samples apart, dashes activations.
COLOURS = {"infinite all": BLUE, "infinite subset": GREEN, "finite": ORANGE}
DASHES = dict(zip(FUNCTIONS, cycle((SOLID, DASHED, DOTTED)), strict=False))
DODGE = 0.1  # between arrows of series at the same depth


class _Drawn(NamedTuple):
    """What a plot is of."""

    config: StudyConfig
    samples: StudySamples
    series: Sequence[Series]


def draw(config: StudyConfig, samples: StudySamples, series: Sequence[Series]) -> dict[str, Figure]:
    """The two plots: "angle" and "condition" against depth."""
    drawn = _Drawn(config, samples, series)
    return {"angle": _angle_figure(drawn), "condition": _condition_figure(drawn)}


def _angle_figure(drawn: _Drawn) -> Figure:
    def values(p: Point) -> tuple[float, float, float] | None:
        if p.angle is None or p.angle_low is None or p.angle_high is None:
            return None
        return p.angle, p.angle_low, p.angle_high

    def finish(axes: Axes) -> None:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}°")

    return _figure(drawn, "angle", "Smallest angle between the gradients of two samples", values, finish)


def _condition_figure(drawn: _Drawn) -> Figure:
    def values(p: Point) -> tuple[float, float, float]:
        return p.condition, p.condition_low, p.condition_high

    def finish(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if high < 4 * low:
            low, high = low / 2, high * 2
        axes.set_ylim(low, high)
        if high < 300 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda v, _: number(v, 1))
        else:
            axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", length=0)

    return _figure(drawn, "condition", "Condition number of the neural tangent kernel", values, finish)


def _figure(
    drawn: _Drawn,
    quantity: str,
    title: str,
    values: Callable[[Point], tuple[float, float, float] | None],
    finish: Callable[[Axes], None],
) -> Figure:
    figure, axes = figures.plot(title, _subtitle(drawn, quantity), 3.7, 16)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", which="major", width=0)  # there is no axis on the left, the grid is enough
    for index, series in enumerate(drawn.series):
        _line(axes, series, quantity, values, dodge=DODGE * (index // len(drawn.config.activations) - 1))
    finish(axes)
    _depth_axis(axes, drawn.config.depths)
    _activation_labels(axes, drawn.series, values)
    _legend(figure, drawn, quantity)
    return figure


def _subtitle(drawn: _Drawn, quantity: str) -> str:
    batch, d = drawn.config.batch, drawn.samples.x.shape[1]
    name = data_name(drawn.samples.name)
    if batch is None:
        return f"{name}, {len(drawn.samples.x):,} samples, {d:,} features"
    return f"{name}, {d:,} features; {mean_name(quantity)} over mini-batches of {batch:,}"


def _line(
    axes: Axes,
    series: Series,
    quantity: str,
    values: Callable[[Point], tuple[float, float, float] | None],
    dodge: float,
) -> None:
    """One series: a line through what is known, a band over seeds, arrows up from lower bounds."""
    points = [(p, v) for p in series.points if (v := values(p)) is not None]
    known = [(p.depth, *v) for p, v in points if quantity == "angle" or p.resolved]
    finite = series.kind == "finite"
    if known:
        depths, means, lows, highs = zip(*known, strict=True)
        axes.plot(
            depths,
            means,
            color=_colour(series),
            linestyle=DASHES[series.activation],
            linewidth=1.1 if finite else 1.7,
            marker="o" if finite or len(known) == 1 else None,
            markersize=3,
            zorder=3 if finite else 2.5,
        )
        if finite:
            axes.fill_between(depths, lows, highs, color=_colour(series), alpha=0.22, linewidth=0)
    if quantity == "condition":
        unresolved = [(p, v[0]) for p, v in points if not p.resolved]
        figures.bounds(
            axes,
            [p.depth + dodge for p, _ in unresolved],
            [low for _, low in unresolved],
            _colour(series),
            markeredgewidth=1.1,
            markerfacecolor=_colour(series) if DASHES[series.activation] == SOLID else "none",
        )


def _depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    axes.set_xlabel("Depth (number of hidden layers)")
    figures.integers(axes, 12)
    span = max(depths[-1] - depths[0], 1)
    margin = max(0.04 * span, 2 * DODGE)
    axes.set_xlim(depths[0] - margin, depths[-1] + margin)


def _colour(series: Series) -> str:
    return COLOURS["finite" if series.kind == "finite" else f"infinite {series.rows}"]


def _activation_labels(
    axes: Axes, series: Sequence[Series], values: Callable[[Point], tuple[float, float, float] | None]
) -> None:
    """Name the activations at the right end of their lines, once for lines that end close together."""
    transform = axes.transScale + axes.transLimits
    places: list[tuple[float, str]] = []
    for activation in dict.fromkeys(s.activation for s in series):
        ends = [v[0] for s in series if s.activation == activation and (v := values(s.points[-1])) is not None]
        heights = sorted(float(transform.transform((0, end))[1]) for end in ends)
        places += [(statistics.fmean(group), LABELS[activation]) for group in _groups(heights, 0.15)]
    places.sort()
    for height, (_, name) in zip(_spread([height for height, _ in places], 0.07), places, strict=True):
        axes.annotate(name, (1.015, height), xycoords="axes fraction", va="center", fontsize=8.5)


def _groups(heights: list[float], gap: float) -> list[list[float]]:
    """Ascending heights, split where two neighbours are more than `gap` apart."""
    groups: list[list[float]] = []
    for height in heights:
        if groups and height - groups[-1][-1] <= gap:
            groups[-1].append(height)
        else:
            groups.append([height])
    return groups


def _spread(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved apart around their means until neighbours are at least `gap` apart."""
    runs = [[height] for height in heights]
    index = 1
    while index < len(runs):
        before, run = runs[index - 1], runs[index]
        reach = gap * (len(before) + len(run)) / 2
        if statistics.fmean(run) - statistics.fmean(before) < reach:
            runs[index - 1 : index + 1] = [before + run]
            index = max(1, index - 1)
        else:
            index += 1
    return [statistics.fmean(run) + gap * (place - (len(run) - 1) / 2) for run in runs for place in range(len(run))]


def _legend(figure: Figure, drawn: _Drawn, quantity: str) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for label, series in {s.label: s for s in drawn.series}.items():
        finite = series.kind == "finite"
        if finite and drawn.config.seeds > 1:
            label = f"{label}; {mean_name(quantity)} and range of {drawn.config.seeds} seeds"
        handles.append(
            Line2D(
                [],
                [],
                color=_colour(series),
                linewidth=1.1 if finite else 1.7,
                marker="o" if finite else None,
                markersize=3,
                label=label,
            )
        )
    if quantity == "condition" and not all(p.resolved for s in drawn.series for p in s.points):
        text = "at least; smallest eigenvalue below the noise floor"
        handles.append(Line2D([], [], color=INK, linestyle="", marker=r"$\uparrow$", markersize=7, label=text))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=SMALL, handlelength=2.2)
