"""Products with gates of blocks of neurons, in block form, and what is exact of them."""

import torch
from cases.products import whole

from gatentk import ops
from gatentk.ops.blocks import multiply_rows, weight_gradient_of_rows

NAMES = torch.ops.gatentk


class Blocks:
    """A layer's factors and gates of units, and the masks of its neurons."""

    def __init__(
        self, n, sizes, blocks, dtype, density=0.5, gated=("in", "out"), seed=0, entries=whole, unit_major=True
    ):
        generator = torch.Generator().manual_seed(seed)
        self.sizes, self.blocks, self.gated = sizes, blocks, gated
        self.gates, self.masks = [], []
        for name, size, block in zip(("in", "out"), sizes, blocks, strict=True):
            units = -(-size // block)
            mask = torch.rand(n, units, generator=generator) < (density if name in gated else 1)
            bits = ops.pack_bits(mask)
            gate = [bits, ops.transpose_bits(bits, units)] if unit_major else [bits]
            self.gates.append(gate if name in gated else [])
            self.masks.append(mask.repeat_interleave(block, 1)[:, :size])
        share = [1 if name in gated else density for name in ("in", "out")]
        self.z = entries(generator, (n, sizes[0]), dtype, share[0])
        self.weight = entries(generator, (sizes[1], sizes[0]), dtype, 1)
        self.upstream = entries(generator, (n, sizes[1]), dtype, share[1])

    def rows(self, wide):
        """Factor, weight and what comes back, masked and in another dtype."""
        z, upstream = (torch.where(m, t, 0) for m, t in zip(self.masks, (self.z, self.upstream), strict=True))
        return z.to(wide), self.weight.to(wide), upstream.to(wide)

    def exact(self, wide=torch.float64):
        """Forward product and gradients by factor and weight, as matrices."""
        z, weight, upstream = self.rows(wide)
        mask_in, mask_out = (m.to(wide) for m in self.masks)
        return (z @ weight.T) * mask_out, (upstream @ weight) * mask_in, upstream.T @ z

    def block_forms(self, off=0.0):
        """z and what comes back in block form; `off` stands where a gate is off."""
        z = NAMES.to_blocks(torch.where(self.masks[0], self.z, off), [], self.blocks[0])
        upstream = NAMES.to_blocks(torch.where(self.masks[1], self.upstream, off), [], self.blocks[1])
        return z, upstream

    def products(self, off=0.0):
        """The three products of the operations, block forms as they come."""
        z, upstream = self.block_forms(off)
        (size_in, size_out), (block_in, block_out), (gate_in, gate_out) = self.sizes, self.blocks, self.gates
        return (
            NAMES.block_product(z, self.weight, False, gate_in, gate_out, block_out),
            NAMES.block_product(upstream, self.weight, True, gate_out, gate_in, block_in),
            NAMES.block_weight_gradient(upstream, z, gate_out, gate_in, size_out, size_in),
        )

    def matrices(self, products):
        """The same as matrices."""
        out, by_z, by_weight = products
        return (
            NAMES.from_blocks(out, [], self.sizes[1]),
            NAMES.from_blocks(by_z, [], self.sizes[0]),
            by_weight,
        )

    def products_of_rows(self, off=0.0):
        """The three products of matrices, without block form."""
        z, upstream = (torch.where(mask, t, off) for mask, t in zip(self.masks, (self.z, self.upstream), strict=True))
        (block_in, block_out), (gate_in, gate_out) = self.blocks, self.gates
        return (
            multiply_rows(z, self.weight, False, gate_in, gate_out, block_in, block_out),
            multiply_rows(upstream, self.weight, True, gate_out, gate_in, block_out, block_in),
            weight_gradient_of_rows(upstream, z, gate_out, gate_in, block_out, block_in),
        )
