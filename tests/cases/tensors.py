"""Tensors by dtype, density and layout in memory; calls with a number of threads."""

import pytest
import torch
from hypothesis import strategies as st

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
DENSITIES = st.sampled_from([0.0, 0.03, 0.5, 0.97, 1.0])
SEEDS = st.integers(0, 1000)
LAYOUTS = st.sampled_from(["contiguous", "transposed", "strided", "offset"])


def factor(generator, shape, dtype, density):
    """Normal entries, a share of them kept and the rest exact zeros."""
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0).to(dtype)


def scatter(tensor, layout):
    """The same values in memory that is not contiguous."""
    if layout == "transposed":
        return tensor.mT.contiguous().mT
    if layout == "strided":
        shape = (*tensor.shape[:-1], 2 * tensor.shape[-1])
        return tensor.new_full(shape, torch.nan)[..., ::2].copy_(tensor)
    if layout == "offset":
        shape = (*tensor.shape[:-2], tensor.shape[-2] + 1, tensor.shape[-1] + 3)
        return tensor.new_full(shape, torch.nan)[..., 1:, 2:-1].copy_(tensor)
    return tensor


def same_bits(a, b):
    """Equal in every bit, the sign of zero included."""
    integers = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and torch.equal(a.view(integers), b.view(integers))


def with_threads(threads, call):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return call()
    finally:
        torch.set_num_threads(before)
