"""Products of so few samples that the memory of the weight takes all the time: stripes, chains, segments, streams."""

import pytest
import torch
from cases.blocks import Blocks
from cases.products import GATED, KINDS, Case, products
from cases.tensors import DENSITIES, DTYPES, SEEDS, factor, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops

# Elements of a stripe and of a chain, and their neighbours, for both dtypes.
WIDTHS = st.sampled_from([1, 2, 15, 17, 63, 64, 65, 129, 1023, 1025, 2047, 2049])
SAMPLES = st.integers(1, 5)


@DTYPES
@given(SAMPLES, WIDTHS, WIDTHS, DENSITIES, st.sampled_from(KINDS), st.sampled_from([1, 2]), SEEDS)
@settings(max_examples=15)
def test_gates_of_neurons(isa, dtype, rows, inner, columns, density, kind, threads, seed):
    case = Case(rows, inner, columns, dtype, density, kind, seed)
    found = with_threads(threads, lambda: products(ops, case.poisoned(), case.gates(), method="masked"))
    for out, exact in zip(found, case.dense(torch.float64), strict=True):
        assert torch.equal(out.double(), exact)


@DTYPES
@given(SAMPLES, WIDTHS, WIDTHS, st.sampled_from([3, 8, 16, 64, 100]), DENSITIES, st.sampled_from([1, 2]), SEEDS)
@settings(max_examples=15)
def test_gates_of_blocks(isa, dtype, rows, inner, columns, block, density, threads, seed):
    blocks = min(block, inner), min(block, columns)
    case = Blocks(rows, (inner, columns), blocks, dtype, density, seed=seed)
    found = with_threads(threads, lambda: case.matrices(case.products(off=float("nan"))))
    for out, exact in zip(found, case.exact(), strict=True):
        assert torch.equal(out.double(), exact)


@GATED
@DTYPES
def test_sums_are_rounded_as_those_of_tiles(isa, kind, dtype):
    """Long sums, within the bound of a chain much shorter than they are."""
    case = Case(2, 1500, 1500, dtype, kind=kind, entries=factor)
    exact = case.exact()
    out, by_z, by_weight = products(ops, case.tensors(), case.gates(), method="masked")
    for found, true, terms in ((by_z, exact[1], 1500), (by_weight, exact[2], 2)):
        size = abs(case.upstream).double().sum() if terms > 2 else 1
        bound = torch.finfo(dtype).eps * min(terms, 128) * float(size) * float(abs(case.weight).max())
        assert abs(found.double().numpy() - true).max() <= bound
    again = with_threads(1, lambda: products(ops, case.tensors(), case.gates(), method="masked"))
    assert all(torch.equal(a, b) for a, b in zip((out, by_z, by_weight), again, strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(2100, 2100), (1030, 4096), (2, 4097)])
def test_large_gradients_are_written_past_the_cache(isa, rows, columns):
    """Rows of whole vectors and others, 16 MB and less; what stands there afterwards is the product."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randint(-8, 9, (3, size), generator=generator).float() for size in (rows, columns))
    found = torch.ops.gatentk.masked_matmul(left, right, True, False, [], [], [], ops.METHODS.index("masked"))
    assert torch.equal(found, left.T @ right)
