"""Least squares of minimum norm, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gatentk.convert.norms import frobenius_norm

_BLOCK = 512  # neurons at a time, so that float64 copies stay small
_REFINEMENTS = 3

# Refinement with the Gram matrix gains a factor of about 1 / (eps kappa^2) a step: 1000 or more up to this limit, so
# that three steps reach the accuracy of float64.
_GRAM_RCOND = 1e-12


class _PseudoInverse(NamedTuple):
    """A^+ of a matrix A (n, m)."""

    apply: Callable[[Tensor], Tensor]  # (n, b) -> (m, b)
    rank: int
    method: str


def fit_weight(weight: Tensor, inputs: Tensor, targets: Tensor, ridge: float = 0.0) -> tuple[int, str]:
    """Set `weight` to the matrix W of least norm that minimises |inputs W^T - targets|_F; rank of inputs and method.

    With a ridge it minimises |inputs W^T - targets|_F^2 + ridge s |W|_F^2, s the mean of |inputs_i|^2 over the samples
    (of |inputs_j|^2 over the neurons, if they are fewer); the rank is full then.

    Samples without inputs and neurons that are off for all samples have no part in the solution: where they are left
    out, what remains often has full rank.
    """
    weight.zero_()
    samples, neurons = (inputs != 0).any(1), (inputs != 0).any(0)
    if not bool(samples.any()):
        return 0, "zero"
    live = inputs if bool(samples.all() & neurons.all()) else inputs[samples][:, neurons]
    scale = math.ldexp(1.0, math.frexp(float(live.abs().max()))[1])  # squares of A neither overflow nor underflow then
    A = live.double() / scale
    cutoff = _noise(A, inputs.dtype)
    exact = None if ridge > 0 else _cholesky_inverse(A, cutoff) or _orthogonal_inverse(A, cutoff)
    inverse, eps = exact or _ridge_inverse(A, ridge), torch.finfo(weight.dtype).eps
    columns = neurons.nonzero().squeeze(1)
    for start in range(0, len(weight), _BLOCK):
        block = slice(start, start + _BLOCK)
        wanted = targets[samples, block].double()
        solution = inverse.apply(wanted) if exact is None else _refined(A, wanted, inverse, eps)
        weight[block].index_copy_(1, columns, (solution / scale).T.to(weight.dtype))
    return inverse.rank, inverse.method


def _noise(A: Tensor, dtype: torch.dtype) -> float:
    """Singular values of A below this are noise: of values rounded to `dtype`, or of its decomposition in float64.

    Independent errors of relative size u in the elements make a matrix of norm u |A|_F (1/sqrt(n) + 1/sqrt(m)); 4 u
    because the elements are sums themselves. Repeated samples then count once even where their values, computed at
    different places of a batch, differ in the last digits.
    """
    n, m = A.shape
    rounding = 2 * torch.finfo(dtype).eps * (n**-0.5 + m**-0.5)
    return float(max(rounding, max(n, m) * torch.finfo(torch.float64).eps)) * frobenius_norm(A)


def _cholesky_inverse(A: Tensor, cutoff: float) -> _PseudoInverse | None:
    """A^+ by the Gram matrix of the smaller side; None if that is too ill-conditioned."""
    from scipy.linalg import lapack

    wide = A.shape[0] <= A.shape[1]
    gram = A @ A.T if wide else A.T @ A
    norm = float(torch.linalg.matrix_norm(gram, 1))
    factor, info = torch.linalg.cholesky_ex(gram)
    del gram
    if int(info) != 0:
        return None
    rcond, _ = lapack.dpocon(factor.cpu().numpy(), norm, uplo="L")
    # lambda_min >= 1 / |gram^-1|_1 = rcond * norm.
    if not (rcond >= _GRAM_RCOND and rcond * norm >= cutoff**2):  # so that NaN is refused too
        return None

    def apply(block: Tensor) -> Tensor:
        solution: Tensor = torch.cholesky_solve(block if wide else A.T @ block, factor)
        return A.T @ solution if wide else solution

    return _PseudoInverse(apply, min(A.shape), "cholesky")


def _ridge_inverse(A: Tensor, ridge: float) -> _PseudoInverse:
    """(A^T A + c)^-1 A^T, which is A^T (A A^T + c)^-1, by the smaller of both; c is `ridge` times its mean diagonal."""
    wide = A.shape[0] <= A.shape[1]
    gram = A @ A.T if wide else A.T @ A
    diagonal = gram.diagonal()
    diagonal += ridge * diagonal.mean()
    factor = torch.linalg.cholesky(gram)

    def apply(block: Tensor) -> Tensor:
        solution: Tensor = torch.cholesky_solve(block if wide else A.T @ block, factor)
        return A.T @ solution if wide else solution

    return _PseudoInverse(apply, min(A.shape), "ridge")


def _orthogonal_inverse(A: Tensor, cutoff: float) -> _PseudoInverse:
    """A^+ by a QR decomposition, and an SVD of its triangle where the rank is not clearly full."""
    from scipy.linalg import lapack

    wide = A.shape[0] <= A.shape[1]
    Q, R = torch.linalg.qr(A.T if wide else A)
    rcond, _ = lapack.dtrcon(R.cpu().numpy())
    # sigma_min >= 1 / |R^-1|_F >= 1 / (sqrt(k) |R^-1|_1).
    if rcond * float(torch.linalg.matrix_norm(R, 1)) > cutoff * len(R) ** 0.5:

        def by_triangle(block: Tensor) -> Tensor:
            solution: Tensor = torch.linalg.solve_triangular(
                R.T if wide else R, block if wide else Q.T @ block, upper=not wide
            )
            return Q @ solution if wide else solution

        return _PseudoInverse(by_triangle, len(R), "qr")
    U, sigma, Vh = torch.linalg.svd(R)
    rank = int((sigma > cutoff).sum())
    # Columns, those of `left` divided by sigma: R^+ = right left^T, (R^T)^+ = left right^T.
    left: Tensor = U[:, :rank] / sigma[:rank]
    right: Tensor = Vh[:rank].T

    def by_values(block: Tensor) -> Tensor:
        solution: Tensor = Q @ (left @ (right.T @ block)) if wide else right @ (left.T @ (Q.T @ block))
        return solution

    return _PseudoInverse(by_values, rank, "svd")


def _refined(A: Tensor, targets: Tensor, inverse: _PseudoInverse, eps: float) -> Tensor:
    """A^+ targets, corrected by A^+ of what is left until that changes nothing that the weight's dtype could show."""
    solution = inverse.apply(targets)
    for _ in range(_REFINEMENTS):
        correction = inverse.apply(targets - A @ solution)
        solution += correction
        if frobenius_norm(correction) <= 0.25 * eps * frobenius_norm(solution):
            break
    return solution
