"""Which way a masked product on a CUDA device goes: a function of its sizes, gates, arithmetic and the device."""

from __future__ import annotations

from typing import NamedTuple

import torch

from gatentk.ops.layouts import MaskedProduct
from gatentk.ops.paths import kind_of

# Columns of the narrowest tiles. A tile lies in one block, so blocks are multiples of it.
TILE_COLUMNS = 32

# Copies have 16 bytes, so rows of factors and results do too.
COPY_BYTES = 16

# Sums over fewer columns or samples are less accurate in tf32x3 than the accuracy rule allows (docs/cuda.md).
# The second number is for sums where the gates of both factors leave products out.
FEWEST_TF32X3, FEWEST_TF32X3_COMMON = 64, 256

# The kernels sum in bf16 and tf32 without a break, and tensor cores cut off what products have below 2^-24 of the sum:
# 7e-4 of 2^16 positive products, as many as samples that blocks of both sides share; of 2^20 a hundredth.
MOST_WITHOUT_BREAK = 1 << 18

# A product with a smaller side takes little time by any way: nobody is told that it is dense.
SMALL = 256


class Least(NamedTuple):
    """Sizes from which on a product by the kernels for blocks takes less time than torch's with masks.

    Attributes:
        block: neighbouring neurons that share a gate, on the sides that are skipped by.
        samples: rows of the batch.
        width: of both sides.
    """

    block: int
    samples: int
    width: int


# Predicted, not measured: where `python tools/cuda_static.py blocks` has them at least 1.2 times as fast as cuBLAS and
# masks at these widths, but not below 256 samples (512 for others than tf32x3), where starts and first loads weigh.
# By kind of product, arithmetic and architecture; what is not here is dense.
PREDICTED = {
    ("forward", "bf16", 80): Least(64, 1024, 1024),
    ("forward", "bf16", 90): Least(128, 8192, 1024),
    ("forward", "tf32", 80): Least(64, 1024, 1024),
    ("forward", "tf32", 90): Least(128, 8192, 1024),
    ("forward", "tf32x3", 80): Least(32, 256, 512),
    ("forward", "tf32x3", 90): Least(32, 256, 512),
    ("forward", "f64", 80): Least(32, 512, 1024),
    ("input_gradient", "bf16", 80): Least(64, 1024, 1024),
    ("input_gradient", "bf16", 90): Least(128, 8192, 1024),
    ("input_gradient", "tf32", 80): Least(64, 1024, 1024),
    ("input_gradient", "tf32", 90): Least(128, 8192, 1024),
    ("input_gradient", "tf32x3", 80): Least(32, 256, 512),
    ("input_gradient", "tf32x3", 90): Least(32, 256, 512),
    ("input_gradient", "f64", 80): Least(32, 512, 1024),
    ("weight_gradient", "bf16", 80): Least(64, 512, 1024),
    ("weight_gradient", "bf16", 90): Least(128, 1024, 2048),
    ("weight_gradient", "tf32", 80): Least(64, 512, 1024),
    ("weight_gradient", "tf32", 90): Least(128, 1024, 2048),
    ("weight_gradient", "tf32x3", 80): Least(32, 256, 512),
    ("weight_gradient", "tf32x3", 90): Least(32, 256, 512),
    ("weight_gradient", "f64", 80): Least(32, 512, 1024),
    ("weight_gradient", "f64", 90): Least(32, 512, 1024),
}
FEWEST_SAMPLES = min(least.samples for least in PREDICTED.values())
NARROWEST = min(least.width for least in PREDICTED.values())


class Work(NamedTuple):
    """What the choice depends on.

    Attributes:
        kind: "forward", "input_gradient" or "weight_gradient".
        dtype: of the factors.
        arithmetic: "strict", "tf32x3", "tf32", "f64" or "bf16".
        samples: rows of the batch.
        widths: of the left factor's side of the layer and of the other one, which is that of the result or, in the
            gradient of the weight, of the right factor.
        blocks: neighbouring neurons of these sides that share a gate, 0 where all is on.
    """

    kind: str
    dtype: torch.dtype
    arithmetic: str
    samples: int
    widths: tuple[int, int]
    blocks: tuple[int, int]

    @property
    def depth(self) -> int:
        """Products of a sum, if all is on."""
        return self.samples if self.kind == "weight_gradient" else self.widths[0]

    @property
    def fewest_tf32x3(self) -> int:
        """Products of a sum from which on tf32x3 keeps the accuracy rule."""
        common = self.kind == "weight_gradient" and min(self.blocks) > 0
        return FEWEST_TF32X3_COMMON if common else FEWEST_TF32X3

    @property
    def sides(self) -> tuple[int, ...]:
        """Blocks of the sides that kernels skip by: of the result, or of both factors where the sum is over samples."""
        return self.blocks if self.kind == "weight_gradient" else self.blocks[1:]

    @property
    def skipped(self) -> tuple[int, ...]:
        """Those of them that the kernels can skip."""
        return tuple(block for block in self.sides if is_tiled(block))


def is_tiled(block: int) -> bool:
    """Whether tiles fit blocks of so many neurons."""
    return block > 0 and block % TILE_COLUMNS == 0


def work_of(product: MaskedProduct, arithmetic: str) -> Work | None:
    """What the choice of a product depends on; None for products that mask a weight."""
    kind = kind_of(product)
    if kind is None:
        return None
    samples, left = product.a.shape
    of_a, of_b, of_out = product.blocks
    if kind == "weight_gradient":
        other, gate, block = product.b.shape[1], product.gate_b, of_b
    else:
        other, gate, block = product.shape[1], product.gate_out, of_out
    blocks = of_a if product.gate_a else 0, block if gate else 0
    return Work(kind, product.a.dtype, arithmetic, samples, (left, other), blocks)


def obstacle(work: Work) -> str | None:
    """Why the kernels for blocks cannot skip in a product, or None if they can."""
    if (found := _misfit(work)) is not None:
        return found
    if work.arithmetic in ("bf16", "tf32") and work.depth > MOST_WITHOUT_BREAK:
        return f"sums have {work.depth} products, and tensor cores lose too much of more than {MOST_WITHOUT_BREAK}"
    if not work.skipped:
        return f"no block that they could skip is a multiple of {TILE_COLUMNS} neurons, as tiles are"
    return None


def _misfit(work: Work) -> str | None:
    """Why they cannot compute it at all."""
    for width in work.widths:
        if width * work.dtype.itemsize % COPY_BYTES:
            return f"rows of {width} values of {work.dtype} are no multiple of {COPY_BYTES} bytes"
    if work.arithmetic == "strict":
        return "they have no strict precision"
    if work.arithmetic == "tf32x3" and work.depth < work.fewest_tf32x3:
        return f"sums over {work.depth} products, and tf32x3 needs {work.fewest_tf32x3} to be as accurate as float32"
    return None


def choose(work: Work, method: str, architecture: int) -> str:
    """The way that a product goes on a device.

    Args:
        work: the product.
        method: "auto", "masked" or "dense".
        architecture: 80, 90, ...

    Returns:
        "blocks": by kernels that skip blocks which are off; "whole": by the same kernels, of masked factors, skipping
        nothing; "dense": by torch, of masked factors.
    """
    if method == "dense" or not any(work.blocks):
        return "dense"
    can_skip = obstacle(work) is None
    if method == "auto":
        return "blocks" if can_skip and _pays(work, architecture) else "dense"
    if can_skip:
        return "blocks"
    # Gain by arithmetic alone: tensor cores, as accurate as torch's float32 without them.
    return "whole" if work.arithmetic == "tf32x3" and _misfit(work) is None else "dense"


def _pays(work: Work, architecture: int) -> bool:
    least = PREDICTED.get((work.kind, work.arithmetic, architecture))
    if least is None or work.samples < least.samples or min(work.widths) < least.width:
        return False
    return min(work.skipped) >= least.block


def is_told(work: Work) -> bool:
    """Whether somebody who asked for "masked" should know that a product of blocks is dense."""
    return max(work.sides) > 1 and min(work.samples, *work.widths) >= SMALL


def reads_lists(method: str, samples: int, width: int, block: int) -> bool:
    """Whether some product of a layer may go by lists of samples, on some device: then they are made once, for all."""
    some_pay = samples >= FEWEST_SAMPLES and width >= NARROWEST
    return method != "dense" and is_tiled(block) and (method == "masked" or some_pay)
