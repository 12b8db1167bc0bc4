"""The one plot style of the papers' figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatentk.report import GRID, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours of Okabe and Ito, which differ for every kind of colour vision; the report has lighter ones for the dark.
BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)
SOLID = "-"
DASHED: Any = (0, (4.5, 2))
DOTTED: Any = (0, (1.2, 1.6))

_STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
}


def panels(
    titles: Sequence[tuple[str, str]], labels: Sequence[tuple[str, str]], height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, each with a title and subtitle, and labels of its x and y axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4 * len(titles), height), layout="constrained")
        axes = [figure.add_subplot(1, len(titles), index + 1) for index in range(len(titles))]
        for panel, (title, subtitle), (x, y) in zip(axes, titles, labels, strict=True):
            panel.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=17)
            text = panel.text(0, 1.025, subtitle, transform=panel.transAxes, fontsize=7.5)
            text.set_parse_math(False)
            panel.set_xlabel(x)
            panel.set_ylabel(y)
            panel.set_facecolor("none")
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(color=GRID, linewidth=0.5)
            panel.set_axisbelow(True)
    return figure, axes


def legend(axes: Axes, **options: Any) -> None:
    """A legend without a frame, smaller than the labels."""
    axes.legend(frameon=False, fontsize=7.5, **options)


def integers(axes: Axes) -> None:
    """Whole numbers along x."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=11))


def bounds(axes: Axes, x: Sequence[float], low: Sequence[float], colour: str) -> None:
    """Arrows up from lower bounds of values that are not resolved."""
    if len(x):
        axes.errorbar(
            x,
            low,
            yerr=[2.5 * value for value in low],
            lolims=True,
            fmt="_",
            markersize=5,
            color=colour,
            elinewidth=0.9,
            capsize=2.2,
        )


def logarithmic(axes: Axes) -> None:
    """A logarithmic y axis, labelled by plain numbers from 0.001 to 1,000."""
    from matplotlib.ticker import LogFormatterMathtext

    class Plain(LogFormatterMathtext):
        def __call__(self, value: float, position: int | None = None) -> str:
            text = super().__call__(value, position)
            return f"{value:,.6g}" if text and 1e-3 <= value <= 1e3 else text

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain(labelOnlyBase=False))
