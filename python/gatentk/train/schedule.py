"""The best epoch of a run, and the learning rate that goes back to it and down where losses stop falling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gatentk.nn import FixedEndsNetwork
from gatentk.train.config import TrainingConfig
from gatentk.train.record import EpochRecord
from gatentk.train.trainable import copied_weights, set_weights

CUT = 0.2  # of the learning rate
CUTS = 2


@dataclass(frozen=True)
class BestEpoch:
    """The epoch with the smallest loss, of the kind of network that is trained last: ReLU after a switch.

    Attributes:
        epoch: which; the epoch of a switch stands for the network right after it.
        measure: "test_loss", or "train_loss" without test samples.
        loss: its smallest value.
    """

    epoch: int
    measure: str
    loss: float


def best_epoch(records: Sequence[EpochRecord]) -> BestEpoch | None:
    """The best epoch of one run, the first of several; None if no loss is finite.

    >>> losses = [3.0, 1.0, 2.0]
    >>> records = [EpochRecord(0, k, "relu", 0.1, loss, None, None, None, 0.0) for k, loss in enumerate(losses)]
    >>> best_epoch(records)
    BestEpoch(epoch=1, measure='train_loss', loss=1.0)
    """
    measure = "train_loss" if all(record.test_loss is None for record in records) else "test_loss"
    best: BestEpoch | None = None
    for record in records:
        loss = getattr(record, measure)
        if record.switch is not None:
            best, loss = None, record.switch[f"{measure}_after"]
        if loss is not None and (best is None or loss < best.loss):
            best = BestEpoch(record.epoch, measure, loss)
    return best


class Schedule:
    """Keeps the weights of the best epoch; "plateau" decides on cuts of the learning rate.

    After `config.patience` epochs without a smaller loss the weights go back to those of the best epoch, and the
    learning rate is multiplied by 0.2; after two cuts and as many epochs again the run is settled. So it ends close to
    its best epoch even where the loss rose in between, by too large steps or because the network learns the noise of
    its samples. "constant" leaves weights and rate alone.

    Args:
        config: schedule and patience are taken from it.
        measure: the loss that is to fall, "test_loss" or "train_loss".

    Attributes:
        best, weights: the best epoch so far and its weights.
        waited: epochs since then, or since the last cut.
        cuts: of the rate.
    """

    def __init__(self, config: TrainingConfig, measure: str) -> None:
        self.config, self.measure = config, measure
        self.begin()

    def begin(self) -> None:
        """Forget everything: from here on another network is trained."""
        self.best: BestEpoch | None = None
        self.weights: list[Tensor] = []
        self.waited, self.cuts = 0, 0

    def observe(self, epoch: int, loss: float | None, network: FixedEndsNetwork) -> None:
        """Take in an epoch."""
        if loss is not None and (self.best is None or loss < self.best.loss):
            self.best, self.weights = BestEpoch(epoch, self.measure, loss), copied_weights(network)
            self.waited = 0
        else:
            self.waited += 1

    @property
    def plateau(self) -> bool:
        """Whether the loss has not fallen for long enough to do something about it."""
        return self.config.schedule == "plateau" and self.waited >= self.config.patience and self.best is not None

    def go_back(self, network: FixedEndsNetwork) -> int:
        """Give the network the weights of the best epoch, whose number is returned."""
        assert self.best is not None
        set_weights(network, self.weights)
        self.waited = 0
        self.cuts += 1
        return self.best.epoch

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        best = None if self.best is None else {"epoch": self.best.epoch, "loss": self.best.loss}
        return {"best": best, "weights": self.weights, "waited": self.waited, "cuts": self.cuts}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        best = state["best"]
        self.best = None if best is None else BestEpoch(best["epoch"], self.measure, best["loss"])
        self.weights, self.waited, self.cuts = list(state["weights"]), state["waited"], state["cuts"]
