"""Kernels of infinite width as objects that scikit-learn's machines take."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from gatentk import extras
from gatentk.checks import as_tensor, describe, like_input
from gatentk.kernel_machines.networks import WideNetwork

with extras.imports("sklearn", "gatentk.kernel"):
    from sklearn.gaussian_process.kernels import Kernel


class InfiniteKernel(Kernel):
    """The kernel of an infinitely wide network: a function k(x, z), and a `Kernel` of scikit-learn.

    KernelRidge, SVC and other machines take it for `kernel`, GaussianProcessRegressor and -Classifier too, alone or in
    sums and products with other kernels. It has no hyperparameters that those fit by gradients; GridSearchCV knows
    its parameters, such as `kernel__depth`.

    Args:
        depth, activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        normalize: samples are scaled to norm 1 first.
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
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.kernel = kernel
        self.w_std = w_std
        self.b_std = b_std
        self.slope = slope
        self.normalize = normalize

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """The kernel of all pairs of rows.

        Args:
            X: samples (n, d), or one of shape (d,); arrays or lists of numbers, tensors, data frames.
            Y: samples (n_y, d), or one of shape (d,) if X is one; X itself if left out.
            eval_gradient: also give the derivatives by hyperparameters, of which there are none; with Y left out.

        Returns:
            float64 (n, n_y), a number for two rows, a tensor if X is one; with `eval_gradient` a pair of it and an
            array (n, n, 0).

        Raises:
            TypeError, ValueError: as `gatentk.ntk.infinite`; a sample beside samples.

        >>> import gatentk as gt
        >>> k = gt.kernel(depth=1)
        >>> k([[1.0, 0.0], [0.0, 1.0]]).round(4)
        array([[2.    , 0.3183],
               [0.3183, 2.    ]])
        >>> k([1.0, 0.0], [2.0, 0.0])
        4.0
        """
        x = _samples("X", X)
        z = None if Y is None else _samples("Y", Y)
        if z is not None and z.dim() != x.dim():
            raise ValueError(f"Y: expected {x.dim()} dimension(s) as X, got {describe(Y)}")
        if eval_gradient and z is not None:
            raise ValueError("eval_gradient: expected False where Y is given")
        network = WideNetwork.of(self)
        if x.dim() == 1:
            return float(network.sweep(x[None], None if z is None else z[None], [self.depth])[0, 0, 0])
        K = like_input(network.sweep(x, z, [self.depth])[0], X)
        return (K, np.empty((*K.shape, 0))) if eval_gradient else K

    def diag(self, X: Any) -> Any:
        """The kernel of each sample (n, d) with itself, (n,): `k(X).diagonal()` without the rest.

        >>> import gatentk as gt
        >>> gt.kernel(depth=2).diag([[1.0, 0.0], [3.0, 4.0]])
        array([ 3., 75.])
        """
        return like_input(WideNetwork.of(self).diagonal(_samples("X", X), self.depth), X)

    def is_stationary(self) -> bool:
        """False: it depends on more than the difference of two samples."""
        return False

    def __repr__(self) -> str:
        return f"InfiniteKernel({', '.join(f'{name}={value!r}' for name, value in self.get_params().items())})"


def _samples(name: str, value: Any) -> Tensor:
    """As a tensor; integers, which machines pass on as they are, as float64."""
    whole = isinstance(value, np.ndarray) and value.dtype.kind in "biu"
    return as_tensor(name, value.astype(np.float64) if whole else value)


def kernel(
    depth: int = 1,
    activation: str = "relu",
    *,
    kernel: str = "ntk",
    w_std: float | None = None,
    b_std: float | None = None,
    slope: float | None = None,
    normalize: bool = False,
) -> InfiniteKernel:
    """The kernel of an infinitely wide network as a function k(x, z), which machines of scikit-learn take.

    Args:
        depth, activation, w_std, b_std, slope: as in `gatentk.ntk.infinite`.
        kernel: "ntk", all weights are trained, or "nngp", only those of the last layer.
        normalize: samples are scaled to norm 1 first.

    Returns:
        An `InfiniteKernel`.

    >>> import gatentk as gt
    >>> from sklearn.svm import SVC
    >>> machine = SVC(kernel=gt.kernel(depth=3)).fit([[1.0, 2.0], [2.0, 1.0]], ["a", "b"])
    >>> machine.predict([[0.0, 5.0]])
    array(['a'], dtype='<U1')
    """
    return InfiniteKernel(depth, activation, kernel=kernel, w_std=w_std, b_std=b_std, slope=slope, normalize=normalize)
