"""How products of float32 numbers are made on CUDA devices: what is chosen for the process, or follows torch."""

from __future__ import annotations

import torch

# In the order of the compiled module.
PRECISIONS = ("strict", "tf32x3", "tf32")

# What "auto" takes where torch does not allow TF32: three TF32 products of the rounded numbers and their remainders,
# whose errors are within twice those of torch's float32 products (docs/cuda.md).
_ACCURATE = "tf32x3"

_selected = "auto"


def precision() -> str:
    """How float32 products of masked and Gram products are made on CUDA devices: "strict", "tf32x3" or "tf32"."""
    if _selected != "auto":
        return _selected
    return "tf32" if _torch_allows_tf32() else _ACCURATE


def select_precision(name: str) -> None:
    """Choose how float32 numbers are multiplied on CUDA devices, in the whole process.

    Args:
        name: "strict" uses fused multiply-adds in float32. "tf32x3" makes three products on tensor cores for each, as
            accurate as a float32 product, though an infinite factor gives NaN. "tf32" makes one, of factors rounded
            to 11 bits. "auto", the choice at the start, follows torch: "tf32" where `torch.backends.cuda.matmul`
            allows TF32, "tf32x3" elsewhere. Dense products are torch's own.

    Raises:
        ValueError: another name.
    """
    global _selected
    if name not in ("auto", *PRECISIONS):
        raise ValueError(f"name: expected one of 'auto', {', '.join(map(repr, PRECISIONS))}, got {name!r}")
    _selected = name


def _torch_allows_tf32() -> bool:
    matmul = torch.backends.cuda.matmul
    # Newer versions of torch have two settings, and reading the older one fails where the newer one was used.
    if hasattr(matmul, "fp32_precision"):
        return bool(matmul.fp32_precision == "tf32")
    return bool(matmul.allow_tf32)
