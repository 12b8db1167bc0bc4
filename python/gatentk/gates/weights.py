"""How the weights of networks are drawn, those of gates and those that are trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def gaussian(rows: int, columns: int, variance: float, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """Independent N(0, variance), (rows, columns); 2/columns keeps the mean square from layer to layer."""
    return math.sqrt(variance) * torch.randn(rows, columns, generator=generator, dtype=dtype)
