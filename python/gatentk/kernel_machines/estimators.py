"""Regression and classification by kernels of infinite width, as estimators of scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from gatentk import extras
from gatentk.checks import check_integer, from_array, plain
from gatentk.kernel_machines.networks import DEVIATIONS, WideNetwork
from gatentk.kernel_machines.solving import KernelFit, added_ridge, relative_ridge
from gatentk.runs.memory import check_memory
from gatentk.spectra import Spectrum

with extras.imports("sklearn", "gatentk.kernel_machines"):
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

Array = np.ndarray[Any, Any]
NEEDED = 3  # matrices of the size of the kernel: itself, its copy for the spectrum, its factor


class _Machine(BaseEstimator):
    """What all machines share: samples, their kernel, a fit of columns of targets, and outputs at other samples."""

    X_fit_: Array
    dual_coef_: Array
    intercept_: Array
    added_ridge_: float
    spectrum_: Spectrum
    noise_floor_: float

    def _fit_columns(self, X: Array, Y: Tensor, depth: int, ridge: float, stacklevel: int = 3) -> None:
        """Fit targets (n, outputs) with a ridge in units of the kernel's mean diagonal; warnings name that call."""
        if not isinstance(self.fit_intercept, bool):
            raise TypeError(f"fit_intercept: expected True or False, got {self.fit_intercept!r}")
        check_memory(NEEDED * 8 * len(X) ** 2, f"X: a kernel of {len(X):,} samples", "take fewer samples")
        # What predictions need, whatever becomes of the parameters.
        self._network = fixed_network(self)
        K = self._network.sweep(from_array(X), None, [depth])[0]
        self.added_ridge_ = added_ridge("ridge", ridge, float(K.diagonal().mean()))
        self._fit = KernelFit(K, self.added_ridge_, Y, self.fit_intercept, stacklevel + 1)
        self._depth = depth
        self.X_fit_ = X
        self.dual_coef_ = self._fit.weights.numpy()
        self.intercept_ = self._fit.intercept.numpy()
        self.spectrum_ = self._fit.spectrum
        self.noise_floor_ = float(self._fit.spectrum.floor)

    def _outputs(self, X: Any, with_deviation: bool = False) -> tuple[Tensor, Tensor]:
        """Columns of outputs (m, outputs), and standard deviations of the same shape or of no row."""
        check_is_fitted(self)
        x = from_array(checked_samples(self, X))
        network, fit = self._network, self._fit
        outputs = x.new_empty(len(x), fit.weights.shape[1])
        deviations = x.new_empty(outputs.shape if with_deviation else (0, outputs.shape[1]))
        diagonal = network.diagonal(x, self._depth) if with_deviation else x
        for part, rows in network.in_blocks(x, from_array(self.X_fit_), self._depth):
            outputs[part] = rows @ fit.weights + fit.intercept
            if with_deviation:
                deviations[part] = fit.variance(rows, diagonal[part]).sqrt().unsqueeze(1) * fit.scale
        if not bool(outputs.isfinite().all()):
            raise ValueError("X: outputs leave the range of float64; rescale the targets of the fit")
        return outputs, deviations


class _Regression(RegressorMixin, _Machine):
    """Machines whose targets are numbers, one or several for a sample."""

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Outputs at samples, and how far the targets' function may be from them.

        Args:
            X: samples (m, d).
            return_std: also give the standard deviation of the Gaussian process: its kernel is that of the fit times
                the variance under which the targets are likeliest, its noise the ridge (and not part of what is
                given), its mean is not known before. It is 0 for constant targets.

        Returns:
            (m,), or (m, outputs) if the targets had columns; float64. With `return_std` a pair of such.

        Raises:
            NotFittedError: before `fit`.
            ValueError: another number of features, and whatever `fit` refuses of samples.

        >>> from gatentk.kernel_machines import NTKRegressor
        >>> machine = NTKRegressor(depth=1, ridge=0.0).fit([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 4.0])
        >>> means, deviations = machine.predict([[1.0, 1.0], [2.0, 2.0]], return_std=True)
        >>> [round(float(mean), 2) for mean in means], [round(float(deviation), 2) for deviation in deviations]
        ([4.0, 7.58], [0.0, 1.39])
        """
        outputs, deviations = self._outputs(X, return_std)
        shaped = [columns.numpy()[:, 0] if self._one_column else columns.numpy() for columns in (outputs, deviations)]
        return tuple(shaped) if return_std else shaped[0]

    def _targets(self, X: Any, y: Any) -> tuple[Array, Tensor]:
        """Samples, and targets as columns."""
        X, y = unmasked("X", X), unmasked("y", y)
        refuse_dates("X", X)
        refuse_dates("y", y)
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self._one_column = y.ndim == 1
        columns = from_array(np.asarray(y, dtype=np.float64))
        return X, columns.unsqueeze(1) if self._one_column else columns

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class _Classification(ClassifierMixin, _Machine):
    """Machines whose targets are classes: one output a class (one for two classes), fitted to +1 and -1."""

    classes_: Array

    def decision_function(self, X: Any) -> Any:
        """What is fitted to +1 for samples of a class and to -1 for others.

        Args:
            X: samples (m, d).

        Returns:
            (m, classes), or (m,) for two classes: positive for the second one; float64.

        Raises:
            NotFittedError, ValueError: as `predict`.
        """
        outputs = self._outputs(X)[0].numpy()
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> Any:
        """The class with the largest output for each sample.

        Args:
            X: samples (m, d).

        Returns:
            (m,) of `classes_`.

        Raises:
            NotFittedError: before `fit`.
            ValueError: another number of features, and whatever `fit` refuses of samples.

        >>> from gatentk.kernel_machines import NTKClassifier
        >>> machine = NTKClassifier(depth=2).fit([[0.0, 1.0], [0.2, 1.0], [1.0, 0.0]], ["up", "up", "right"])
        >>> machine.predict([[0.0, 3.0], [2.0, 0.5]])
        array(['up', 'right'], dtype='<U5')
        """
        outputs = self._outputs(X)[0].numpy()
        return self.classes_[chosen(outputs)]

    def _targets(self, X: Any, y: Any) -> tuple[Array, Tensor, Array]:
        """Samples, +1 and -1 as columns, and the number of each sample's class."""
        X, y = unmasked("X", X), unmasked("y", y)
        refuse_dates("X", X)
        X, y = validate_data(self, X, y, dtype=np.float64)
        y = column_or_1d(y, warn=True)
        try:
            check_classification_targets(y)
            self.classes_, numbers = np.unique(y, return_inverse=True)
        except TypeError as error:
            kinds = sorted({type(label).__name__ for label in y.tolist()})
            if len(kinds) == 1:
                raise
            raise TypeError(f"y: expected labels that sort, got some of {' and '.join(kinds)}") from error
        if len(self.classes_) < 2:
            raise ValueError(
                f"y: expected samples of at least two classes, got one class, {self.classes_.tolist()[0]!r}"
            )
        return X, coded(numbers, len(self.classes_)), numbers


class NTKRegressor(_Regression):
    """Kernel ridge regression by the kernel of an infinitely wide network.

    Without ridge and intercept it predicts what the mean of such networks does after training without end (`training`
    at infinite time). A `NoiseFloorWarning` tells where a kernel has directions that float64 cannot resolve.

    Args:
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        depth, activation, w_std, b_std, slope: of the network, as in `gatentk.ntk.infinite`.
        ridge: added to the kernel's diagonal, in units of its mean, so that the size of samples does not matter.
        normalize: samples are scaled to norm 1 first.
        fit_intercept: a constant is fitted, which the ridge does not hold back. Without one constant targets would be
            fitted by a kernel that, without biases, is 0 at 0.

    Attributes:
        X_fit_: samples (n, d).
        dual_coef_, intercept_: (n, outputs) and (outputs,); outputs are K(X, X_fit_) @ dual_coef_ + intercept_.
        added_ridge_: what was added to the diagonal.
        spectrum_: a `Spectrum` of the kernel with its ridge: condition number, and whether it is resolved.
        noise_floor_: size of its eigenvalues that are rounding, n eps lambda_max.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(
        self,
        *,
        kernel: str = "ntk",
        depth: int = 3,
        activation: str = "relu",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        ridge: float = 1e-3,
        normalize: bool = False,
        fit_intercept: bool = True,
    ) -> None:
        self.kernel = kernel
        self.depth = depth
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.ridge = ridge
        self.normalize = normalize
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any) -> NTKRegressor:
        """Fit to samples and their targets.

        Args:
            X: samples (n, d): arrays, tensors, lists, data frames; of numbers.
            y: targets (n,) or (n, outputs).

        Returns:
            self.

        Raises:
            ValueError: a ridge that is negative or not finite, values that are masked, missing or not finite, other
                numbers of samples and targets, and whatever `gatentk.ntk.infinite` refuses.
            TypeError: a ridge that is no number, sparse samples, dates.

        >>> from gatentk.kernel_machines import NTKRegressor
        >>> machine = NTKRegressor(depth=1, ridge=0.1).fit([[1, 0], [0, 1], [-1, 0]], [5, 5, 5])
        >>> machine.predict([[3, 4]])
        array([5.])
        """
        ridge = relative_ridge("ridge", self.ridge)
        depth = check_integer("depth", self.depth, 0)
        samples, columns = self._targets(X, y)
        self._fit_columns(samples, columns, depth, ridge)
        return self


class NTKClassifier(_Classification):
    """Classification by kernel ridge regression, by the kernel of an infinitely wide network.

    An output for each class is fitted to +1 for its samples and to -1 for others, and the largest one wins.

    Args:
        kernel, depth, activation, w_std, b_std, slope, ridge, normalize, fit_intercept: as in `NTKRegressor`.

    Attributes:
        classes_: the labels, sorted.
        X_fit_, dual_coef_, intercept_, added_ridge_, spectrum_, noise_floor_, n_features_in_, feature_names_in_: as in
            `NTKRegressor`.
    """

    def __init__(
        self,
        *,
        kernel: str = "ntk",
        depth: int = 3,
        activation: str = "relu",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        ridge: float = 1e-3,
        normalize: bool = False,
        fit_intercept: bool = True,
    ) -> None:
        self.kernel = kernel
        self.depth = depth
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.ridge = ridge
        self.normalize = normalize
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any) -> NTKClassifier:
        """Fit to samples and their classes.

        Args:
            X: samples (n, d): arrays, tensors, lists, data frames; of numbers.
            y: (n,) labels of any kind that sorts: numbers, strings, bools.

        Returns:
            self.

        Raises:
            ValueError, TypeError: as `NTKRegressor.fit`; one class only, targets that are no classes.
        """
        ridge = relative_ridge("ridge", self.ridge)
        depth = check_integer("depth", self.depth, 0)
        samples, columns, _ = self._targets(X, y)
        self._fit_columns(samples, columns, depth, ridge)
        return self


def unmasked(name: str, value: Any) -> Any:
    """Values as scikit-learn checks them on, which does not see masks; tensors, and lists of them, as arrays."""
    tensors = isinstance(value, (list, tuple)) and any(isinstance(part, torch.Tensor) for part in value)
    sparse_targets = name == "y" and issparse(value)  # those of samples are named well by scikit-learn
    if tensors or sparse_targets or isinstance(value, (np.ma.MaskedArray, torch.Tensor)):
        found = plain(name, value)
        if not isinstance(found, torch.Tensor):
            return found
        found = found.detach().cpu()
        return (found.float() if found.dtype == torch.bfloat16 else found).numpy()
    return value


def refuse_dates(name: str, value: Any) -> None:
    """Refuse times, which scikit-learn takes for the numbers that they are stored as, in units that differ."""
    kinds = getattr(value, "dtypes", None)  # of the columns of a data frame
    kinds = [getattr(value, "dtype", None)] if kinds is None or not hasattr(kinds, "__iter__") else kinds
    for kind in kinds:
        if getattr(kind, "kind", "") in ("m", "M"):
            raise TypeError(f"{name}: expected numbers, got {kind}; say in which unit, as (t - t0) / unit")


def fixed_network(machine: _Machine) -> WideNetwork:
    """The network of a machine with numbers where it has tensors, which may ask for gradients: fits have none."""
    network = WideNetwork.of(machine)

    def plain_number(value: Any) -> Any:
        return value.item() if isinstance(value, torch.Tensor) and value.dim() == 0 else value

    return replace(network, **{name: plain_number(getattr(network, name)) for name in DEVIATIONS})


def checked_samples(machine: _Machine, X: Any) -> Array:
    """Samples of as many features as those of the fit."""
    X = unmasked("X", X)
    refuse_dates("X", X)
    checked: Array = validate_data(machine, X, dtype=np.float64, reset=False)
    return checked


def coded(numbers: Array, count: int) -> Tensor:
    """What outputs are fitted to: +1 for samples of a class and -1 for others, one column for two classes.

    >>> coded(np.array([0, 1]), 2).tolist(), coded(np.array([0, 2]), 3).tolist()
    ([[-1.0], [1.0]], [[1.0, -1.0, -1.0], [-1.0, -1.0, 1.0]])
    """
    wanted = [1] if count == 2 else range(count)
    return from_array(np.where(numbers[:, None] == np.asarray(wanted), 1.0, -1.0))


def chosen(outputs: Array) -> Array:
    """The number of the class that outputs (..., columns) choose."""
    number: Array = (outputs[..., 0] > 0).astype(int) if outputs.shape[-1] == 1 else outputs.argmax(axis=-1)
    return number
