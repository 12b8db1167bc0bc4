"""What is written down of an epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one run: a line of the log.

    Attributes:
        seed, epoch: which; epoch 0 is the start.
        model: "grelu" or "relu", as trained in this epoch.
        rate: the learning rate.
        train_loss, test_loss: mean over all train and test samples after the epoch; None without a test set, and
            where it is not finite.
        train_accuracy, test_accuracy: share of samples whose largest output is that of their class; None for
            regression.
        seconds: of the epoch, with measuring.
        diverged: the loss is not finite; the run ends here.
        returned_to: the epoch whose weights the run goes on with, where a schedule went back to it after this epoch.
        settled: the schedule ended the run here.
        switch: losses before and after the conversion to ReLU and its report, at the epoch where it was made.
        diagnostics: values by name.
    """

    seed: int
    epoch: int
    model: str
    rate: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    diverged: bool = False
    switch: dict[str, Any] | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)
    returned_to: int | None = None
    settled: bool = False


def plain(value: Any) -> Any:
    """For JSON: tensors as lists, None for what is not finite."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
