"""Kernels and angles of infinitely wide networks, at several depths in one pass over the pairs of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from gatentk import _core
from gatentk.activations import ACTIVATIONS, GATE_KINDS
from gatentk.checks import describe
from gatentk.ops.arguments import check_device, check_rows
from gatentk.ops.autocast import in_float32, same_dtype
from gatentk.ops.cuda import on_cuda
from gatentk.ops.layouts import COMPONENTS, InfiniteProblem
from gatentk.ops.registration import register
from gatentk.scaling import BalancedRows

QUANTITIES = tuple(_core.Quantity.__members__)
# Numbers of two directions, whatever the norms of the samples.
OF_DIRECTIONS = tuple(quantity for quantity in QUANTITIES if quantity.endswith(("_angle", "_deficit")))

# Far beyond where kernels have reached their limits: they differ from them by a share of 1 / depth. The time of a pair
# grows with depth, and nothing ends a sum that is under way.
LARGEST_DEPTH = 1 << 20

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
    check_rows("x", x)
    if z is not None:
        check_rows("z", z)
        if not same_dtype(z, x) or z.shape[:-2] != x.shape[:-2] or z.shape[-1] != x.shape[-1]:
            raise ValueError(f"z: expected {x.dtype} and the leading and last dimensions of x, got {describe(z)}")
        check_device("z", z, x, "x")
    if quantity not in QUANTITIES:
        raise ValueError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    lowest = _SMALLEST_DEPTH.get(quantity, 0)
    if not depths or depths[0] < lowest or any(b <= a for a, b in pairwise(depths)):
        raise ValueError(f"depths: expected rising integers of at least {lowest}, got {list(depths)}")
    if depths[-1] > LARGEST_DEPTH:
        raise ValueError(f"depths: expected integers of at most {LARGEST_DEPTH:,}, got {depths[-1]}")
    if quantity in COMPONENTS and len(depths) != 1:
        raise ValueError(f"depths: expected a single depth for {quantity}, got {list(depths)}")
    result: Tensor = torch.ops.gatentk.infinite_ntk(x, z, list(depths), quantity)
    return result


def _compute_on_cpu(x: Tensor, z: Tensor | None, depths: list[int], quantity: str) -> Tensor:
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
    "infinite_ntk(Tensor x, Tensor? z, int[] depths, str quantity) -> Tensor",
    cpu=_at_any_size(_compute_on_cpu),
    cuda=_at_any_size(on_cuda("infinite_ntk")),
    fake=lambda *arguments: InfiniteProblem(*arguments).result(),
    autocast=in_float32,
)
