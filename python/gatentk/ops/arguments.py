"""Checks of arguments that several families of operations take: devices, packed bits, matrices, lists of them."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk.checks import FLOATS, check_dense, describe
from gatentk.ops.autocast import is_cast
from gatentk.ops.layouts import row_bytes


def check_device(name: str, tensor: Tensor, like: Tensor | None = None, like_name: str = "") -> None:
    """Refuse devices without kernels, another device than that of `like`, and what is not dense."""
    if tensor.layout != torch.strided or tensor.is_nested:
        check_dense(name, tensor)
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"{name}: there are kernels for CUDA and CPU tensors only, got one on {tensor.device}; use {name}.cpu()"
        )
    if like is not None and tensor.device != like.device:
        raise ValueError(f"{name}: expected a tensor on {like.device} as {like_name}, got {describe(tensor)}")


def check_packed(name: str, bits: object) -> None:
    """Refuse what is no tensor of bytes."""
    if not isinstance(bits, Tensor) or bits.dtype != torch.uint8:
        raise TypeError(f"{name}: expected packed bits (uint8), got {describe(bits)}")


def check_bits(name: str, bits: Tensor, width: int, like: Tensor | None = None, like_name: str = "") -> None:
    """Refuse what is not packed bits of rows of `width`, (..., row_bytes(width)), on the device of `like`."""
    check_packed(name, bits)
    if width < 0 or bits.dim() == 0 or bits.shape[-1] != row_bytes(width):
        raise ValueError(
            f"{name}: expected rows of {row_bytes(max(width, 0))} bytes for width {width}, got {describe(bits)}"
        )
    check_device(name, bits, like, like_name)


def check_bit_matrix(name: str, bits: Tensor, width: int) -> None:
    """As `check_bits`, of two dimensions: (n, row_bytes(width))."""
    check_bits(name, bits, width)
    if bits.dim() != 2:
        raise ValueError(f"{name}: expected shape (n, row bytes), got {describe(bits)}")


def check_matrix(name: str, matrix: object, dtypes: tuple[torch.dtype, ...] = FLOATS, autocast: bool = False) -> None:
    """Refuse what is no matrix of one of the dtypes, or of one that autocast, where it counts, casts to them."""
    if not isinstance(matrix, Tensor) or (matrix.dtype not in dtypes and not (autocast and is_cast(matrix))):
        names = " or ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"{name}: expected a {names} tensor, got {describe(matrix)}")
    if matrix.dim() < 2:
        raise ValueError(f"{name}: expected a matrix (..., rows, columns), got {describe(matrix)}")
    check_device(name, matrix)


def check_rows(name: str, rows: object) -> None:
    """Refuse what is not a tensor (..., n, width) of float32 or float64, or of a dtype that autocast casts to them."""
    if not isinstance(rows, Tensor) or not (rows.dtype in FLOATS or is_cast(rows)):
        raise TypeError(f"{name}: expected a float32 or float64 tensor, got {describe(rows)}")
    if rows.dim() < 2:
        raise ValueError(f"{name}: expected shape (..., n, width), got {describe(rows)}")
    check_device(name, rows)


def check_list(name: str, tensors: object) -> None:
    """Refuse what is not a list of float32 or float64 tensors (..., n, width), one a layer and at least one."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(f"{name}: expected a list of tensors, one a layer, got {describe(tensors)}")
    if len(tensors) == 0:
        raise ValueError(f"{name}: expected at least one layer")
    for layer, tensor in enumerate(tensors):
        check_rows(f"{name}[{layer}]", tensor)
