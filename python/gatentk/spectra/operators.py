"""The extreme eigenvalues of a positive semidefinite operator, which is known by its products with vectors."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from gatentk.checks import describe
from gatentk.errors import SpectrumError
from gatentk.spectra.extremes import DENSE_LIMIT, RESIDUAL, SUBNORMAL_STEPS
from gatentk.spectra.lanczos import EigenPair, largest_eigenvalue
from gatentk.spectra.triangles import Array

SMALL = 64  # rows up to which a matrix is made of the products: Lanczos takes as many
STEPS = 2000  # products at most in the search of the smallest eigenvalue, or n


class OperatorExtremes(NamedTuple):
    """What Lanczos finds of an operator.

    Attributes:
        low: the smallest eigenvalue where that was found, else an upper bound of it.
        low_error: of `low`, infinite for a bound.
        largest: eigenvalues in descending order, those that were found of as many as asked for, at least one.
        floor: n eps lambda_max of the operator's dtype.
    """

    low: float
    low_error: float
    largest: list[float]
    floor: float


def is_operator(K: object) -> bool:
    """Whether this is known by products: a scipy LinearOperator, or whatever has matvec, shape and dtype."""
    return not isinstance(K, (torch.Tensor, np.ndarray)) and callable(getattr(K, "matvec", None))


def as_operator(K: Any) -> Any:
    """The operator, if it is square, real and of float32 or float64.

    Raises:
        TypeError, ValueError: it is not.
    """
    dtype, shape = getattr(K, "dtype", None), getattr(K, "shape", None)
    if not _is_float(dtype):
        raise TypeError(f"K: expected an operator of numpy's dtype float32 or float64, got {dtype} of {describe(K)}")
    if shape is None or len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"K: expected a non-empty square operator of shape (n, n), got {shape} of {describe(K)}")
    return K


def _is_float(dtype: Any) -> bool:
    try:
        return dtype is not None and np.dtype(dtype) in (np.float32, np.float64)
    except TypeError:  # no dtype of numpy
        return False


def matrix_of(K: Any, smallest: bool) -> torch.Tensor | None:
    """The matrix of a small operator, by products with all unit vectors; None of a large one."""
    n, dtype = K.shape[0], np.dtype(K.dtype)
    if n > (DENSE_LIMIT if smallest else SMALL):
        return None
    unit = np.eye(n, dtype=dtype)
    columns = K.matmat(unit) if hasattr(K, "matmat") else np.stack([_vector(K, v) for v in unit], axis=1)
    matrix = torch.from_numpy(np.array(columns, dtype=dtype))
    if bool(torch.isfinite(matrix).all()):
        difference, peak = float((matrix - matrix.T).abs().max()), float(matrix.abs().max())
        if difference > np.finfo(dtype).eps ** 0.5 * peak:
            raise _asymmetric(difference)
        matrix = (matrix + matrix.T) / 2
    return matrix


def operator_extremes(K: Any, top: int, smallest: bool) -> OperatorExtremes:
    """lambda_max and further large eigenvalues by Lanczos, one after the other, orthogonal to those before.

    So multiple eigenvalues are found as often as they are there. The residual of each is at most 1e-9 of it, or 64
    eps in the operator's dtype, or the noise floor.
    """
    n, eps = K.shape[0], float(np.finfo(np.dtype(K.dtype)).eps)
    generator = np.random.default_rng(20210401)
    mean = _check_symmetric(K, generator.standard_normal(n), generator.standard_normal(n), eps)
    relative, floor, low = max(RESIDUAL, 64 * eps), 0.0, np.inf
    found: list[EigenPair] = []
    for number in range(min(max(top, 1), n)):
        basis = np.stack([pair.vector for pair in found], axis=1) if found else np.empty((n, 0))

        def deflated(v: Array, basis: Array = basis) -> Array:
            w = _product(K, v - basis @ (basis.T @ v))
            return np.asarray(w - basis @ (basis.T @ w))

        start = deflated(generator.standard_normal(n))
        if not start.any():
            if not found:
                return OperatorExtremes(0.0, np.inf, [0.0], 0.0)
            break
        pair, other = largest_eigenvalue(deflated, start, partial(_tolerance, relative, floor))
        if pair is None:
            if not found:
                if mean < 0:
                    raise _indefinite(mean)
                raise SpectrumError(
                    "K: Lanczos did not converge to its largest eigenvalue, because eigenvalues crowd there; form the "
                    "matrix, of which all are computed"
                )
            warnings.warn(
                f"K: Lanczos did not converge to eigenvalue {number + 1}, because eigenvalues crowd there; those from "
                "it on are NaN",
                RuntimeWarning,
                stacklevel=3,
            )
            break
        if number == 0:
            floor = n * eps * max(pair.value, 0.0)
            low = min(_quotient(K, other), pair.value)
        found.append(pair)
        if pair.value <= floor:
            break
    low_error = np.inf
    if smallest and floor > 0:
        low, low_error = _smallest(K, found[0].value, floor, low, generator.standard_normal(n))
    if low < -floor:
        raise _indefinite(low)
    return OperatorExtremes(float(low), float(low_error), [float(pair.value) for pair in found], floor)


def _tolerance(relative: float, floor: float, value: float) -> float:
    return max(relative * abs(value), floor)


def _smallest(K: Any, high: float, floor: float, low: float, start: Array) -> tuple[float, float]:
    """Smallest eigenvalue and its error, by Lanczos on high - K; the bound `low` where it does not converge."""
    pair, other = largest_eigenvalue(
        lambda v: high * v - _product(K, v),
        start,
        lambda theta: max(1e-6 * abs(high - theta), 0.1 * floor),
        max(STEPS, len(start)),
    )
    if pair is None:
        return min(low, _quotient(K, other)), np.inf
    return min(low, high - pair.value), pair.error


def _vector(K: Any, v: Array) -> Array:
    """A product as it came, of the right length."""
    result = np.asarray(K.matvec(v)).reshape(-1)
    if len(result) != len(v):
        raise ValueError(f"K: expected products with {len(v)} entries, as its shape says, got {len(result)}")
    return result


def _product(K: Any, v: Array) -> Array:
    result = np.asarray(_vector(K, v.astype(K.dtype)), dtype=np.float64)
    if not np.isfinite(result).all():
        raise SpectrumError("K: expected finite products with vectors, got NaN or infinite ones")
    return result


def _quotient(K: Any, v: Array) -> float:
    return float(v @ _product(K, v) / (v @ v))


def _check_symmetric(K: Any, u: Array, v: Array, eps: float) -> float:
    """Refuse what is clearly not symmetric; return a Rayleigh quotient, of about the mean of all eigenvalues."""
    left, right = _product(K, u), _product(K, v)
    # By powers of two, or sums of squares of very large and very small numbers would not be numbers.
    exponent = int(np.frexp(max(np.abs(left).max(), np.abs(right).max()))[1])
    left, right = (np.ldexp(product, -exponent) for product in (left, right))
    difference = abs(float(v @ left) - float(u @ right))
    size = np.linalg.norm(v) * np.linalg.norm(left) + np.linalg.norm(u) * np.linalg.norm(right)
    steps = math.ldexp(SUBNORMAL_STEPS * len(u), min(math.frexp(np.finfo(K.dtype).smallest_subnormal)[1] - exponent, 0))
    if difference > max(eps**0.5 * size, steps):
        raise _asymmetric(math.ldexp(difference, min(exponent, 1000)))
    return math.ldexp(float(u @ left) / float(u @ u), min(exponent, 1000))


def _asymmetric(difference: float) -> SpectrumError:
    return SpectrumError(f"K: expected a symmetric operator, but <u, K v> and <v, K u> differ by {difference:.3g}")


def _indefinite(quotient: float) -> SpectrumError:
    return SpectrumError(
        f"K: expected a positive semidefinite operator, but a Rayleigh quotient of {quotient:.3g} lies below minus the "
        "noise floor"
    )
