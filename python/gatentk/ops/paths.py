"""Which way a masked product on the CPU goes: a function of its sizes, gates, and a calibration of the processor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gatentk import _core
from gatentk.ops import calibration
from gatentk.ops.cpu_products import has_block_kernel
from gatentk.ops.layouts import MaskedProduct, contiguous_rows, gate_view, units

# Below both, dense products take less than about a millisecond: operations of a thread, and bytes of the weight.
SMALL_OPERATIONS = {torch.float32: 5e7, torch.float64: 2.5e7}
SMALL_BYTES = 8 << 20

# Samples up to which gradients of a weight are written as fast as the memory takes them, whatever is on.
FEW_OUTER_PRODUCTS = 16

# A way that skips must promise at least this much: what it promises is good to several percent, and to more where rows
# of single neurons are wider than those that were measured.
MARGINS = {"blocks": 0.93, "neurons": 0.85}
WIDE_MARGIN, WIDE = 0.75, 1 << 20  # of values of a factor

# Without gates zeros must be found. Dense products won from 65% of non-zeros on, at width 1,024, and at width 256
# (AVX2, two cores).
DENSE_DENSITY = 0.65
SMALLEST_UNGATED = 512

# Share of the time at a quarter of the tiles that is left where hardly any are on: at most, it was a sixth to a half.
LEFT = 0.4

# Columns of a result below which kernels for single neurons, whose panels have 48 and more, are slower than dense.
FEWEST_COLUMNS = 16

# Share of blocks that are not zero from which on it does not pay to look for others.
FULL = 0.85

# Bytes of gates and values of factors that are looked at to estimate their density, and steps that it is rounded to.
_SAMPLED_BYTES, _SAMPLED_VALUES, _STEPS = 1 << 14, 1 << 14, 64


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
    if work.small or (kind == "weight_gradient" and work.samples <= FEW_OUTER_PRODUCTS):
        return fixed_path(work, has_blocks), product
    if not product.gate_a:
        product = with_block_of_zeros(product, max(work.blocks))
        work = work._replace(blocks=(product.blocks[0], work.blocks[1]))
    work = work._replace(densities=_densities(work, product))
    return _chosen(work, has_blocks, calibration.place()), product


@lru_cache(maxsize=1 << 12)
def _chosen(work: Work, has_blocks: bool, place: tuple[object, ...]) -> str:
    """As `choose`, by the calibration of a place, remembered: after a large product Python takes long for little."""
    return choose(work, calibration.ratios(work.kind, work.dtype), has_blocks)


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

    Measured on two cores with AVX2 and AVX-512: gates of neurons win in all three products, and blocks from 16 neurons
    on.
    """
    if has_blocks and max(work.blocks) >= 16:
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
    wide = best == "neurons" and work.samples * max(work.widths) > WIDE
    return best if costs[best] < (WIDE_MARGIN if wide else MARGINS[best]) else "dense"


def cost(name: str, work: Work, ratios: calibration.Ratios) -> float:
    """Time of a way that skips, in times of the dense product."""
    if name == "neurons":
        # Only the left factor is skipped in: linear between half of the gates and all.
        measured = ratios["neurons" if max(work.blocks) == 1 else "neurons of blocks"]
        return _at(measured, work.samples, 2 * work.densities[0] - 1)
    on = math.prod(d for d, block in zip(work.densities, work.blocks, strict=True) if block > 1)
    share = max(on - 0.25, 0.0) / 0.75  # a quarter of the tiles, or all
    block = min(block for block in work.blocks if block > 1)
    by_block = {float(size): _at(ratios[f"blocks of {size}"], work.samples, share) for size in calibration.BLOCKS}
    less = LEFT + (1 - LEFT) * min(on / 0.25, 1.0)
    return _between(by_block, block) * max(1.0, calibration.BLOCKS[0] / block) * less


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
    """Share of bits (n, row_bytes(width)) that are set, 1 if there are none; in steps of 1/64."""
    n, size = bits.shape
    step, used = max(1, bits.numel() // _SAMPLED_BYTES), min(size, -(-width // 8))
    if not n or not used:
        return 1.0
    sample = contiguous_rows(bits)[::step]
    return _rounded(_core.count_bits(gate_view(sample), len(sample), used) / (len(sample) * width))


def share_not_zero(values: Tensor, block: int = 1) -> float:
    """Share of whole blocks of neighbouring values (n, width) that are not all zeros, 1 if there are none; as above."""
    n, count = values.shape[0], values.shape[1] // block
    if not n or not count:
        return 1.0
    step = max(1, values.numel() // _SAMPLED_VALUES)
    rows = -(-n // step)
    stored = contiguous_rows(values)
    run = _core.count_blocks_on_f32 if values.dtype == torch.float32 else _core.count_blocks_on_f64
    return _rounded(run(stored.data_ptr(), step * stored.stride(0), rows, count, block) / (rows * count))


def _rounded(share: float) -> float:
    return min(round(share * _STEPS) / _STEPS, 1.0)


def _of_zeros(work: Work, left: Tensor) -> str:
    """Without gates: zeros that are found on the way are skipped."""
    if work.samples == 1:
        return "neurons"
    if min(work.widths) < SMALLEST_UNGATED:
        return "dense"
    density = share_not_zero(left)
    if density > DENSE_DENSITY:
        return "dense"
    if work.small:
        return "neurons"
    return _chosen(work._replace(densities=(density, 1.0)), False, calibration.place())
