"""Steps of Adam with nothing around them, so that their time is that of training alone."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gatentk import train
from gatentk.nn import FixedEndsNetwork
from gatentk.papers.blocks.settings import RELU, VALIDATION_SHARE, Network, Settings, Task, samples
from gatentk.train import LOSSES, Split
from gatentk.train.trainable import copied_weights, outputs, set_weights

ORDER_SEED = 2**32  # added to that of the network, as in `train.Descent`


class Learner:
    """A network that goes down the gradient by torch's fused Adam, in mini-batches of random samples.

    Args:
        task: loss and batch are taken from it.
        network: trained in place.
        split: what it learns, with gates.
        rate: the learning rate.
        seed: of the order of samples, the same for all networks.
    """

    def __init__(self, task: Task, network: FixedEndsNetwork, split: Split, rate: float, seed: int) -> None:
        self.task, self.network, self.split = task, network, split
        self.loss = LOSSES[task.loss]
        self.order = torch.Generator().manual_seed(ORDER_SEED + seed)
        self.optimizer = torch.optim.Adam(list(network.weights), lr=rate, fused=True)

    def batches(self) -> Iterator[Tensor]:
        """The rows of the steps of one epoch."""
        return iter(torch.split(torch.randperm(len(self.split), generator=self.order), self.task.batch))

    def step(self, rows: Tensor) -> Tensor:
        """Look up samples and gates, then forward, backward and update; the loss before it."""
        part = self.split.take(rows)
        self.optimizer.zero_grad()
        loss = self.loss(outputs(self.network, part.x, part.gates), part.targets) / len(part)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def epoch(self) -> tuple[float, bool]:
        """Seconds of the steps of one epoch, and whether all losses were finite."""
        begun = time.perf_counter()
        losses = [self.step(rows) for rows in self.batches()]
        seconds = time.perf_counter() - begun
        return seconds, bool(torch.isfinite(torch.stack(losses)).all())


@dataclass(frozen=True)
class Score:
    """How well a network does on some samples.

    Attributes:
        loss: the mean; of numbers to predict the mean squared error, relative to the variance of the train targets.
        accuracy: share of samples in their right class; None for numbers to predict.
        wrong: samples in a wrong class.
    """

    loss: float
    accuracy: float | None
    wrong: list[int]

    @property
    def finite(self) -> bool:
        """Whether the loss is a number."""
        return math.isfinite(self.loss)

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better: by accuracy, where there are classes, then by loss."""
        return (-(self.accuracy or 0.0), self.loss)


@torch.no_grad()
def score(task: Task, network: FixedEndsNetwork, split: Split, variance: float | None) -> Score:
    """Loss and accuracy on all samples of a split; `variance` of the train targets where they are numbers."""
    loss, right = 0.0, []
    for block in split.blocks():
        values = outputs(network, block.x, block.gates)
        loss += float(LOSSES[task.loss](values.double(), block.targets.double() if variance else block.targets))
        if block.classes is not None:
            right.append(values.argmax(dim=1) == block.classes)
    mean = loss / len(split)
    if variance is not None:
        return Score(2 * mean / variance, None, [])
    wrong = torch.nonzero(~torch.cat(right)).flatten().tolist()
    return Score(mean, 1 - len(wrong) / len(split), wrong)


@dataclass(frozen=True)
class Trial:
    """A learning rate and what came of it on samples held back from its steps; None where it diverged."""

    rate: float
    validation: Score | None


@dataclass(frozen=True)
class Curve:
    """What came of a training by epoch, the start first.

    Attributes:
        train: on as many train samples as there are test samples.
        test: on the test samples.
        seconds: of the steps of each epoch, as they were while it was trained.
        diverged: a loss was not finite, which ends the lists.
    """

    train: list[Score]
    test: list[Score]
    seconds: list[float]
    diverged: bool


def begin(task: Task, network: Network, depth: int, seed: int) -> train.Start:
    """The untrained network of a seed with its samples; of a ReLU network all products are dense."""
    config = network.config(task, depth)
    prepared = samples(task, network.width)
    built = train.build(config, prepared, seed)
    if network.kind == RELU:
        built.method = "dense"
    return train.begin(config, prepared, seed, built)


def target_variance(start: train.Start) -> float | None:
    """Of the numbers to predict; None for classes."""
    split = start.train
    return None if split.classes is not None else float(split.targets.double().var(dim=0, correction=0).sum())


def trials(task: Task, network: Network, start: train.Start) -> list[Trial]:
    """All learning rates, each for a few epochs on a part of the train samples; the network stays as it was."""
    held = round(VALIDATION_SHARE * len(start.train))
    validation, rest = (start.train.take(rows) for rows in torch.split(start.shuffled, [held, len(start.train) - held]))
    variance, weights = target_variance(start), copied_weights(start.network)
    tried = []
    for factor in task.factors:
        rate = factor / network.width
        learner = Learner(task, start.network, rest, rate, start.seed)
        finite = all(learner.epoch()[1] for _ in range(task.trial_epochs))
        result = score(task, start.network, validation, variance)
        tried.append(Trial(rate, result if finite and result.finite else None))
        set_weights(start.network, weights)
    return tried


def best_rate(tried: list[Trial]) -> float:
    """Of the trial with the best accuracy, or the smallest loss; the smallest rate where all diverged."""
    good = [(trial.validation.rank, trial.rate) for trial in tried if trial.validation is not None]
    return min(good)[1] if good else min(trial.rate for trial in tried)


def curve(task: Task, start: train.Start, rate: float) -> Curve:
    """Train all epochs at a learning rate."""
    assert start.test is not None
    variance, test = target_variance(start), start.test
    some = start.train.take(start.shuffled[: len(test)])
    learner = Learner(task, start.network, start.train, rate, start.seed)

    def scored() -> list[Score]:
        return [score(task, start.network, split, variance) for split in (some, test)]

    at_start = scored()
    result = Curve([at_start[0]], [at_start[1]], [], False)
    for _ in range(task.epochs):
        seconds, finite = learner.epoch()
        scores = scored()
        if not finite or not all(one.finite for one in scores):
            return Curve(result.train, result.test, result.seconds, True)
        result.train.append(scores[0])
        result.test.append(scores[1])
        result.seconds.append(seconds)
    return result


@dataclass(frozen=True)
class Timed:
    """Seconds of a step by round, and of the gates of all train samples, which are computed once."""

    steps: list[float]
    table: float


def step_seconds(settings: Settings, task: Task) -> dict[str, Timed]:
    """Times of all networks of a task by name; their steps take turns, after a round that is not counted.

    Networks of a width share trained weights and moments, so that all of them fit into the memory; their learning rate
    is too small to change a weight.
    """
    learners: dict[str, Learner] = {}
    tables: dict[str, float] = {}
    widths: dict[int, Learner] = {}
    for network in task.networks:
        start = begin(task, network, settings.depth, 0)
        tables[network.name] = _seconds(partial(start.network.gate_table, start.train.x))
        first = widths.get(network.width)
        if first is not None:
            start.network.weights = first.network.weights
        learner = Learner(task, start.network, start.train, 1e-30, 0)
        if first is not None:
            learner.optimizer = first.optimizer
        widths.setdefault(network.width, learner)
        learners[network.name] = learner
    steps: dict[str, list[float]] = {name: [] for name in learners}
    for number, rows in enumerate(_rounds(next(iter(learners.values())), settings.rounds + 1)):
        for name, learner in learners.items():
            taken = _seconds(partial(learner.step, rows))
            if number:
                steps[name].append(taken)
    return {name: Timed(steps[name], tables[name]) for name in learners}


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _rounds(learner: Learner, count: int) -> Iterator[Tensor]:
    """The rows of so many steps of full size, over as many epochs as they take."""
    size = min(learner.task.batch, len(learner.split))
    full = (rows for _ in itertools.count() for rows in learner.batches() if len(rows) == size)
    return itertools.islice(full, count)
