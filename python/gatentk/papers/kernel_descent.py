"""Gradient descent on the square loss while the kernel stays as it is, and the rates that condition numbers promise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST_STEPS = 2**39  # what takes longer is not counted


class KernelDescent:
    """A linearised network under gradient descent with step 1/lambda_max: its kernel does not change.

    In the eigenbasis of K every component of the error falls by 1 - lambda/lambda_max a step.

    Args:
        K: (n, n) kernel, float64.
        error: (n,) or (n, outputs), outputs minus targets at the start.

    Attributes:
        lmin, lmax: extreme eigenvalues of K.
    """

    def __init__(self, K: Tensor, error: Tensor) -> None:
        values, vectors = torch.linalg.eigh(K)
        self.lmin, self.lmax = float(values[0]), float(values[-1])
        squares = (vectors.T @ error).square().view(len(K), -1).sum(dim=1)
        self._weights = squares / squares.sum()
        self._ratios = (values / values[-1]).clamp_min(0)  # a rounded eigenvalue below zero is none

    def losses(self, steps: int) -> list[float]:
        """Before the first and after each of `steps` steps, relative to that at the start."""
        factors = (1 - self._ratios).clamp_min(0)
        times = torch.arange(steps + 1, dtype=torch.float64)
        return [float((self._weights * factors.pow(2 * t)).sum()) for t in times]

    def steps_to(self, target: float, limit: int = MOST_STEPS) -> int | None:
        """Steps until the loss is `target` of that at the start, or None if `limit` steps are not enough.

        Exact up to 500,000 steps, to 1e-6 relative beyond.
        """
        # Not powers of 1 - ratio: after many steps the ratios count that this difference would round.
        rates = torch.log1p(-self._ratios.clamp_max(1 - 1e-16))

        def loss(steps: float) -> float:
            return float((self._weights * torch.exp(2 * steps * rates)).sum())

        if loss(limit) > target:
            return None
        low, high = 0.0, 1.0
        while loss(high) > target:
            low, high = high, 2 * high
        while high - low > max(0.5, 1e-6 * high):
            middle = (low + high) / 2
            low, high = (middle, high) if loss(middle) > target else (low, middle)
        return math.ceil(high)


def promised_loss(share: float, steps: int) -> float:
    """(1 - share)^steps: the rate for square loss, with share = 1/kappa or eta lambda_min / 2."""
    return float((1 - share) ** steps)


def promised_steps(share: float, target: float) -> int:
    """Steps after which (1 - share)^t is `target`."""
    return math.ceil(math.log(target) / math.log1p(-share))
