"""The two plots of a fit: leave-one-out scores by depth and ridge, and predictions beside targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gatentk.fit.sentences import measure_text
from gatentk.reporting import figures
from gatentk.reporting.style import BLUE, GRID, INK, ORANGE, SMALL
from gatentk.reporting.text import data_name, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure
    from torch import Tensor

    from gatentk.fit.result import Fit

LEVELS = 10  # colours of scores
MOST_POINTS = 2000  # of a plot, drawn at random
MOST_CLASSES = 20  # of which a table has room for counts and all names
FEW_CLASSES = 10  # that are named of more
LONGEST = 12  # letters of a name
NARROW = 1e-3  # the smallest range of scores that has colours: differences below are not worth any
MINUS = "\N{MINUS SIGN}"
DARK, LIGHT = "#10131a", "#fdfdfe"  # numbers on cells, which have the same colours on a dark page


def draw(found: Fit) -> dict[str, Figure]:
    """The two plots: "scores", and "predictions" (of numbers) or the confusion matrix (of classes)."""
    second = _scatter(found) if found.samples.classes is None else _confusion(found)
    return {"scores": _scores(found), "predictions": second}


def _shades() -> Colormap:
    """From nearly white to dark blue."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("gatentk", ["#edf3f9", "#9cc6e6", BLUE, "#023355"])


def _scores(found: Fit) -> Figure:
    from matplotlib.colors import BoundaryNorm
    from matplotlib.ticker import MaxNLocator

    config, (row, column) = found.config, found.pair
    samples = (
        f"{data_name(found.samples.name)}, {len(found.samples.x):,} samples, each predicted by a fit to all others"
    )
    figure, axes = figures.plot(
        f"{measure_text(found).capitalize()} by depth and ridge, leave-one-out", samples, 3.9, 16
    )
    axes.grid(visible=False)
    ridges = config.ridges[::-1]
    table = np.array([[math.nan if score is None else score for score in record.scores] for record in found.records])
    table = table[:, ::-1].T
    low, high = _ends(table)
    levels = MaxNLocator(LEVELS, min_n_ticks=3).tick_values(low, high)
    # No score is above 1, and no accuracy below 0.
    levels = np.unique(np.clip(levels, -math.inf if found.samples.classes is None else 0, 1)).tolist()
    norm = BoundaryNorm(levels, 256, extend="min" if np.nanmin(table) < levels[0] - 1e-9 else "neither")
    edges = [np.arange(size + 1) - 0.5 for size in table.shape[::-1]]
    cells = axes.pcolormesh(
        *edges, np.ma.masked_invalid(table), norm=norm, cmap=_shades(), edgecolors="face", linewidth=0.3
    )
    if np.isnan(table).any():
        axes.patch.set(hatch="////", edgecolor=GRID, facecolor="none")
    axes.plot(
        [row], [len(ridges) - 1 - column], "o", markersize=7, markerfacecolor="none", color=ORANGE, markeredgewidth=1.6
    )[0].set_clip_on(False)  # or half a ring at the edge of many depths
    bar = figure.colorbar(cells, ax=axes, aspect=30, pad=0.02)
    bar.outline.set_visible(False)
    size, sign = (1, "") if found.samples.classes is None else (100, "%")
    ticks = [size * level for level in levels]
    bar.ax.yaxis.set_major_formatter(lambda value, _: tick_text(size * value, ticks) + sign)
    _depth_axis(axes, config.depths)
    _ridge_axis(axes, ridges)
    _legend(figure, bool(np.isnan(table).any()))
    return figure


def _ends(table: Any) -> tuple[float, float]:
    """A range of scores in which the good ones differ: from the median, or lower, to the best."""
    high = float(np.nanmax(table))
    low = max(float(np.nanmin(table)), high - max(3 * (high - float(np.nanmedian(table))), 0.02))
    if high - low >= NARROW:
        return low, high
    return (high - NARROW, high) if high >= NARROW else (high, high + NARROW)


def _depth_axis(axes: Axes, depths: tuple[int, ...]) -> None:
    step = -(-len(depths) // 16)
    axes.set_xticks(range(0, len(depths), step), [str(depth) for depth in depths[::step]])
    axes.set_xlabel("Depth (number of hidden layers)")
    axes.tick_params(length=0)


def _ridge_axis(axes: Axes, ridges: tuple[float, ...]) -> None:
    step = -(-len(ridges) // 10) if len(ridges) > 10 else 1
    axes.set_yticks(range(0, len(ridges), step), [given(float(f"{ridge:.2g}")) for ridge in ridges[::step]])
    axes.set_ylabel("Ridge, in units of the kernel's mean diagonal")
    axes.spines[["left", "bottom"]].set_visible(False)


def _legend(figure: Figure, has_gaps: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ring: dict[str, Any] = {"markerfacecolor": "none", "color": ORANGE, "linestyle": "", "markersize": 6}
    handles: list[Any] = [Line2D([], [], marker="o", label="best", **ring)]
    if has_gaps:
        handles.append(Patch(hatch="////", edgecolor=GRID, facecolor="none", label="below the noise floor, not tried"))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=SMALL, ncols=2)


def _scatter(found: Fit) -> Figure:
    """Predictions against targets: leave-one-out of the train samples, and the test samples with deviations."""
    samples = found.samples
    figure, axes = figures.plot("Predicted and true", _sizes(found), 3.9, 16)
    axes.grid(color=GRID, linewidth=0.5)
    _points(axes, samples.y, found.left_out, None, BLUE, "train samples, by fits to all others")
    if samples.test_y is not None and found.predicted is not None:
        deviations = np.asarray(found.outcome.deviations)
        _points(axes, samples.test_y, found.predicted, deviations, ORANGE, "test samples, ± one standard deviation")
    ends = axes.dataLim.intervalx
    axes.plot(ends, ends, color=INK, linewidth=0.7, zorder=1)
    unit = _unit(axes)
    axes.set_xlabel(f"Target{unit}")
    axes.set_ylabel(f"Prediction{unit}")
    figure.legend(loc="outside lower left", frameon=False, fontsize=SMALL)
    return figure


def _unit(axes: Axes) -> str:
    """Give numbers of any size short labels of ticks, and say what both axes are in units of, for their own labels."""
    from matplotlib.ticker import MaxNLocator

    ends = np.concatenate([axes.dataLim.intervalx, axes.dataLim.intervaly])
    largest, span = float(np.abs(ends).max()), float(ends.max() - ends.min())
    exponent, digits = 0, 6
    if span < 1e-3 * largest:  # what differs stands in later digits
        digits = 12
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4))
    elif largest > 0 and not 1e-3 <= largest < 1e5:
        exponent = max(math.floor(math.log10(largest)), -300)
    unit = 10.0**exponent

    def name(axis: Axis) -> None:
        axis.set_major_formatter(lambda value, _: tick_text(value / unit, axis.get_majorticklocs() / unit, digits))

    name(axes.xaxis)
    name(axes.yaxis)
    return f", in units of {given(unit)}" if exponent else ""


def _points(axes: Axes, y: Tensor, predicted: Tensor, deviations: Any, colour: str, label: str) -> None:
    rows = np.arange(len(y))
    if len(y) > MOST_POINTS:
        rows = np.sort(np.random.default_rng(0).permutation(len(y))[:MOST_POINTS])
        label += f" ({MOST_POINTS:,} of {len(y):,})"
    x, heights = y.numpy()[rows], predicted.numpy()[rows]
    if deviations is not None:
        axes.vlines(x, heights - deviations[rows], heights + deviations[rows], color=colour, linewidth=0.5, alpha=0.45)
    axes.plot(x, heights, "o", markersize=2.6, color=colour, alpha=0.6, markeredgewidth=0, label=label)


def _sizes(found: Fit) -> str:
    samples = found.samples
    return f"{data_name(samples.name)}, {len(samples.x):,} train and {samples.tests:,} test samples"


def _confusion(found: Fit) -> Figure:
    """A row a true class, a column a predicted one; colours are shares of rows."""
    is_test = found.samples.test_y is not None
    title = "Predicted and true classes, " + ("test samples" if is_test else "leave-one-out")
    figure, axes = figures.plot(title, _sizes(found), 3.9, 16)
    axes.grid(visible=False)
    counts = found.confusion().numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    edges = np.arange(len(counts) + 1) - 0.5
    shown = np.ma.masked_where(counts == 0, shares)
    axes.pcolormesh(edges, edges, shown, vmin=0, vmax=1, cmap=_shades(), edgecolors="face", linewidth=0.3)
    axes.invert_yaxis()
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_color(GRID)
    step = 1 if len(counts) <= MOST_CLASSES else -(-len(counts) // FEW_CLASSES)
    labels = short_names(found.samples.labels)[::step]
    places = range(0, len(counts), step)
    longest = max(map(len, labels))
    axes.set_xticks(places, labels, rotation=90 if longest * len(labels) > 40 else 0)
    axes.set_yticks(places, labels)
    for axis in (axes.xaxis, axes.yaxis):
        for text in axis.get_ticklabels():
            text.set_parse_math(False)
    if step > 1:
        return figure
    for row, column in zip(*np.nonzero(counts), strict=True):
        colour = LIGHT if shares[row, column] > 0.45 else DARK
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=SMALL, color=colour)
    return figure


def short_names(names: Sequence[str]) -> list[str]:
    """Names of at most 12 letters, which begin and end as they are; those that then are equal with their numbers.

    >>> short_names(["setosa", "Iris versicolor", "sample number one", "sample letter one"])
    ['setosa', 'Iris v…color', 'sample…#3', 'sample…#4']
    """
    short = [name if len(name) <= LONGEST else f"{name[:6]}…{name[-5:]}" for name in names]
    taken = Counter(short)
    return [
        one if taken[one] == 1 else f"{name[:6]}…#{k}"
        for k, (one, name) in enumerate(zip(short, names, strict=True), 1)
    ]


def tick_text(value: float, ticks: Iterable[float], digits: int = 6) -> str:
    """A number on an axis with as many decimals as its ticks need, or as it is where those have exponents.

    >>> tick_text(0.5, [0.25, 0.5]), tick_text(1000000.0, [1e6, 2e6], 7), tick_text(1e9, [1e9])
    ('0.50', '1000000', '1e+09')
    """
    texts = [f"{tick:.{digits}g}" for tick in ticks]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    text = f"{value:.{digits}g}" if any("e" in text for text in texts) else f"{value:.{decimals}f}"
    return text.replace("-", MINUS)
