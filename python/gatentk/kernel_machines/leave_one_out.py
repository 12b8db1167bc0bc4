"""Exact leave-one-out predictions of kernel ridge regression at many ridges from one tridiagonal form.

K = Q T Q^T with T tridiagonal takes 8/3 n^3 operations, a third of the work of an eigendecomposition; then
(T + ridge I)^-1 = L^-T D^-1 L^-1 with L bidiagonal takes n^2 a ridge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gatentk.errors import SpectrumError

EPS = 2.0**-52


@dataclass(frozen=True)
class Tridiagonal:
    """K = Q T Q^T.

    Attributes:
        diagonal: of T, (n,).
        beside: entries of T beside its diagonal, (n - 1,).
        columns: of Q, as rows (n, n).
        lmin, lmax: extreme eigenvalues.
    """

    diagonal: Tensor
    beside: Tensor
    columns: Tensor
    lmin: float
    lmax: float

    def floor(self, ridge: float) -> float:
        """The noise floor n eps lambda_max of K + ridge I."""
        return len(self.diagonal) * EPS * (self.lmax + ridge)


def tridiagonal(K: Tensor) -> Tridiagonal:
    """The form of a symmetric matrix (n, n), float64, n >= 2, whose memory it takes.

    Raises:
        SpectrumError: LAPACK finds no extreme eigenvalues.
    """
    from scipy.linalg import eigvalsh_tridiagonal, lapack

    n = len(K)
    work, _ = lapack.dsytrd_lwork(n, lower=1)
    form, diagonal, beside, tau, info = lapack.dsytrd(K.numpy().T, lower=1, lwork=int(work), overwrite_a=1)
    if info:
        raise SpectrumError(f"K: LAPACK's dsytrd failed with {info}")
    # Reflections leave the first coordinate as it is; the vectors of the others stand below the lower diagonal.
    reflections = torch.from_numpy(form)[1:, :-1]
    columns = K.new_zeros(n, n)
    columns[0, 0] = 1
    columns[1:, 1:] = torch.linalg.householder_product(reflections, torch.from_numpy(tau)).T
    ends = [eigvalsh_tridiagonal(diagonal, beside, select="i", select_range=(k, k))[0] for k in (0, n - 1)]
    return Tridiagonal(torch.from_numpy(diagonal), torch.from_numpy(beside), columns, float(ends[0]), float(ends[1]))


def left_out(form: Tridiagonal, ridges: Sequence[float], y: Tensor, with_intercept: bool) -> Tensor:
    """Targets minus what a fit to all other samples predicts for each, in closed form.

    With G = (K + ridge I)^-1 and A = G - G 1 1^T G / (1^T G 1), which takes the intercept out (A = G without one), they
    are A y / diag(A): exactly those of n fits with that ridge.

    Args:
        form: of the kernel.
        ridges: what is added to the diagonal; K + ridge I is positive definite for each, above its noise floor.
        y: targets (n, outputs), near 0 if there is an intercept.
        with_intercept: whether fits have one.

    Returns:
        (ridges, n, outputs).

    >>> form = tridiagonal(2 * torch.eye(3, dtype=torch.float64))
    >>> y = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    >>> [round(value, 12) for value in left_out(form, [0.5], y, with_intercept=True).flatten().tolist()]
    [-3.0, -1.5, 4.5]
    """
    known = torch.cat([torch.ones_like(y[:, :1]), y], dim=1)
    diagonal, solved = _inverse(form, form.diagonal.new_tensor(list(ridges)), known)
    ones, weights = solved[..., :1], solved[..., 1:]
    if with_intercept:
        total = ones.sum(dim=1, keepdim=True)
        weights = weights - ones * (weights.sum(dim=1, keepdim=True) / total)
        diagonal = diagonal - ones.square() / total
    return weights / diagonal


def _inverse(form: Tridiagonal, ridges: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """For each ridge the diagonal of (K + ridge I)^-1, (ridges, n, 1), and (K + ridge I)^-1 right, (ridges, n, k)."""
    n, count = len(form.diagonal), len(ridges)
    pivots = form.diagonal.new_empty(n, count, 1)  # D
    factors = torch.zeros_like(pivots)  # L below its diagonal, with the sign of the recurrences
    pivots[0, :, 0] = form.diagonal[0] + ridges
    for k, beside in enumerate(form.beside.tolist(), start=1):
        factors[k] = -beside / pivots[k - 1]
        pivots[k, :, 0] = form.diagonal[k] + ridges
        pivots[k].add_(factors[k], alpha=beside)
    inverses = 1 / pivots
    squares, row = form.diagonal.new_zeros(count, n), form.diagonal.new_zeros(count, n)
    turned = form.columns @ right
    solved = turned.unsqueeze(1).repeat(1, count, 1)  # (n, ridges, k)
    for k in range(n):
        row.mul_(factors[k]).add_(form.columns[k])
        squares.addcmul_(row, row * inverses[k])
        if k:
            solved[k].addcmul_(factors[k], solved[k - 1])
    solved *= inverses
    for k in range(n - 2, -1, -1):
        solved[k].addcmul_(factors[k + 1], solved[k + 1])
    result = form.columns.T @ solved.view(n, -1)
    return squares.unsqueeze(-1), result.view(n, count, -1).transpose(0, 1)
