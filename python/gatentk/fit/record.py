"""What is known of a depth, and of the best fit: plain numbers, which a journal keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatentk.kernel_machines.trials import Trial, best_pair

COLUMNS = ("scores", "errors", "relative")


@dataclass(frozen=True)
class DepthRecord:
    """A `gatentk.kernel_machines.trials.Trial`, with None where there is no finite number."""

    depth: int
    scores: tuple[float | None, ...]
    errors: tuple[float | None, ...]
    relative: tuple[float | None, ...]
    unit: float
    lmin: float
    lmax: float
    floor: float

    @classmethod
    def of(cls, trial: Trial) -> DepthRecord:
        """What a trial has found."""
        columns = {name: _finite(getattr(trial, name)) for name in COLUMNS}
        return cls(depth=trial.depth, unit=trial.unit, lmin=trial.lmin, lmax=trial.lmax, floor=trial.floor, **columns)

    def trial(self) -> Trial:
        """The way back."""
        columns = {name: tuple(math.nan if v is None else v for v in getattr(self, name)) for name in COLUMNS}
        return Trial(depth=self.depth, unit=self.unit, lmin=self.lmin, lmax=self.lmax, floor=self.floor, **columns)


@dataclass(frozen=True)
class Outcome:
    """The best fit, and what it predicts.

    Attributes:
        depth, ridge: of the best leave-one-out score.
        added_ridge: what was added to the diagonal.
        lmin, lmax, floor, resolved: of the kernel with its ridge, as in `gatentk.spectrum`.
        condition: lmax / lmin; None where it is not resolved.
        intercept: a number an output.
        left_out: for each train sample what a fit to all others predicts: a number, or the number of a class.
        outputs: for each test sample its output, or those of the classes (one for two classes).
        deviations: of the outputs, for numbers to predict; else none.
    """

    depth: int
    ridge: float
    added_ridge: float
    lmin: float
    lmax: float
    floor: float
    resolved: bool
    condition: float | None
    intercept: tuple[float, ...]
    left_out: tuple[float, ...]
    outputs: tuple[tuple[float, ...], ...]
    deviations: tuple[float, ...]


def chosen_pair(records: Sequence[DepthRecord]) -> tuple[int, int] | None:
    """The best depth and ridge by their numbers; None if no ridge could be tried."""
    return best_pair([record.trial() for record in records])


def _finite(values: Iterable[float]) -> tuple[float | None, ...]:
    return tuple(value if math.isfinite(value) else None for value in values)
