"""How the weights of networks are drawn, those of gates and those that are trained."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


def gaussian(
    rows: int,
    columns: int,
    variance: float,
    generator: torch.Generator | None,
    dtype: torch.dtype,
    device: torch.device | str | None = None,
) -> Tensor:
    """Independent N(0, variance), (rows, columns); 2/columns keeps the mean square from layer to layer."""
    return math.sqrt(variance) * torch.randn(rows, columns, generator=generator, dtype=dtype, device=device)


def has_values(tensor: Tensor) -> bool:
    """Whether there are numbers behind a shape: not on the meta device, nor in torch's fake tensors."""
    return not tensor.is_meta and not isinstance(tensor, FakeTensor)


def beside(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` on the device of `like`; where there are no numbers to move it stays what it is."""
    return tensor if tensor.is_meta else tensor.to(like.device)
