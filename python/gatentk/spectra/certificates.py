"""Proved intervals for extreme eigenvalues: Cholesky factorisations and Rayleigh quotients with bounded rounding."""

from __future__ import annotations

import math

import numpy as np
import torch

from gatentk.spectra.lanczos import EigenPair
from gatentk.spectra.triangles import UNIT, Array, cholesky, diagonal_of, fill


def certify_extremes(
    M: torch.Tensor, exponent: int, work: Array, bottom: EigenPair, top: EigenPair
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Proved intervals for lambda_min and lambda_max of the scaled upper triangle of M."""
    low = _lower_bound(M, exponent, work, 1.0, bottom.value, bottom.error)
    high = -_lower_bound(M, exponent, work, -1.0, -top.value, top.error)
    return (low, _rayleigh(M, exponent, bottom.vector)[1]), (_rayleigh(M, exponent, top.vector)[0], high)


def _lower_bound(M: torch.Tensor, exponent: int, work: Array, sign: float, value: float, error: float) -> float:
    """The largest proved lower bound, of a few tried, on the smallest eigenvalue `value` of sign * M."""
    for margin in (1.25, 4, 32, 1024, 65536):
        fill(M, exponent, work, sign)
        unit = _slack(diagonal_of(work), value) + 4 * UNIT * abs(value) + error / 16
        bound = value - margin * unit
        if _is_at_least(work, bound):
            return bound
    return -math.inf


def _slack(diagonal: Array, bound: float) -> float:
    """A bound on the norm of the backward error of a floating-point Cholesky factorisation of A - bound I.

    Rump (2006), after Demmel: if the factorisation runs to completion, its factor is exact for A + E with
    |E_ij| <= f_i f_j, f_i^2 = g_i a_ii, g_i about (t_i + 2) u, t_i = i entries above the diagonal of column
    i; so |E|_2 <= sum_i g_i a_ii. Taken here as 2 (t_i + 3) u a_ii: twice that covers blocked summation
    orders and the products with reciprocals of pivots in LAPACK. The last term covers underflow, even if
    flushed to zero, here and in the scaling of M: below n^2 2^-1000 for entries of at most n.
    """
    n = len(diagonal)
    terms = 2 * UNIT * np.arange(3, n + 3) * np.maximum(diagonal - bound, 0)
    return math.fsum(terms) * (1 + 2.0**-20) + math.ldexp(n * n, -1000)


def _is_at_least(work: Array, bound: float) -> bool:
    """Prove that all eigenvalues of the upper triangle A in `work` are at least `bound`; overwrites it.

    With c = slack and B = A - (bound + c) I, the diagonal of B rounded down: that diagonal is at most that of
    A - bound I, so c bounds the backward error of B's factorisation too. If it runs to completion, B + E is
    positive semidefinite with |E|_2 <= c, and A >= B + (bound + c) I >= bound I.
    """
    diagonal = diagonal_of(work)
    shift = math.nextafter(bound + _slack(diagonal, bound), math.inf)
    diagonal[:] = np.nextafter(diagonal - shift, -math.inf)
    return cholesky(work)


def _rayleigh(M: torch.Tensor, exponent: int, x: Array) -> tuple[float, float]:
    """A proved enclosure of x^T A x / x^T x, A the scaled upper triangle of M: any x bounds both ends of A.

    The dot products over 128 rows have a relative error of at most gamma_128 against |x|^T |A| |x|, one more
    rounding multiplies by x_j, and fsum adds nothing but its final rounding; the computed |x|^T |A| |x| is
    itself right to far better than 1 percent.
    """
    n = len(M)
    rows = min(n, 128)
    terms: list[float] = []
    magnitude = 0.0
    for i in range(0, n, rows):
        block = M[i : i + rows, i:].to(torch.float64, copy=True).mul_(math.ldexp(1.0, -exponent)).numpy()
        square = block[:, :rows]
        square[:] = np.triu(square) + np.triu(square, 1)
        block[:, rows:] *= 2
        terms.extend(((x[i : i + rows] @ block) * x[i:]).tolist())
        magnitude += float((np.abs(x[i : i + rows]) @ np.abs(block)) @ np.abs(x[i:]))
    value, norm = math.fsum(terms), math.fsum(x * x)
    error = 1.01 * (rows + 4) * UNIT * magnitude + math.ldexp(n * n, -1000)
    # Rounding of the value, of the squares in the norm and of the quotients: at most 8 units of the quotient.
    spread = 1.01 * error / norm + 8 * UNIT * abs(value / norm)
    quotient = value / norm
    return math.nextafter(quotient - spread, -math.inf), math.nextafter(quotient + spread, math.inf)
