"""Sizes of errors, in float64 whatever they are of."""

from __future__ import annotations

import torch
from torch import Tensor


def frobenius_norm(matrix: Tensor) -> float:
    """Frobenius norm in float64, in units of the largest element so that its squares do not overflow."""
    peak = float(matrix.abs().max())
    return peak * float(torch.linalg.vector_norm(matrix / peak, dtype=torch.float64)) if peak > 0 else 0.0


def ratio(error: float, size: float) -> float:
    """error / size; the error itself where everything is zero."""
    return error / size if size > 0 else error
