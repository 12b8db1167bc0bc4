"""Layers of block gates one after the other, which hand their values on in block form without unpacking them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gatentk.checks import FLOATS
from gatentk.gates import GateLayer
from gatentk.ops import calibration, cuda, paths
from gatentk.ops.autocast import is_cast

# Time of products in block form in that of the same kernels from rows to rows, which unpack and pack: 0.6 to 0.95 at
# widths 256 to 2048 and 16 to 1024 samples (Zen 5, AVX-512, 2 cores, loaded).
_UNPACKED = 0.9

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


def chain_is_faster(x: Tensor, layers: Sequence[GateLayer], weights: Sequence[Tensor], method: str) -> bool:
    """Whether values stay in block form: by what `ops.paths` knows of the products that take most of the time.

    Args:
        x: samples.
        layers: their gates.
        weights: C, W_1 .. W_depth.
        method: as in `gatentk.ops.masked_linear`.
    """
    gate, weight = layers[0], weights[-1]
    if gate.block == 1 or method not in ("auto", "masked"):
        return False
    if x.device.type != "cpu" or cuda.serves(x):
        return False
    if weight.dtype not in FLOATS and not is_cast(weight):
        return False
    compiling = torch.compiler.is_compiling()
    # Products of blocks are batched member by member, those of rows all at once.
    if not compiling and torch._C._are_functorch_transforms_active():
        return False
    if method == "masked":
        return True
    dtype = weight.dtype if weight.dtype in FLOATS else torch.float32
    # A trace has no values, and measures nothing.
    density = 0.5 if compiling else paths.share_on(gate.bits, gate.units)
    trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights))
    works = [
        paths.Work(kind, dtype, gate.n, (gate.width,) * 2, (gate.block,) * 2, (density,) * 2)
        for kind in (calibration.KINDS if trains else calibration.KINDS[:1])
    ]
    if compiling or works[0].small:
        return all(paths.fixed_path(work, True) == "blocks" for work in works)
    ways = [
        [paths.cost(name, work, calibration.ratios(work.kind, dtype)) for name in ("blocks", "neurons")]
        for work in works
    ]
    return _UNPACKED * sum(blocks for blocks, _ in ways) < sum(min(1.0, *costs) for costs in ways)
