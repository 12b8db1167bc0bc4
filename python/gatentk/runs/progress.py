"""How far a run is: what a runner reports and a progress bar shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

    @staticmethod
    def of(costs: Mapping[str, float], finished: Collection[str], last: str | None = None) -> Progress:
        """From the expected work of all parts, in any unit, and the names of those that are finished."""
        done = [cost for name, cost in costs.items() if name in finished]
        return Progress(len(costs), len(done), sum(done) / sum(costs.values()), last)
