"""Extreme eigenvalues and condition numbers of positive semidefinite kernels, with proofs on request."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from gatentk.checks import as_tensor, describe, like_input
from gatentk.errors import SpectrumError, UnresolvedSpectrumError

DENSE_LIMIT = 512  # up to here all eigenvalues cost no more than a Lanczos run
TILE = 512  # the fastest of 64..1024 for the symmetry check at n = 4000
RESIDUAL = 1e-9  # relative residual at which Lanczos stops
EPS = 2.0**-52
UNIT = 2.0**-53

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spectrum:
    """Extreme eigenvalues of a symmetric positive semidefinite matrix, and what they are worth.

    For one matrix the numbers are floats and bools. For a batch (..., n, n) they are float64 and bool tensors
    of the batch shape (numpy arrays if K was one).

    Attributes:
        lmin, lmax: smallest and largest eigenvalue.
        condition: lmax / lmin, or inf where lmin is not resolved; never a number made of noise.
        floor: n * eps * lmax, eps of the dtype of K: the size of an eigenvalue that is rounding noise.
        resolved: lmin > floor.
        method: "lanczos", or "eigvalsh" where the matrix is small or Lanczos did not converge.
        lmin_interval, lmax_interval: (low, high), proved to contain the eigenvalue of the symmetric matrix
            that the stored upper triangle of K defines; None unless certified.
    """

    lmin: Any
    lmax: Any
    condition: Any
    floor: Any
    resolved: Any
    method: str
    lmin_interval: tuple[Any, Any] | None = None
    lmax_interval: tuple[Any, Any] | None = None

    @property
    def condition_bound(self) -> Any:
        """Lower bound lmax / max(floor, lmin): the condition number where resolved, 1 for a zero matrix."""
        if isinstance(self.lmin, float):
            return self.lmax / max(self.floor, self.lmin) if self.lmax > 0 else 1.0
        lmin, lmax, floor = (torch.as_tensor(v) for v in (self.lmin, self.lmax, self.floor))
        return like_input(torch.where(lmax > 0, lmax / torch.maximum(floor, lmin), 1.0), self.lmin)


class _Extremes(NamedTuple):
    """One matrix's results, in units of K; the intervals only if certified."""

    lmin: float
    lmax: float
    floor: float
    method: str
    lmin_interval: tuple[float, float]
    lmax_interval: tuple[float, float]


class _EigenPair(NamedTuple):
    """An extreme eigenvalue, its unit eigenvector, and an estimate of the eigenvalue's absolute error."""

    value: float
    vector: Array
    error: float


UNKNOWN = (-math.inf, math.inf)


def spectrum(K: object, certify: bool = False) -> Spectrum:
    """Smallest and largest eigenvalue of a positive semidefinite matrix, and its condition number.

    Up to 512 rows by `eigvalsh`; above, lambda_max by Lanczos on K and lambda_min by Lanczos on the inverse
    through one fp64 Cholesky factor. Peak memory: K plus 1.1 fp64 copies of one matrix. Both agree with
    `torch.linalg.eigvalsh` to max(1e-8, n eps kappa) relative. Only the upper triangle of K enters the
    result, and where eigenvalues crowd at an end of the spectrum all of them are computed, with a
    RuntimeWarning that says so.

    Args:
        K: (..., n, n), float32 or float64, tensor or numpy array; symmetric within 8 eps max|K|. Leading
            dimensions are a batch. A matrix on another device is copied to the CPU, where it is solved by LAPACK,
            and the results are CPU numbers and tensors.
        certify: also prove intervals for both eigenvalues of K as stored, by Rump's Cholesky test and by
            Rayleigh quotients with bounded rounding; costs two more Cholesky factorisations.

    Returns:
        A `Spectrum`. An eigenvalue below the noise floor n eps lambda_max does not raise here: `resolved` is
        False and `condition` is inf.

    Raises:
        TypeError: K is no float32 or float64 tensor or array.
        ValueError: K is not square or is empty.
        SpectrumError: K is not finite, not symmetric, or indefinite (lambda_min below minus the floor).

    Source: Rump, "Verification of positive definiteness", BIT 46 (2006), for the certificate; Wu and Simon,
    "Thick-restart Lanczos method", SIMAX 22 (2000).
    """
    matrices = as_tensor("K", K).cpu()
    if matrices.dim() < 2 or matrices.shape[-1] != matrices.shape[-2] or matrices.numel() == 0:
        raise ValueError(f"K: expected a non-empty square matrix of shape (..., n, n), got {describe(K)}")
    batch = matrices.shape[:-2]
    results = []
    for index in np.ndindex(*batch):
        name = f"K[{', '.join(map(str, index))}]" if index else "K"
        results.append(_extremes(name, matrices[index], certify))
    if not batch:
        return _one(results[0], certify)
    return _many(results, tuple(batch), K, certify)


def condition_number(K: object) -> Any:
    """lambda_max / lambda_min of a positive definite matrix: a float, or a tensor of the batch shape.

    Args and errors as `spectrum`; where lambda_min lies below the noise floor n eps lambda_max there is no
    condition number to return, and UnresolvedSpectrumError is raised.
    """
    result = spectrum(K)
    resolved = np.asarray(result.resolved)
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


def _one(result: _Extremes, certify: bool) -> Spectrum:
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


def _many(results: list[_Extremes], batch: tuple[int, ...], K: object, certify: bool) -> Spectrum:
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


def _extremes(name: str, M: torch.Tensor, certify: bool) -> _Extremes:
    """Check one matrix, solve it scaled to max|M| in [1/2, 1), and scale back."""
    exponent = _check_matrix(name, M)
    if exponent is None:
        return _Extremes(0.0, 0.0, 0.0, "eigvalsh", (0.0, 0.0), (0.0, 0.0))
    n = len(M)
    # Not np.empty, which asks for huge pages: in a virtual machine, once memory has been in use, those took
    # 0.12 to 0.35 s to fill at n = 4000, where small pages took 0.06 s.
    work = torch.empty(n, n, dtype=torch.float64).numpy()
    if n <= DENSE_LIMIT:
        bottom, top, method = _dense(M, exponent, work, certify)
    else:
        bottom, top, method = _lanczos_both(name, M, exponent, work)
    lmin, lmax = min(bottom.value, top.value), top.value
    floor = n * torch.finfo(M.dtype).eps * lmax
    if lmin < -floor:
        raise SpectrumError(_indefinite(name, f"lambda_min = {_unscale(lmin, exponent):.3g}"))
    intervals = (UNKNOWN, UNKNOWN)
    if certify:
        intervals = _certify(M, exponent, work, bottom, top)
        (low, high), (low_max, high_max) = intervals
        lmin, lmax = min(max(lmin, low), high), min(max(lmax, low_max), high_max)
    if not math.isfinite(_unscale(lmax, exponent)):
        raise SpectrumError(f"{name}: lambda_max exceeds the range of float64; scale the matrix down")
    lmin_interval, lmax_interval = (
        (_unscale(low, exponent, -1), _unscale(high, exponent, 1)) for low, high in intervals
    )
    lmin, lmax, floor = (_unscale(v, exponent) for v in (lmin, lmax, floor))
    return _Extremes(lmin, lmax, floor, method, lmin_interval, lmax_interval)


def _unscale(value: float, exponent: int, direction: int = 0) -> float:
    """value * 2^exponent; where that underflows or overflows, rounded towards `direction` if it is not 0."""
    with np.errstate(over="ignore", under="ignore"):
        result = float(np.ldexp(value, exponent))
        inexact = float(np.ldexp(result, -exponent)) != value
    return math.nextafter(result, direction * math.inf) if direction and inexact else result


def _indefinite(name: str, finding: str) -> str:
    return f"{name}: expected a positive semidefinite matrix, but {finding} lies below minus the noise floor"


def _check_matrix(name: str, M: torch.Tensor) -> int | None:
    """Refuse M if not finite or not symmetric; return e with max|M| in [2^(e-1), 2^e), None if M = 0."""
    low, high = (v.item() for v in torch.aminmax(M))
    peak = max(-low, high)
    if not math.isfinite(peak):
        row, column = (int(i) for i in torch.nonzero(~torch.isfinite(M))[0])
        raise SpectrumError(f"{name}: expected finite values, got {M[row, column].item()} at index ({row}, {column})")
    tolerance = 8 * torch.finfo(M.dtype).eps * peak
    buffer = M.new_empty(TILE * TILE)
    for i in range(0, len(M), TILE):
        for j in range(i, len(M), TILE):
            rows, columns = slice(i, i + TILE), slice(j, j + TILE)
            upper, lower = M[rows, columns], M[columns, rows].mT
            difference = torch.sub(upper, lower, out=buffer[: upper.numel()].view(upper.shape))
            low, high = (v.item() for v in torch.aminmax(difference))
            if max(-low, high) > tolerance:
                r, c = divmod(int(difference.abs().argmax()), difference.shape[1])
                raise SpectrumError(
                    f"{name}: expected a symmetric matrix, but entries ({i + r}, {j + c}) and "
                    f"({j + c}, {i + r}) differ by {max(-low, high):.3g}, more than 8 * eps * max|K| = "
                    f"{tolerance:.3g}"
                )
    return None if peak == 0 else min(max(math.frexp(peak)[1], -1000), 1000)


def _fill(M: torch.Tensor, exponent: int, work: Array, sign: float = 1.0) -> None:
    """Write sign * 2^-exponent times the upper triangle of M to `work`; the rest of `work` is arbitrary."""
    out = torch.from_numpy(work)
    scale = math.ldexp(sign, -exponent)
    for i in range(0, len(M), 64):
        out[i : i + 64, i:].copy_(M[i : i + 64, i:]).mul_(scale)


def _diagonal(work: Array) -> Array:
    """A writable view of the diagonal."""
    return work.reshape(-1)[:: len(work) + 1]


def _cholesky(work: Array) -> bool:
    """Factor in place the matrix whose upper triangle `work` holds; False if it is not positive definite.

    OpenBLAS dpotrf takes 0.36 s at n = 4000 on 2 cores (61 GFLOP/s, the speed of its dgemm); torch's Cholesky
    and blocked variants on torch products took 0.46 to 0.6 s.
    """
    from scipy.linalg import lapack

    _, info = lapack.dpotrf(work.T, lower=1, clean=0, overwrite_a=1)
    # A pivot that is NaN passes LAPACK's test; every NaN or infinity off the diagonal reaches a later pivot.
    return bool(info == 0 and np.isfinite(_diagonal(work)).all())


def _dense(M: torch.Tensor, exponent: int, work: Array, with_vectors: bool) -> tuple[_EigenPair, _EigenPair, str]:
    """Both ends from all eigenvalues; the vectors, which only a certificate needs, are empty without it."""
    _fill(M, exponent, work)
    A = torch.from_numpy(work)
    if with_vectors:
        values, vectors = torch.linalg.eigh(A, UPLO="U")
    else:
        values, vectors = torch.linalg.eigvalsh(A, UPLO="U"), A.new_empty(0, len(A))
    error = len(M) * UNIT * float(values.abs().max())
    bottom, top = (_EigenPair(float(values[k]), vectors[:, k].numpy(), error) for k in (0, -1))
    return bottom, top, "eigvalsh"


def _lanczos_both(name: str, M: torch.Tensor, exponent: int, work: Array) -> tuple[_EigenPair, _EigenPair, str]:
    """lambda_max by Lanczos on M, lambda_min by Lanczos on (M + shift I)^-1, shift = twice the noise floor.

    The shift makes one factorisation decide all cases: it fails only if lambda_min is clearly negative, and
    nothing is lost, since it at most triples a resolved lambda_min and adding it rounds by a fraction of the
    floor. `work` is the only n x n array.
    """
    from scipy.linalg import blas

    n, eps, method = len(M), torch.finfo(M.dtype).eps, "lanczos"
    _fill(M, exponent, work)
    least, largest = float(_diagonal(work).min()), float(_diagonal(work).max())
    if largest <= 0 or least < -n * n * eps * largest:  # as lambda_max <= n * largest if M is semidefinite
        raise SpectrumError(_indefinite(name, f"its diagonal entry {_unscale(least, exponent):.3g}"))
    # A random start, so that no structure of the matrix is orthogonal to it; the seed is private.
    start = np.random.default_rng(20210401).standard_normal(n)
    top, low_end = _largest(lambda v: blas.dsymv(1.0, work.T, v, lower=1), start, lambda theta: RESIDUAL * theta)
    if top is None:
        method, top = "eigvalsh", _fallback(work, n - 1)
        _fill(M, exponent, work)
    floor = n * eps * top.value
    shift = 2 * floor
    _diagonal(work)[:] += shift
    if not _cholesky(work):
        raise SpectrumError(_indefinite(name, "lambda_min"))

    def solve(v: Array) -> Array:
        y = blas.dtrsv(work.T, v, lower=1)
        return np.asarray(blas.dtrsv(work.T, y, lower=1, trans=1, overwrite_x=1))

    def tolerance(lmin: float) -> float:
        # Below the floor eigenvalues crowd together, and a fraction of the floor is all there is to know.
        return max(RESIDUAL * lmin, 0.01 * n * EPS * top.value) if lmin > floor else 0.01 * floor

    # Where lambda_max took many steps, its Krylov space knows the lower end too: 49 solves instead of 68 for
    # a Wishart matrix (n = 4000, kappa = 33), and as many as from a random start for kernels with a spike.
    inverse, _ = _largest(solve, low_end, lambda theta: theta**2 * tolerance(1 / theta - shift))
    if inverse is None:
        _fill(M, exponent, work)
        return _fallback(work, 0), top, "eigvalsh"
    error = inverse.error / inverse.value**2
    return _EigenPair(1 / inverse.value - shift, inverse.vector, error), top, method


def _fallback(work: Array, index: int) -> _EigenPair:
    """Eigenpair `index` of the upper triangle in `work`, which is overwritten, by tridiagonalisation."""
    from scipy.linalg import eigh

    warnings.warn(
        "Lanczos did not converge, because eigenvalues crowd at the end of the spectrum: a full "
        "tridiagonalisation is used instead, which is as accurate but slower",
        RuntimeWarning,
        stacklevel=1,
    )
    values, vectors = eigh(
        work.T, lower=True, overwrite_a=True, subset_by_index=[index, index], driver="evr", check_finite=False
    )
    return _EigenPair(float(values[0]), vectors[:, 0], len(work) * UNIT * abs(float(values[0])))


def _largest(
    apply: Callable[[Array], Array], start: Array, tolerance: Callable[[float], float]
) -> tuple[_EigenPair | None, Array]:
    """Largest eigenvalue of a symmetric operator by thick-restart Lanczos with full reorthogonalisation.

    Stops when the norm r of the residual is at most `tolerance(eigenvalue)`, without an eigenpair if that is
    not reached; also returns the Ritz vector at the other end. An eigenvalue lies within r. The sharper r^2 /
    gap would save a quarter of the steps, but r near 1e-5 cannot tell an eigenvalue from a mean of two that
    are closer than that, for which there is no gap. The basis holds less than n^2 / 12 numbers for every n
    above `DENSE_LIMIT`.
    """
    from scipy.linalg import blas, lapack

    n = len(start)
    size = min(160, max(40, n // 14))
    Q = np.empty((n, size + 1), order="F")
    H = np.zeros((size, size))
    Q[:, 0] = start / blas.dnrm2(start)
    j, next_check = 0, 1
    for _ in range(max(300, n // 8)):
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
                return _EigenPair(float(theta[-1]), vector, error), other
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


def _certify(
    M: torch.Tensor, exponent: int, work: Array, bottom: _EigenPair, top: _EigenPair
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Proved intervals for lambda_min and lambda_max of the scaled upper triangle of M."""
    low = _lower_bound(M, exponent, work, 1.0, bottom.value, bottom.error)
    high = -_lower_bound(M, exponent, work, -1.0, -top.value, top.error)
    return (low, _rayleigh(M, exponent, bottom.vector)[1]), (_rayleigh(M, exponent, top.vector)[0], high)


def _lower_bound(M: torch.Tensor, exponent: int, work: Array, sign: float, value: float, error: float) -> float:
    """The largest proved lower bound, of a few tried, on the smallest eigenvalue `value` of sign * M."""
    for margin in (1.25, 4, 32, 1024, 65536):
        _fill(M, exponent, work, sign)
        unit = _slack(_diagonal(work), value) + 4 * UNIT * abs(value) + error / 16
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
    diagonal = _diagonal(work)
    shift = math.nextafter(bound + _slack(diagonal, bound), math.inf)
    diagonal[:] = np.nextafter(diagonal - shift, -math.inf)
    return _cholesky(work)


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
