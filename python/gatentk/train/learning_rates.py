"""What decides the learning rate: a grid made for the network, trials of its rates, and the change at a switch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from gatentk.errors import TrainingError
from gatentk.nn import FixedEndsNetwork
from gatentk.train.config import TrainingConfig
from gatentk.train.descent import Descent, DescentState
from gatentk.train.linearisation import Linearisation
from gatentk.train.record import EpochRecord
from gatentk.train.samples import Split
from gatentk.train.start import Start
from gatentk.train.trainable import copied_weights, set_weights

RATE_SAMPLES = 256  # for the largest eigenvalue of the kernel
DESCENT_FACTORS = (0.05, 0.15, 0.5, 1.5)  # times 1 / lambda_max(K / n): gradient descent converges below 2
ADAM_FACTORS = (0.03, 0.1, 0.3, 1.0)  # times 1 / width: its first step has spectral norm up to rate * width


class Trial(NamedTuple):
    """A learning rate and the train loss after the trial epochs; None if it diverged."""

    rate: float
    train_loss: float | None


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
    """The learning rate with the smallest finite train loss after the trial epochs, and all trials.

    Afterwards the network of `start` is as it was before. A single candidate is taken without a trial.

    Raises:
        TrainingError: every one of them diverges.
    """
    if len(candidates) == 1:
        return candidates[0], []
    weights = copied_weights(start.network)
    trials = []
    try:
        for rate in candidates:
            loss = None
            for state in Descent(config, start.network, start.train, rate, start.seed).losses(config.trial_epochs):
                loss = state.loss
                if callback is not None and state.epoch:
                    callback(_trial_record(config, start, rate, state))
            set_weights(start.network, weights)
            trials.append(Trial(rate, loss))
    finally:
        set_weights(start.network, weights)
    finite = [trial for trial in trials if trial.train_loss is not None]
    if not finite:
        tried = ", ".join(f"{rate:g}" for rate in candidates)
        raise TrainingError(
            f"the loss diverged for every learning rate ({tried}): they are too large; try smaller ones"
        )
    return min(finite, key=lambda trial: trial.train_loss or 0.0).rate, trials


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


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")
