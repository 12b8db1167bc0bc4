"""Kernels and angles of infinitely wide networks, at several depths in one pass over the pairs of samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from gatentk import _core
from gatentk.activations import ACTIVATIONS, GATE_KINDS
from gatentk.checks import check_choice, describe
from gatentk.ops.arguments import check_device, check_rows
from gatentk.ops.autocast import in_float32, same_dtype
from gatentk.ops.cuda import on_cuda
from gatentk.ops.layouts import COMPONENTS, InfiniteProblem
from gatentk.ops.registration import register
from gatentk.scaling import BalancedRows

# Kernels of networks with parameters of their own, of `infinite_network`; they come last.
NETWORK_QUANTITIES = tuple(quantity for row in ACTIVATIONS.values() for quantity in row.network_quantities)
QUANTITIES = tuple(quantity for quantity in _core.Quantity.__members__ if quantity not in NETWORK_QUANTITIES)
# Numbers of two directions, whatever the norms of the samples.
OF_DIRECTIONS = tuple(quantity for quantity in QUANTITIES if quantity.endswith(("_angle", "_deficit")))

# Far beyond where kernels have reached their limits: they differ from them by a share of 1 / depth. The time of a pair
# grows with depth, and nothing ends a sum that is under way.
LARGEST_DEPTH = 1 << 20

# Of networks with parameters: what each sample alone asks of each layer is kept, 40 bytes.
LARGEST_NETWORK_DEPTH = 1 << 12

# Quantities that are there from some depth on; the others are there from 0 on.
_SMALLEST_DEPTH = {quantity: row.smallest_depth for row in ACTIVATIONS.values() for quantity in row.quantities}
_SMALLEST_DEPTH |= {
    quantity: ACTIVATIONS["grelu"].smallest_depth for row in GATE_KINDS.values() for quantity in row.quantities
}


def infinite_ntk(x: Tensor, z: Tensor | None, depths: Sequence[int], quantity: str) -> Tensor:
    """Kernels and angles of infinitely wide networks at several depths in one pass; see `gatentk.ntk`.

    Args:
        x: (..., n, d), float32 or float64, of any size; a row may be zero where neither angles nor deficits are
            asked for.
        z: (..., n_z, d), or None for x itself (then one triangle is computed).
        depths: rising and distinct; a single one for "relu_components", at least 1 for those of "grelu".
        quantity: one of `QUANTITIES`, such as "relu", "relu_components", "relu_angle" or "embedding_angle";
            `gatentk.activations` says which of them belong to an activation, and which to a kind of gates.

    Returns:
        (len(depths), ..., n, n_z); (depth + 1, ..., n, n_z) for "relu_components". Kernels with a row of zeros are 0.

    Raises:
        TypeError, ValueError: tensors that do not fit each other, an unknown quantity, depths that do not rise,
            angles or deficits of a row of zeros, kernels that leave the range of the dtype. That rows are finite is
            checked by `gatentk.ntk`, not here.

    >>> infinite_ntk(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), None, [0, 1], "relu")
    tensor([[[1.0000, 0.0000],
             [0.0000, 1.0000]],
    <BLANKLINE>
            [[2.0000, 0.3183],
             [0.3183, 2.0000]]])
    """
    _check_samples(x, z)
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    _check_depths(depths, _SMALLEST_DEPTH.get(quantity, 0), LARGEST_DEPTH)
    if quantity in COMPONENTS and len(depths) != 1:
        raise ValueError(f"depths: expected a single depth for {quantity}, got {list(depths)}")
    result: Tensor = torch.ops.gatentk.infinite_ntk(x, z, list(depths), quantity)
    return result


def infinite_network(
    x: Tensor,
    z: Tensor | None,
    depths: Sequence[int],
    quantity: str,
    *,
    slope: float = 0.0,
    first: float = 1.0,
    weight: float = 2.0,
    bias: float = 0.0,
) -> Tensor:
    """Kernels of infinitely wide networks with weight and bias variances, at several depths in one pass.

    Pre-activations of the first layer have the covariance `first` x.z + `bias`, those of later layers and the output
    `weight` E[f(u) f(v)] + `bias`, u and v the pre-activations before.

    Args:
        x, z: as `infinite_ntk`, float64 for erf and GELU; rows of zeros have kernels like all others.
            Squares of all rows that are not zero must be normal numbers.
        depths: rising and distinct, at most 4,096 (of "leaky_relu" without a bias as of `infinite_ntk`).
        quantity: one of `NETWORK_QUANTITIES`: "leaky_relu", "erf" or "gelu", the NTK, and with "_nngp" the covariance.
        slope: of "leaky_relu" below 0: 0 is ReLU, -1 the absolute value.
        first, weight, bias: variances, the bias's perhaps 0.

    Returns:
        (len(depths), ..., n, n_z).

    Raises:
        TypeError, ValueError: as `infinite_ntk`; variances that are none.

    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    >>> infinite_network(x, None, [1], "leaky_relu", bias=0.5)[0]
    tensor([[3.5000, 1.5583],
            [1.5583, 3.5000]], dtype=torch.float64)
    """
    _check_samples(x, z)
    check_choice("quantity", quantity, NETWORK_QUANTITIES)
    if x.dtype != torch.float64 and not quantity.startswith("leaky_relu"):
        raise TypeError(f"x: expected a float64 tensor for {quantity}, got {describe(x)}")
    keeps_nothing = bias == 0 and quantity.startswith("leaky_relu")
    _check_depths(depths, 0, LARGEST_DEPTH if keeps_nothing else LARGEST_NETWORK_DEPTH)
    for name, value in (("slope", slope), ("first", first), ("weight", weight), ("bias", bias)):
        smallest = {"slope": -math.inf, "bias": 0}.get(name, math.ulp(0.0))
        if not (math.isfinite(value) and value >= smallest):
            raise ValueError(f"{name}: expected a finite number of at least {smallest:g}, got {value}")
    result: Tensor = torch.ops.gatentk.infinite_network(x, z, list(depths), quantity, [slope, first, weight, bias])
    return result


def _check_samples(x: Tensor, z: Tensor | None) -> None:
    check_rows("x", x)
    if z is not None:
        check_rows("z", z)
        if not same_dtype(z, x) or z.shape[:-2] != x.shape[:-2] or z.shape[-1] != x.shape[-1]:
            raise ValueError(f"z: expected {x.dtype} and the leading and last dimensions of x, got {describe(z)}")
        check_device("z", z, x, "x")


def _check_depths(depths: Sequence[int], lowest: int, largest: int) -> None:
    if not depths or depths[0] < lowest or any(b <= a for a, b in pairwise(depths)):
        raise ValueError(f"depths: expected rising integers of at least {lowest}, got {list(depths)}")
    if depths[-1] > largest:
        raise ValueError(f"depths: expected integers of at most {largest:,}, got {depths[-1]}")


def _compute_on_cpu(
    x: Tensor, z: Tensor | None, depths: list[int], quantity: str, network: Sequence[float] = (0.0, 1.0, 2.0, 0.0)
) -> Tensor:
    slope, first, weight, bias = network
    run = _core.infinite_ntk_f32 if x.dtype == torch.float32 else _core.infinite_ntk_f64
    problem = InfiniteProblem(x, z, depths, quantity)
    out = problem.result()
    n, n_z = out.shape[-2:]
    for rows, columns, matrices in problem.members(out):
        run(
            _core.Quantity.__members__[quantity],
            depths,
            z is None,
            rows,
            columns,
            matrices.data_ptr(),
            x.shape[:-2].numel() * n * n_z,
            n_z,
            (slope, first, weight, bias),
            torch.get_num_threads(),
        )
    return out


def _at_any_size(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`compute`, which squares rows and divides by their norms, for rows that it could not square or divide by."""

    def run(x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
        if x.is_cuda and torch.cuda.is_current_stream_capturing():  # nothing can be looked at
            return compute(x, z, depths, quantity)
        rows = BalancedRows(x, z, x.dtype)
        if quantity not in OF_DIRECTIONS:
            return rows.restore(compute(rows.x, rows.z, depths, quantity))
        rows.check_angles()
        return compute(rows.x, rows.z, depths, quantity)

    return run


register(
    "infinite_network(Tensor x, Tensor? z, int[] depths, str quantity, float[] network) -> Tensor",
    cpu=_compute_on_cpu,
    cuda=on_cuda("infinite_network"),
    fake=lambda x, z, depths, quantity, network: InfiniteProblem(x, z, depths, quantity).result(),
)
register(
    "infinite_ntk(Tensor x, Tensor? z, int[] depths, str quantity) -> Tensor",
    cpu=_at_any_size(_compute_on_cpu),
    cuda=_at_any_size(on_cuda("infinite_ntk")),
    fake=lambda *arguments: InfiniteProblem(*arguments).result(),
    autocast=in_float32,
)
