"""What is known of the spectrum of a matrix, or of each matrix of a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gatentk.checks import as_tensor, check_integer, describe, like_input
from gatentk.errors import UnresolvedSpectrumError
from gatentk.spectra.extremes import Extremes, extremes
from gatentk.spectra.operators import as_operator, is_operator, matrix_of, operator_extremes


@dataclass(frozen=True)
class Spectrum:
    """Extreme eigenvalues of a symmetric positive semidefinite matrix, and what they are worth.

    For one matrix the numbers are floats and bools. For a batch (..., n, n) they are float64 and bool tensors
    of the batch shape (numpy arrays unless K was a tensor).

    Attributes:
        lmin, lmax: smallest and largest eigenvalue; of an operator lmin is an upper bound where it is not resolved.
        condition: lmax / lmin, or inf where lmin is not resolved; never a number made of noise.
        floor: n * eps * lmax, eps of the dtype of K: the size of an eigenvalue that is rounding noise. At least 16 n
            times the smallest positive number of that dtype, as matrices of such numbers lack digits.
        resolved: lmin > floor.
        method: "lanczos", or "eigvalsh" where the matrix is small, or Lanczos did not converge or missed an
            eigenvalue.
        lmin_interval, lmax_interval: (low, high), proved to contain the eigenvalue of the symmetric matrix
            that the stored upper triangle of K defines; None unless certified.
        top: the largest eigenvalues (..., count) that were asked for, in descending order, NaN where they are not above
            the floor; None unless asked for.
    """

    lmin: Any
    lmax: Any
    condition: Any
    floor: Any
    resolved: Any
    method: str
    lmin_interval: tuple[Any, Any] | None = None
    lmax_interval: tuple[Any, Any] | None = None
    top: Any = None

    @property
    def condition_bound(self) -> Any:
        """Lower bound lmax / max(floor, lmin) or 1: the condition number where resolved, 1 for a zero matrix.

        >>> import torch
        >>> import gatentk as gt
        >>> s = gt.spectrum(torch.ones(2, 2))
        >>> s.resolved, s.condition, s.condition_bound == 1 / (2 * torch.finfo(torch.float32).eps)
        (False, inf, True)
        """
        if isinstance(self.lmin, float):
            return max(self.lmax / max(self.floor, self.lmin), 1.0) if self.lmax > 0 else 1.0
        lmin, lmax, floor = (torch.as_tensor(v) for v in (self.lmin, self.lmax, self.floor))
        return like_input(torch.where(lmax > 0, lmax / torch.maximum(floor, lmin), 1.0).clamp(min=1.0), self.lmin)


def spectrum(K: object, certify: bool = False, *, top: int = 0, smallest: bool = False) -> Spectrum:
    """Smallest and largest eigenvalue of a positive semidefinite matrix, and its condition number.

    Up to 512 rows by `eigvalsh`; above, lambda_max by Lanczos on K and lambda_min by Lanczos on the inverse
    through one fp64 Cholesky factor. Peak memory: K plus 1.1 fp64 copies of one matrix. Both agree with
    `torch.linalg.eigvalsh` to max(1e-8, n eps kappa) relative. Only the upper triangle of K enters the
    result, and where eigenvalues crowd at an end of the spectrum, or a certificate shows that one was missed, all
    of them are computed, with a RuntimeWarning that says so.

    An operator, known by its products with vectors (`gatentk.ntk.operator`, scipy's LinearOperator), is never formed
    above 64 rows, or 512 with `smallest`: lambda_max and `top` come from Lanczos. Its lmin is then an upper bound,
    the smallest Rayleigh quotient met on the way, and not resolved; `condition_bound` is a lower bound all the same.

    Args:
        K: (..., n, n), float32 or float64, tensor or numpy array; symmetric within 8 eps max|K|. Leading
            dimensions are a batch. A matrix on another device is copied to the CPU, where it is solved by LAPACK,
            and the results are CPU numbers and tensors.
        certify: also prove intervals for both eigenvalues of K as stored, by Rump's Cholesky test and by
            Rayleigh quotients with bounded rounding; costs two more Cholesky factorisations. Not of operators.
        top: how many of the largest eigenvalues to give, at most n; multiple ones are counted. Of an operator each
            takes some twenty to three hundred products, of a matrix all of them are computed.
        smallest: also search the smallest eigenvalue of an operator, by up to max(2000, n) products; it is resolved
            where that converged above the floor. That of a matrix is always computed.

    Returns:
        A `Spectrum`. An eigenvalue below the noise floor n eps lambda_max does not raise here: `resolved` is
        False and `condition` is inf.

    Raises:
        TypeError: K is no float32 or float64 tensor or array.
        ValueError: K is not square or is empty.
        SpectrumError: K is not finite, not symmetric, or indefinite (lambda_min below minus the floor); eigenvalues of
            an operator crowd so much that lambda_max was not found.

    Source: Rump, "Verification of positive definiteness", BIT 46 (2006), for the certificate; Wu and Simon,
    "Thick-restart Lanczos method", SIMAX 22 (2000).

    >>> import torch
    >>> import gatentk as gt
    >>> s = gt.spectrum(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), certify=True)
    >>> round(s.lmin, 6), round(s.lmax, 6), s.resolved
    (1.0, 3.0, True)
    >>> low, high = s.lmin_interval
    >>> low <= 1 <= high, high - low < 1e-14
    (True, True)
    >>> K = gt.ntk.operator(gt.nn.MLP(5, 30, 1), torch.eye(5))
    >>> gt.spectrum(K, top=2).top.shape
    (2,)
    """
    count = check_integer("top", top, 0)
    if is_operator(K):
        return _of_operator(as_operator(K), certify, count, smallest)
    matrices = as_tensor("K", K).cpu()
    if matrices.dim() < 2 or matrices.shape[-1] != matrices.shape[-2] or matrices.numel() == 0:
        raise ValueError(f"K: expected a non-empty square matrix of shape (..., n, n), got {describe(K)}")
    if count > matrices.shape[-1]:
        raise ValueError(f"top: expected at most {matrices.shape[-1]}, the rows of K, got {count}")
    result = _of_matrices(K, matrices, certify)
    return _with_top(result, K, matrices, count) if count else result


def _of_matrices(K: object, matrices: torch.Tensor, certify: bool) -> Spectrum:
    batch = matrices.shape[:-2]
    results = []
    for index in np.ndindex(*batch):
        name = f"K[{', '.join(map(str, index))}]" if index else "K"
        results.append(extremes(name, matrices[index], certify))
    if not batch:
        return _one(results[0], certify)
    return _many(results, tuple(batch), K, certify)


def _with_top(result: Spectrum, K: object, matrices: torch.Tensor, count: int) -> Spectrum:
    """The same with the largest eigenvalues of the upper triangles."""
    values = torch.linalg.eigvalsh(matrices.double(), UPLO="U")[..., -count:].flip(-1)
    values[..., 0] = torch.as_tensor(result.lmax, dtype=torch.float64)
    floor = torch.as_tensor(result.floor, dtype=torch.float64).unsqueeze(-1)
    return replace(result, top=like_input(torch.where(values > floor, values, math.nan), K))


def _of_operator(K: Any, certify: bool, count: int, smallest: bool) -> Spectrum:
    n = K.shape[0]
    if certify:
        raise ValueError("certify: expected False for an operator, whose entries are not known; form the matrix")
    if count > n:
        raise ValueError(f"top: expected at most {n}, the rows of K, got {count}")
    matrix = matrix_of(K, smallest)
    if matrix is not None:
        result = _of_matrices(matrix, matrix, False)
        return _with_top(result, matrix.numpy(), matrix, count) if count else result
    low, error, largest, floor = operator_extremes(K, count, smallest)
    resolved = low - error > floor
    return Spectrum(
        lmin=low,
        lmax=largest[0],
        condition=largest[0] / low if resolved else math.inf,
        floor=floor,
        resolved=resolved,
        method="lanczos",
        top=_above(np.array([*largest, *[math.nan] * (count - len(largest))]), floor) if count else None,
    )


def _above(values: np.ndarray[Any, Any], floor: float) -> np.ndarray[Any, Any]:
    """Eigenvalues, NaN where they are rounding."""
    return np.where(values > floor, values, math.nan)


def condition_number(K: object) -> Any:
    """lambda_max / lambda_min of a positive definite matrix: a float, or a tensor of the batch shape.

    Args and errors as `spectrum`; the smallest eigenvalue of an operator is searched. Where lambda_min lies below the
    noise floor n eps lambda_max, or was not found, there is no condition number to return, and UnresolvedSpectrumError
    is raised.

    >>> import torch
    >>> import gatentk as gt
    >>> K = gt.ntk.infinite(torch.tensor([[1.0, 0.0], [1.0, 0.1]]), depth=3)
    >>> round(gt.condition_number(K), 1)
    38.6
    >>> gt.condition_number(torch.ones(2, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gatentk.errors.UnresolvedSpectrumError: K: lambda_min = ... is not above the noise floor ...
    """
    result = spectrum(K, smallest=True)
    resolved = np.asarray(result.resolved)
    if is_operator(K) and not result.resolved and result.lmin > result.floor:
        raise UnresolvedSpectrumError(
            f"K: Lanczos did not converge to lambda_min, which is at most {result.lmin:.3g}, so the condition number "
            f"is only known to be at least about {result.condition_bound:.3g}; form the matrix"
        )
    if not resolved.all():
        index = tuple(int(i) for i in np.argwhere(~resolved)[0])
        name = f"K[{', '.join(map(str, index))}]" if index else "K"
        lmin, floor, bound = (float(np.asarray(v)[index]) for v in (result.lmin, result.floor, result.condition_bound))
        raise UnresolvedSpectrumError(
            f"{name}: lambda_min = {lmin:.3g} is not above the noise floor n * eps * lambda_max = "
            f"{floor:.3g}, so the condition number is only known to be at least about {bound:.3g}; assemble "
            "K in float64, take fewer samples, or use spectrum(K), which reports this as unresolved"
        )
    return result.condition


def _one(result: Extremes, certify: bool) -> Spectrum:
    resolved = result.lmin > result.floor
    return Spectrum(
        lmin=result.lmin,
        lmax=result.lmax,
        condition=result.lmax / result.lmin if resolved else math.inf,
        floor=result.floor,
        resolved=resolved,
        method=result.method,
        lmin_interval=result.lmin_interval if certify else None,
        lmax_interval=result.lmax_interval if certify else None,
    )


def _many(results: list[Extremes], batch: tuple[int, ...], K: object, certify: bool) -> Spectrum:
    def gather(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64).reshape(batch)

    def interval(pairs: list[tuple[float, float]]) -> tuple[Any, Any] | None:
        if not certify:
            return None
        return like_input(gather([p[0] for p in pairs]), K), like_input(gather([p[1] for p in pairs]), K)

    lmin, lmax, floor = (gather([getattr(r, field) for r in results]) for field in ("lmin", "lmax", "floor"))
    resolved = lmin > floor
    return Spectrum(
        lmin=like_input(lmin, K),
        lmax=like_input(lmax, K),
        condition=like_input(torch.where(resolved, lmax / lmin, math.inf), K),
        floor=like_input(floor, K),
        resolved=like_input(resolved, K),
        method="lanczos" if all(r.method == "lanczos" for r in results) else "eigvalsh",
        lmin_interval=interval([r.lmin_interval for r in results]),
        lmax_interval=interval([r.lmax_interval for r in results]),
    )
