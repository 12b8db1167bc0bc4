"""Which way a masked product on the CPU goes: a function of its sizes, gates, and a calibration of the processor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatentk.ops import calibration
from gatentk.ops.cpu_products import has_block_kernel
from gatentk.ops.layouts import MaskedProduct, units

# Below both, dense products take less than about a millisecond: operations of a thread, and bytes of the weight.
SMALL_OPERATIONS = {torch.float32: 5e7, torch.float64: 2.5e7}
SMALL_BYTES = 24 << 20

# A way that skips must promise at least this much: what it promises is good to a few percent.
MARGIN = 0.97

# Without gates zeros must be found. Dense products won from 65% of non-zeros on, at width 1,024, and at width 256
# (AVX2, two cores).
DENSE_DENSITY = 0.65
SMALLEST_UNGATED = 512

# Columns of a result below which kernels for single neurons, whose panels have 48 and more, are slower than dense.
FEWEST_COLUMNS = 16

# Share of blocks that are not zero from which on it does not pay to look for others.
FULL = 0.85

# Bytes of gates and values of factors that are looked at to estimate their density.
_SAMPLED_BYTES, _SAMPLED_VALUES = 1 << 12, 1 << 16

# Bits that are set in a byte: by a table, as counting unpacked bits takes as long as a small product.
_ONES = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)


class Work(NamedTuple):
    """What the choice depends on.

    Attributes:
        kind: "forward", "input_gradient" or "weight_gradient".
        dtype: of the factors.
        samples: rows of the batch.
        widths: of the left factor's side of the layer and of the other one, which is that of the result or, in the
            gradient of the weight, of the right factor.
        blocks: neighbouring neurons of these sides that share a gate.
        densities: shares of the two sides that are on.
    """

    kind: str
    dtype: torch.dtype
    samples: int
    widths: tuple[int, int]
    blocks: tuple[int, int]
    densities: tuple[float, float]

    @property
    def small(self) -> bool:
        """Whether the dense product takes under about a millisecond."""
        weights = self.widths[0] * self.widths[1]
        operations = SMALL_OPERATIONS[self.dtype] * torch.get_num_threads()
        return 2 * self.samples * weights < operations and weights * self.dtype.itemsize < SMALL_BYTES


def path(product: MaskedProduct) -> tuple[str, MaskedProduct]:
    """The way of method "auto", a key of `cpu_products.PATHS`, and the product that goes it.

    The product says how fine zeros are looked for in a left factor without gates: a layer of blocks may have made it.
    """
    has_blocks = has_block_kernel(product)
    kind = kind_of(product)
    if kind is None:
        return "blocks" if has_blocks else "neurons", product
    work = _work(kind, product)
    if not product.gate_a and not has_blocks:
        return _of_zeros(work, product.a), product
    if work.small:
        return fixed_path(work, has_blocks), product
    if not product.gate_a:
        product = with_block_of_zeros(product, max(work.blocks))
        work = work._replace(blocks=(product.blocks[0], work.blocks[1]))
    work = work._replace(densities=_densities(work, product))
    return choose(work, calibration.ratios(work.kind, work.dtype), has_blocks), product


def kind_of(product: MaskedProduct) -> str | None:
    """Which of the three products of a layer it is; None for those that mask a weight."""
    if product.transpose_a:
        return None if product.transpose_b or product.gate_out else "weight_gradient"
    if product.gate_b:
        return None
    return "forward" if product.transpose_b else "input_gradient"


def _work(kind: str, p: MaskedProduct) -> Work:
    samples, left = p.a.shape
    of_a, of_b, of_out = p.blocks
    other = (p.b.shape[1], of_b) if kind == "weight_gradient" else (p.shape[1], of_out)
    return Work(kind, p.a.dtype, samples, (left, other[0]), (of_a, other[1]), (1.0, 1.0))


def fixed_path(work: Work, has_blocks: bool) -> str:
    """The way of products that are too small to measure anything for.

    Measured on two cores with AVX2 and AVX-512: for one sample the forward product reads the weights that it needs,
    while its gradients take up to five times as long as dense ones; from four samples on gates of neurons win in all
    three, and blocks from 8 neurons on.
    """
    if work.samples <= 2 and work.kind != "forward":
        return "dense"
    if has_blocks and max(work.blocks) >= 8:
        return "blocks"
    if work.widths[1] < FEWEST_COLUMNS and work.samples > 1:
        return "dense"
    return "neurons"


def choose(work: Work, ratios: calibration.Ratios, has_blocks: bool) -> str:
    """The way that takes least by a calibration.

    Args:
        work: the product.
        ratios: of its kind and dtype.
        has_blocks: whether kernels for blocks take it.
    """
    costs = {name: cost(name, work, ratios) for name in (["blocks"] if has_blocks else []) + ["neurons"]}
    best = min(costs, key=costs.__getitem__)
    return best if costs[best] < MARGIN else "dense"


def cost(name: str, work: Work, ratios: calibration.Ratios) -> float:
    """Time of a way that skips, in times of the dense product."""
    if name == "neurons":
        # Only the left factor is skipped in: linear between half of the gates and all.
        return _at(ratios["neurons"], work.samples, 2 * work.densities[0] - 1)
    on = math.prod(d for d, block in zip(work.densities, work.blocks, strict=True) if block > 1)
    share = (on - 0.25) / 0.75  # a quarter of the tiles, or all
    block = min(block for block in work.blocks if block > 1)
    return _between(
        {float(size): _at(ratios[f"blocks of {size}"], work.samples, share) for size in calibration.BLOCKS}, block
    ) * max(1.0, calibration.BLOCKS[0] / block)


def _at(measured: Sequence[Sequence[float]], samples: int, share: float) -> float:
    """Ratio of some samples, where 0 and 1 are the two densities that were measured."""
    some, all_on = (
        _between({float(n): row[i] for n, row in zip(calibration.SAMPLES, measured, strict=True)}, samples)
        for i in (0, 1)
    )
    return max(some + share * (all_on - some), some / 8)


def _between(points: Mapping[float, float], where: float) -> float:
    """Linear in the logarithm between points, constant outside."""
    return float(np.interp(math.log2(max(where, 1)), [math.log2(x) for x in points], list(points.values())))


# Densities, of a part of the rows: what is looked at is the same in every process


def _densities(work: Work, product: MaskedProduct) -> tuple[float, float]:
    sides = product.gate_a, product.gate_b if work.kind == "weight_gradient" else product.gate_out
    first, second = (
        share_on(gate[0], units(width, block)) if gate else 1.0
        for gate, width, block in zip(sides, work.widths, work.blocks, strict=True)
    )
    if not product.gate_a and work.blocks[0] > 1:
        first = share_not_zero(product.a, work.blocks[0])
    return first, second


def with_block_of_zeros(product: MaskedProduct, block: int) -> MaskedProduct:
    """The product with a block for a left factor without gates, if whole blocks of it are zeros in many rows."""
    if share_not_zero(product.a, block) > FULL:
        return product
    return product._replace(blocks=(block, *product.blocks[1:]))


def share_on(bits: Tensor, width: int) -> float:
    """Share of bits (n, row_bytes(width)) that are set, 1 if there are none."""
    rows = bits[:: max(1, bits.numel() // _SAMPLED_BYTES)]
    if not rows.numel():
        return 1.0
    return int(_ONES[rows.numpy()].sum(dtype=np.int64)) / (rows.shape[0] * max(width, 1))


def share_not_zero(values: Tensor, block: int = 1) -> float:
    """Share of whole blocks of neighbouring values (n, width) that are not all zeros, 1 if there are none."""
    count = values.shape[1] // block
    rows = values[:: max(1, values.numel() // _SAMPLED_VALUES), : count * block]
    if not rows.numel():
        return 1.0
    on = rows if block == 1 else rows.reshape(-1, count, block).ne(0).any(-1)
    return int(torch.count_nonzero(on)) / on.numel()


def _of_zeros(work: Work, left: Tensor) -> str:
    """Without gates: zeros that are found on the way are skipped."""
    if work.samples == 1:
        return "neurons" if work.kind == "forward" else "dense"
    if min(work.widths) < SMALLEST_UNGATED:
        return "dense"
    density = share_not_zero(left)
    if density > DENSE_DENSITY:
        return "dense"
    if work.small:
        return "neurons"
    return choose(work._replace(densities=(density, 1.0)), calibration.ratios(work.kind, work.dtype), False)
