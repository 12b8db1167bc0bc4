"""Training steps, by the same code for both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Descent:
    """Stochastic gradient descent of the mean squared error; each call takes one step on a random mini-batch.

    Two of them take the same samples in the same order.

    Args:
        outputs: outputs (batch, d_out) of the samples `rows` (batch,).
        weights: parameters that are trained.
        targets: (n, d_out) of all samples.
        batch: samples of a step.
        rate: learning rate.
    """

    def __init__(
        self,
        outputs: Callable[[Tensor], Tensor],
        weights: Iterable[Tensor],
        targets: Tensor,
        batch: int,
        rate: float,
    ) -> None:
        self.weights = list(weights)
        self._outputs, self._targets, self._batch, self._rate = outputs, targets, batch, rate
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self) -> Tensor:
        """Take a step; the outputs (batch, d_out) before it."""
        rows = torch.randperm(len(self._targets), generator=self._generator)[: self._batch]
        for weight in self.weights:
            weight.grad = None
        outputs = self._outputs(rows)
        loss = torch.nn.functional.mse_loss(outputs, self._targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        # What torch.optim.SGD does, which imports torch's compiler: some seconds.
        with torch.no_grad():
            for weight in self.weights:
                assert weight.grad is not None
                weight.sub_(weight.grad, alpha=self._rate)
        return outputs.detach()
