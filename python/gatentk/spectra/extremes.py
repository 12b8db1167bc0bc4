"""The extreme eigenvalues of one positive semidefinite matrix."""

from __future__ import annotations

import math
import warnings
import zlib
from typing import NamedTuple

import numpy as np
import torch

from gatentk.errors import SpectrumError
from gatentk.spectra.certificates import certify_extremes
from gatentk.spectra.lanczos import EigenPair, largest_eigenvalue
from gatentk.spectra.triangles import UNIT, Array, cholesky, diagonal_of, fill

DENSE_LIMIT = 512  # up to here all eigenvalues cost no more than a Lanczos run
TILE = 512  # the fastest of 64..1024 for the symmetry check at n = 4000
RESIDUAL = 1e-9  # relative residual at which Lanczos stops
EPS = 2.0**-52
SUBNORMAL_STEPS = 16  # of the smallest positive number, the noise of an entry where that is more than eps lambda_max
UNKNOWN = (-math.inf, math.inf)


class Extremes(NamedTuple):
    """One matrix's results, in units of K; the intervals only if certified."""

    lmin: float
    lmax: float
    floor: float
    method: str
    lmin_interval: tuple[float, float]
    lmax_interval: tuple[float, float]


def extremes(name: str, M: torch.Tensor, certify: bool) -> Extremes:
    """Check one matrix, solve it scaled to max|M| in [1/2, 1), and scale back."""
    exponent = _check_matrix(name, M)
    if exponent is None:
        return Extremes(0.0, 0.0, 0.0, "eigvalsh", (0.0, 0.0), (0.0, 0.0))
    n = len(M)
    # Not np.empty, which asks for huge pages: in a virtual machine, once memory has been in use, those took
    # 0.12 to 0.35 s to fill at n = 4000, where small pages took 0.06 s.
    work = torch.empty(n, n, dtype=torch.float64).numpy()
    if n <= DENSE_LIMIT:
        bottom, top, method = _dense(M, exponent, work, certify)
    else:
        bottom, top, method = _lanczos_both(name, M, exponent, work)
    intervals = (UNKNOWN, UNKNOWN)
    if certify:
        intervals = certify_extremes(M, exponent, work, bottom, top)
        if method == "lanczos" and not np.isfinite(intervals).all():
            _warn("Lanczos missed an eigenvalue, as the certificate shows")
            (low, _), (_, high) = intervals
            if not math.isfinite(low):
                bottom, method = _tridiagonalised(M, exponent, work, 0), "eigvalsh"
            if not math.isfinite(high):
                top, method = _tridiagonalised(M, exponent, work, n - 1), "eigvalsh"
            intervals = certify_extremes(M, exponent, work, bottom, top)
    lmin, lmax = min(bottom.value, top.value), top.value
    floor = n * _noise(M.dtype, exponent, lmax)
    if lmin < -floor:
        raise SpectrumError(_indefinite(name, f"lambda_min = {_unscale(lmin, exponent):.3g}"))
    if certify:
        (low, high), (low_max, high_max) = intervals
        lmin, lmax = min(max(lmin, low), high), min(max(lmax, low_max), high_max)
    if not math.isfinite(_unscale(lmax, exponent)):
        raise SpectrumError(f"{name}: lambda_max exceeds the range of float64; scale the matrix down")
    lmin_interval, lmax_interval = (
        (_unscale(low, exponent, -1), _unscale(high, exponent, 1)) for low, high in intervals
    )
    lmin, lmax, floor = (_unscale(v, exponent) for v in (lmin, lmax, floor))
    return Extremes(lmin, lmax, floor, method, lmin_interval, lmax_interval)


def _unscale(value: float, exponent: int, direction: int = 0) -> float:
    """value * 2^exponent; where that underflows or overflows, rounded towards `direction` if it is not 0."""
    with np.errstate(over="ignore", under="ignore"):
        result = float(np.ldexp(value, exponent))
        inexact = float(np.ldexp(result, -exponent)) != value
    return math.nextafter(result, direction * math.inf) if direction and inexact else result


def _noise(dtype: torch.dtype, exponent: int, largest: float) -> float:
    """Rounding of an entry of a matrix of this dtype with that scaled lambda_max.

    Among subnormals it is absolute, and each term of the sum that an entry is has been rounded: a few steps of them.
    """
    numbers = torch.finfo(dtype)
    return max(numbers.eps * largest, SUBNORMAL_STEPS * math.ldexp(numbers.smallest_normal, -exponent) * numbers.eps)


def _indefinite(name: str, finding: str) -> str:
    return f"{name}: expected a positive semidefinite matrix, but {finding} lies below minus the noise floor"


def _check_matrix(name: str, M: torch.Tensor) -> int | None:
    """Refuse M if not finite or not symmetric; return e with max|M| in [2^(e-1), 2^e), None if M = 0."""
    low, high = (v.item() for v in torch.aminmax(M))
    peak = max(-low, high)
    if not math.isfinite(peak):
        row, column = (int(i) for i in torch.nonzero(~torch.isfinite(M))[0])
        raise SpectrumError(f"{name}: expected finite values, got {M[row, column].item()} at index ({row}, {column})")
    tolerance = 8 * _noise(M.dtype, 0, peak)
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


def _dense(M: torch.Tensor, exponent: int, work: Array, with_vectors: bool) -> tuple[EigenPair, EigenPair, str]:
    """Both ends from all eigenvalues; the vectors, which only a certificate needs, are empty without it."""
    fill(M, exponent, work)
    A = torch.from_numpy(work)
    if with_vectors:
        values, vectors = torch.linalg.eigh(A, UPLO="U")
    else:
        values, vectors = torch.linalg.eigvalsh(A, UPLO="U"), A.new_empty(0, len(A))
    error = len(M) * UNIT * float(values.abs().max())
    bottom, top = (EigenPair(float(values[k]), vectors[:, k].numpy(), error) for k in (0, -1))
    return bottom, top, "eigvalsh"


def _lanczos_both(name: str, M: torch.Tensor, exponent: int, work: Array) -> tuple[EigenPair, EigenPair, str]:
    """lambda_max by Lanczos on M, lambda_min by Lanczos on (M + shift I)^-1, shift = twice the noise floor.

    The shift makes one factorisation decide all cases: it fails only if lambda_min is clearly negative, and
    nothing is lost, since it at most triples a resolved lambda_min and adding it rounds by a fraction of the
    floor. `work` is the only n x n array.
    """
    from scipy.linalg import blas

    n, method = len(M), "lanczos"
    fill(M, exponent, work)
    least, largest = float(diagonal_of(work).min()), float(diagonal_of(work).max())
    noise = _noise(M.dtype, exponent, n * largest)  # lambda_max <= n * largest if M is semidefinite
    if largest <= 0 or least < -n * noise:
        raise SpectrumError(_indefinite(name, f"its diagonal entry {_unscale(least, exponent):.3g}"))
    top, low_end = largest_eigenvalue(
        lambda v: blas.dsymv(1.0, work.T, v, lower=1), _start(work), lambda theta: RESIDUAL * theta
    )
    if top is None:
        method, top = "eigvalsh", _fallback(M, exponent, work, n - 1)
        fill(M, exponent, work)
    floor = n * _noise(M.dtype, exponent, top.value)
    shift = 2 * floor
    diagonal_of(work)[:] += shift
    if not cholesky(work):
        raise SpectrumError(_indefinite(name, "lambda_min"))

    def solve(v: Array) -> Array:
        y = blas.dtrsv(work.T, v, lower=1)
        return np.asarray(blas.dtrsv(work.T, y, lower=1, trans=1, overwrite_x=1))

    def tolerance(lmin: float) -> float:
        # Below the floor eigenvalues crowd together, and a fraction of the floor is all there is to know.
        return max(RESIDUAL * lmin, 0.01 * n * EPS * top.value) if lmin > floor else 0.01 * floor

    # Where lambda_max took many steps, its Krylov space knows the lower end too: 49 solves instead of 68 for
    # a Wishart matrix (n = 4000, kappa = 33), and as many as from a random start for kernels with a spike.
    inverse, _ = largest_eigenvalue(solve, low_end, lambda theta: theta**2 * tolerance(1 / theta - shift))
    if inverse is None:
        return _fallback(M, exponent, work, 0), top, "eigvalsh"
    error = inverse.error / inverse.value**2
    return EigenPair(1 / inverse.value - shift, inverse.vector, error), top, method


def _start(work: Array) -> Array:
    """A random vector that depends on the whole matrix.

    An eigenvector that is orthogonal to the start is never found. No structure of a matrix makes one so, and a matrix
    built against the vector would change it. The checksum takes 14 ms at n = 4000, an application 10 ms.
    """
    checksum = 0
    for i, row in enumerate(work):
        checksum = zlib.crc32(row[i:], checksum)
    return np.random.default_rng((20210401, checksum)).standard_normal(len(work))


def _fallback(M: torch.Tensor, exponent: int, work: Array, index: int) -> EigenPair:
    """Eigenpair `index` of M where Lanczos finds none; overwrites `work`."""
    _warn("Lanczos did not converge, because eigenvalues crowd at the end of the spectrum")
    return _tridiagonalised(M, exponent, work, index)


def _warn(reason: str) -> None:
    warnings.warn(
        f"{reason}: a full tridiagonalisation is used instead, which is as accurate but slower",
        RuntimeWarning,
        stacklevel=1,
    )


def _tridiagonalised(M: torch.Tensor, exponent: int, work: Array, index: int) -> EigenPair:
    """Eigenpair `index` of M; overwrites `work`."""
    from scipy.linalg import eigh

    n = len(work)
    # Among n - 1 equal eigenvalues LAPACK found none at the upper end, but did at the lower end of -M.
    for sign, k in ((1.0, index), (-1.0, n - 1 - index)):
        fill(M, exponent, work, sign)
        values, vectors = eigh(
            work.T, lower=True, overwrite_a=True, subset_by_index=[k, k], driver="evr", check_finite=False
        )
        if len(values):
            return EigenPair(sign * float(values[0]), vectors[:, 0], n * UNIT * abs(float(values[0])))
    raise SpectrumError(f"K: LAPACK found no eigenvalue number {index}")
