"""Exponents of measured power laws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """p of the best y = c x^p."""
    a, b = [math.log(v) for v in x], [math.log(max(v, 1e-300)) for v in y]
    ma, mb = fmean(a), fmean(b)
    return math.fsum((u - ma) * (v - mb) for u, v in zip(a, b, strict=True)) / math.fsum((u - ma) ** 2 for u in a)
