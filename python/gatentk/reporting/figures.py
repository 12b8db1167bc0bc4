"""Figures in the one style: axes with their titles, legends, scales, files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from gatentk.extras import imports
from gatentk.reporting.style import GRID, SMALL, STYLE
from gatentk.reporting.text import reason

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@contextmanager
def styled() -> Iterator[None]:
    """The one style while the block draws and renders, whatever the user's matplotlibrc says."""
    with imports("cli", "figures"):
        import matplotlib as mpl
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def render(figure: Figure, kind: str) -> bytes:
    """A figure as PNG or SVG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    with styled():
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata, facecolor="white" if kind == "png" else "none")
    return buffer.getvalue()


class Drawn(NamedTuple):
    """Figures as files.

    Attributes:
        files: contents by file name.
        failures: what could not be drawn, each with its reason.
    """

    files: dict[str, bytes]
    failures: list[str]


def rendered(draw: Callable[[], Mapping[str, Figure]]) -> Drawn:
    """The files of figures, PNG and SVG, drawn in the style; whatever fails there is said and stops nothing.

    Args:
        draw: gives the figures by name without an ending.
    """
    drawn = Drawn({}, [])
    try:
        with styled():
            drawings = draw()
    except Exception as error:
        drawn.failures.append(f"no plot could be drawn: {reason(error)}")
        return drawn
    for name, figure in drawings.items():
        try:
            drawn.files.update({f"{name}.{kind}": render(figure, kind) for kind in ("png", "svg")})
        except Exception as error:
            drawn.failures.append(f"{name}.png and {name}.svg could not be drawn: {reason(error)}")
    return drawn


def plot(title: str, subtitle: str, height: float, pad: float) -> tuple[Figure, Axes]:
    """One plot with horizontal lines only, whose subtitle may be as long as it likes.

    Args:
        title, subtitle: above it.
        height: of the figure in inches.
        pad: points between the axes and the title, for one line of a subtitle or two.
    """
    figure = _empty(4.6, height)
    axes = figure.add_subplot()
    _dress(axes, title, subtitle, pad, in_layout=False)  # or a long name of a data set would squeeze the axes
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    return figure, axes


def panels(
    titles: Sequence[tuple[str, str]], labels: Sequence[tuple[str, str]], height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, each with a title and subtitle, and labels of its x and y axes."""
    figure = _empty(4.4 * len(titles), height)
    axes = [figure.add_subplot(1, len(titles), index + 1) for index in range(len(titles))]
    for panel, (title, subtitle), (x, y) in zip(axes, titles, labels, strict=True):
        _dress(panel, title, subtitle, pad=17, in_layout=True)
        panel.set_xlabel(x)
        panel.set_ylabel(y)
        panel.grid(color=GRID, linewidth=0.5)
    return figure, axes


def _empty(width: float, height: float) -> Figure:
    with imports("cli", "figures"):
        import matplotlib.figure
    return matplotlib.figure.Figure(figsize=(width, height), layout="constrained")


def _dress(axes: Axes, title: str, subtitle: str, pad: float, in_layout: bool) -> None:
    """Two lines above the axes, no background and no frame at the top and the right."""
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=pad)
    text = axes.text(0, 1.025, subtitle, transform=axes.transAxes, fontsize=SMALL)
    text.set_parse_math(False)
    text.set_in_layout(in_layout)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def legend(axes: Axes, **options: Any) -> None:
    """A legend without a frame, smaller than the labels."""
    axes.legend(frameon=False, fontsize=SMALL, **options)


def integers(axes: Axes, most: int = 11) -> None:
    """Whole numbers along x, at most so many and one."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=most))


def bounds(axes: Axes, x: Sequence[float], low: Sequence[float], colour: str, **options: Any) -> None:
    """A bar at each lower bound with an arrow up from it: the value lies somewhere above."""
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
            **options,
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
