"""Kernels of infinitely wide networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from gatentk.checks import like_input
from gatentk.gates import GateNetwork
from gatentk.ntk import attached
from gatentk.ntk.attached import Asked
from gatentk.ntk.gate_kinds import DEFAULT
from gatentk.ntk.samples import check_depth


def infinite(
    x: Any,
    z: Any = None,
    depth: int = 1,
    activation: str = "relu",
    components: bool = False,
    dtype: torch.dtype | str = torch.float64,
    *,
    kernel: str = "ntk",
    w_std: float | Tensor | None = None,
    b_std: float | Tensor | None = None,
    slope: float | None = None,
    gates: str | GateNetwork = DEFAULT,
) -> Any:
    """NTK or covariance (NNGP) of an infinitely wide network.

    "relu": K = |x||z| S_L, exact to about 1e-14 of the diagonal even for samples that nearly coincide ([S], Thm 4.1
    and 4.4, in complements). "linear": (L+1) x.z ([S], Cor. 3.2). "grelu": the expectation over gates and weights of
    the kernel of one output over W_1 .. W_L, in units of m^2/(d_x d_y), by the gates:

    - "paper", which share C with the network ([G], Sec. 2): L |x||z| cos(theta_1) prod_{s=1..L} (1 - theta_s/pi);
    - "deep", of a gate network with a C of its own: L x.z prod_{s=0..L} (1 - theta_s/pi), for many units a layer (a
      layer of w units is off by a share of the order of L/w; `given_gates` is not);
    - "shallow": L x.z (1 - theta_0/pi)^(L+1), at every width and block size.

    "leaky_relu", "abs", "erf" and "gelu" have hidden layers sqrt(gain/m) f(W a), with a gain that keeps the mean square
    of a normal number: 2/(1 + slope^2), 1, 1/E[erf(g)^2], 1/E[gelu(g)^2].

    With `w_std` or `b_std` each layer, the last included, is w_std/sqrt(m) W a + b_std b instead, weights and biases
    N(0, 1) and all of them trained, as neural-tangents' stax.Dense. These kernels are as exact (of erf with a w_std
    up to about 10; beyond it is nearly a step, and digits are lost: 1e-11 of the diagonal at 100).

    With a center, theta_0 is the angle between x - center and z - center; x.z stays that of the samples.

    K has a graph if x, z, w_std or b_std asks for gradients, and then first derivatives by them, in float64, by a pass
    backward over tiles of pairs. Kernels of ReLU and its kind have kinks: where two different rows are parallel or
    opposite the gradient is the mean of those on both sides, and at an angle theta from there (behind the first
    biases) a share of the order of eps / theta of it is rounding; by a row of zeros it is 0 where no bias makes the
    kernel smooth. By a b_std of 0 it is 0. Along the diagonal of a square kernel, which is smooth, it is exact.

    Args:
        x: samples (..., n, d), float32 or float64, tensor or numpy array. The kernel of a zero row is 0, or what biases
            make of it.
        z: samples (..., n_z, d) for a rectangular kernel; x itself if left out.
        depth: number of hidden layers L, at most 2^20; 0 is the linear model (not for "grelu").
        activation: "relu", "linear", "grelu", "leaky_relu", "abs", "erf" or "gelu".
        components: one kernel for each trained matrix: (L+1, ..., n, n_z), for "grelu" (L, ..., n, n_z): those of
            W_1 .. W_L, which are all equal for all gates. Of "relu", "linear" and "grelu" in their own parametrisation.
        dtype: in which K is computed and returned, torch.float64 or torch.float32 (or their names).
        kernel: "ntk", or "nngp" for the covariance of outputs of networks as they are drawn (not for "grelu").
        w_std, b_std: standard deviations of weights (positive) and of biases, both or one (a b_std alone: w_std =
            sqrt(2); a w_std alone: b_std = 0), numbers or float tensors without dimensions; not for "grelu".
        slope: of "leaky_relu" below 0, 0.01 if left out.
        gates: of "grelu": "paper", "deep", "shallow", or a GateNetwork, whose kind and center are taken, and neither
            its width nor its depth.

    Returns:
        (..., n, n_z) of `dtype`, numpy unless `x` is a tensor or the result has a graph.

    Raises:
        TypeError, ValueError: empty, non-finite or integer samples, different d, a negative depth; samples so large
            or small that kernels overflow or underflow `dtype`; gates of other samples, or a sample that equals their
            center; more than 4,096 layers with biases or of erf and gelu; deviations that are not numbers, or not
            positive.
        NotImplementedError: second derivatives, and tangents (forward mode).

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.eye(2)
    >>> gt.ntk.infinite(x, depth=1)
    tensor([[2.0000, 0.3183],
            [0.3183, 2.0000]], dtype=torch.float64)
    >>> gt.ntk.infinite(x, depth=1, components=True).shape
    torch.Size([2, 2, 2])
    >>> gt.ntk.infinite(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), depth=1, activation="grelu", gates="shallow")
    tensor([[1.0000, 0.5625],
            [0.5625, 2.0000]], dtype=torch.float64)
    >>> gt.ntk.infinite(x, depth=2, activation="erf", kernel="nngp", w_std=1.5, b_std=0.1)
    tensor([[1.0993, 0.0267],
            [0.0267, 1.0993]], dtype=torch.float64)
    >>> w_std = torch.tensor(1.5, requires_grad=True)
    >>> gt.ntk.infinite(x, depth=1, w_std=w_std).sum().backward()
    >>> w_std.grad
    tensor(15.6486)
    """
    depth = check_depth("depth", depth)
    asked = Asked((depth,), activation, dtype, kernel, slope, gates, components)
    found = attached.kernels(x, z, w_std, b_std, asked)
    return _as_given(found if components else found.squeeze(0), x)  # whose gradient is a view, too


def infinite_sweep(
    x: Any,
    z: Any = None,
    depths: Iterable[int] = range(11),
    activation: str = "relu",
    dtype: torch.dtype | str = torch.float64,
    *,
    kernel: str = "ntk",
    w_std: float | Tensor | None = None,
    b_std: float | Tensor | None = None,
    slope: float | None = None,
    gates: str | GateNetwork = DEFAULT,
) -> Any:
    """`infinite` at many depths in one pass over the pairs of samples.

    Args:
        x, z, activation, dtype, kernel, w_std, b_std, slope, gates: as in `infinite`.
        depths: numbers of hidden layers, in any order.

    Returns:
        (len(depths), ..., n, n_z) of `dtype`, numpy unless `x` is a tensor or the result has a graph.

    Raises:
        TypeError, ValueError: as `infinite`; no depth at all.

    >>> import torch
    >>> import gatentk as gt
    >>> kernels = gt.ntk.infinite_sweep(torch.eye(2), depths=[1, 10, 100])
    >>> [round(float(K[0, 1] / K[0, 0]), 3) for K in kernels]
    [0.159, 0.316, 0.272]
    """
    wanted = tuple(check_depth("depths", depth) for depth in depths)
    if not wanted:
        raise ValueError("depths: expected at least one depth")
    return _as_given(attached.kernels(x, z, w_std, b_std, Asked(wanted, activation, dtype, kernel, slope, gates)), x)


def _as_given(kernels: Tensor, x: Any) -> Any:
    """A tensor if x is one, or if it has a graph, which no array has."""
    return kernels if kernels.requires_grad else like_input(kernels, x)
