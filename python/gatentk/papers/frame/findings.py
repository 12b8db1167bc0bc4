"""What an experiment shows: claims, plots and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERDICTS = {True: "agrees", False: "does not agree", None: "not decided here"}


@dataclass(frozen=True)
class Claim:
    """One statement of a paper and what came of it, computed from the numbers.

    Attributes:
        source: its place, such as "[S, Thm 4.5]".
        statement: what the paper says.
        outcome: what came out, with figures.
        agrees: whether it holds here; None where this scale or these data cannot tell.
    """

    source: str
    statement: str
    outcome: str
    agrees: bool | None


@dataclass(frozen=True)
class Table:
    """Numbers to read; also written as a CSV file under its name."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Plot:
    """A figure and what a reader who cannot see it should know."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Findings:
    """What an experiment shows.

    Attributes:
        claims, tables, remarks: from the numbers.
        draw: gives the plots; apart from the rest, which is written before anything is drawn.
    """

    claims: Sequence[Claim]
    draw: Callable[[], Sequence[Plot]]
    tables: Sequence[Table]
    remarks: Sequence[str] = ()


def decided(checks: Sequence[bool | None]) -> bool | None:
    """All of them: False if one is, None if one is open."""
    if False in checks:
        return False
    return None if None in checks else True


def held(checks: Sequence[bool | None]) -> str:
    """How many of them hold: "3 of 4"."""
    return f"{sum(check is True for check in checks)} of {len(checks)}"
