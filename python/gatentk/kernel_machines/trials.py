"""Leave-one-out at all ridges of a depth, a depth after another: what machines that choose compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gatentk.kernel_machines.leave_one_out import left_out, tridiagonal
from gatentk.kernel_machines.networks import WideNetwork
from gatentk.kernel_machines.solving import added_ridge, midrange

DIGITS = 10  # of scores and errors that are compared: what differs less is equal, on any processor
EXACT = 1e-12  # errors of this share of the targets are equal to none, and so are their scores

# From residuals and targets (n, outputs): a score, the larger the better.
Score = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Trial:
    """Leave-one-out of one depth, a number a ridge, NaN where the kernel is not above its noise floor.

    Attributes:
        depth: of the kernel.
        scores: the larger the better.
        errors: mean squared errors.
        relative: the same with each column of targets divided by its size (`Columns.size`).
        unit: mean of the kernel's diagonal, in which ridges are.
        lmin, lmax, floor: extreme eigenvalues of the kernel without a ridge, and its noise floor n eps lmax.
    """

    depth: int
    scores: tuple[float, ...]
    errors: tuple[float, ...]
    relative: tuple[float, ...]
    unit: float
    lmin: float
    lmax: float
    floor: float

    def key(self, ridge: int) -> tuple[float, float]:
        """What is compared, the larger the better: scores, of equal scores errors; digits that are rounding are not."""
        error = max(self.relative[ridge], EXACT**2)
        return round(self.scores[ridge], DIGITS), -float(f"{error:.{DIGITS}e}")

    def best(self) -> int | None:
        """The number of its best ridge, of equal ones the first; None if none could be tried."""
        tried = [k for k, score in enumerate(self.scores) if not math.isnan(score)]
        return max(tried, key=self.key, default=None)


def best_pair(trials: Sequence[Trial]) -> tuple[int, int] | None:
    """Trial and ridge by their numbers: the best score, of equal ones the smaller error, of equal errors the first.

    >>> shallow = Trial(1, (0.5, 0.75), (20.0, 10.0), (0.2, 0.1), 1.0, 0.1, 1.0, 1e-15)
    >>> deep = Trial(2, (0.75, math.nan), (10.0, math.nan), (0.1, math.nan), 1.0, 0.1, 1.0, 1e-15)
    >>> best_pair([shallow, deep])
    (0, 1)
    """
    pairs = [(row, column) for row, trial in enumerate(trials) if (column := trial.best()) is not None]
    return max(pairs, key=lambda pair: trials[pair[0]].key(pair[1]), default=None)


class Columns:
    """Targets (n, outputs) as leave-one-out takes them: near 0 if there is an intercept, and of size 1.

    Attributes:
        given: as they were.
        size: (outputs,), half of the range of each column, or its largest size; 1 where that is 0.
        scaled: (given - middle) / size.
    """

    def __init__(self, given: Tensor, with_intercept: bool) -> None:
        self.given, self.with_intercept = given, with_intercept
        centred = given - midrange(given) if with_intercept else given
        size = centred.abs().amax(dim=0)
        self.size: Tensor = torch.where(size > 0, size, 1)
        self.scaled: Tensor = centred / self.size


def tried(
    network: WideNetwork, x: Tensor, columns: Columns, depths: Sequence[int], ridges: Sequence[float], score: Score
) -> Iterator[tuple[Trial, Tensor]]:
    """Trials of some depths, whose kernels come from one sweep, each with the residuals (n, outputs) of its best ridge.

    Args:
        network: all of it but the depth.
        x: samples (n, d), float64, n >= 2.
        columns: their targets.
        depths: rising.
        ridges: in units of the kernel's mean diagonal.
        score: of residuals and targets, both scaled.

    Yields:
        A `Trial`, and the scaled residuals (zeros if no ridge could be tried).

    Raises:
        ValueError: samples are all zero, ridges that leave the range of float64, and what the sweep refuses.
    """
    for depth, K in zip(depths, network.one_by_one(x, depths), strict=True):
        unit = float(K.diagonal().mean())
        if unit == 0:
            raise ValueError("X: expected samples that are not all zero, whose kernels are 0")
        added_ridge("ridges", min(ridges), unit)  # is refused if not even the smallest is a number
        added = [ridge * unit for ridge in ridges]
        form = tridiagonal(K)
        resolved = [k for k, ridge in enumerate(added) if form.lmin + ridge > form.floor(ridge)]
        scores, errors, relative = np.full((3, len(ridges)), math.nan)
        residuals = x.new_zeros(0, *columns.scaled.shape)
        if resolved:
            residuals = left_out(form, [added[k] for k in resolved], columns.scaled, columns.with_intercept)
        for k, residual in zip(resolved, residuals, strict=True):
            scores[k] = score(residual, columns.scaled)
            errors[k] = float((residual * columns.size).square().mean())
            relative[k] = float(residual.square().mean())
        trial = Trial(
            depth=depth,
            scores=tuple(scores.tolist()),
            errors=tuple(errors.tolist()),
            relative=tuple(relative.tolist()),
            unit=unit,
            lmin=form.lmin,
            lmax=form.lmax,
            floor=form.floor(0.0),
        )
        best = trial.best()
        yield trial, torch.zeros_like(columns.scaled) if best is None else residuals[resolved.index(best)]


def determination(residuals: Tensor, targets: Tensor) -> float:
    """R^2 of (n, outputs), the mean over outputs; an output that is constant counts as 1 if it is met, else as 0.

    >>> determination(torch.tensor([[0.5], [0.0]]), torch.tensor([[1.0], [-1.0]]))
    0.875
    """
    spread = (targets - targets.mean(dim=0)).square().sum(dim=0)
    rest = residuals.square().sum(dim=0)
    exact = rest <= len(targets) * EXACT**2
    varies = spread > len(targets) * EXACT**2
    found = 1 - rest / torch.where(varies, spread, 1)
    return float(torch.where(varies, found, exact.to(found.dtype)).mean())
