"""Losses, summed over samples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def square_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """1/2 sum_i |y_i - label_i|^2 ([G], Eq. 2) of outputs and targets (n, d_out)."""
    return (outputs - targets).square().sum() / 2


def cross_entropy(outputs: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of logits (n, d_out) and classes (n,), summed over samples."""
    return torch.nn.functional.cross_entropy(outputs, classes, reduction="sum")


LOSSES: dict[str, Loss] = {"square": square_loss, "cross-entropy": cross_entropy}
