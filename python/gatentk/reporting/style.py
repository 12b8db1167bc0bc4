"""The one figure style: colours, dashes, sizes."""

from __future__ import annotations

from typing import Any

INK, GRID = "#1b1d21", "#d9dbe0"
# Colours of Okabe and Ito, which differ for every kind of colour vision.
BLUE, ORANGE, GREEN, PINK, SKY, YELLOW = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)
# What page.css, which has lighter colours for the dark, calls them.
VARIABLES = {
    INK: "currentColor",
    GRID: "var(--grid)",
    BLUE: "var(--blue)",
    GREEN: "var(--green)",
    ORANGE: "var(--orange)",
    PINK: "var(--pink)",
    SKY: "var(--sky)",
    YELLOW: "var(--yellow)",
}

SOLID = "-"
DASHED: Any = (0, (4.5, 2))
DOTTED: Any = (0, (1.2, 1.6))

SMALL = 7.5  # points: legends and subtitles
STYLE: dict[Any, Any] = {
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
    "svg.hashsalt": "gatentk",
    "svg.fonttype": "path",
}
