"""Kernels of infinitely wide networks with weight and bias variances, and of outputs instead of gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TypeVar

import torch
from torch import Tensor

from gatentk import ops
from gatentk.activations import ACTIVATIONS, Activation
from gatentk.checks import FLOATS, check_choice, describe
from gatentk.ntk.samples import Samples
from gatentk.ops.infinite import LARGEST_NETWORK_DEPTH

KERNELS = ("ntk", "nngp")

# Standard deviations beyond have variances whose products with squares of samples are no longer normal numbers.
LARGEST_DEVIATION = 1e100

# Of the variance of a pre-activation of the first layer where it is not scaled: products of two are finite.
LARGEST_SQUARE = 1e150

# Squared norms of rows that kernels in float32 are computed from in float32.
_FLOAT32_SQUARES = 1e-12, 1e12


@dataclass(frozen=True)
class Network:
    """A network whose kernel is not that of [S]'s parametrisation alone.

    Attributes:
        activation: of its hidden layers.
        nngp: whether the covariance of its outputs is asked for, not the NTK.
        slope: of negative numbers; None where the activation is not piecewise linear.
        w_std, b_std: of each layer, the last included; None for [S]'s parametrisation.
    """

    activation: Activation
    nngp: bool
    slope: float | None
    w_std: float | None
    b_std: float

    def variances(self, features: int) -> tuple[float, float, float]:
        """Of the first layer's weights, of later ones and of biases, each by a number that enters."""
        if self.w_std is None:
            return 1.0, self.activation.gain_of(self.slope), 0.0
        weight = self.w_std * self.w_std
        return weight / features, weight, self.b_std * self.b_std

    def kernels(self, samples: Samples, depths: Sequence[int]) -> Tensor:
        """(len(depths), ..., n, n_z), in the order asked for.

        Raises:
            ValueError: kernels that leave the range of the dtype; too many layers.
        """
        rising = sorted(set(depths))
        features = samples.x.shape[-1]
        first, weight, bias = self.variances(features)
        squares = _squares(samples)
        self._check_depth(rising[-1])
        self._check_range(rising[-1], squares, features, samples.dtype)
        if self.activation.name == "linear":
            kernels = self._of_linear(samples, rising, first, weight, bias)
        elif self.activation.kernel is not None and bias == 0 and not self.nngp:
            kernels = self._of_plain_relu(samples, rising, first, weight)
        else:
            kernels = self._of_network(samples, rising, (first, weight, bias), squares)
        if rising != list(depths):
            kernels = kernels[[rising.index(depth) for depth in depths]]
        return kernels

    def _of_linear(self, samples: Samples, depths: list[int], first: float, weight: float, bias: float) -> Tensor:
        """a x.z + c."""
        gram = samples.rows.restore(samples.gram())
        found = linear_coefficients(depths, first, weight, bias, self.nngp)
        return torch.stack([factor * gram + added for factor, added in found])

    def _of_plain_relu(self, samples: Samples, depths: list[int], first: float, weight: float) -> Tensor:
        """Without biases [S]'s kernel times a power of weight / 2."""
        kernels = samples.kernels(depths)
        for kernel, depth in zip(kernels, depths, strict=True):
            factor = first * (weight / 2) ** depth
            if factor != 1:
                kernel *= factor
        return kernels

    def _of_network(
        self, samples: Samples, depths: list[int], variances: tuple[float, float, float], squares: Tensor
    ) -> Tensor:
        quantity = self.activation.network
        assert quantity is not None
        options = dict(zip(("first", "weight", "bias"), variances, strict=True), slope=self.slope or 0.0)
        name = f"{quantity}_nngp" if self.nngp else quantity
        if self.is_homogeneous:
            return samples.rows.restore(ops.infinite_network(samples.x, samples.z, depths, name, **options))
        low, high = _FLOAT32_SQUARES
        narrow = self.slope is not None and bool(((squares == 0) | (squares >= low) & (squares <= high)).all())
        dtype = samples.dtype if narrow else torch.float64
        sides = [side.to(dtype) for side in samples.given]
        kernels = ops.infinite_network(sides[0], sides[1] if len(sides) == 2 else None, depths, name, **options)
        return kernels.to(samples.dtype)

    @property
    def is_homogeneous(self) -> bool:
        """Whether K(a x, b z) = a b K(x, z), a, b > 0."""
        return self.b_std == 0 and (self.slope is not None or self.activation.name == "linear")

    def _check_depth(self, depth: int) -> None:
        if depth > LARGEST_NETWORK_DEPTH and not self.is_homogeneous:
            raise ValueError(
                f"depth: expected at most {LARGEST_NETWORK_DEPTH:,} hidden layers with biases and of erf and gelu, got "
                f"{depth}"
            )

    def _check_range(self, depth: int, squares: Tensor, features: int, dtype: torch.dtype) -> None:
        """Refuse kernels of which some overflow, or underflow where no bias is added, following the extreme samples."""
        positive = squares[squares > 0]
        if not positive.numel():
            return
        smallest, largest = (float(value) for value in torch.aminmax(positive))
        if not self.is_homogeneous and not largest * self.variances(features)[0] <= LARGEST_SQUARE:
            raise ValueError(f"x: squared norms are too large for biases, erf and gelu in {dtype}; rescale the samples")
        if not math.isfinite(largest):  # balanced rows say so, and with them that rows are small
            return
        info = torch.finfo(dtype)
        if self._diagonal(depth, largest, features, dtype)[1] > info.max:
            raise ValueError(f"w_std: kernels of depth {depth} overflow {dtype}")
        if self.b_std == 0 and self._diagonal(depth, smallest, features, dtype)[0] < info.smallest_normal:
            raise ValueError(f"w_std: kernels of depth {depth} underflow {dtype}")

    def _diagonal(self, depth: int, square: float, features: int, dtype: torch.dtype) -> tuple[float, float]:
        """Covariance and NTK of a sample and itself, up to the layer in which they leave the range of the dtype."""
        first, weight, bias = self.variances(features)
        info = torch.finfo(dtype)
        covariance = kernel = first * square + bias
        for _ in range(depth):
            if not info.smallest_normal <= covariance <= kernel <= info.max:
                break
            mean, slope = self._moments(covariance)
            covariance = weight * mean + bias
            kernel = covariance + weight * slope * kernel
        return covariance, kernel

    def _moments(self, variance: float) -> tuple[float, float]:
        """E[f(u)^2] and E[f'(u)^2] of a pre-activation of that variance."""
        if self.slope is not None or self.activation.name == "linear":
            share = 1.0 if self.slope is None else (1 + self.slope * self.slope) / 2
            return share * variance, share
        if self.activation.name == "erf":
            root = math.sqrt(1 + 4 * variance)
            return 2 / math.pi * math.atan2(2 * variance, root), 4 / (math.pi * root)
        one, rest = 1 + variance, 1 + 2 * variance
        half, turn = 0.5 - math.atan2(math.sqrt(rest), variance) / (2 * math.pi), 0.5 / (math.pi * math.sqrt(rest))
        mean = variance * (half + 2 * turn * variance / one)
        return mean, half + turn * variance * (2 / one + 1 / rest)


_Number = TypeVar("_Number", float, Tensor)


def linear_coefficients(
    depths: Sequence[int], first: _Number, weight: _Number, bias: _Number, nngp: bool
) -> list[tuple[_Number, _Number]]:
    """a and c of a x.z + c at each depth: of covariances a <- weight a, c <- weight c + bias, of NTKs their sums.

    >>> linear_coefficients([0, 1], 1.0, 2.0, 0.5, nngp=False)
    [(1.0, 0.5), (4.0, 2.5)]
    """
    covariance, kernel = (first, bias), (first, bias)
    wanted, found = set(depths), {}
    for depth in range(max(depths) + 1):
        if depth:
            covariance = weight * covariance[0], weight * covariance[1] + bias
            kernel = covariance[0] + weight * kernel[0], covariance[1] + weight * kernel[1]
        if depth in wanted:
            found[depth] = covariance if nngp else kernel
    return [found[depth] for depth in depths]


def chosen_network(kernel: object, activation: str, w_std: object, b_std: object, slope: object) -> Network | None:
    """The network that arguments of `gatentk.ntk.infinite` name; None where it is [S]'s or [G]'s own NTK.

    Raises:
        TypeError, ValueError: an unknown kernel, deviations that are none, a slope of what has none, anything but the
            NTK of "grelu".
    """
    nngp = check_choice("kernel", kernel, KERNELS) == "nngp"
    row = ACTIVATIONS[check_choice("activation", activation, tuple(ACTIVATIONS))]
    deviations = _deviations(w_std, b_std)
    if slope is not None and activation != "leaky_relu":
        raise ValueError(f"slope: expected none for {activation}, got {slope!r}")
    if activation == "grelu":
        for name, value, given in (
            ("kernel", kernel, nngp),
            ("w_std", w_std, w_std is not None),
            ("b_std", b_std, b_std is not None),
        ):
            if given:
                raise ValueError(f"{name}: expected the NTK in its own parametrisation for grelu, got {value!r}")
    if not nngp and deviations is None and row.angle is not None:
        return None
    own = row.slope if slope is None else _number("slope", slope, -LARGEST_DEVIATION)
    w, b = (None, 0.0) if deviations is None else deviations
    return Network(row, nngp, own, w, b)


def _deviations(w_std: object, b_std: object) -> tuple[float, float] | None:
    if w_std is None and b_std is None:
        return None
    w = math.sqrt(2) if w_std is None else _number("w_std", w_std, 1 / LARGEST_DEVIATION)
    b = 0.0 if b_std is None else _number("b_std", b_std, 0.0)
    if 0 < b < 1 / LARGEST_DEVIATION:
        raise ValueError(f"b_std: expected 0 or at least {1 / LARGEST_DEVIATION:g}, got {b}")
    return w, b


def _number(name: str, value: object, smallest: float) -> float:
    if name != "slope" and isinstance(value, Tensor) and value.dim() == 0 and value.dtype in FLOATS:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {describe(value)}")
    number = float(value)
    if not smallest <= number <= LARGEST_DEVIATION:
        raise ValueError(f"{name}: expected a number of {smallest:g} to {LARGEST_DEVIATION:g}, got {number}")
    return number


def _squares(samples: Samples) -> Tensor:
    """Squared norms of all rows, in float64."""
    sides = [torch.linalg.vector_norm(side, dim=-1, dtype=torch.float64).flatten() for side in samples.given]
    return torch.cat(sides).square()
