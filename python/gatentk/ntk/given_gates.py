"""Kernels of GReLU networks whose gates are known, in expectation over all other weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatentk import ops
from gatentk.checks import as_tensor, check_finite, check_samples, describe, like_input
from gatentk.gates import GateTable


def given_gates(
    x: Any, table: GateTable, z: Any = None, table_z: GateTable | None = None, input_weight: Any = None
) -> Any:
    """Expected NTK of a GReLU network over its weights, given its gates; in units of m^2/(d_x d_y), as `infinite`.

    In the kernel of infinite width every `1 - theta_s/pi` becomes `(2/m)` times the neurons of layer s that are on for
    both samples, with L the layers of the table beyond the first. It is exact at every width and block size, where the
    closed form of deep gates is off by a share of the order of block/width.

    Args:
        x: samples (n, d), float32 or float64, tensor or numpy array.
        table: their gates, of any kind and block.
        z, table_z: samples (n_z, d) and their gates, for a rectangular kernel; x and its own if left out.
        input_weight: C, (width, d), where it is given too, as it has to be where the gates are drawn from it ([G],
            Sec. 2): then x.z and the first layer's gates give way to `(d/m) t_0.t_0`, `t_0 = D_0 C x`. Otherwise the
            expectation is over C as well.

    Returns:
        (n, n_z), float64, numpy unless `x` is a tensor.

    Raises:
        TypeError, ValueError: samples and tables that do not fit each other, a table of a single layer, which leaves
            nothing to train, an input weight that does not fit.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.eye(2)
    >>> table = gt.gates.GateTable.from_bool(torch.tensor([[[1, 1, 0, 0], [0, 1, 1, 0]]] * 2).bool())
    >>> gt.ntk.given_gates(x + 1, table)
    tensor([[5., 1.],
            [1., 5.]], dtype=torch.float64)
    """
    left = _samples("x", x)
    _check_table("table", table, left, "x")
    if (z is None) != (table_z is None):
        raise ValueError("table_z: expected the gates of z, and none without z")
    right = left if z is None else _samples("z", z)
    if table_z is not None:
        _check_table("table_z", table_z, right, "z")
        if right.shape[1] != left.shape[1]:
            raise ValueError(f"z: expected {left.shape[1]} features as in x, got {describe(right)}")
        if (table_z.layers, table_z.width) != (table.layers, table.width):
            raise ValueError(
                f"table_z: expected {table.layers} layers of width {table.width} as in table, got {table_z.layers} of "
                f"{table_z.width}"
            )
    if table.layers < 2:
        raise ValueError("table: expected at least two layers, D_0 and D_1, got 1: nothing is trained")
    columns = None if table_z is None else right
    if input_weight is None:
        kernel, first = _products(left, columns), 0
    else:
        weight = _input_weight(input_weight, table, left)
        t_z = None if table_z is None else _first_values(right, table_z, weight)
        kernel, first = _products(_first_values(left, table, weight), t_z) * (left.shape[1] / table.width), 1
    for layer in range(first, table.layers):
        kernel *= _on_in_both(table, table_z, layer) * (2 / table.width)
    return like_input(kernel * (table.layers - 1), x)


def _samples(name: str, value: Any) -> Tensor:
    samples = as_tensor(name, value)
    check_samples(name, samples)
    if samples.dim() != 2:
        raise ValueError(f"{name}: expected shape (n, d), got {describe(samples)}")
    return samples.detach().to(torch.float64)


def _check_table(name: str, table: object, samples: Tensor, of: str) -> None:
    if not isinstance(table, GateTable):
        raise TypeError(f"{name}: expected a GateTable, got {describe(table)}")
    if table.n != len(samples):
        raise ValueError(f"{name}: expected the gates of the {len(samples)} rows of {of}, got those of {table.n}")
    if table.bits.device != samples.device:
        raise ValueError(f"{name}: expected a table on {samples.device} as {of}, got one on {table.bits.device}")


def _input_weight(value: Any, table: GateTable, x: Tensor) -> Tensor:
    weight = as_tensor("input_weight", value)
    if weight.shape != (table.width, x.shape[1]):
        raise ValueError(f"input_weight: expected shape {(table.width, x.shape[1])}, got {describe(weight)}")
    if weight.device != x.device:
        raise ValueError(f"input_weight: expected a tensor on {x.device} as x, got {describe(weight)}")
    check_finite("input_weight", weight)
    return weight.detach().to(torch.float64)


def _products(x: Tensor, z: Tensor | None) -> Tensor:
    """x z^T, one triangle of it where z is left out."""
    ones = x[:, :0]
    return ops.gram_ntk([x], [ones]) if z is None else ops.gram_ntk([x], [ones], [z], [z[:, :0]])


def _first_values(x: Tensor, table: GateTable, weight: Tensor) -> Tensor:
    """t_0 = D_0 C x of [G]."""
    return torch.where(ops.unpack_bits(_bits(table, 0), table.width), x @ weight.mT, 0)


def _on_in_both(table: GateTable, table_z: GateTable | None, layer: int) -> Tensor:
    """Neurons, not blocks, that are on for both of two samples."""
    counts: Tensor = ops.gate_gram(_bits(table, layer), None if table_z is None else _bits(table_z, layer))
    return counts


def _bits(table: GateTable, layer: int) -> Tensor:
    return ops.expand_bits(table.bits[layer], table.width, table.block)
