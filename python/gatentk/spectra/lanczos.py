"""Lanczos' method with thick restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gatentk.spectra.triangles import Array


class EigenPair(NamedTuple):
    """An extreme eigenvalue, its unit eigenvector, and an estimate of the eigenvalue's absolute error."""

    value: float
    vector: Array
    error: float


def largest_eigenvalue(
    apply: Callable[[Array], Array], start: Array, tolerance: Callable[[float], float], steps: int = 300
) -> tuple[EigenPair | None, Array]:
    """Largest eigenvalue of a symmetric operator by thick-restart Lanczos with full reorthogonalisation.

    Stops when the norm r of the residual is at most `tolerance(eigenvalue)`, without an eigenpair if that is
    not reached by max(steps, n / 8) applications; also returns the Ritz vector at the other end. An eigenvalue lies
    within r. The sharper r^2 / gap would save a quarter of the steps, but r near 1e-5 cannot tell an eigenvalue from
    a mean of two that are closer than that, for which there is no gap. The basis holds less than n^2 / 12 numbers for
    every n above 512.
    """
    from scipy.linalg import blas, lapack

    n = len(start)
    size = min(160, max(40, n // 14))
    Q = np.empty((n, size + 1), order="F")
    H = np.zeros((size, size))
    Q[:, 0] = start / blas.dnrm2(start)
    j, next_check = 0, 1
    for _ in range(max(steps, n // 8)):
        w = apply(Q[:, j])
        basis = Q[:, : j + 1]
        h = blas.dgemv(1.0, basis, w, trans=1)
        w = blas.dgemv(-1.0, basis, h, beta=1.0, y=w, overwrite_y=1)
        correction = blas.dgemv(1.0, basis, w, trans=1)
        w = blas.dgemv(-1.0, basis, correction, beta=1.0, y=w, overwrite_y=1)
        H[: j + 1, j] = H[j, : j + 1] = h + correction
        beta = float(blas.dnrm2(w))
        j += 1
        if j >= next_check or j == size or beta == 0:
            next_check = j + 1 + j // 24
            theta, S, info = lapack.dsyevd(H[:j, :j])
            assert info == 0
            error = beta * abs(float(S[-1, -1]))
            if error <= tolerance(float(theta[-1])):
                vector, other = (blas.dgemv(1.0, Q[:, :j], S[:, k]) for k in (-1, 0))
                return EigenPair(float(theta[-1]), vector, error), other
            if j == size:
                j = _restart(Q, H, theta, S)
                next_check = j + 1
        if beta == 0:
            break
        Q[:, j] = w / beta
    return None, start


def _restart(Q: Array, H: Array, theta: Array, S: Array) -> int:
    """Keep the upper half of the Ritz vectors; the residual comes after them. Returns how many are kept."""
    kept = len(theta) // 2
    for i in range(0, len(Q), 1024):  # by rows, so that there is no second basis
        rows = Q[i : i + 1024]
        rows[:, :kept] = rows[:, : len(theta)] @ S[:, -kept:]
    H[:] = 0
    H[range(kept), range(kept)] = theta[-kept:]
    return kept
