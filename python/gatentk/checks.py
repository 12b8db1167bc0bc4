"""Validation of what users pass in: every message names the argument, what came and what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Samples = torch.Tensor | np.ndarray[Any, Any]  # as users pass them

FLOATS: tuple[torch.dtype, ...] = (torch.float32, torch.float64)


def describe(value: object) -> str:
    """What came, in a few words: type, shape, dtype."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}, {value.dtype}, on {value.device}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}, {value.dtype}"
    return f"{type(value).__name__} {value!r}"[:120]


def from_array(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """A tensor that shares memory with an array, or with a copy where torch does not take the array as it is."""
    return torch.from_numpy(array if all(s >= 0 for s in array.strides) and array.flags.writeable else array.copy())


def as_tensor(name: str, value: object) -> torch.Tensor:
    """A detached float32 or float64 tensor that shares memory with `value` (tensor or numpy array)."""
    if isinstance(value, np.ndarray):
        if value.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name}: expected float32 or float64, got {describe(value)}")
        value = from_array(value)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name}: expected a torch tensor or numpy array, got {describe(value)}")
    if value.dtype not in FLOATS:
        raise TypeError(f"{name}: expected float32 or float64, got {describe(value)}")
    if value.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {value.layout}")
    return value.detach()


def like_input(result: torch.Tensor, *inputs: object) -> Any:
    """`result` as a numpy array if the first input was one, else the tensor itself."""
    return result.numpy() if inputs and isinstance(inputs[0], np.ndarray) else result


def check_finite(name: str, value: torch.Tensor) -> None:
    """Raise ValueError at the first NaN or infinity, naming its index."""
    if not bool(torch.isfinite(value.sum())) and not bool(torch.isfinite(value).all()):
        index = tuple(int(i) for i in torch.nonzero(~torch.isfinite(value))[0])
        raise ValueError(f"{name}: expected finite values, got {value[index].item()} at index {index}")


def check_samples(name: str, value: torch.Tensor, *, nonzero_rows: bool = False) -> None:
    """Check a (..., n, d) array of samples: at least one row and column, finite, rows not zero if asked."""
    if value.dim() < 2:
        raise ValueError(f"{name}: expected shape (..., n, d), one row a sample, got {describe(value)}")
    if value.shape[-2] == 0 or value.shape[-1] == 0:
        raise ValueError(f"{name}: expected at least one sample and one feature, got {describe(value)}")
    check_finite(name, value)
    if nonzero_rows:
        zero = ~(value != 0).any(dim=-1)
        if bool(zero.any()):
            index = tuple(int(i) for i in torch.nonzero(zero)[0])
            row = index[0] if len(index) == 1 else index
            raise ValueError(f"{name}: row {row} is all zero, so its angle to other rows is undefined")


def check_integer(name: str, value: object, minimum: int) -> int:
    """`value` as an int that is at least `minimum`; bools and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name}: expected an integer, got {describe(value)}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer of at least {minimum}, got {value}")
    return int(value)


def check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """`dtype`, or torch's default one if it is left out; float32 or float64."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in FLOATS:
        raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
    return dtype


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """`value` if it is one of the known names."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value
