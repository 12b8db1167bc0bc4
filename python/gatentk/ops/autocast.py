"""What torch's autocast does to operations: which dtypes go in and come out, whatever path computes the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# From the type of a device and the dtype that autocast has there to the dtypes that are computed with and returned.
Rule = Callable[[str, torch.dtype], tuple[torch.dtype, torch.dtype]]

DEVICES = {"cpu": "AutocastCPU", "cuda": "AutocastCUDA"}

_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU) | torch._C.DispatchKeySet(
    torch._C.DispatchKey.AutocastCUDA
)


def as_matmul(device: str, chosen: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """Results have autocast's dtype, as those of torch.matmul; where no kernel takes it, float32 is rounded to it."""
    return (chosen if device == "cuda" and chosen == torch.bfloat16 else torch.float32), chosen


def in_float32(device: str, chosen: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """In float32, as torch's norms and distances: eigenvalues and angles are not to be had from 8 bits."""
    return torch.float32, torch.float32


def without_autocast() -> Any:
    """A context in which operations, torch's too, keep the dtypes that they are given."""
    return torch._C._ExcludeDispatchKeyGuard(_KEYS)


def autocast_is_on(device: torch.device) -> bool:
    """Whether operations on tensors of a device choose their dtype themselves."""
    return device.type in DEVICES and torch.is_autocast_enabled(device.type)


def is_cast(tensor: Tensor) -> bool:
    """Whether autocast is on and gives a tensor another dtype where it wants one; float64 it leaves alone."""
    return tensor.is_floating_point() and tensor.dtype != torch.float64 and autocast_is_on(tensor.device)


def same_dtype(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have one dtype when an operation gets them."""
    return a.dtype == b.dtype or (is_cast(a) and is_cast(b))


def under_autocast(op: Callable[..., Tensor], rule: Rule, device: str) -> Callable[..., Tensor]:
    """What runs in the place of an operation where autocast is on for the tensors of a device."""

    def run(*arguments: Any) -> Tensor:
        computed, returned = rule(device, torch.get_autocast_dtype(device))
        with without_autocast():
            out = op(*(_cast(argument, computed) for argument in arguments))
            return out.to(returned) if out.dtype == computed else out

    return run


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, list):
        return [_cast(member, dtype) for member in value]
    if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.to(dtype)
    return value
