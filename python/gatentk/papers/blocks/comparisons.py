"""What is compared: how well networks do at the end, and after how much time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from statistics import fmean, variance

from gatentk.papers.blocks.cells import TimeCell, Times, Trained, TrainingCell
from gatentk.papers.blocks.learning import Curve, Score
from gatentk.papers.blocks.settings import KINDS, RELU, Network, Settings, Task
from gatentk.papers.frame.experiment import Results
from gatentk.reporting.text import number


@dataclass(frozen=True)
class Standing:
    """How well a network does on the test samples after some time: the larger, the better.

    Attributes:
        value: share of samples in their right class, or minus the unexplained share of the variance; the mean over
            seeds.
        error: the standard error of that mean.
        right: by test sample the share of seeds that have it in the right class; empty for numbers to predict.
    """

    value: float
    error: float
    right: tuple[float, ...]

    def against(self, other: Standing) -> float:
        """The difference in standard errors, of seeds and of test samples; positive where this one does better.

        Both networks have the same test samples: what they differ in by sample says how far chance goes.
        """
        differences = [a - b for a, b in zip(self.right, other.right, strict=True)]
        chance = variance(differences) / len(differences) if len(differences) > 1 else 0.0
        error = math.sqrt(self.error**2 + other.error**2 + chance)
        return (self.value - other.value) / max(error, 1e-12)

    @property
    def text(self) -> str:
        """An accuracy, or a share of the variance that is not explained."""
        return f"{self.value:.1%}" if self.right else number(-self.value, 2)


CLEAR = 2.0  # standard errors that decide


class Comparison:
    """Trainings of one data set, by network, on the clock of the times that were measured in turns."""

    def __init__(self, settings: Settings, results: Results, data: str) -> None:
        self.settings, self.results, self.data = settings, results, data
        self.task: Task = settings.tasks[data]
        self.times: Times = results[TimeCell(data)]
        self.tests, self.steps = self.times.test_samples, self.times.steps_of_epoch

    def trained(self, network: Network) -> Trained:
        """What came of a network."""
        return self.results[TrainingCell(self.data, network)]

    def clock(self, network: Network) -> list[float]:
        """Seconds after each epoch, the start first: that of the gates of all samples."""
        timed = self.times.networks[network.name]
        table = 0.0 if network.kind == RELU else timed.table
        return list(accumulate([self.epoch(network)] * self.task.epochs, initial=table))

    def epoch(self, network: Network) -> float:
        """Seconds of the steps of an epoch."""
        return self.steps * self.times.seconds(network)

    def whole(self, network: Network) -> float:
        """Seconds of all epochs."""
        return self.clock(network)[-1]

    def after(self, network: Network, seconds: float) -> Standing:
        """Where a network stands after some time: at the last epoch that has ended by then."""
        epoch = max(0, bisect_right(self.clock(network), seconds * (1 + 1e-9)) - 1)
        scores = [_score(curve, epoch) for curve in self.trained(network).curves]
        values = [self._value(score) for score in scores]
        mean = fmean(values)
        error = self.spread * (1.0 if self.has_classes else abs(mean)) / math.sqrt(len(values))
        if not self.has_classes:
            return Standing(mean, error, ())
        missed = Counter(row for score in scores for row in _wrong(score, self.tests))
        return Standing(mean, error, tuple(1 - missed[row] / len(scores) for row in range(self.tests)))

    def end(self, network: Network) -> Standing:
        """Where a network stands after all epochs."""
        return self.after(network, math.inf)

    @cached_property
    def spread(self) -> float:
        """The standard deviation over seeds at the end, of all networks together; relative for numbers to predict."""
        squares, free = 0.0, 0
        for network in self.task.networks:
            values = [self._value(_score(curve, self.task.epochs)) for curve in self.trained(network).curves]
            if len(values) > 1:
                unit = 1.0 if self.has_classes else abs(fmean(values))
                squares += variance(values) * (len(values) - 1) / unit**2
                free += len(values) - 1
        return math.sqrt(squares / free) if free else 0.0

    def _value(self, score: Score | None) -> float:
        """Accuracy, or minus the loss; of what diverged those of nothing learnt."""
        if score is None:
            return 0.0 if self.has_classes else -1.0
        return -score.loss if score.accuracy is None else score.accuracy

    @property
    def has_classes(self) -> bool:
        """Whether test samples are right or wrong."""
        return self.task.loss == "cross-entropy"

    @property
    def kinds(self) -> list[str]:
        """Kinds of gates, in their order."""
        return [kind for kind in KINDS if self.task.having(kind)]

    @property
    def main(self) -> list[Network]:
        """The networks of the kind that there is at most widths, the last of several: those that are told of."""
        return max((self.task.having(kind) for kind in reversed(self.kinds)), key=len)

    def relu(self, width: int) -> Network:
        """The dense ReLU network of a width."""
        return Network(RELU, width)

    def relu_of_time(self, seconds: float) -> Network | None:
        """The widest dense ReLU network that gets through all epochs in that time."""
        fit = [network for network in self.task.having(RELU) if self.whole(network) <= seconds]
        return fit[-1] if fit else None

    def best_relu(self, seconds: float) -> tuple[Network, Standing]:
        """The dense ReLU network that does best on the test samples in that time, of all widths, with hindsight."""
        networks = self.task.having(RELU)
        return max(((network, self.after(network, seconds)) for network in networks), key=lambda pair: pair[1].value)

    def at_end_of_grid(self) -> list[Network]:
        """Networks for which another learning rate, shorter or longer than all that were tried, may be better."""
        ends = (min(self.task.factors), max(self.task.factors))
        return [n for n in self.task.networks if any(math.isclose(self.trained(n).rate * n.width, end) for end in ends)]

    def disturbance(self) -> float:
        """The largest ratio of the time of an epoch while a network was trained to that of the steps in turns."""
        return max(
            seconds / self.epoch(network)
            for network in self.task.networks
            for curve in self.trained(network).curves
            for seconds in curve.seconds
        )


def _score(curve: Curve, epoch: int) -> Score | None:
    """After an epoch; None where the training diverged before."""
    return curve.test[epoch] if epoch < len(curve.test) else None


def _wrong(score: Score | None, tests: int) -> Sequence[int]:
    return range(tests) if score is None else score.wrong


def decided(differences: Sequence[float]) -> bool | None:
    """Of differences in standard errors: whether all are clearly positive; None where none is clearly negative."""
    if all(difference > CLEAR for difference in differences):
        return True
    return False if any(difference < -CLEAR for difference in differences) else None
