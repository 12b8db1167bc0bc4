"""A network linearised at its weights: what it does where the tangent kernel describes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatentk.gates import GateTable
from gatentk.nn import FixedEndsNetwork
from gatentk.train.quantities import masks
from gatentk.train.trainable import copied_weights


class Linearisation:
    """A network linearised at its current weights: y^NTK = y + J dW, J the Jacobian by W_1 .. W_L ([G], Sec. 4).

    Args:
        net: the network; its weights are copied.
        x: (n, d) samples.
        gates: of x, for a GReLU network.
    """

    def __init__(self, net: FixedEndsNetwork, x: Tensor, gates: GateTable | None = None) -> None:
        with torch.no_grad():
            self.weights = copied_weights(net)
            self.output_weight = net.output_weight.detach()
            self.activations = net.activations(x, gates)
            self.masks = masks(net, x, gates)
            self.outputs = self.activations[-1] @ self.output_weight.T

    @torch.no_grad()
    def tangent(self, change: Sequence[Tensor]) -> Tensor:
        """J dW, (n, d_out): s_k = D_k (W_k s_{k-1} + dW_k t_{k-1}), y = B s_L."""
        s = torch.zeros_like(self.activations[0])
        for k, (weight, step) in enumerate(zip(self.weights, change, strict=True)):
            s = self.masks[k + 1] * (s @ weight.T + self.activations[k] @ step.T)
        return s @ self.output_weight.T

    @torch.no_grad()
    def cotangent(self, residual: Tensor) -> list[Tensor]:
        """J^T r for r (n, d_out): the gradient by each weight matrix."""
        delta = (residual @ self.output_weight) * self.masks[-1]
        parts: list[Tensor] = []
        for k in reversed(range(len(self.weights))):
            parts.insert(0, delta.T @ self.activations[k])
            delta = (delta @ self.weights[k]) * self.masks[k]
        return parts

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Outputs (n, d_out) of the linearised network at other weights."""
        return self.outputs + self.tangent([now.detach() - w for now, w in zip(weights, self.weights, strict=True)])

    def largest_eigenvalue(self, iterations: int = 20) -> float:
        """Largest eigenvalue of J J^T / n, all outputs together, from below by power iteration.

        Gradient descent on the mean square loss of the linearised network converges for steps below twice its
        inverse.
        """
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(self.outputs.shape, generator=generator, dtype=self.outputs.dtype)
        value = 0.0
        for _ in range(iterations):
            v = self.tangent(self.cotangent(v / v.norm())) / len(v)
            value = float(v.norm())
            if value == 0:  # every output is constant
                break
        return value
