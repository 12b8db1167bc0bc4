"""What a CUDA device reaches at best: a copy, and cuBLAS in each precision, with the benchmark's clock.

`python tools/cuda_ceilings.py` prints a line a ceiling: the median time of seven evaluations from a cold second-level
cache, and bytes, read and written, or operations per second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from gatentk.bench import cuda
from gatentk.bench.results import time_text

REPEATS, WARM = 7, 2
COPIED = 2 << 30  # bytes, many times any cache


class Clock(Protocol):
    """How an evaluation is timed."""

    def seconds(self, run: Callable[[], Tensor]) -> float:
        """Evaluate once."""


class Product(NamedTuple):
    """A square product, and how torch is allowed to round the factors."""

    name: str
    size: int
    dtype: torch.dtype
    tf32: bool


PRODUCTS = (
    Product("bfloat16", 8192, torch.bfloat16, False),
    Product("tf32", 8192, torch.float32, True),
    Product("float32", 8192, torch.float32, False),
    Product("float64", 4096, torch.float64, False),
)


def typical(clock: Clock, run: Callable[[], Tensor]) -> float:
    """Median of the evaluations after those that warm up, in seconds."""
    return median([clock.seconds(run) for _ in range(WARM + REPEATS)][WARM:])


def copy_line(clock: Clock, device: str, size: int = COPIED) -> str:
    """The ceiling of memory."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    seconds = typical(clock, lambda: target.copy_(source))
    return f"copy of {size / 2**30:.3g} GiB: {time_text(seconds)}, {2 * size / seconds / 1e9:.0f} GB/s"


def product_line(clock: Clock, device: str, product: Product) -> str:
    """The ceiling of one arithmetic. Factors are random: a card is faster on zeros."""
    a, b = (torch.randn(product.size, product.size, dtype=product.dtype, device=device) for _ in range(2))
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, product.tf32
    try:
        seconds = typical(clock, lambda: a @ b)
    finally:
        matmul.allow_tf32 = before
    rate = 2 * product.size**3 / seconds / 1e12
    return f"cuBLAS {product.name} {product.size}^3: {time_text(seconds)}, {rate:.4g} TFLOP/s"


def lines(clock: Clock, device: str) -> Iterator[str]:
    """All ceilings, one after another."""
    yield copy_line(clock, device)
    for product in PRODUCTS:
        yield product_line(clock, device, product)


if __name__ == "__main__":
    cuda.check()
    for line in lines(cuda.CudaClock(), "cuda"):
        print(line, flush=True)
