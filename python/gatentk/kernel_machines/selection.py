"""Machines that choose depth and ridge by exact leave-one-out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from gatentk.checks import check_integer, from_array
from gatentk.errors import NoiseFloorWarning, UnresolvedSpectrumError
from gatentk.kernel_machines.defaults import DEPTHS, RIDGES
from gatentk.kernel_machines.estimators import Array, _Classification, _Machine, _Regression, chosen, fixed_network
from gatentk.kernel_machines.solving import relative_ridge
from gatentk.kernel_machines.trials import Columns, Score, Trial, best_pair, determination, tried
from gatentk.runs.memory import check_memory

SEARCH_NEEDED = 5  # matrices of the size of the kernel: itself and its next, reflections, Q, and the work of LAPACK
SOLUTIONS = 4  # arrays of a number for each sample, ridge and output, or one more: two solutions, residuals, a product


class _Selection(_Machine):
    """What machines share that choose: the tables of scores and errors, and what was chosen."""

    depths_: Array
    ridges_: Array
    loo_scores_: Array
    loo_errors_: Array
    loo_predictions_: Array
    depth_: int
    ridge_: float
    best_score_: float

    def _choose(self, X: Array, Y: Tensor, score: Score) -> Array:
        """Fill the tables, fit the best pair to all samples, and give its leave-one-out predictions."""
        depths, ridges = self._grid()
        if len(X) < 2:
            raise ValueError(f"X: expected at least 2 samples to leave one out, got n_samples={len(X)}")
        if not isinstance(self.fit_intercept, bool):
            raise TypeError(f"fit_intercept: expected True or False, got {self.fit_intercept!r}")
        needed = search_memory(len(X), Y.shape[1], len(ridges))
        check_memory(needed, f"X: leaving out each of {len(X):,} samples", "take fewer samples")
        given = Columns(Y, self.fit_intercept)
        found: list[Trial] = []
        rest, top = given.scaled, None
        for trial, residuals in tried(fixed_network(self), from_array(X), given, depths, ridges, score):
            found.append(trial)
            best = trial.best()
            if best is not None and (top is None or trial.key(best) > top):
                rest, top = residuals, trial.key(best)
        self.depths_, self.ridges_ = np.array(depths), np.array(ridges)
        self.loo_scores_ = np.array([trial.scores for trial in found])
        self.loo_errors_ = np.array([trial.errors for trial in found])
        pair = best_pair(found)
        if pair is None:
            raise UnresolvedSpectrumError(
                f"ridges: the kernel has eigenvalues below its noise floor n * eps * lambda_max at all depths and "
                f"ridges, of which the largest is {ridges[0]:.3g}; give larger ones"
            )
        self.depth_, self.ridge_ = depths[pair[0]], ridges[pair[1]]
        self.best_score_ = found[pair[0]].scores[pair[1]]
        self._warn_of_noise(*pair)
        self._fit_columns(X, Y, self.depth_, self.ridge_, stacklevel=4)
        predictions: Array = (Y - rest * given.size).numpy()
        return predictions

    def _grid(self) -> tuple[list[int], list[float]]:
        """Depths rising, ridges falling, none twice."""
        if not isinstance(self.depths, Iterable):
            raise TypeError(f"depths: expected numbers of hidden layers, got {self.depths!r}")
        depths = sorted({check_integer("depths", depth, 0) for depth in self.depths})
        given = RIDGES if self.ridges is None else self.ridges
        if not isinstance(given, Iterable):
            raise TypeError(f"ridges: expected numbers, got {given!r}")
        ridges = sorted({relative_ridge("ridges", ridge) for ridge in given}, reverse=True)
        for name, values in (("depths", depths), ("ridges", ridges)):
            if not values:
                raise ValueError(f"{name}: expected at least one, got none")
        return depths, ridges

    def _warn_of_noise(self, row: int, column: int) -> None:
        """Where the best ridge is the smallest that the noise floor allows, smaller ones might have been better."""
        lost = self.ridges_[column + 1 :]
        if len(lost) and np.isnan(self.loo_scores_[row, column + 1]):
            warnings.warn(
                f"the best ridge, {self.ridge_:.3g} at depth {self.depth_}, is the smallest of those at which the "
                f"kernel is above its noise floor; {len(lost)} smaller one(s) could not be tried in float64",
                NoiseFloorWarning,
                stacklevel=4,
            )


class NTKRegressorCV(_Selection, _Regression):
    """`NTKRegressor` with depth and ridge of the best leave-one-out predictions, which cost one fit a depth.

    All kernels come from one sweep, and all ridges of a depth from one tridiagonal form. The predictions are exactly
    those of n fits (with what is added to the diagonal kept as it is). Pairs of depth and ridge whose kernel is not
    above its noise floor are left out; a `NoiseFloorWarning` says so where they might have been chosen.

    Args:
        kernel, activation, w_std, b_std, slope, normalize, fit_intercept: as in `NTKRegressor`.
        depths: numbers of hidden layers to choose from.
        ridges: to choose from, in units of the kernel's mean diagonal; None: 1e-8 to 10, two a decade.

    Attributes:
        depth_, ridge_: those with the largest score; of equal scores the smallest squared error.
        best_score_: the coefficient of determination R^2 of its leave-one-out predictions, of several outputs the mean.
        depths_, ridges_: the axes of the tables, depths rising and ridges falling.
        loo_scores_, loo_errors_: scores and mean squared errors, (depths, ridges); NaN where the kernel is not above
            its noise floor.
        loo_predictions_: for each sample what the best fit to all others predicts, (n,) or (n, outputs).
        X_fit_, dual_coef_, intercept_, added_ridge_, spectrum_, noise_floor_, n_features_in_, feature_names_in_: as in
            `NTKRegressor`, of the best fit to all samples.
    """

    def __init__(
        self,
        *,
        kernel: str = "ntk",
        depths: Iterable[int] = DEPTHS,
        activation: str = "relu",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        ridges: Iterable[float] | None = None,
        normalize: bool = False,
        fit_intercept: bool = True,
    ) -> None:
        self.kernel = kernel
        self.depths = depths
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.ridges = ridges
        self.normalize = normalize
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any) -> NTKRegressorCV:
        """Choose depth and ridge, and fit to all samples.

        Args:
            X, y: as in `NTKRegressor.fit`, at least two samples.

        Returns:
            self.

        Raises:
            ValueError, TypeError: as `NTKRegressor.fit`; no depth or no ridge.
            UnresolvedSpectrumError: all kernels with all ridges are below their noise floor.

        >>> import numpy as np
        >>> from gatentk.kernel_machines import NTKRegressorCV
        >>> x = np.random.default_rng(0).normal(size=(60, 3))
        >>> machine = NTKRegressorCV(depths=[1, 2, 3]).fit(x, abs(x).sum(axis=1))
        >>> machine.depth_, machine.best_score_ > 0.9, machine.loo_scores_.shape
        (1, True, (3, 19))
        """
        samples, columns = self._targets(X, y)
        predictions = self._choose(samples, columns, determination)
        self.loo_predictions_ = predictions[:, 0] if self._one_column else predictions
        return self


class NTKClassifierCV(_Selection, _Classification):
    """`NTKClassifier` with depth and ridge of the best leave-one-out predictions, which cost one fit a depth.

    As `NTKRegressorCV`, but that scores are accuracies.

    Args:
        kernel, depths, activation, w_std, b_std, slope, ridges, normalize, fit_intercept: as in `NTKRegressorCV`.

    Attributes:
        depth_, ridge_: those with the largest score; of equal scores the smallest squared error.
        best_score_: the accuracy of its leave-one-out predictions.
        loo_scores_, loo_errors_: accuracies and mean squared errors of the outputs, (depths, ridges).
        loo_predictions_: for each sample the class that the best fit to all others predicts, (n,).
        classes_: the labels, sorted.
        depths_, ridges_, X_fit_, dual_coef_, intercept_, added_ridge_, spectrum_, noise_floor_, n_features_in_,
            feature_names_in_: as in `NTKRegressorCV`.
    """

    def __init__(
        self,
        *,
        kernel: str = "ntk",
        depths: Iterable[int] = DEPTHS,
        activation: str = "relu",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        ridges: Iterable[float] | None = None,
        normalize: bool = False,
        fit_intercept: bool = True,
    ) -> None:
        self.kernel = kernel
        self.depths = depths
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.ridges = ridges
        self.normalize = normalize
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any) -> NTKClassifierCV:
        """Choose depth and ridge, and fit to all samples.

        Args:
            X, y: as in `NTKClassifier.fit`, at least two samples.

        Returns:
            self.

        Raises:
            ValueError, TypeError: as `NTKClassifier.fit`; no depth or no ridge.
            UnresolvedSpectrumError: all kernels with all ridges are below their noise floor.

        >>> import numpy as np
        >>> from gatentk.kernel_machines import NTKClassifierCV
        >>> x = np.random.default_rng(0).normal(size=(80, 2))
        >>> machine = NTKClassifierCV(depths=[1, 4]).fit(x, x[:, 0] * x[:, 1] > 0)
        >>> machine.best_score_ > 0.9
        True
        """
        samples, columns, numbers = self._targets(X, y)
        self.loo_predictions_ = self.classes_[chosen(self._choose(samples, columns, accuracy_of(numbers)))]
        return self


def search_memory(n: int, outputs: int, ridges: int) -> int:
    """Peak bytes of leave-one-out at one depth.

    >>> search_memory(1000, 1, 10)
    40640000
    """
    return 8 * (SEARCH_NEEDED * n * n + SOLUTIONS * n * (outputs + 1) * ridges)


def accuracy_of(numbers: Array) -> Score:
    """The share of samples, whose classes have these numbers (n,), for which the right output is the largest.

    >>> import torch
    >>> accuracy_of(np.array([0, 1, 1]))(torch.tensor([[0.0], [0.5], [1.5]]), torch.tensor([[-1.0], [1.0], [1.0]]))
    0.6666666666666666
    """

    def accuracy(residuals: Tensor, targets: Tensor) -> float:  # targets are +1 and -1 as they are
        return float((chosen((targets - residuals).numpy()) == numbers).mean())

    return accuracy
