"""Masked products with their gates and what is exact of them.

Whole numbers make the order of sums irrelevant, so products of any shape are compared exactly; how they round is a
matter of its own.
"""

import numpy as np
import pytest
import torch
from cases.bits import scatter_bits

from gatentk import ops, reference

KINDS = ("none", "in", "out", "both")  # which gates there are
GATED = pytest.mark.parametrize("kind", KINDS)
METHODS = pytest.mark.parametrize("method", ops.METHODS)


class Layer:
    """Packed gates with their plans, as a layer of a gate table has them."""

    def __init__(self, bits, width):
        self.bits = bits
        self.plans = ops.build_plan(bits, width), ops.build_plan(bits, width, neuron_major=True)


def whole(generator, shape, dtype, density):
    """Integers up to 8 in magnitude, a share of them kept and the rest zeros; float32 holds all their sums here."""
    values = torch.randint(-8, 9, shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < density, values, 0).to(dtype)


class Case:
    """A product with its gates, and what comes back for the gradients."""

    def __init__(self, rows, inner, columns, dtype, density=0.5, kind="both", seed=0, entries=whole):
        generator = torch.Generator().manual_seed(seed)
        self.kind = kind
        self.mask_in, self.mask_out = (
            torch.rand(rows, width, generator=generator) < (density if kind in (name, "both") else 1)
            for name, width in (("in", inner), ("out", columns))
        )
        self.z = entries(generator, (rows, inner), dtype, 1 if kind in ("in", "both") else density)
        self.weight = entries(generator, (columns, inner), dtype, 1)
        self.upstream = entries(generator, (rows, columns), dtype, 1 if kind in ("out", "both") else density)

    def gates(self, planned=False):
        """Packed, or with plans; None where there is no gate."""
        masks = [("in", self.mask_in), ("out", self.mask_out)]
        bits = [ops.pack_bits(mask) if self.kind in (name, "both") else None for name, mask in masks]
        if not planned:
            return bits
        return [None if b is None else Layer(b, mask.shape[1]) for b, (_, mask) in zip(bits, masks, strict=True)]

    def tensors(self, dtype=None):
        return [t if dtype is None else t.to(dtype) for t in (self.z, self.weight, self.upstream)]

    def poisoned(self):
        """The same product: what gates switch off holds no numbers."""
        return [
            torch.where(self.mask_in, self.z, torch.nan),
            self.weight,
            torch.where(self.mask_out, self.upstream, torch.nan),
        ]

    def dense(self, dtype=None):
        """The three products in plain torch."""
        return products(reference, self.tensors(dtype), self.gates())

    def exact(self):
        """The three products, in double for float32 and in extended precision for float64."""
        wide = np.longdouble if self.z.dtype == torch.float64 else np.float64
        z, weight, delta, mask_in, mask_out = (
            t.numpy().astype(wide)
            for t in (
                torch.where(self.mask_in, self.z, 0),
                self.weight,
                torch.where(self.mask_out, self.upstream, 0),
                self.mask_in,
                self.mask_out,
            )
        )
        return (z @ weight.T) * mask_out, (delta @ weight) * mask_in, delta.T @ z


def products(module, tensors, gates, **options):
    """The forward product and the gradients by z and by weight."""
    z, weight, upstream = tensors
    z, weight = z.detach().requires_grad_(), weight.detach().requires_grad_()
    out = module.masked_linear(z, weight, *gates, **options)
    return out.detach(), *torch.autograd.grad(out, (z, weight), upstream)


def scatter_gate(gate, layout):
    """Scattered bits, with the plans that they come with; None stays None."""
    if isinstance(gate, Layer):
        gate.bits = scatter_bits(gate.bits, layout)
        return gate
    return None if gate is None else scatter_bits(gate, layout)


def errors(found, exact):
    """The largest error of each of the three products over all cases."""
    return [max(np.abs(f[i].numpy() - e[i]).max() for f, e in zip(found, exact, strict=True)) for i in range(3)]
