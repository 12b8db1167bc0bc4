"""What an index of a table means: samples by number, by bools or by a slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatentk.checks import describe, plain

Index = int | slice | Sequence[int] | Sequence[bool] | Tensor | np.ndarray[Any, Any]

_DTYPES = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def rows_of(index: object, n: int) -> Tensor | slice:
    """The samples that an index means: a slice or int64 numbers from 0 to n - 1."""
    if isinstance(index, slice):
        # torch has no negative steps.
        return torch.arange(*index.indices(n)) if index.step is not None and index.step < 0 else index
    if isinstance(index, int) and not isinstance(index, bool) and not -n <= index < n:
        raise IndexError(_out_of_range(index, n))  # also what int64 cannot hold
    numbers = _as_tensor(index)
    if numbers.dtype == torch.bool:
        if numbers.shape != (n,):
            raise IndexError(f"index: expected n = {n} bools, got {describe(numbers)}")
        return numbers.nonzero().squeeze(1)
    if numbers.dim() > 1:
        raise IndexError(f"index: expected one dimension, got {describe(numbers)}")
    numbers = numbers.reshape(-1).long()
    outside = (numbers < -n) | (numbers >= n)
    if bool(outside.any()):
        raise IndexError(_out_of_range(int(numbers[outside][0]), n))
    return torch.where(numbers < 0, numbers + n, numbers)


def _out_of_range(index: int, n: int) -> str:
    return f"index {index} is out of range for a table of n = {n} samples"


def _as_tensor(index: object) -> Tensor:
    """Bools or integers as a CPU tensor."""
    if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
        return torch.tensor(int(index))
    if isinstance(index, (list, range)) and len(index) == 0:
        return torch.empty(0, dtype=torch.int64)
    found = None if isinstance(index, tuple) else plain("index", index)
    # 64 bits without sign would wrap around.
    if isinstance(found, np.ndarray) and found.dtype.kind in "biu" and found.dtype != np.uint64:
        return torch.from_numpy(found.astype(bool if found.dtype.kind == "b" else np.int64))
    if isinstance(found, Tensor) and found.dtype in _DTYPES:
        return found.detach().cpu()
    raise TypeError(f"index: expected integers, bools or a slice, got {describe(index)}")
