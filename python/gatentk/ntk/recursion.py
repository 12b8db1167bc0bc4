"""Derivatives of kernels of infinite width for a tile of pairs: through the layers forward, and backward.

Covariances of pre-activations go c <- weight E[f(u) f(v)] + bias, kernels T <- c + weight E[f'(u) f'(v)] T. Angles are
carried as complements 1 - cos, as in the fused kernels: what has a kink where samples are parallel divides by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gatentk.ntk.moments import Moments, OfOne, OfPair, PiecewiseLinear
from gatentk.ntk.networks import LARGEST_SQUARE


class Layer(NamedTuple):
    """What each sample alone makes of one layer: tensors that broadcast to the pairs.

    Attributes:
        one: its pre-activation.
        psi: the angle whose cosine is the share of the pre-activation's deviation that is no bias.
    """

    one: OfOne
    psi: Tensor

    def part(self, index: tuple[slice, slice], dim: int) -> Layer:
        """Of some samples (batch, n), with a dimension for those of the other side."""
        return Layer(OfOne(*(value[index].unsqueeze(dim) for value in self.one)), self.psi[index].unsqueeze(dim))


@dataclass(frozen=True)
class Recursion:
    """A network's layers.

    Attributes:
        moments: of its activation.
        first, weight, bias: variances of the first layer's weights, of later ones and of biases, by each number that
            enters.
    """

    moments: Moments
    first: float
    weight: float
    bias: float

    def layers(self, squares: Tensor, last: int) -> list[Layer]:
        """Layers 0 to `last` of samples with these squared norms.

        Raises:
            ValueError: variances whose products overflow, where products are needed.
        """
        found: list[Layer] = []
        before = self.first * squares
        for _ in range(last + 1):
            psi = torch.atan2(torch.full_like(before, math.sqrt(self.bias)), before.sqrt())
            found.append(Layer(self.moments.of_one(before + self.bias), psi))
            before = self.weight * found[-1].one.mean
        if not isinstance(self.moments, PiecewiseLinear):
            for number, layer in enumerate(found):
                if not float(layer.one.variance.max()) <= LARGEST_SQUARE:
                    raise ValueError(
                        f"x: pre-activations have variances above {LARGEST_SQUARE:g} in layer {number}, too large for "
                        "gradients of erf and gelu; rescale the samples"
                    )
        return found

    def tangents(self, layers: Sequence[Layer], start: Tensor, weight: float, bias: float) -> list[Tensor]:
        """Of the variances of all layers, from those of the first layer and of the network's variances."""
        found = [start]
        for layer in layers[:-1]:
            found.append(weight * layer.one.mean + self.weight * layer.one.rise * found[-1] + bias)
        return found


class Entering(NamedTuple):
    """What the sums of a kernel are made of.

    Attributes:
        covariances: by what the covariance of each layer is multiplied before it is added; None if the covariance
            itself is asked for.
        start: (batch, n, n_z), the sum in layer 0 that does not come from a covariance; None if there is none.
    """

    covariances: Sequence[float | Tensor] | None
    start: Tensor | None = None


class Direction(NamedTuple):
    """Tangents of what a tile is computed from.

    Attributes:
        covariance: of the covariances in the first layer.
        left, right: of the logarithms of the variances in each layer, which broadcast to the pairs.
        weight, bias: of the network's variances.
    """

    covariance: Tensor
    left: Sequence[Tensor]
    right: Sequence[Tensor]
    weight: float
    bias: float


class Pulled(NamedTuple):
    """Gradients by what a tile was computed from.

    Attributes:
        covariance: by the covariance of the first layer, by pairs.
        start: by the sum that was given; 0.0 if none was.
        left, right: by the logarithms of the variances of each layer but the last, as pairs.
        weight, bias: by the network's variances, as pairs.
    """

    covariance: Tensor
    start: Tensor | float
    left: list[Tensor]
    right: list[Tensor]
    weight: list[Tensor]
    bias: list[Tensor]

    def turned(self) -> Pulled:
        """With the other side to the left; without the network's."""
        start = self.start.mT if isinstance(self.start, Tensor) else self.start
        left, right = ([part.mT for part in side] for side in (self.right, self.left))
        return Pulled(self.covariance.mT, start, left, right, [], [])


class Tile:
    """Pairs of some rows.

    Args:
        recursion: the network.
        left, right: layers of the samples of both sides, (batch, n, 1) and (batch, 1, n_z).
        theta: angles of the samples, (batch, n, n_z).
    """

    def __init__(self, recursion: Recursion, left: Sequence[Layer], right: Sequence[Layer], theta: Tensor) -> None:
        self.recursion = recursion
        self.left, self.right = left, right
        self.theta = theta

    def pull(self, last: int, asked: Mapping[int, Tensor], entering: Entering, variances: bool = True) -> Pulled:
        """Backward from gradients by the kernels at some depths, `last` the largest of them.

        Those by the network's variances are left out unless they are asked for.
        """
        weight = self.recursion.weight
        passed, totals = self._forward(last, entering)
        left, right, by_weight, by_bias = ([] for _ in range(4))
        of_mean: Tensor | float = 0.0
        of_total: Tensor | float = 0.0
        for layer in range(last, -1, -1):
            given = asked.get(layer, 0.0)
            if entering.covariances is None:
                of_mean = of_mean + given
            else:
                of_total = of_total + given
                of_mean = of_mean + entering.covariances[layer] * of_total
            if variances and isinstance(of_mean, Tensor):
                by_bias.append(of_mean)
            if layer == 0:
                break
            pair, total = passed[layer - 1], totals[layer - 1]
            if variances:
                share = of_mean * pair.mean
                by_weight.append(share if total is None else share + of_total * total * pair.slope)
            of_mean = weight * of_mean
            alike = pair.mean_r is pair.mean_p and pair.slope_r is pair.slope_p
            own, back = of_mean * pair.mean_p, of_mean * pair.mean_c
            other = own if alike else of_mean * pair.mean_r
            if total is not None:
                of_slope = weight * of_total * total
                own = own + of_slope * pair.slope_p
                other = own if alike else other + of_slope * pair.slope_r
                back = back + of_slope * pair.slope_c
                of_total = weight * pair.slope * of_total
            left.append(own)
            right.append(other)
            of_mean = back
        assert isinstance(of_mean, Tensor)
        return Pulled(of_mean, of_total, left[::-1], right[::-1], by_weight, by_bias)

    def push(self, depth: int, entering: Entering, directions: Sequence[Direction]) -> list[Tensor]:
        """Tangents of the kernel of that depth in some directions."""
        passed, totals = self._forward(depth, entering)
        return [self._push(depth, entering, direction, passed, totals) for direction in directions]

    def _push(
        self,
        depth: int,
        entering: Entering,
        direction: Direction,
        passed: Sequence[OfPair],
        totals: Sequence[Tensor | None],
    ) -> Tensor:
        weight = self.recursion.weight
        mean, total = direction.covariance, torch.zeros_like(direction.covariance)
        for layer in range(depth + 1):
            if layer:
                pair, before = passed[layer - 1], totals[layer - 1]
                p, r = direction.left[layer - 1], direction.right[layer - 1]
                if before is not None:
                    slope = pair.slope_c * mean + pair.slope_p * p + pair.slope_r * r
                    total = weight * (pair.slope * total + slope * before) + direction.weight * pair.slope * before
                change = pair.mean_c * mean + pair.mean_p * p + pair.mean_r * r
                mean = direction.weight * pair.mean + weight * change + direction.bias
            if entering.covariances is not None:
                total = total + entering.covariances[layer] * mean
        return mean if entering.covariances is None else total

    def _forward(self, last: int, entering: Entering) -> tuple[list[OfPair], list[Tensor | None]]:
        """What each layer but the last makes of the pairs, and the sums of the kernel in them."""
        theta, half = self.theta, self.theta / 2
        eps = 2 * half.sin().square()
        if self.recursion.bias:
            # Nearly opposite samples stay so under a small bias: 1 + cos is a sum of non-negative terms as well.
            eps, rest = self._biased(0, eps), self._biased(0, 2 * half.cos().square(), opposite=True)
            theta = 2 * torch.atan2(eps.sqrt(), rest.sqrt())
        total = entering.start
        passed: list[OfPair] = []
        totals: list[Tensor | None] = []
        for layer in range(last):
            if layer:
                eps = self._biased(layer, passed[-1].eps)
                theta = _angle(eps)
            own, other = self.left[layer].one, self.right[layer].one
            if entering.covariances is not None:
                enters = entering.covariances[layer]
                if isinstance(enters, Tensor) or enters:
                    covariance = own.variance.sqrt() * other.variance.sqrt() * (1 - eps)
                    total = enters * covariance + (0.0 if total is None else total)
                totals.append(total)
            else:
                totals.append(None)
            pair = self.recursion.moments.of_pair(own, other, eps, theta)
            if total is not None:
                total = self.recursion.weight * pair.slope * total
            passed.append(pair)
        return passed, totals

    def _biased(self, layer: int, eps: Tensor, opposite: bool = False) -> Tensor:
        """1 - cos, or 1 + cos, with the bias of a layer."""
        if not self.recursion.bias:
            return eps
        x, z = self.left[layer].psi, self.right[layer].psi
        turn = x + z if opposite else x - z
        return x.cos() * z.cos() * eps + 2 * (turn / 2).sin().square()


def _angle(eps: Tensor) -> Tensor:
    return 2 * (eps / 2).clamp(max=1).sqrt().asin()
