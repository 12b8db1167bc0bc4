"""What is computed: times of steps, trainings, and condition numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from gatentk import ntk, train
from gatentk.gates import GateNetwork
from gatentk.papers.blocks import learning
from gatentk.papers.blocks.learning import Curve, Timed, Trial
from gatentk.papers.blocks.settings import KINDS, RELU, VALIDATION_SHARE, Network, Settings, Task, samples
from gatentk.papers.frame.experiment import Cell
from gatentk.spectra import spectrum

# What two cores with AVX2 do: dense float32 products, memory traffic of the update, what a small layer costs in a step.
FLOPS = 2e11
BYTES_PER_SECOND = 2e10
LAYER_SECONDS = 2e-4
SHARES = ((64, 0.3), (32, 0.35), (16, 0.45), (8, 0.7), (1, 0.8))  # of the time of dense products, by block, about


def epoch_seconds(task: Task, network: Network, depth: int) -> float:
    """Expected time of the steps of an epoch, and of the losses after it."""
    n, d = samples(task, network.width).train.x.shape
    weights = depth * network.width**2
    share = 1.0 if network.kind == RELU else next(share for block, share in SHARES if network.block >= block)
    products = 8 * n * (weights * share + network.width * d / 4) / FLOPS
    return products + math.ceil(n / task.batch) * (28 * weights / BYTES_PER_SECOND + (depth + 2) * LAYER_SECONDS)


@dataclass(frozen=True)
class Times:
    """Times of all networks of a data set.

    Attributes:
        networks: by name.
        steps_of_epoch: how many there are.
        test_samples: how many there are.
    """

    networks: dict[str, Timed]
    steps_of_epoch: int
    test_samples: int

    def seconds(self, network: Network) -> float:
        """The median of a step."""
        return median(self.networks[network.name].steps)

    def speedup(self, network: Network, other: Network) -> float:
        """How many times as long a step of another network takes: the median of ratios of the same round."""
        own, theirs = (self.networks[each.name].steps for each in (network, other))
        return median(b / a for a, b in zip(own, theirs, strict=True))


@dataclass(frozen=True)
class TimeCell(Cell[Settings, Times]):
    """Steps of all networks of a data set, which take turns."""

    data: str

    KEY = "{data} times"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        task = settings.tasks[self.data]
        steps = math.ceil(len(samples(task, 1).train) / task.batch)
        epochs = sum(epoch_seconds(task, network, settings.depth) for network in task.networks)
        return epochs / steps * (settings.rounds + 1)

    def compute(self, settings: Settings) -> Times:
        """Time them."""
        task = settings.tasks[self.data]
        split = samples(task, 1)
        assert split.test is not None
        steps = math.ceil(len(split.train) / task.batch)
        return Times(learning.step_seconds(settings, task), steps, len(split.test))


@dataclass(frozen=True)
class Trained:
    """The trainings of a network, and the trials that chose their learning rate."""

    rate: float
    trials: list[Trial]
    curves: list[Curve]


@dataclass(frozen=True)
class TrainingCell(Cell[Settings, Trained]):
    """One network: trials of learning rates, then a training of each seed at the best of them."""

    data: str
    network: Network

    @property
    def key(self) -> str:
        """The data set and the network."""
        return f"{self.data} {self.network.name}"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        task = settings.tasks[self.data]
        tried = len(task.factors) * task.trial_epochs * (1 - VALIDATION_SHARE)
        return (tried + settings.seeds * task.epochs) * epoch_seconds(task, self.network, settings.depth)

    def compute(self, settings: Settings) -> Trained:
        """Trials, then all seeds."""
        task = settings.tasks[self.data]
        first = learning.begin(task, self.network, settings.depth, 0)
        tried = learning.trials(task, self.network, first)
        rate = learning.best_rate(tried)
        curves = [learning.curve(task, first, rate)]
        for seed in range(1, settings.seeds):
            curves.append(learning.curve(task, learning.begin(task, self.network, settings.depth, seed), rate))
        return Trained(rate, tried, curves)


@dataclass(frozen=True)
class Condition:
    """Condition numbers of kernels; a bound from below, as `spectrum` gives it, where one is not resolved."""

    values: list[float]
    resolved: bool


@dataclass(frozen=True)
class MeasuredCell(Cell[Settings, Condition]):
    """Kernels of untrained networks, over the trained weights and all outputs, in float64."""

    data: str
    network: Network

    @property
    def key(self) -> str:
        """The data set and the network."""
        return f"{self.data} {self.network.name} kernel"

    def cost(self, settings: Settings) -> float:
        """Seconds: passes, and products of the features of all layers."""
        n, m, L = settings.kernel_samples, self.network.width, settings.depth
        return settings.kernel_seeds * (4 * n * m**2 * L + 4 * n**2 * m * L + 10 * n**3) / (FLOPS / 4)

    @torch.no_grad()
    def compute(self, settings: Settings) -> Condition:
        """A kernel of each seed."""
        task = settings.tasks[self.data]
        prepared, config = samples(task, self.network.width), self.network.config(task, settings.depth, "float64")
        x = kernel_rows(settings, self.data)
        spectra = [
            spectrum(ntk.empirical(train.build(config, _in_float64(prepared), seed), x))
            for seed in range(settings.kernel_seeds)
        ]
        return Condition([float(s.condition_bound) for s in spectra], all(bool(s.resolved) for s in spectra))


@dataclass(frozen=True)
class ClosedCell(Cell[Settings, Condition]):
    """The kernel of infinitely many gates of a kind, in closed form."""

    data: str
    kind: str

    KEY = "{data} {kind} kernel in closed form"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        return 1e-9 * settings.kernel_samples**3

    def compute(self, settings: Settings) -> Condition:
        """One kernel; a network of one unit says what kind it is, and where the center lies."""
        x = kernel_rows(settings, self.data)
        kind, center = KINDS[self.kind]
        mean = samples(settings.tasks[self.data], 1).train.x.double().mean(dim=0) if center else None
        drawn_by = GateNetwork(x.shape[1], 2, settings.depth, None, torch.float64, block=2, kind=kind, center=mean)
        s = spectrum(ntk.infinite(x, depth=settings.depth, activation="grelu", gates=drawn_by))
        return Condition([float(s.condition_bound)], bool(s.resolved))


def kernel_rows(settings: Settings, data: str) -> torch.Tensor:
    """The samples whose kernels are compared, in float64."""
    prepared = samples(settings.tasks[data], 1)
    return prepared.train.x[prepared.shuffled[: settings.kernel_samples]].double()


def _in_float64(prepared: train.TrainingSamples) -> train.TrainingSamples:
    return replace(prepared, train=replace(prepared.train, x=prepared.train.x.double()))


def cells(settings: Settings) -> Iterator[Cell[Settings, Any]]:
    """Data set by data set times, then trainings of narrow networks first; condition numbers of all of them at last."""
    for data, task in settings.tasks.items():
        yield TimeCell(data)
        for network in sorted(task.networks, key=lambda each: each.width):
            yield TrainingCell(data, network)
    for data, task in settings.tasks.items():
        yield from (ClosedCell(data, kind) for kind in KINDS if task.having(kind))
        yield from (MeasuredCell(data, network) for network in task.networks)
