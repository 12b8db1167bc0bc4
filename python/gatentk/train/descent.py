"""Gradient descent: steps over mini-batches, and the losses that they lead to."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gatentk.train.config import TrainingConfig
from gatentk.train.losses import LOSSES
from gatentk.train.samples import Split
from gatentk.train.trainable import Trainable, outputs


class DescentState(NamedTuple):
    """Where a descent stands after an epoch.

    Attributes:
        epoch: number of epochs done; 0 is the start.
        loss, accuracy: on the train samples, as `Descent.evaluate` gives them; None where the loss is not finite.
        begun: when the epoch began, by `time.perf_counter`.
    """

    epoch: int
    loss: float | None
    accuracy: float | None
    begun: float

    @property
    def diverged(self) -> bool:
        """Whether the loss is not finite."""
        return self.loss is None

    def seconds(self) -> float:
        """Time since the epoch began."""
        return time.perf_counter() - self.begun


class Descent:
    """A network that goes down the gradient of its mean loss.

    The order of samples comes from a generator of its own, seeded 2^32 + seed: `randperm(n).split(batch)` are the
    mini-batches of an epoch, the same for all networks.

    Args:
        config: loss, optimizer and batch are taken from it.
        network: trained in place.
        train: the samples.
        rate: the learning rate.
        seed: of the order of samples.

    Attributes:
        epoch: number of epochs done.
    """

    def __init__(self, config: TrainingConfig, network: Trainable, train: Split, rate: float, seed: int = 0) -> None:
        self.config, self.train, self.seed = config, train, seed
        self.loss = LOSSES[config.loss]
        self.order = torch.Generator().manual_seed(2**32 + seed)
        self.epoch = 0
        self.descend_with(network, rate)

    def descend_with(self, network: Trainable, rate: float) -> None:
        """Train this network from here on, with a fresh optimizer."""
        self.network, self.rate = network, rate
        kind = torch.optim.Adam if self.config.optimizer == "adam" else torch.optim.SGD
        self.optimizer: torch.optim.Optimizer = kind(network.weights, lr=rate)

    def losses(self, last: int) -> Iterator[DescentState]:
        """Train until epoch `last`; yields after each epoch, the start first, until the loss is not finite."""
        if self.epoch == 0:
            yield self._measured(time.perf_counter(), finite=True)
        while self.epoch < last:
            begun = time.perf_counter()
            finite = self.train_epoch()
            self.epoch += 1
            state = self._measured(begun, finite)
            yield state
            if state.diverged:
                return

    def _measured(self, begun: float, finite: bool) -> DescentState:
        loss, accuracy = self.evaluate(self.train) if finite else (math.nan, None)
        if not math.isfinite(loss):
            return DescentState(self.epoch, None, None, begun)
        return DescentState(self.epoch, loss, accuracy, begun)

    def train_epoch(self) -> bool:
        """One pass over the train samples; False if a loss was not finite, and the step was not taken."""
        for part in self._steps(self.epoch_samples()):
            self.optimizer.zero_grad()
            total = 0.0
            for block in part.blocks():
                loss = self.loss(outputs(self.network, block.x, block.gates), block.targets) / len(part)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            if not math.isfinite(total):
                return False
            self.optimizer.step()
        return True

    def epoch_samples(self) -> Split:
        """What the next epoch learns from."""
        return self.train

    def _steps(self, samples: Split) -> Iterator[Split]:
        """The samples of each step."""
        if self.config.batch is None:
            yield samples
            return
        order = torch.randperm(len(samples), generator=self.order)
        for rows in torch.split(order, self.config.batch):
            yield samples.take(rows)

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[float, float | None]:
        """Mean loss in the unit of the data, and the share of samples in their right class (None for regression)."""
        loss, right = 0.0, 0
        for block in split.blocks():
            values = outputs(self.network, block.x, block.gates)
            loss += float(self.loss(*_in_given_units(values, block)))
            if block.classes is not None:
                right += int((values.argmax(dim=1) == block.classes).sum())
        return loss / len(split), None if split.classes is None else right / len(split)


def _in_given_units(values: Tensor, split: Split) -> tuple[Tensor, Tensor]:
    """Outputs and targets, less their mean, in the unit of the data."""
    if split.scale is None:
        return values, split.targets
    return values.double() * split.scale.unit, split.targets.double() * split.scale.unit
