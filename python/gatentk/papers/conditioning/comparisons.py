"""Comparisons of smallest angles and condition numbers, by depth and between networks, and how they read.

Each is True or False, or None: a bound or a zero gradient leaves it open, or the ranges over seeds overlap while their
means are the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from gatentk.reporting.text import number
from gatentk.study.sentences import condition_text
from gatentk.study.summary import Point

Line = dict[int, Point]  # by depth


def hidden(line: Line) -> Line:
    """Depths with a hidden layer."""
    return {depth: point for depth, point in line.items() if depth > 0}


def is_wider(a: Point, b: Point) -> bool | None:
    """Whether the smallest angle of a is larger than that of b."""
    if a.angle is None or b.angle is None or a.angle_high is None or b.angle_low is None:
        return None
    if a.angle > b.angle:
        return True
    return None if a.angle_high > b.angle_low else False


def is_below(a: Point, b: Point) -> bool | None:
    """Whether the condition number of a is below that of b; unresolved ones are lower bounds."""
    if a.resolved:
        if a.condition < b.condition:
            return True
        return None if not b.resolved or a.condition_low < b.condition_high else False
    return False if b.resolved and a.condition_low >= b.condition_high else None


def grows(line: Line) -> list[bool | None]:
    """Whether the smallest angle does, at each step of depth."""
    points = [line[depth] for depth in sorted(line)]
    return [is_wider(b, a) for a, b in pairwise(points)]


def falls(line: Line) -> list[bool | None]:
    """Whether the condition number does, at each step of depth."""
    points = [line[depth] for depth in sorted(line)]
    return [is_below(b, a) for a, b in pairwise(points)]


def steps(checks: Sequence[bool | None], what: str) -> str:
    """The words for how many steps something is so at."""
    return f"{what} {at(checks, 'step')}"


def at(checks: Sequence[bool | None], where: str = "depth") -> str:
    """Where something is so: "at 3 of 4 depths (1 undecided)"."""
    held, unknown = sum(check is True for check in checks), sum(check is None for check in checks)
    if held == len(checks):
        return f"at every {where}"
    return f"at {held} of {len(checks)} {where}s" + (f" ({unknown} undecided)" if unknown else "")


def degrees(angle: float | None) -> str:
    """An angle to read."""
    return "no angle (a zero gradient)" if angle is None else f"{number(angle)}°"


def angle_path(line: Line) -> str:
    """Angles at the first and the last depth."""
    first, last = min(line), max(line)
    return f"{degrees(line[first].angle)} at depth {first}, {degrees(line[last].angle)} at depth {last}"


def condition_path(line: Line) -> str:
    """Condition numbers at the first and the last depth."""
    first, last = min(line), max(line)
    return f"{condition_text(line[first])} at depth {first}, {condition_text(line[last])} at depth {last}"
