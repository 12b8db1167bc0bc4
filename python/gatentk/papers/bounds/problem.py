"""What the checks of [G] train: GReLU networks on Ackley-like data, by plain gradient descent."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from gatentk import data
from gatentk.nn import GReLUNetwork
from gatentk.train.losses import square_loss

SMALL = 1e8  # cost of a cell that takes tenths of a second; 1e9 are a second on one core


@lru_cache(maxsize=4)
def ackley(n: int) -> tuple[Tensor, Tensor]:
    """Unit rows (n, 2n) and labels (n, 1) of mean square 1."""
    dataset = data.load("ackley", n=n)
    assert dataset.y is not None
    return dataset.x, (dataset.y / dataset.y.square().mean().sqrt()).unsqueeze(1)


def scaled_ackley(n: int, width: int) -> tuple[Tensor, Tensor]:
    """Ackley data with labels of the size of a network's outputs, sqrt(m / d_x), so that widths compare."""
    x, labels = ackley(n)
    return x, labels * math.sqrt(width / x.shape[1])


def network(n: int, width: int, depth: int, seed: int, outputs: int = 1) -> GReLUNetwork:
    """The untrained network of a seed for the data of n samples."""
    generator = torch.Generator().manual_seed(seed)
    return GReLUNetwork(2 * n, width, depth, outputs, generator=generator, dtype=torch.float64)


def descend(net: GReLUNetwork, outputs: Tensor, labels: Tensor, step: float) -> None:
    """A step of gradient descent on the square loss."""
    gradients = torch.autograd.grad(square_loss(outputs, labels), list(net.weights))
    with torch.no_grad():
        for weight, gradient in zip(net.weights, gradients, strict=True):
            weight.sub_(gradient, alpha=step)
