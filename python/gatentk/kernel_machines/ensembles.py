"""Ensembles of wide networks in training on the square loss, in closed form."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatentk.checks import as_tensor, check_choice, check_finite, describe, like_input
from gatentk.errors import NoiseFloorWarning, SpectrumError
from gatentk.spectra import spectrum

METHODS = ("flow", "descent")
LARGEST = int(sys.float_info.max)
ROUNDING = 8  # times eps max|K|: how far a symmetric kernel may be from symmetry


@dataclass(frozen=True)
class Ensemble:
    """Outputs of infinitely many networks of infinite width at some times of their training: a Gaussian process.

    Numpy arrays unless the kernel was a tensor, float64; with a single time the leading axis is missing.

    Attributes:
        times: (T,) as asked for.
        mean: (T, m) or (T, m, outputs), at test samples, or at those of the training if there were none.
        covariance: (T, m, m), of each output (all have the same, and none with another); None if what it needs was not
            given.
        learning_rate, max_learning_rate: of the training, and the largest at which descent converges.
        noise_floor: size of eigenvalues that are rounding, n eps lambda_max.
        noise: (T,) the share of the size of the targets that such eigenvalues may put into the mean: noise_floor times
            the largest (1 - exp(-rate lambda t)) / lambda; from 1 on nothing is known of some directions.
    """

    times: Any
    mean: Any
    covariance: Any
    learning_rate: float
    max_learning_rate: float
    noise_floor: float
    noise: Any

    @property
    def std(self) -> Any:
        """Standard deviations, (T, m); None without a covariance.

        >>> import torch
        >>> start = training(torch.eye(2), torch.tensor([1.0, 2.0]), 0.0)
        >>> start.std
        tensor([1., 1.], dtype=torch.float64)
        """
        if self.covariance is None:
            return None
        variances = torch.as_tensor(self.covariance).diagonal(dim1=-2, dim2=-1)
        return like_input(variances.clamp_min(0).sqrt(), self.covariance)


def training(
    K: Any,
    y: Any,
    times: Any,
    learning_rate: float | None = None,
    K_test: Any = None,
    K_test_test: Any = None,
    *,
    nngp: Any = None,
    nngp_test: Any = None,
    nngp_test_test: Any = None,
    method: str = "flow",
) -> Ensemble:
    """Mean and covariance of wide networks, over their initial weights, while they are trained.

    The loss is 1/2 sum of squared errors ([G], Eq. 2), and the kernel stays as it is: outputs f of the samples follow
    df/dt = -rate K (f - y) ("flow") or f <- f - rate K (f - y) ("descent"), those of test samples the same with K_test.
    (For the mean square loss, as neural-tangents has it, divide the rate by the number of entries of y.) At the start
    f has mean 0 and the covariance `nngp`. For a network whose weights are all trained K is its NTK and `nngp` its NNGP
    kernel. Where `nngp` is left out it is K: then K is the NNGP kernel, and only the last layer is trained.

    Args:
        K: (n, n) kernel of the training samples, float64 or float32, tensor or array; all is computed on the CPU.
        y: targets (n,) or (n, outputs).
        times: one or several: of "flow" numbers from 0 on, of "descent" numbers of steps; math.inf is the end.
        learning_rate: the rate; None: 1 / lambda_max.
        K_test: (m, n) kernel of test samples with those of the training; None: outputs at the latter are given.
        K_test_test: (m, m) of test samples; only for the covariance, and only without `nngp`.
        nngp, nngp_test, nngp_test_test: covariances of outputs at the start: (n, n), (m, n) and (m, m).
        method: "flow" or "descent".

    Returns:
        An `Ensemble`. Directions whose eigenvalue is not above the noise floor are never learnt: at math.inf they stay
        as they were at the start, and a `NoiseFloorWarning` says so; at other times `noise` tells how much they matter.

    Raises:
        TypeError: arrays that are not float32 or float64; an unknown method; no numbers.
        ValueError: shapes that do not fit, values that are not finite, negative times, steps that are not whole, a rate
            at which descent diverges, `nngp_test` without `nngp` or the other way round, K_test_test beside `nngp`.
        SpectrumError: K is not symmetric, or indefinite.

    Source: Lee et al., "Wide neural networks of any depth evolve as linear models under gradient descent" (2019), with
    gradient descent in place of its flow where asked for.

    >>> import math, torch
    >>> K = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    >>> test = {"K_test": K[:1] / 2, "K_test_test": torch.ones(1, 1)}
    >>> process = training(K, torch.tensor([0.0, 1.0]), [0, 1, math.inf], 0.5, method="descent", **test)
    >>> [round(value, 12) for value in process.mean.flatten().tolist()]
    [0.0, 0.25, 0.0]
    >>> [round(value, 12) for value in process.covariance.flatten().tolist()]
    [1.0, 0.625, 0.5]
    """
    kernels = _Kernels(K, y, K_test, K_test_test, nngp, nngp_test, nngp_test_test)
    spread = _Spectrum(kernels.K, kernels.floor_eps)
    rate = spread.rate(learning_rate, check_choice("method", method, METHODS))
    moments, one = _times(times, method)
    n, outputs = kernels.y.shape
    m = n if kernels.K_test is None else len(kernels.K_test)
    mean = kernels.y.new_empty(len(moments), m, outputs)
    covariance = kernels.y.new_empty(len(moments), m, m) if kernels.has_covariance else None
    noise = kernels.y.new_empty(len(moments))
    process = _Process(kernels, spread)
    for k, time in enumerate(moments):
        learnt, left = spread.factors(rate, time, method)
        noise[k] = spread.floor * spread.largest_share(rate, time, method)
        mean[k] = process.mean(learnt, left)
        if covariance is not None:
            covariance[k] = process.covariance(learnt, left, spread.factors(rate, 2 * time, method)[0])
    if any(map(math.isinf, moments)):
        spread.warn_if_unresolved()
    if kernels.one_column:
        mean = mean[..., 0]

    def shown(part: Tensor | None) -> Any:
        return part if part is None else like_input(part[0] if one else part, K)

    return Ensemble(
        shown(torch.tensor(moments, dtype=torch.float64)),
        shown(mean),
        shown(covariance),
        rate,
        spread.max_rate,
        spread.floor,
        shown(noise),
    )


def max_learning_rate(K: Any) -> float:
    """2 / lambda_max: below it gradient descent on 1/2 sum of squared errors converges, at any size of the network.

    Args:
        K: (n, n) kernel of the training samples, or an operator; errors as `gatentk.spectrum`.

    Returns:
        A float; infinite for a kernel that is 0. For the mean square loss multiply it by the number of targets.

    >>> import torch
    >>> max_learning_rate(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)).__round__(12)
    0.666666666667
    """
    found = spectrum(K).lmax
    if not isinstance(found, float):
        raise ValueError(f"K: expected one kernel, a matrix of shape (n, n), got {describe(K)}")
    largest = found
    return 2 / largest if largest > 0 else math.inf


class _Kernels:
    """Checked arguments in float64."""

    def __init__(self, K: Any, y: Any, K_test: Any, K_test_test: Any, nngp: Any, nngp_test: Any, both: Any) -> None:
        tensor = as_tensor("K", K).cpu()
        if tensor.dim() != 2 or tensor.shape[0] != tensor.shape[1] or tensor.numel() == 0:
            raise ValueError(f"K: expected a non-empty square matrix, got {describe(K)}")
        self.floor_eps = torch.finfo(tensor.dtype).eps
        n = len(tensor)
        self.K = _symmetric("K", tensor)
        targets = as_tensor("y", y).cpu()
        if targets.dim() not in (1, 2) or len(targets) != n or targets.numel() == 0:
            raise ValueError(f"y: expected shape ({n},) or ({n}, outputs) as K has {n} rows, got {describe(y)}")
        check_finite("y", targets)
        self.one_column = targets.dim() == 1
        self.y = targets.double().view(n, -1)
        self.K_test = None if K_test is None else _of_shape("K_test", K_test, (None, n)).double()
        m = n if self.K_test is None else len(self.K_test)
        if self.K_test is None:
            for name, value in (("K_test_test", K_test_test), ("nngp_test", nngp_test), ("nngp_test_test", both)):
                if value is not None:
                    raise ValueError(f"{name}: expected None without K_test, got {describe(value)}")
        if nngp is None:
            for name, value in (("nngp_test", nngp_test), ("nngp_test_test", both)):
                if value is not None:
                    raise ValueError(f"{name}: expected None without nngp, got {describe(value)}")
            self.start, self.start_test, last, name = None, self.K_test, K_test_test, "K_test_test"
        else:
            if K_test_test is not None:
                raise ValueError(
                    "K_test_test: expected None beside nngp, as the covariance at the start is then nngp_test_test"
                )
            if self.K_test is not None and (nngp_test is None) != (both is None):
                raise ValueError("nngp_test: expected it and nngp_test_test together")
            self.start = _symmetric("nngp", _of_shape("nngp", nngp, (n, n)))
            self.start_test = None if nngp_test is None else _of_shape("nngp_test", nngp_test, (m, n)).double()
            last, name = both, "nngp_test_test"
        self.start_test_test = None if last is None else _symmetric(name, _of_shape(name, last, (m, m)))
        self.has_covariance = self.K_test is None or self.start_test_test is not None


class _Spectrum:
    """Eigenvalues and eigenvectors of the kernel, and what becomes of each in training."""

    def __init__(self, K: Tensor, eps: float) -> None:
        self.values, self.vectors = torch.linalg.eigh(K)
        largest = float(self.values[-1])
        self.floor = len(K) * eps * max(largest, 0.0)
        if float(self.values[0]) < -self.floor:
            raise SpectrumError(
                f"K: expected a positive semidefinite matrix, but lambda_min = {float(self.values[0]):.3g} lies below "
                "minus the noise floor"
            )
        self.max_rate = 2 / largest if largest > 0 else math.inf
        self.unresolved = self.values <= self.floor
        self.values = self.values.clamp_min(0)

    def rate(self, value: object, method: str) -> float:
        if value is None:
            return self.max_rate / 2 if self.max_rate < math.inf else 1.0
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"learning_rate: expected a number, got {describe(value)}")
        rate = float(value)
        if not 0 < rate < math.inf:
            raise ValueError(f"learning_rate: expected a finite number above 0, got {rate}")
        if method == "descent" and rate >= self.max_rate:
            raise ValueError(
                f"learning_rate: expected less than 2 / lambda_max = {self.max_rate:.6g}, from which on descent "
                f"diverges, got {rate:.6g}"
            )
        return rate

    def factors(self, rate: float, time: float, method: str) -> tuple[Tensor, Tensor]:
        """(1 - r) / lambda and r of each direction, r the share of its error that is left: exp(-rate lambda time)."""
        if time == 0:
            return torch.zeros_like(self.values), torch.ones_like(self.values)
        if math.isinf(time):
            learnt = torch.where(self.unresolved, 0, 1 / self.values)
            return learnt, self.unresolved.to(self.values.dtype)
        steps = rate * self.values
        if method == "flow":
            exponents, signs = -steps * time, torch.ones_like(steps)
        else:
            # Of a step beyond the minimum the error changes its sign.
            beyond = steps > 1
            exponents = time * torch.where(beyond, torch.log(steps - 1), torch.log1p(-steps.clamp_max(1)))
            signs = torch.where(beyond & (time % 2 == 1), -1.0, torch.ones_like(steps))
        left = signs * exponents.exp()
        gone = torch.where(signs < 0, 1 - left, -torch.expm1(exponents))
        return torch.where(self.values > 0, gone / self.values, rate * time), left

    def largest_share(self, rate: float, time: float, method: str) -> float:
        """The largest (1 - r) / lambda; at infinite time also of directions that are then left alone."""
        if math.isinf(time):
            return 1 / float(self.values[0]) if float(self.values[0]) > 0 else math.inf
        return float(self.factors(rate, time, method)[0].max())

    def warn_if_unresolved(self) -> None:
        lost = int(self.unresolved.sum())
        if lost:
            warnings.warn(
                f"{lost} of {len(self.values)} eigenvalues of K are not above the noise floor n * eps * lambda_max = "
                f"{self.floor:.3g}: at infinite time their directions are taken as not learnt; ask for finite times, "
                "or leave out samples that nearly coincide",
                NoiseFloorWarning,
                stacklevel=3,
            )


class _Process:
    """Moments of the outputs, in the eigenbasis of the kernel."""

    def __init__(self, kernels: _Kernels, spread: _Spectrum) -> None:
        self._vectors: Tensor = spread.vectors
        self._values: Tensor = spread.values
        self._y = self._vectors.T @ kernels.y
        self._given = kernels.y
        self._rows = None if kernels.K_test is None else kernels.K_test @ self._vectors
        self._last = kernels.start_test_test
        self._start = self._cross = None
        if kernels.start is not None and kernels.has_covariance:
            self._start = self._vectors.T @ kernels.start @ self._vectors
            if kernels.start_test is not None:
                self._cross = kernels.start_test @ self._vectors

    def mean(self, learnt: Tensor, left: Tensor) -> Tensor:
        if self._rows is None:
            result: Tensor = self._given - self._vectors @ (left.unsqueeze(1) * self._y)
        else:
            result = (self._rows * learnt) @ self._y
        return result

    def covariance(self, learnt: Tensor, left: Tensor, learnt_twice: Tensor) -> Tensor:
        if self._rows is None:
            if self._start is None:
                result = (self._vectors * (self._values * left.square())) @ self._vectors.T
            else:
                moved = self._vectors * left
                result = moved @ self._start @ moved.T
        elif self._start is None:
            assert self._last is not None
            result = self._last - (self._rows * learnt_twice) @ self._rows.T
        else:
            assert self._last is not None
            assert self._cross is not None
            moved = self._rows * learnt
            # Half of what is symmetric with the terms between start and training.
            half = (moved @ self._start / 2 - self._cross) @ moved.T
            result = self._last + half + half.T
        both: Tensor = (result + result.T) / 2
        return both


def _of_shape(name: str, value: Any, shape: Sequence[int | None]) -> Tensor:
    tensor = as_tensor(name, value).cpu()
    fits = tensor.dim() == len(shape) and all(e is None or e == s for e, s in zip(shape, tensor.shape, strict=True))
    if not fits or tensor.numel() == 0:
        wanted = ", ".join("m" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: expected shape ({wanted}), got {describe(value)}")
    check_finite(name, tensor)
    return tensor


def _symmetric(name: str, matrix: Tensor) -> Tensor:
    check_finite(name, matrix)
    tolerance = ROUNDING * torch.finfo(matrix.dtype).eps * float(matrix.abs().max())
    difference = (matrix - matrix.T).abs()
    if float(difference.max()) > tolerance:
        row, column = divmod(int(difference.argmax()), len(matrix))
        raise SpectrumError(
            f"{name}: expected a symmetric matrix, but entries ({row}, {column}) and ({column}, {row}) differ by "
            f"{float(difference.max()):.3g}"
        )
    return matrix.double()


def _times(times: Any, method: str) -> tuple[list[float], bool]:
    """The times as floats, and whether it was a single one."""
    values: Any = times.tolist() if isinstance(times, (np.ndarray, np.generic, torch.Tensor)) else times
    one = isinstance(values, (int, float)) and not isinstance(values, bool)
    many: list[Any] | None = [values] if one else list(values) if isinstance(values, (list, tuple, range)) else None
    if not many:
        raise TypeError(f"times: expected a number or some numbers, got {describe(times)}")
    for k, time in enumerate(many):
        if isinstance(time, bool) or not isinstance(time, (int, float, np.integer, np.floating)):
            raise TypeError(f"times[{k}]: expected a number, got {describe(time)}")
        if isinstance(time, int) and time > LARGEST:
            raise ValueError(f"times[{k}]: expected math.inf, or a number that float64 can hold, got a larger one")
        whole = method == "flow" or math.isinf(time) or float(time).is_integer()
        if not time >= 0 or not whole:
            kind = "a number" if method == "flow" else "a whole number of steps"
            raise ValueError(f"times[{k}]: expected {kind} of at least 0, got {time}")
    return [float(time) for time in many], one
