"""Kernel ridge regression with an intercept that costs nothing, and what rounding leaves of it."""

from __future__ import annotations

import math
import numbers
import warnings

import torch
from torch import Tensor

from gatentk.errors import NoiseFloorWarning
from gatentk.spectra import Spectrum, spectrum

ALONE = 2.0**-26  # share of the constant function outside of what a kernel resolves from which on that decides it


def midrange(y: Tensor) -> Tensor:
    """Halfway between the extremes of each column: exactly the value of a constant one, which a mean is not."""
    low, high = torch.aminmax(y, dim=0)
    return low / 2 + high / 2


class KernelFit:
    """The function f + b that makes |y - f - b|^2 + ridge |f|^2 smallest, |f| the norm that belongs to a kernel.

    As a Gaussian process: its mean after the targets are seen, with noise of variance `ridge`, and b unknown.
    Eigenvalues of K + ridge I below the noise floor are known only to be small: their components are left out of f,
    which without a ridge is the function of least norm, and a `NoiseFloorWarning` says so.

    Args:
        K: (n, n), float64; overwritten.
        ridge: what is added to the diagonal.
        y: targets (n, outputs).
        with_intercept: False: b is 0.
        stacklevel: whose call a warning names, 1 for this one, as in `warnings.warn`.

    Raises:
        ValueError: weights leave the range of float64.

    Attributes:
        weights: (n, outputs); predictions are K(x, samples) @ weights + intercept.
        intercept: b, (outputs,).
        scale: (outputs,), standard deviation of f at a sample whose kernel is 1: of largest (restricted) likelihood.
        spectrum: of K + ridge I, with the noise floor.
    """

    spectrum: Spectrum

    def __init__(self, K: Tensor, ridge: float, y: Tensor, with_intercept: bool, stacklevel: int = 2) -> None:
        K.diagonal().add_(ridge)
        self.spectrum = spectrum(K)
        self._factor: Tensor | None = None
        if self.spectrum.resolved:
            self._factor = torch.linalg.cholesky(K)
            rank = len(K)
        else:
            values, vectors = torch.linalg.eigh(K)
            kept = values > self.spectrum.floor
            self._roots = vectors[:, kept] / values[kept].sqrt()
            self._kept = vectors[:, kept]
            rank = int(kept.sum())
            self._warn(len(K) - rank, len(K), stacklevel + 1)
        self._solve_for(y, with_intercept, rank)

    def _solve_for(self, y: Tensor, with_intercept: bool, rank: int) -> None:
        middle = midrange(y) if with_intercept else y.new_zeros(y.shape[1])
        centred = y - middle
        offset = torch.zeros_like(middle)
        self._ones: Tensor | None = None
        weights = self._solve(centred)
        if with_intercept:
            ones = y.new_ones(len(y), 1)
            outside = self._outside(ones)
            if float(outside.sum()) > ALONE * len(y):
                offset = outside.T @ centred / outside.sum()
                weights = self._solve(centred - offset)
            else:
                solved = self._solve(ones)
                self._ones, self._precision = solved, float(solved.sum())
                offset = weights.sum(dim=0) / self._precision
                weights = weights - solved * offset
            offset = offset.flatten()
        if not bool(weights.isfinite().all()):
            raise ValueError("y: the weights of a fit to such targets leave the range of float64; rescale the targets")
        self.weights, self.intercept = weights, middle + offset
        # Divided first, so that squares of targets of any size are numbers.
        size = centred.abs().amax(dim=0)
        size = torch.where(size > 0, size, 1)
        squares = ((centred - offset) / size * (weights / size)).sum(dim=0)
        freedom = max(rank - (self._ones is not None), 1)
        self.scale = size * (squares.clamp_min(0) / freedom).sqrt()

    def variance(self, rows: Tensor, diagonal: Tensor) -> Tensor:
        """Variance of f + b at other samples, (m,), in units of scale^2; at least 0.

        Args:
            rows: their kernel (m, n) with the samples.
            diagonal: their kernel with themselves, (m,).
        """
        if self._factor is not None:
            explained = torch.linalg.solve_triangular(self._factor, rows.T, upper=False).square().sum(dim=0)
        else:
            explained = (rows @ self._roots).square().sum(dim=1)
        result: Tensor = diagonal - explained
        if self._ones is not None:
            result += (1 - (rows @ self._ones).squeeze(1)).square() / self._precision
        return result.clamp_min(0)

    def _solve(self, right: Tensor) -> Tensor:
        if self._factor is not None:
            return torch.cholesky_solve(right, self._factor)
        solved: Tensor = self._roots @ (self._roots.T @ right)
        return solved

    def _outside(self, ones: Tensor) -> Tensor:
        """The part of the constant function that no resolved eigenvector has."""
        return torch.zeros_like(ones) if self._factor is not None else ones - self._kept @ (self._kept.T @ ones)

    def _warn(self, lost: int, n: int, stacklevel: int) -> None:
        found = self.spectrum
        if found.lmax == 0:
            text = "the kernel of these samples is 0, and only an intercept can be fitted"
            warnings.warn(text, NoiseFloorWarning, stacklevel=stacklevel)
            return
        warnings.warn(
            f"{lost} of {n} eigenvalues of the kernel with its ridge are not above the noise floor n * eps * "
            f"lambda_max = {found.floor:.3g} (lambda_min = {found.lmin:.3g}): what the targets have in their "
            "directions is not fitted; choose a larger ridge, or leave out samples that nearly coincide",
            NoiseFloorWarning,
            stacklevel=stacklevel,
        )


def relative_ridge(name: str, value: object) -> float:
    """A ridge in units of the mean of a kernel's diagonal: a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        ridge = float(value)
    except OverflowError:  # of an integer
        ridge = math.inf
    if not 0 <= ridge < math.inf:
        raise ValueError(f"{name}: expected a finite number of at least 0, got {ridge}")
    return ridge


def added_ridge(name: str, ridge: float, unit: float) -> float:
    """What a ridge in units of the mean of a kernel's diagonal adds to it.

    >>> added_ridge("ridge", 1e-3, 2.0)
    0.002
    """
    added = ridge * unit
    if not added < math.inf:
        raise ValueError(
            f"{name}: expected a ridge that in units of the kernel's mean diagonal, {unit:.3g}, is a float64, got "
            f"{ridge:.3g}"
        )
    return added
