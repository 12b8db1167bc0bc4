"""Positive semidefinite matrices of known spectra, and spectra by LAPACK and in 60 digits."""

import functools

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

from gatentk.spectra.extremes import DENSE_LIMIT

LARGE = DENSE_LIMIT + 88

SIZES = [DENSE_LIMIT - 1, DENSE_LIMIT, DENSE_LIMIT + 1, LARGE]


@functools.cache
def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def with_eigenvalues(values, seed=0):
    """A symmetric float64 matrix with these eigenvalues, up to rounding."""
    Q = orthogonal(len(values), seed)
    K = (Q * np.asarray(values)) @ Q.T
    return torch.from_numpy((K + K.T) / 2)


def wishart(n, seed=0, dtype=torch.float64):
    return _wishart(n, seed).to(dtype, copy=True)


@functools.cache
def _wishart(n, seed):
    X = torch.randn(n, 2 * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    K = X @ X.mT / (2 * n)
    return (K + K.mT) / 2


def toeplitz(n):
    """tridiag(-1, 2, -1): eigenvalues 2 - 2 cos(k pi / (n + 1)), k = 1..n."""
    return torch.from_numpy(scipy.linalg.toeplitz([2.0, -1.0] + [0.0] * (n - 2)))


def hilbert(n):
    return torch.from_numpy(scipy.linalg.hilbert(n))


def exact_eigenvalues(K, digits=60):
    """Eigenvalues, ascending, of the matrix that the stored upper triangle defines."""
    n = len(K)
    with mpmath.workdps(digits):
        exact = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(i, n):
                exact[i, j] = exact[j, i] = mpmath.mpf(float(K[i, j]))
        return sorted(mpmath.eigsy(exact, eigvals_only=True))


def assert_agrees(result, K):
    """The agreement that the contract promises between two correct solvers."""
    values = scipy.linalg.eigvalsh(np.asarray(K.double()))
    kappa = values[-1] / values[0]
    tolerance = max(1e-8, len(K) * torch.finfo(K.dtype).eps * kappa)
    assert result.resolved is True
    assert result.lmin == pytest.approx(values[0], rel=tolerance)
    assert result.lmax == pytest.approx(values[-1], rel=1e-8)
    assert result.condition == result.lmax / result.lmin == result.condition_bound
    assert result.floor == pytest.approx(len(K) * torch.finfo(K.dtype).eps * values[-1], rel=1e-8)


def starts(n):
    """Vectors from which an iteration could begin: Gaussians of many seeds, constant, alternating and unit ones."""
    gaussians = [np.random.default_rng(seed).standard_normal(n) for seed in (*range(8), 42, 20210401)]
    return np.array([*gaussians, np.ones(n), (-1.0) ** np.arange(n), np.eye(n)[0], np.eye(n)[-1], np.arange(n) + 1.0])


def orthogonal_to(vectors, seed=99):
    """A random unit vector that is orthogonal to all of these."""
    basis = np.linalg.qr(np.asarray(vectors).T)[0]
    v = np.random.default_rng(seed).standard_normal(len(basis))
    for _ in range(3):
        v -= basis @ (basis.T @ v)
    return v / np.linalg.norm(v)
