"""What gradient descent asks of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from gatentk.gates import GateTable


class Trainable(Protocol):
    """A network with its trained weights in a list, and outputs that follow from them.

    Every network of `gatentk.nn` is one.
    """

    @property
    def weights(self) -> nn.ParameterList:
        """The trained weights, from the first layer to the last."""

    def __call__(self, x: Tensor, *, gates: GateTable = ...) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in); `gates` comes only with samples whose gates were looked up."""


def outputs(network: Trainable, x: Tensor, gates: GateTable | None = None) -> Tensor:
    """Outputs (n, d_out) of samples (n, d_in), with their gates if there are any."""
    return network(x) if gates is None else network(x, gates=gates)


def copied_weights(network: Trainable) -> list[Tensor]:
    """The trained weights as they are now."""
    return [weight.detach().clone() for weight in network.weights]


@torch.no_grad()
def set_weights(network: Trainable, values: Sequence[Tensor]) -> None:
    """Give the network other weights, of the same shapes."""
    for weight, value in zip(network.weights, values, strict=True):
        weight.copy_(value)
