"""Gram products: exact ones, the rule of their accuracy, and arguments for gradients."""

import itertools

import numpy as np
import pytest
import torch
from cases.tensors import factor

from gatentk import ops, reference


def exact_gram(acts, deltas, acts_b, deltas_b, bias):
    """Sums in double for float32, in extended precision for float64; one (n, n_b) array a layer."""
    wide = np.longdouble if acts[0].dtype == torch.float64 else np.float64
    terms = []
    for a, d, a_b, d_b, offset in zip(acts, deltas, acts_b, deltas_b, bias, strict=True):
        left, right, d_left, d_right = (t.detach().numpy().astype(wide) for t in (a, a_b, d, d_b))
        term = left @ right.T + offset
        terms.append(term * (d_left @ d_right.T) if d.shape[-1] else term)
    return np.stack(terms)


def assert_as_accurate_as_torch(out, acts, deltas, acts_b=None, deltas_b=None, bias=None, components=False):
    """max|out - exact| <= 2 max|torch - exact| + 1 + sqrt(width) roundings of the largest sum of magnitudes.

    A sum of `width` terms strays by about sqrt(width) roundings, and a handful of them may be exact in torch by luck;
    `test_sums_are_as_accurate_as_those_of_torch` has enough entries to do without that allowance.
    """
    right = acts if acts_b is None else acts_b, deltas if deltas_b is None else deltas_b
    bias = [0.0] * len(acts) if bias is None else bias
    exact = exact_gram(acts, deltas, *right, bias)
    size = reference.gram_ntk(
        *([t.abs().double() for t in part] for part in (acts, deltas, *right)), bias=[abs(b) for b in bias]
    )
    dense = reference.gram_ntk(acts, deltas, *right, bias=bias, components=components).numpy()
    if not components:
        exact = exact.sum(0)
    assert out.shape == exact.shape
    assert out.dtype == acts[0].dtype
    if out.numel():
        width = max(t.shape[-1] for t in (*acts, *deltas))
        tiny = torch.finfo(out.dtype).eps * float(size.max()) * (1 + width**0.5)
        assert np.abs(out.numpy() - exact).max() <= 2 * np.abs(dense - exact).max() + tiny


def gradient_cases():
    generator = torch.Generator().manual_seed(1)
    for rectangular, gated, components, width in itertools.product((False, True), (False, True), (False, True), (3, 0)):
        acts, acts_b = ([factor(generator, (n, a), torch.float64, 1) for a in (4, 5)] for n in (3, 2))
        deltas, deltas_b = ([factor(generator, (n, d), torch.float64, 1) for d in (width, 2)] for n in (3, 2))
        bits = ops.pack_bits(torch.rand(3, 4, generator=generator) < 0.6)
        yield (
            f"{'rectangular' if rectangular else 'symmetric'}{'-gated' * gated}{'-components' * components}-{width}",
            [*acts, *deltas, *(acts_b + deltas_b if rectangular else [])],
            [(bits, None), None] if gated else None,
            components,
        )


GRADIENTS = pytest.mark.parametrize(
    ("tensors", "gates", "components"), [case[1:] for case in gradient_cases()], ids=[c[0] for c in gradient_cases()]
)


def gram_of(gates, components):
    def function(*tensors):
        parts = [list(tensors[i : i + 2]) for i in range(0, len(tensors), 2)]
        return ops.gram_ntk(*parts, gates=gates, components=components, bias=[0.5, 0.0])

    return function
