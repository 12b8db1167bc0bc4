"""Which outputs of a network a kernel is of."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gatentk.checks import check_integer, describe

OUTPUTS = ("trace", "diag", "full")


def check_outputs(outputs: object) -> None:
    """Refuse what is neither a name nor a number."""
    if isinstance(outputs, str):
        if outputs not in OUTPUTS:
            raise ValueError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {outputs!r}")
    elif isinstance(outputs, bool) or not isinstance(outputs, (int, np.integer)):
        raise TypeError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {describe(outputs)}")


def check_index(outputs: int | str, d_out: int) -> None:
    """Refuse the number of an output that a network with `d_out` of them does not have."""
    if not isinstance(outputs, str):
        check_integer("outputs", outputs, 0)
        if outputs >= d_out:
            raise ValueError(f"outputs: expected an output below {d_out}, got {outputs}")


def mirror(kernel: Tensor, outputs: int | str) -> Tensor:
    """A kernel of samples with themselves, its lower triangle copied over its upper one, in place.

    The two differ by rounding where a product of general matrices made them.
    """
    n = kernel.shape[-1] * (kernel.shape[-2] if outputs == "full" else 1)
    matrices = kernel.view(-1, n, n)
    for i in range(0, n, 512):  # without an n x n temporary
        j = min(i + 512, n)
        block = matrices[:, i:j, i:j]
        above = torch.ones(j - i, j - i, dtype=torch.bool, device=kernel.device).triu(1)
        block.copy_(torch.where(above, block.mT, block))
        matrices[:, i:j, j:] = matrices[:, j:, i:j].mT
    return kernel
