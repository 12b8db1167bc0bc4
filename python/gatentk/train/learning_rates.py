"""What decides the learning rate: a grid made for the network, trials of its rates, and the change at a switch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from gatentk.errors import TrainingError
from gatentk.nn import FixedEndsNetwork
from gatentk.train.config import TrainingConfig
from gatentk.train.descent import Descent, DescentState
from gatentk.train.linearisation import Linearisation
from gatentk.train.record import EpochRecord
from gatentk.train.samples import Split
from gatentk.train.schedule import CUT
from gatentk.train.start import Start
from gatentk.train.trainable import copied_weights, set_weights

RATE_SAMPLES = 256  # for the largest eigenvalue of the kernel
DESCENT_FACTORS = (0.05, 0.15, 0.5, 1.5)  # times 1 / lambda_max(K / n): gradient descent converges below 2
ADAM_FACTORS = (0.03, 0.1, 0.3, 1.0)  # times 1 / width: its first step has spectral norm up to rate * width
SMALLER = (0.1, 0.01, 0.001)  # times the smallest of a grid, tried in turn where the loss falls for none of it


class Trial(NamedTuple):
    """A learning rate and the train loss after the trial epochs.

    Attributes:
        rate: what was tried.
        train_loss: None if it diverged.
        grew: whether it is larger than at the start.
    """

    rate: float
    train_loss: float | None
    grew: bool = False


def largest_eigenvalue(network: FixedEndsNetwork, train: Split, shuffled: Tensor, iterations: int = 20) -> float:
    """Of K / n, K the tangent kernel of (at most 256) train samples, from below.

    Gradient descent on the mean square loss needs steps below twice its inverse, at first.

    Args:
        network, train: the kernel is that of its present weights.
        shuffled: rows of `train`, of which the first are taken.
        iterations: of the power iteration.
    """
    part = train.take(shuffled[:RATE_SAMPLES])
    return Linearisation(network, part.x, part.gates).largest_eigenvalue(iterations)


def candidate_rates(config: TrainingConfig, start: Start) -> tuple[float, ...]:
    """The learning rates to try, in two digits where they were not given.

    For gradient descent and SGD 0.05, 0.15, 0.5 and 1.5 times 1 / lambda_max(K / n), K the tangent kernel of (at
    most 256) train samples at the start; for Adam 0.03, 0.1, 0.3 and 1 times 1 / width.

    Raises:
        TrainingError: the outputs do not depend on the weights, for instance because all samples are zero.
    """
    if config.rates:
        return config.rates
    if config.optimizer == "adam":
        return tuple(_rounded(factor / config.width) for factor in ADAM_FACTORS)
    largest = largest_eigenvalue(start.network, start.train, start.shuffled)
    if not 0 < largest < math.inf:
        raise TrainingError(
            "no learning rate can be derived: the outputs do not depend on the weights; give one by rates="
        )
    return tuple(_rounded(factor / largest) for factor in DESCENT_FACTORS)


def choose_rate(
    config: TrainingConfig,
    start: Start,
    candidates: tuple[float, ...],
    callback: Callable[[EpochRecord], None] | None = None,
) -> tuple[float, list[Trial]]:
    """The learning rate with the smallest train loss after the trial epochs, and all trials.

    One whose loss has grown since the start is not taken. Where that leaves none, and `config.rates` does not name
    them, 0.1, 0.01 and 0.001 of the smallest are tried until the loss falls. Afterwards the network of `start` is as it
    was before. A single candidate is taken without a trial.

    Raises:
        TrainingError: the loss grows or diverges for every one of them.
    """
    if len(candidates) == 1:
        return candidates[0], []
    trials = [_trial(config, start, rate, callback) for rate in candidates]
    for factor in () if config.rates else SMALLER:
        if any(_is_good(trial) for trial in trials):
            break
        trials.append(_trial(config, start, _rounded(factor * min(candidates)), callback))
    good = [trial for trial in trials if _is_good(trial)]
    if not good:
        tried = ", ".join(f"{trial.rate:g}" for trial in trials)
        did = "grew or diverged" if any(trial.grew for trial in trials) else "diverged"
        raise TrainingError(f"the loss {did} for every learning rate ({tried}): they are too large; try smaller ones")
    return min(good, key=lambda trial: trial.train_loss or 0.0).rate, trials


def _is_good(trial: Trial) -> bool:
    return trial.train_loss is not None and not trial.grew


def _trial(config: TrainingConfig, start: Start, rate: float, callback: Callable[[EpochRecord], None] | None) -> Trial:
    """Train for the trial epochs and put the weights back."""
    weights = copied_weights(start.network)
    losses: list[float | None] = []
    try:
        for state in Descent(config, start.network, start.train, rate, start.seed).losses(config.trial_epochs):
            losses.append(state.loss)
            if callback is not None and state.epoch:
                callback(_trial_record(config, start, rate, state))
    finally:
        set_weights(start.network, weights)
    first, last = losses[0], losses[-1]
    return Trial(rate, last, first is not None and last is not None and last > first)


class GrowthWarning:
    """Warns once if the train loss of a run is larger than at its start.

    Args:
        done: records of the run that are there already, the start first.
    """

    def __init__(self, done: Sequence[EpochRecord] = ()) -> None:
        self._start: float | None = None
        self._warned = False
        for record in done:
            self._see(record)

    def _see(self, record: EpochRecord) -> bool:
        """Whether this is the first epoch whose loss has grown."""
        if record.epoch == 0:
            self._start = record.train_loss
        grew = None not in (self._start, record.train_loss) and (record.train_loss or 0.0) > (self._start or 0.0)
        is_first, self._warned = grew and not self._warned, self._warned or grew
        return is_first

    def observe(self, record: EpochRecord) -> None:
        """Take in an epoch."""
        if self._see(record):
            warnings.warn(
                f"seed {record.seed}: the train loss grew, from {self._start:.3g} at the start to "
                f"{record.train_loss:.3g} after epoch {record.epoch}; the learning rate {record.rate:g} is too large",
                UserWarning,
                stacklevel=3,
            )


def _trial_record(config: TrainingConfig, start: Start, rate: float, state: DescentState) -> EpochRecord:
    return EpochRecord(
        seed=start.seed,
        epoch=state.epoch,
        model=config.model,
        rate=rate,
        train_loss=state.loss,
        train_accuracy=state.accuracy,
        test_loss=None,
        test_accuracy=None,
        seconds=state.seconds(),
        diverged=state.diverged,
    )


def rate_after_switch(config: TrainingConfig, rate: float, before: float, after: float) -> float:
    """The learning rate of a network that was converted to ReLU, in two digits.

    That before, divided by the factor by which the conversion raises the largest eigenvalue of the tangent kernel, or
    its root for "adam", because the weights that fit the samples exactly are large: the loss is continuous at the
    switch, but a step may be too long after it.

    Args:
        config: of the training.
        rate: that of the GReLU network.
        before, after: largest eigenvalues around the conversion.
    """
    growth = max(1.0, after / before) if before else 1.0
    return _rounded(rate / (math.sqrt(growth) if config.optimizer == "adam" else growth))


def rate_after_cut(rate: float) -> float:
    """The learning rate that a schedule goes on with, in two digits."""
    return _rounded(CUT * rate)


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")
