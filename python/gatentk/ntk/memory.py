"""How much memory a kernel of finite width takes."""

from __future__ import annotations

from gatentk.ntk.layerwise import MASKED_ROWS

PADDING = 16  # rows that packed copies are filled up by, about


def layerwise_memory(n: int, width: int, depth: int, itemsize: int, outputs: int = 1) -> int:
    """Bytes at the peak of the layerwise kernel of n samples with themselves, beside network and samples.

    Of each layer stay activations, their derivatives (a byte), what flows back and packed copies of both; a weight is
    packed for a masked product. Measured at n = 50 to 4000, width 16 to 10^6, depth 1 to 8: within a factor 1.5.

    >>> layerwise_memory(n=1000, width=2000, depth=4, itemsize=8) // 10**6
    430
    """
    layers = (2.5 + 3.5 * outputs) * depth * (n + PADDING) * width * itemsize
    packed = width**2 * itemsize if depth > 1 and n >= MASKED_ROWS else 0
    return int(layers) + packed + n * n * itemsize


def mlp_memory(d_in: int, width: int, depth: int, itemsize: int, d_out: int = 1) -> int:
    """Bytes of the weights of a `gatentk.nn.MLP`.

    >>> mlp_memory(64, 1000, 3, itemsize=4)
    8260000
    """
    if depth == 0:
        return d_in * d_out * itemsize
    return (d_in + (depth - 1) * width + d_out) * width * itemsize
