"""Second moments of what activations make of two normal numbers, and their derivatives by variances and covariance.

Of u and v with variances p, r and covariance c these are E[f(u) f(v)] and E[f'(u) f'(v)], which is the derivative of
the first by c (Price 1958). By p it is E[f''(u) f(v)] / 2. For GELU, whose f'' is a bell times a polynomial, these are
moments of normal numbers whose variances the bells shrink; ReLU and its kind are homogeneous, which gives derivatives
by p from those by c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# Kinks lie where samples are parallel: below this sine of their angle it is rounding, and they count as parallel.
SMALLEST_SINE = 4 * torch.finfo(torch.float64).eps

# sqrt((1 + p)(1 + r)) from which GELU's 1 - cos is computed from what ReLU's lacks, which is then the most of it.
_LARGE = 4.0


class OfOne(NamedTuple):
    """Of one normal number of variance p.

    Attributes:
        variance: p.
        mean: E[f(u)^2].
        rise: its derivative by p.
        deficit: by how much `mean` falls short of what it is for large p: 1 for erf, p / 2 for GELU, in units of 1 and
            (1 + p) / 2; 0 where it is not needed.
    """

    variance: Tensor
    mean: Tensor
    rise: Tensor
    deficit: Tensor


class OfPair(NamedTuple):
    """Of two normal numbers.

    Attributes:
        mean: E[f(u) f(v)].
        slope: E[f'(u) f'(v)].
        mean_c, mean_p, mean_r: derivatives of `mean` by the covariance, which is `slope`, and by the logarithms of the
            variances. The same tensor twice where these are equal.
        slope_c, slope_p, slope_r: those of `slope`. Where u and v are parallel and derivatives by c large, these are 0
            here, and those by a logarithm what both come to when c = sqrt(p r) follows it: in gradients by samples that
            are parallel large numbers would cancel.
        eps: 1 - mean / sqrt(E[f(u)^2] E[f(v)^2]).
    """

    mean: Tensor
    slope: Tensor
    mean_c: Tensor
    mean_p: Tensor
    mean_r: Tensor
    slope_c: Tensor
    slope_p: Tensor
    slope_r: Tensor
    eps: Tensor


class Moments(Protocol):
    """An activation's."""

    def of_one(self, p: Tensor) -> OfOne:
        """Of each variance."""

    def of_pair(self, x: OfOne, z: OfOne, eps: Tensor, theta: Tensor) -> OfPair:
        """Of variances that broadcast to the shape of the angles theta, eps = 1 - cos theta."""


@dataclass(frozen=True)
class PiecewiseLinear:
    """max(u, 0) + slope min(u, 0) (Cho & Saul 2009).

    Where two samples are parallel E[f'(u) f'(v)] has a kink, at which its derivatives are 0 here: the mean of those on
    both sides, and right along the diagonal of a kernel, whose two arguments move together.

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> relu = PiecewiseLinear(0.0)
    >>> pair = relu.of_pair(relu.of_one(one), relu.of_one(one), one, one * math.pi / 2)
    >>> print(f"{float(pair.mean):.4f} {float(pair.slope):.4f}")
    0.1592 0.2500
    """

    slope: float

    def of_one(self, p: Tensor) -> OfOne:
        """Of each variance."""
        share = (1 + self.slope * self.slope) / 2
        return OfOne(p, share * p, torch.full_like(p, share), torch.zeros_like(p))

    def of_pair(self, x: OfOne, z: OfOne, eps: Tensor, theta: Tensor) -> OfPair:
        """Of variances that broadcast to the shape of the angles."""
        bend = (1 - self.slope) ** 2 / 2
        share = bend + self.slope
        root = x.variance.sqrt() * z.variance.sqrt()
        cosine, acute, near = 1 - eps, theta, eps
        obtuse = theta > math.pi / 2
        any_obtuse = bool(obtuse.any())
        if any_obtuse:  # seen from pi, where the absolute value takes opposite samples for one
            acute = torch.where(obtuse, math.pi - theta, theta)
        sine = acute.sin()
        if any_obtuse:
            near = torch.where(obtuse, sine * sine / (1 + cosine.abs()), eps)
        drop = (sine - acute * (1 - near)) / math.pi
        after = near - (bend / share) * drop
        if any_obtuse:
            beyond = (1 + self.slope) ** 2 / (2 * share) - (self.slope / share) * near - (bend / share) * drop
            after = torch.where(obtuse, beyond, after)
        slope_c = (bend / math.pi) / (root * sine.masked_fill(sine <= SMALLEST_SINE, math.inf))
        by_own = root * sine * (bend / (2 * math.pi))
        turned = slope_c * root * cosine * -0.5
        slope = share - (bend / math.pi) * theta
        return OfPair(
            mean=share * root * (1 - after),
            slope=slope,
            mean_c=slope,
            mean_p=by_own,
            mean_r=by_own,
            slope_c=slope_c,
            slope_p=turned,
            slope_r=turned,
            eps=after.clamp(min=0),
        )


class Erf:
    """erf(u) (Williams 1997)."""

    def of_one(self, p: Tensor) -> OfOne:
        """Of each variance."""
        root = (1 + 4 * p).sqrt()
        mean, deficit = torch.atan2(2 * p, root), torch.atan2(root, 2 * p)
        return OfOne(p, 2 / math.pi * mean, 4 / math.pi / (root * (1 + 2 * p)), 2 / math.pi * deficit)

    def of_pair(self, x: OfOne, z: OfOne, eps: Tensor, theta: Tensor) -> OfPair:
        """Of variances that broadcast to the shape of the angles."""
        one, other = 1 + 2 * x.variance, 1 + 2 * z.variance
        square = x.variance * z.variance
        c = square.sqrt() * (1 - eps)
        rest = 1 + 2 * (x.variance + z.variance) + 4 * square * theta.sin().square()
        inverse = rest.rsqrt()
        root, cube = rest * inverse, inverse / rest
        mean = 2 / math.pi * torch.atan2(2 * c, root)
        by_own = -4 / math.pi * c * inverse
        slope = 4 / math.pi * inverse
        near = _relative(2 / math.pi * torch.atan2(root, 2 * c), x, z, 1.0)
        found = OfPair(
            mean=mean,
            slope=slope,
            mean_c=slope,
            mean_p=by_own * (x.variance / one),
            mean_r=by_own * (z.variance / other),
            slope_c=16 / math.pi * c * cube,
            slope_p=-4 / math.pi * cube * other * x.variance,
            slope_r=-4 / math.pi * cube * one * z.variance,
            eps=_either(2 * c > root, near, mean, x, z),
        )
        parallel = _parallel(x, z, theta)
        if parallel is None:
            return found
        along = 2 / math.pi * c * inverse
        return found._replace(
            mean_c=found.mean_c.masked_fill(parallel, 0),
            mean_p=torch.where(parallel, along / one, found.mean_p),
            mean_r=torch.where(parallel, along / other, found.mean_r),
            slope_c=found.slope_c.masked_fill(parallel, 0),
            slope_p=torch.where(parallel, -4 / math.pi * cube * x.variance, found.slope_p),
            slope_r=torch.where(parallel, -4 / math.pi * cube * z.variance, found.slope_r),
        )


class Gelu:
    """u Phi(u), Phi the distribution function of a normal number (Tsuchida et al. 2021)."""

    def of_one(self, p: Tensor) -> OfOne:
        """Of each variance."""
        one, square = 1 + p, 1 + 2 * p
        root = square.sqrt()
        theta = torch.atan2(root, p)
        both, turn = 0.5 - theta / (2 * math.pi), 0.5 / (math.pi * root)
        relu = square / (one * (one + p)) - _drop(theta, root / one, p / one)
        deficit = relu + 2 * turn * (1 + 2 * p / one) / one
        mean = p * both + turn * p * p * 2 / one
        # E[f'^2] + E[f'' f]
        slope = both + turn * p * (2 / one + 1 / square)
        bent = turn * ((1 + 1 / one) * p / one - (p / one) ** 2 * (1 + one / square))
        return OfOne(p, mean, slope + bent, deficit)

    def of_pair(self, x: OfOne, z: OfOne, eps: Tensor, theta: Tensor) -> OfPair:
        """Of variances that broadcast to the shape of the angles."""
        p, r = x.variance, z.variance
        one, other = 1 + p, 1 + r
        square = p * r
        c, wedge = square.sqrt() * (1 - eps), square * theta.sin().square()
        rest = 1 + p + r + wedge
        inverse = rest.rsqrt()
        root, turn = rest * inverse, inverse / (2 * math.pi)
        angle = torch.atan2(root, c)
        both = 0.5 - angle / (2 * math.pi)
        of_x, of_z = one / rest, other / rest  # 1 - variance of v, u under the bells of both
        left, right = c / one, c / other
        mean = c * both + turn * (wedge + c * left + c * right)
        size = (one * other).sqrt()
        smooth = 2 * turn * (1 + (p + wedge) / other + (r + wedge) / one) / size
        relu = rest / (size * (size + c)) - _drop(angle, root / size, c / size)
        slope = both + turn * (left + right + c / rest)
        found = OfPair(
            mean=mean,
            slope=slope,
            mean_c=slope,
            mean_p=turn * (p / 2) * ((1 + 1 / one) * (r + wedge) / one - left * left * (1 + of_x)),
            mean_r=turn * (r / 2) * ((1 + 1 / other) * (p + wedge) / other - right * right * (1 + of_z)),
            slope_c=turn * ((1 + of_x) * (1 + of_z) + 2 * (c / rest) ** 2),
            slope_p=turn * (p / -2) * left * ((1 + 3 / one) * (1 + of_x) + left * left * of_x * (1 + 3 * of_x)),
            slope_r=turn * (r / -2) * right * ((1 + 3 / other) * (1 + of_z) + right * right * of_z * (1 + 3 * of_z)),
            eps=_either((size > _LARGE) & (c > 0), _relative(relu + smooth, x, z, size / 2), mean, x, z),
        )
        parallel = _parallel(x, z, theta)
        if parallel is None:
            return found
        total = 1 / one + 1 / other + 1 / rest
        along = [
            turn / 2 * c * (1 / more + total * (rest - own) / rest - 2 * own / more**2 - 2 * own / rest**2)
            for own, more in ((p, one), (r, other))
        ]
        return found._replace(
            slope_c=found.slope_c.masked_fill(parallel, 0),
            slope_p=torch.where(parallel, along[0], found.slope_p),
            slope_r=torch.where(parallel, along[1], found.slope_r),
        )


def _parallel(x: OfOne, z: OfOne, theta: Tensor) -> Tensor | None:
    """Which pairs are parallel or opposite, and have variances for which that matters; None if no pair is and does."""
    parallel = (theta <= SMALLEST_SINE) | (math.pi - theta <= SMALLEST_SINE)
    parallel &= (x.variance > 1) & (z.variance > 1)
    return parallel if bool(parallel.any()) else None


def _drop(theta: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    return (sine - theta * cosine) / math.pi


def _inverse(x: OfOne, z: OfOne) -> Tensor:
    """1 / sqrt(E[f(u)^2] E[f(v)^2]); 0 where one of them is 0."""
    sides = [torch.where(side.mean > 0, side.mean, math.inf).rsqrt() for side in (x, z)]
    return sides[0] * sides[1]


def _relative(deficit: Tensor, x: OfOne, z: OfOne, unit: Tensor | float) -> Tensor:
    """1 - (1 - deficit) / sqrt((1 - d_x)(1 - d_z)) without differences of numbers near 1, `unit` that of deficits."""
    inverse = unit * _inverse(x, z)
    mean = (x.deficit + z.deficit - x.deficit * z.deficit) * inverse / (inverse + 1)
    return (deficit - mean) * inverse


def _either(near: Tensor, relative: Tensor, mean: Tensor, x: OfOne, z: OfOne) -> Tensor:
    """1 - cos behind the activation, by its deficit where that is small."""
    return torch.where(near, relative, 1 - mean * _inverse(x, z)).clamp(0, 2)
