"""How the weights of networks are drawn."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gatentk.checks import FLOATS


def checked_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """`dtype`, or torch's default one; float32 or float64."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in FLOATS:
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    return dtype


def gaussian(rows: int, columns: int, variance: float, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """Independent N(0, variance), (rows, columns)."""
    return math.sqrt(variance) * torch.randn(rows, columns, generator=generator, dtype=dtype)
