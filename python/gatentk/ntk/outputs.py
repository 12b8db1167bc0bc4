"""Which outputs of a network a kernel is of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatentk.checks import as_tensor, check_integer, describe

OUTPUTS = ("trace", "diag", "full", "sum")

_EXPECTED = f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, or a vector of weights"


class Chosen(NamedTuple):
    """Outputs of a network with their number known.

    Attributes:
        layout: "trace" sums the kernels of all chosen outputs, "diag" and "full" keep them apart.
        rows: (k, d_y), each chosen output as a combination of the network's; None for all as they are.
        number: k.
    """

    layout: str
    rows: Tensor | None
    number: int

    def of(self, values: Tensor) -> Tensor:
        """(..., k) of the network's outputs (..., d_y)."""
        return values if self.rows is None else values @ self.rows.mT

    def shape(self, rows: int, columns: int) -> tuple[int, ...]:
        """Of the kernel of so many samples on both sides."""
        k = self.number
        return {"diag": (k, rows, columns), "full": (rows, k, columns, k)}.get(self.layout, (rows, columns))

    def matrix(self, model: Tensor) -> Tensor:
        """(k, d_y) in any case, on the device and of the dtype of `model`."""
        return torch.eye(self.number, dtype=model.dtype, device=model.device) if self.rows is None else self.rows


def check_outputs(outputs: Any) -> Any:
    """A name, a number, or a vector of weights as a tensor.

    Raises:
        TypeError, ValueError: it is none of them.
    """
    if isinstance(outputs, str):
        if outputs not in OUTPUTS:
            raise ValueError(f"{_EXPECTED}, got {outputs!r}")
        return outputs
    if isinstance(outputs, (int, np.integer)) and not isinstance(outputs, bool):
        return outputs
    if not isinstance(outputs, (Tensor, np.ndarray, list, tuple)):
        raise TypeError(f"{_EXPECTED}, got {describe(outputs)}")
    weights = as_tensor("outputs", outputs)
    if weights.dim() != 1 or not len(weights):
        raise ValueError(f"{_EXPECTED}, got {describe(outputs)}")
    if not bool(torch.isfinite(weights).all()):
        raise ValueError(f"outputs: expected finite weights, got {describe(outputs)}")
    return weights


def chosen_outputs(outputs: Any, d_out: int, model: Tensor) -> Chosen:
    """What `check_outputs` let through, of a network with `d_out` outputs; `model` has its dtype and device.

    Raises:
        ValueError: there is no such output, or another number of weights than outputs.
    """
    if isinstance(outputs, Tensor):
        if len(outputs) != d_out:
            raise ValueError(f"outputs: expected {d_out} weights, one for each output, got {describe(outputs)}")
        return Chosen("trace", outputs.to(model)[None], 1)
    if outputs == "sum":
        return Chosen("trace", model.new_ones(1, d_out), 1)
    if isinstance(outputs, str):
        return Chosen(outputs, None, d_out)
    check_integer("outputs", outputs, 0)
    if outputs >= d_out:
        raise ValueError(f"outputs: expected an output below {d_out}, got {outputs}")
    row = model.new_zeros(1, d_out)
    row[0, int(outputs)] = 1
    return Chosen("trace", row, 1)


def mirror(kernel: Tensor, layout: str) -> Tensor:
    """A kernel of samples with themselves, its lower triangle copied over its upper one, in place.

    The two differ by rounding where a product of general matrices made them.
    """
    n = kernel.shape[-1] * (kernel.shape[-2] if layout == "full" else 1)
    matrices = kernel.view(-1, n, n)
    for i in range(0, n, 512):  # without an n x n temporary
        j = min(i + 512, n)
        block = matrices[:, i:j, i:j]
        above = torch.ones(j - i, j - i, dtype=torch.bool, device=kernel.device).triu(1)
        block.copy_(torch.where(above, block.mT, block))
        matrices[:, i:j, j:] = matrices[:, j:, i:j].mT
    return kernel


def block_of(kernel: Tensor, i: int, j: int, chunk: int, layout: str) -> Tensor:
    """The block of so many samples, or what is left of them, from i on and from j on, as a view."""
    if layout == "full":
        return kernel[i : i + chunk, :, j : j + chunk]
    return kernel[..., i : i + chunk, j : j + chunk]


def transposed(block: Tensor, layout: str) -> Tensor:
    """The block of the same samples, left and right exchanged."""
    return block.permute(2, 3, 0, 1) if layout == "full" else block.mT
