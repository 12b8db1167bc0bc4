"""Symmetric matrices as their upper triangle in a work array, scaled by a power of two."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

UNIT = 2.0**-53  # rounding unit of float64

Array = npt.NDArray[np.float64]


def fill(M: torch.Tensor, exponent: int, work: Array, sign: float = 1.0) -> None:
    """Write sign * 2^-exponent times the upper triangle of M to `work`; the rest of `work` is arbitrary."""
    out = torch.from_numpy(work)
    scale = math.ldexp(sign, -exponent)
    for i in range(0, len(M), 64):
        out[i : i + 64, i:].copy_(M[i : i + 64, i:]).mul_(scale)


def diagonal_of(work: Array) -> Array:
    """A writable view of the diagonal."""
    return work.reshape(-1)[:: len(work) + 1]


def cholesky(work: Array) -> bool:
    """Factor in place the matrix whose upper triangle `work` holds; False if it is not positive definite.

    OpenBLAS dpotrf takes 0.36 s at n = 4000 on 2 cores (61 GFLOP/s, the speed of its dgemm); torch's Cholesky
    and blocked variants on torch products took 0.46 to 0.6 s.
    """
    from scipy.linalg import lapack

    _, info = lapack.dpotrf(work.T, lower=1, clean=0, overwrite_a=1)
    # A pivot that is NaN passes LAPACK's test; every NaN or infinity off the diagonal reaches a later pivot.
    return bool(info == 0 and np.isfinite(diagonal_of(work)).all())
