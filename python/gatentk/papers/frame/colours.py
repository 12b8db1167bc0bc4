"""Colours of what experiments compare."""

from __future__ import annotations

from typing import Any

from gatentk.reporting import style

COLOURS = {"grelu": style.ORANGE, "relu": style.BLUE}


def shades(count: int) -> list[Any]:
    """Colours from light to dark for an ordered quantity; readable on white and on a dark page."""
    import matplotlib as mpl

    return [mpl.colormaps["viridis_r"](0.2 + 0.5 * index / max(1, count - 1)) for index in range(count)]
