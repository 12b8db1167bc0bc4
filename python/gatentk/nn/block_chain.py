"""Layers of block gates one after the other, which hand their values on in block form without unpacking them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gatentk.checks import FLOATS
from gatentk.gates import GateLayer
from gatentk.ops.autocast import is_cast

# The smallest blocks for which "auto" keeps to block form, from widths on. Measured in float32 forward and with
# gradients against dense products and masks at depth 2 (Zen 5, AVX-512, 2 cores, loaded): blocks of 16 take 0.3 to 0.9
# of their time at widths 256 to 2048 and 64 to 1024 samples, blocks of 8 as much from width 1024 on and about the same
# time below; blocks of 4 up to twice as much below width 1024.
_SMALLEST_BLOCKS = ((0, 16), (1024, 8), (2048, 2))

# Outputs up to here are one block, which is only a view of them.
_WIDEST_OUTPUT_BLOCK = 256


class BlockChain:
    """The values of a gated network in block form, (units, n, block) a layer.

    Args:
        layers: gates D_0 .. D_depth of the samples.
        weights: C, W_1 .. W_depth.
    """

    def __init__(self, layers: Sequence[GateLayer], weights: Sequence[Tensor]) -> None:
        self.weights = weights
        self.width = layers[0].width
        self.block = layers[0].block
        self.gates = [[layer.bits, *layer.plans] for layer in layers]

    def values(self, x: Tensor) -> Iterator[Tensor]:
        """t_0 .. t_depth of samples (n, d_in), in block form."""
        t = torch.ops.gatentk.to_blocks(x, [], min(self.block, x.shape[1]))
        inside: list[Tensor] = []
        for weight, outside in zip(self.weights, self.gates, strict=True):
            t = torch.ops.gatentk.block_product(t, weight, False, inside, outside, self.block)
            yield t
            inside = outside

    def rows(self, layer: int, values: Tensor) -> Tensor:
        """t_layer as a matrix (n, width)."""
        rows: Tensor = torch.ops.gatentk.from_blocks(values, self.gates[layer], self.width)
        return rows

    def output(self, last: Tensor, weight: Tensor) -> Tensor:
        """B t_depth, (n, d_out)."""
        width = weight.shape[0]
        block = min(width, _WIDEST_OUTPUT_BLOCK)
        blocks = torch.ops.gatentk.block_product(last, weight, False, self.gates[-1], [], block)
        out: Tensor = blocks[0] if block == width else torch.ops.gatentk.from_blocks(blocks, [], width)
        return out


def chain_is_faster(x: Tensor, weight: Tensor, layer: GateLayer, method: str) -> bool:
    """Whether values stay in block form: where kernels for blocks run, and skip more than they cost.

    Args:
        x: samples.
        weight: one of the network's.
        layer: gates of the samples.
        method: as in `gatentk.ops.masked_linear`.
    """
    if layer.block == 1 or method not in ("auto", "masked") or x.device.type != "cpu":
        return False
    if weight.dtype not in FLOATS and not is_cast(weight):
        return False
    if method == "auto" and layer.block < min(b for w, b in _SMALLEST_BLOCKS if w <= layer.width):
        return False
    # Products of blocks are batched member by member, those of rows all at once.
    return torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active()
