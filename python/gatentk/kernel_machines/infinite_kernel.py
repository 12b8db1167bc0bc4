"""Kernels of infinite width as objects that scikit-learn's machines take."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from gatentk import extras
from gatentk.checks import as_tensor, describe, like_input
from gatentk.kernel_machines.networks import WideNetwork
from gatentk.ntk.samples import check_depth

with extras.imports("sklearn", "gatentk.kernel"):
    from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

# Of what scikit-learn's optimisers try for deviations that are given.
BOUNDS = (1e-2, 1e2)


class InfiniteKernel(Kernel):
    """The kernel of an infinitely wide network: a function k(x, z), and a `Kernel` of scikit-learn.

    KernelRidge, SVC and other machines take it for `kernel`, GaussianProcessRegressor and -Classifier too, alone or in
    sums and products with other kernels. A `w_std` that is given and a `b_std` above 0 are hyperparameters, on a log
    scale, which those choose by the marginal likelihood and its exact gradient; what is left out stays as it is, and
    so does a `b_std` of 0. GridSearchCV knows all parameters, such as `kernel__depth`.

    Args:
        depth, activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        normalize: samples are scaled to norm 1 first.
        w_std_bounds, b_std_bounds: the smallest and the largest value that an optimiser tries, or "fixed".
    """

    def __init__(
        self,
        depth: int = 1,
        activation: str = "relu",
        *,
        kernel: str = "ntk",
        w_std: float | None = None,
        b_std: float | None = None,
        slope: float | None = None,
        normalize: bool = False,
        w_std_bounds: str | tuple[float, float] = BOUNDS,
        b_std_bounds: str | tuple[float, float] = BOUNDS,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.kernel = kernel
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.normalize = normalize
        self.w_std_bounds = w_std_bounds
        self.b_std_bounds = b_std_bounds

    @property
    def hyperparameter_w_std(self) -> Any:
        """What optimisers may do to `w_std`."""
        return self._hyperparameter("w_std", self.w_std, self.w_std_bounds)

    @property
    def hyperparameter_b_std(self) -> Any:
        """What optimisers may do to `b_std`."""
        return self._hyperparameter("b_std", self.b_std, self.b_std_bounds)

    @property
    def hyperparameters(self) -> list[Any]:
        """Of `b_std` and `w_std` those that are given."""
        return [one for one in super().hyperparameters if getattr(self, one.name) is not None]

    def _hyperparameter(self, name: str, value: float | None, bounds: Any) -> Any:
        WideNetwork.of(self).check()
        checked = _checked_bounds(f"{name}_bounds", bounds)
        return Hyperparameter(name, "numeric", checked if value else "fixed")  # log 0 is no number

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The kernel of all pairs of rows.

        Args:
            X: samples (n, d), or one of shape (d,); arrays or lists of numbers, tensors, data frames.
            Y: samples (n_y, d), or one of shape (d,) if X is one; X itself if left out.
            eval_gradient: also give the derivatives by the logarithms of `b_std` and `w_std`, of those that are
                hyperparameters and not fixed; with Y left out.

        Returns:
            float64 (n, n_y), a number for two rows, a tensor if X is one, with gradients by samples that ask for them;
            with `eval_gradient` a pair of it and the derivatives (n, n, n_dims), n_dims 0 to 2.

        Raises:
            TypeError, ValueError: as `gatentk.ntk.infinite`; a sample beside samples; bounds that are none.

        >>> import gatentk as gt
        >>> k = gt.kernel(depth=1)
        >>> k([[1.0, 0.0], [0.0, 1.0]]).round(4)
        array([[2.    , 0.3183],
               [0.3183, 2.    ]])
        >>> k([1.0, 0.0], [2.0, 0.0])
        4.0
        >>> k = gt.kernel(depth=1, w_std=1.5, b_std=0.1, w_std_bounds="fixed")
        >>> K, gradient = k([[1.0, 0.0], [0.0, 1.0]], eval_gradient=True)
        >>> gradient.shape
        (2, 2, 1)
        """
        x = _samples("X", X)
        z = None if Y is None else _samples("Y", Y)
        if z is not None and z.dim() != x.dim():
            raise ValueError(f"Y: expected {x.dim()} dimension(s) as X, got {describe(Y)}")
        if eval_gradient and z is not None:
            raise ValueError("eval_gradient: expected False where Y is given")
        network, depth = WideNetwork.of(self), check_depth("depth", self.depth)
        if x.dim() == 1:
            if eval_gradient:
                raise ValueError(f"eval_gradient: expected False for a single sample, got X = {describe(X)}")
            return network.sweep(x[None], None if z is None else z[None], [depth])[0, 0, 0].item()
        if not eval_gradient:
            return _like(X, network.sweep(x, z, [depth])[0])
        K, by_logarithms = network.with_gradient(x, depth, [one.name for one in self.hyperparameters if not one.fixed])
        return like_input(K, X), like_input(by_logarithms, X)

    def diag(self, X: Any) -> Any:
        """The kernel of each sample (..., n, d) with itself, (..., n): the diagonal of `k(X)` without the rest.

        >>> import gatentk as gt
        >>> gt.kernel(depth=2).diag([[1.0, 0.0], [3.0, 4.0]])
        array([ 3., 75.])
        """
        x = _samples("X", X)
        if x.dim() < 2:
            raise ValueError(f"X: expected shape (..., n, d), one row a sample, got {describe(X)}")
        return _like(X, WideNetwork.of(self).diagonal(x, check_depth("depth", self.depth)))

    def is_stationary(self) -> bool:
        """False: it depends on more than the difference of two samples."""
        return False

    def __repr__(self) -> str:
        parts = []
        for name, value in self.get_params().items():
            if name.endswith("_bounds") and isinstance(value, tuple) and value == BOUNDS:
                continue
            parts.append(f"{name}={float(value) if isinstance(value, np.floating) else value!r}")
        return f"InfiniteKernel({', '.join(parts)})"


def _checked_bounds(name: str, bounds: Any) -> Any:
    """The word "fixed", or two numbers."""
    if isinstance(bounds, str) and bounds == "fixed":
        return bounds
    try:
        pair = np.asarray(bounds, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        pair = np.empty(0)
    if pair.shape != (2,) or not 0 < pair[0] <= pair[1] < np.inf:
        raise ValueError(
            f"{name}: expected 'fixed' or two positive numbers, the smaller one first, got {describe(bounds)}"
        )
    return bounds


def _samples(name: str, value: Any) -> Tensor:
    """As a tensor; integers, which machines pass on as they are, as float64."""
    whole = isinstance(value, np.ndarray) and value.dtype.kind in "biu"
    tensor = as_tensor(name, value.astype(np.float64) if whole else value)
    return value if isinstance(value, Tensor) else tensor  # with its graph


def _like(given: Any, values: Tensor) -> Any:
    """As samples were given; a tensor where there is a graph, which no array has."""
    return values if values.requires_grad else like_input(values, given)


def kernel(
    depth: int = 1,
    activation: str = "relu",
    *,
    kernel: str = "ntk",
    w_std: float | None = None,
    b_std: float | None = None,
    slope: float | None = None,
    normalize: bool = False,
    w_std_bounds: str | tuple[float, float] = BOUNDS,
    b_std_bounds: str | tuple[float, float] = BOUNDS,
) -> InfiniteKernel:
    """The kernel of an infinitely wide network as a function k(x, z), which machines of scikit-learn take.

    Args:
        depth, activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        normalize: samples are scaled to norm 1 first.
        w_std_bounds, b_std_bounds: between which Gaussian processes of scikit-learn choose deviations that are given
            (a `b_std` above 0), or "fixed".

    Returns:
        An `InfiniteKernel`.

    >>> import gatentk as gt
    >>> from sklearn.svm import SVC
    >>> machine = SVC(kernel=gt.kernel(depth=3)).fit([[1.0, 2.0], [2.0, 1.0]], ["a", "b"])
    >>> machine.predict([[0.0, 5.0]])
    array(['a'], dtype='<U1')
    """
    return InfiniteKernel(
        depth,
        activation,
        kernel=kernel,
        w_std=w_std,
        b_std=b_std,
        slope=slope,
        normalize=normalize,
        w_std_bounds=w_std_bounds,
        b_std_bounds=b_std_bounds,
    )
