"""How far a run is: what a runner reports and a progress bar shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        parts: all of them.
        done: how many are finished.
        work: expected work of those that are, as a share of that of all.
        last: the part that was just finished; None before the first of this run.
    """

    parts: int
    done: int
    work: float
    last: str | None
