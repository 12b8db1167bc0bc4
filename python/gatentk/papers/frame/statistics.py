"""Numbers from several: means, exponents of power laws, and what a table shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """p of the power law y = c x^p that fits best, by least squares on logarithms."""
    a, b = [math.log(v) for v in x], [math.log(max(v, 1e-300)) for v in y]
    ma, mb = fmean(a), fmean(b)
    return math.fsum((u - ma) * (v - mb) for u, v in zip(a, b, strict=True)) / math.fsum((u - ma) ** 2 for u in a)


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of numbers that are not negative; infinite if one of them is, or if there are none."""
    return math.exp(sum(math.log(max(v, 1e-300)) for v in values) / len(values)) if values else math.inf


def finite(value: float) -> float | None:
    """The value for a table: None where it is not finite."""
    return value if math.isfinite(value) else None
