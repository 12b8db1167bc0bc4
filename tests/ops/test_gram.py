"""Gram products and their gradients on every instruction set, against plain torch and sums in wider numbers."""

import functools
import itertools

import numpy as np
import pytest
import torch
from cases.grams import GRADIENTS, assert_as_accurate_as_torch, exact_gram, gram_of
from cases.tensors import DENSITIES, DTYPES, LAYOUTS, SEEDS, factor, scatter
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops, reference

# Around the sizes of groups of rows (4), of vectors and panels (8, 12, 16, 24, 96) and of blocks of columns (256).
EDGES = sorted({max(0, k * m + o) for m in (4, 12, 16, 24, 96, 256) for k in (1, 2) for o in (-1, 0, 1)} | {0, 600})
WIDTHS = st.sampled_from(EDGES) | st.integers(0, 600)
ROWS = st.integers(0, 70)


@DTYPES
@given(
    n=ROWS,
    widths=st.lists(st.tuples(WIDTHS, WIDTHS), min_size=1, max_size=3),
    density=DENSITIES,
    layout=LAYOUTS,
    components=st.booleans(),
    biased=st.booleans(),
    seed=SEEDS,
)
@settings(max_examples=12)
def test_symmetric_gram(isa, dtype, n, widths, density, layout, components, biased, seed):
    generator = torch.Generator().manual_seed(seed)
    acts = [factor(generator, (n, a), dtype, density) for a, _ in widths]
    deltas = [factor(generator, (n, d), dtype, density) for _, d in widths]
    bias = [float(i) for i in range(len(widths))] if biased else None
    args = [scatter(a, layout) for a in acts], [scatter(d, layout) for d in deltas]
    out = ops.gram_ntk(*args, components=components, bias=bias)
    assert torch.equal(out, out.mT)
    assert_as_accurate_as_torch(out, acts, deltas, bias=bias, components=components)


@DTYPES
@given(
    n=ROWS,
    n_b=ROWS,
    widths=st.lists(st.tuples(WIDTHS, WIDTHS), min_size=1, max_size=2),
    density=DENSITIES,
    layout=LAYOUTS,
    components=st.booleans(),
    biased=st.booleans(),
    seed=SEEDS,
)
@settings(max_examples=12)
def test_rectangular_gram(isa, dtype, n, n_b, widths, density, layout, components, biased, seed):
    generator = torch.Generator().manual_seed(seed)
    acts, acts_b = ([factor(generator, (rows, a), dtype, density) for a, _ in widths] for rows in (n, n_b))
    deltas, deltas_b = ([factor(generator, (rows, d), dtype, density) for _, d in widths] for rows in (n, n_b))
    bias = [float(i) for i in range(len(widths))] if biased else None
    args = ([scatter(t, layout) for t in part] for part in (acts, deltas, acts_b, deltas_b))
    out = ops.gram_ntk(*args, components=components, bias=bias)
    assert_as_accurate_as_torch(out, acts, deltas, acts_b, deltas_b, bias, components)


@DTYPES
@given(n=ROWS, width=WIDTHS, other=WIDTHS, density=DENSITIES, seed=SEEDS, kind=st.sampled_from("absbdn"))
@settings(max_examples=12)
def test_gates_mask_the_left_factors(isa, dtype, n, width, other, density, seed, kind):
    """`kind`: both factors by one table, a pair, one of the two, or none."""
    generator = torch.Generator().manual_seed(seed)
    other = width if kind == "s" else other
    act, delta = factor(generator, (n, width), dtype, 1), factor(generator, (n, other), dtype, 1)
    mask_a, mask_d = (torch.rand(n, w, generator=generator) < density for w in (width, other))
    bits_a, bits_d = ops.pack_bits(mask_a), ops.pack_bits(mask_d)
    entry = {"s": bits_a, "a": (bits_a, None), "d": (None, bits_d), "b": (bits_a, bits_d), "n": None}[kind]
    zero = torch.zeros((), dtype=dtype)
    gated_a = torch.where(mask_a, act, zero) if kind in "asb" else act
    gated_d = torch.where(mask_a if kind == "s" else mask_d, delta, zero) if kind in "sdb" else delta
    out = ops.gram_ntk([act, act], [delta, delta], gates=[entry, None])
    assert torch.equal(out, out.mT)
    assert_as_accurate_as_torch(out, [gated_a, act], [gated_d, delta])
    right_a, right_d = factor(generator, (9, width), dtype, 1), factor(generator, (9, other), dtype, 1)
    out = ops.gram_ntk([act], [delta], [right_a], [right_d], gates=[entry])
    assert_as_accurate_as_torch(out, [gated_a], [gated_d], [right_a], [right_d])


@DTYPES
@pytest.mark.parametrize("width", [64, 205, 512])
@pytest.mark.parametrize("density", [0.5, 1.0])
def test_sums_are_as_accurate_as_those_of_torch(isa, dtype, width, density, generator):
    ours, dense, largest = 0.0, 0.0, 0.0
    for _ in range(3):
        act, delta = (factor(generator, (64, width), dtype, density) for _ in range(2))
        exact = exact_gram([act], [delta], [act], [delta], [0.0])[0]
        ours = max(ours, np.abs(ops.gram_ntk([act], [delta]).numpy() - exact).max())
        dense = max(dense, np.abs(reference.gram_ntk([act], [delta]).numpy() - exact).max())
        largest = max(largest, float(np.abs(exact).max()))
    assert ours <= 2 * dense + torch.finfo(dtype).eps / 2 * largest


@DTYPES
def test_either_right_factor_may_be_left_out(isa, dtype, generator):
    a, d, other = (factor(generator, (10, w), dtype, 0.5) for w in (7, 5, 5))
    assert_as_accurate_as_torch(ops.gram_ntk([a], [d], deltas_b=[other]), [a], [d], [a], [other])
    assert_as_accurate_as_torch(ops.gram_ntk([d], [a], acts_b=[other]), [d], [a], [other], [a])


@DTYPES
def test_leading_dimensions_are_batches(isa, dtype, generator):
    acts = [factor(generator, (2, 3, 11, w), dtype, 0.5) for w in (5, 40)]
    deltas = [factor(generator, (2, 3, 11, w), dtype, 0.5) for w in (17, 0)]
    acts_b = [factor(generator, (2, 3, 4, w), dtype, 0.5) for w in (5, 40)]
    deltas_b = [factor(generator, (2, 3, 4, w), dtype, 0.5) for w in (17, 0)]
    gates = [(ops.pack_bits(torch.rand(2, 3, 11, 5, generator=generator) < 0.5), None), None]
    for components in (False, True):
        own = ops.gram_ntk(acts, deltas, gates=gates, components=components)
        other = ops.gram_ntk(acts, deltas, acts_b, deltas_b, gates=gates, components=components)
        assert own.shape == (*[2] * components, 2, 3, 11, 11)
        assert other.shape == (*[2] * components, 2, 3, 11, 4)
        for i, j in itertools.product(range(2), range(3)):
            part = [[t[i, j] for t in tensors] for tensors in (acts, deltas, acts_b, deltas_b)]
            gate = [(gates[0][0][i, j], None), None]
            assert torch.equal(own[..., i, j, :, :], ops.gram_ntk(*part[:2], gates=gate, components=components))
            assert torch.equal(other[..., i, j, :, :], ops.gram_ntk(*part, gates=gate, components=components))


def test_an_empty_batch_gives_an_empty_kernel():
    a = torch.ones(0, 3, 4)
    assert ops.gram_ntk([a], [a]).shape == (0, 3, 3)
    assert ops.gram_ntk([a], [a], components=True).shape == (1, 0, 3, 3)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("n_b", [0, 1, 5])
def test_no_row_or_one(isa, n, n_b):
    a, b = torch.full((n, 3), 2.0), torch.full((n_b, 3), 3.0)
    assert torch.equal(ops.gram_ntk([a], [a]), torch.full((n, n), 144.0))
    assert torch.equal(ops.gram_ntk([a], [a], [b], [b]), torch.full((n, n_b), 324.0))


def test_a_delta_without_columns_counts_as_ones(isa, generator):
    a = factor(generator, (9, 30), torch.float64, 0.5)
    ones = torch.ones(9, 1, dtype=torch.float64)
    torch.testing.assert_close(ops.gram_ntk([a], [a[:, :0]], bias=[2]), ops.gram_ntk([a], [ones], bias=[2]))
    assert torch.equal(ops.gram_ntk([a[:, :0]], [a[:, :0]], bias=[2]), torch.full((9, 9), 2, dtype=torch.float64))


def test_rows_and_batches_may_share_memory(isa, generator):
    row, other = factor(generator, (1, 33), torch.float64, 0.5), factor(generator, (8, 20), torch.float64, 0.5)
    shared = row.expand(8, 33)
    expected = ops.gram_ntk([shared.clone()], [other])
    assert torch.equal(ops.gram_ntk([shared], [other]), expected)
    batch = ops.gram_ntk([shared.expand(3, 8, 33)], [other.expand(3, 8, 20)])
    assert torch.equal(batch, expected.expand(3, 8, 8))
    bits = ops.pack_bits(torch.rand(1, 33, generator=generator) < 0.5).expand(8, 16)
    assert torch.equal(
        ops.gram_ntk([shared], [other], gates=[(bits, None)]),
        ops.gram_ntk([shared], [other], gates=[(bits.clone(), None)]),
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_gates_switch_off_is_never_read(isa, value, generator):
    mask = torch.rand(20, 50, generator=generator) < 0.5
    a = torch.where(mask, factor(generator, (20, 50), torch.float32, 1), value)
    clean = torch.where(mask, a, 0)
    bits = ops.pack_bits(mask)
    out = ops.gram_ntk([a], [a], [clean], [clean], gates=[bits])
    assert torch.equal(out, ops.gram_ntk([clean], [clean], [clean], [clean], gates=[bits]))


def test_many_terms_are_summed_in_double(isa):
    ones = torch.ones(3, 1)
    small = torch.full((3, 1), 2.0**-14)
    out = ops.gram_ntk([ones, *[small] * 64], [ones, *[ones] * 64])
    assert torch.equal(out, torch.full((3, 3), 1 + 64 * 2.0**-28))


@pytest.mark.parametrize("symmetric", [True, False])
def test_terms_that_do_not_fit_the_cache_together_give_the_same_bits(isa, symmetric):
    generator = torch.Generator().manual_seed(0)
    acts, deltas = ([torch.randn(384, 960, generator=generator, dtype=torch.float64) for _ in range(8)] for _ in "ad")
    right = [] if symmetric else [[t.flip(0).contiguous() for t in part] for part in (acts, deltas)]
    K = ops.gram_ntk(acts, deltas, *right, bias=[0.5] * 8)  # 47 MB of panels, 16 MB for 128 rows
    few = [[t[:128] for t in part] for part in (acts, deltas, *right)]
    assert torch.equal(K[:128, :128], ops.gram_ntk(*few, bias=[0.5] * 8))
    torch.testing.assert_close(K, reference.gram_ntk(acts, deltas, *right, bias=[0.5] * 8))
    if symmetric:
        assert torch.equal(K, K.mT)


def test_one_thread_and_two_give_the_same_bits(isa, generator):
    acts = [factor(generator, (150, 300), torch.float32, 0.5) for _ in range(2)]
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append((ops.gram_ntk(acts, acts), ops.gram_ntk(acts, acts, acts, acts), ops.pack_bits(acts[0] > 0)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


# Gradients


@GRADIENTS
def test_first_and_second_derivatives(tensors, gates, components):
    inputs = [t.clone().requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(gram_of(gates, components), inputs)
    assert torch.autograd.gradgradcheck(gram_of(gates, components), inputs, fast_mode=True)


def test_gradients_equal_those_of_plain_torch(isa, generator):
    acts, deltas = ([factor(generator, (2, 9, w), torch.float64, 0.5) for w in (20, 7)] for _ in range(2))
    gates = [ops.pack_bits(torch.rand(2, 9, w, generator=generator) < 0.5) for w in (20, 7)]
    weight = factor(generator, (2, 9, 9), torch.float64, 1)
    gradients = []
    for module in (ops, reference):
        leaves = [t.clone().requires_grad_() for t in (*acts, *deltas)]
        out = module.gram_ntk(leaves[:2], leaves[2:], gates=gates, bias=[1, 0])
        (out * weight).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(*gradients)


def test_only_what_requires_a_gradient_gets_one(generator):
    a, d = (factor(generator, (4, 3), torch.float64, 1) for _ in range(2))
    a.requires_grad_()
    ops.gram_ntk([a], [d]).sum().backward()
    assert a.grad is not None
    assert d.grad is None
    assert not ops.gram_ntk([a.detach()], [d]).requires_grad


@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize("dims", [(0, 0, 0), (1, None, None), (None, 0, 0)])
def test_vmap(components, dims, generator):
    """Over acts, deltas and gates; a batch comes first in the result, before the layers."""
    acts = torch.stack([factor(generator, (9, 20), torch.float64, 0.5) for _ in range(3)])
    deltas = torch.stack([factor(generator, (9, 7), torch.float64, 0.5) for _ in range(3)])
    bits = ops.pack_bits(torch.rand(3, 9, 20, generator=generator) < 0.5)

    def gram(act, delta, gate):
        return ops.gram_ntk([act, act], [delta, delta[:, :0]], gates=[(gate, None), None], components=components)

    columns = [t[0] if dim is None else t.movedim(0, dim) for t, dim in zip((acts, deltas, bits), dims, strict=True)]
    members = [
        [t[0] if dim is None else t[i] for t, dim in zip((acts, deltas, bits), dims, strict=True)] for i in range(3)
    ]
    expected = torch.stack([gram(*member) for member in members])
    assert torch.equal(torch.func.vmap(gram, dims)(*columns), expected)


def test_gradients_of_single_samples(generator):
    act, delta = factor(generator, (4, 6, 20), torch.float64, 0.5), factor(generator, (4, 6, 7), torch.float64, 0.5)

    def loss(act, delta, module=ops):
        return module.gram_ntk([act], [delta]).square().sum()

    found = torch.func.vmap(torch.func.grad(loss))(act, delta)
    plain = [torch.func.grad(functools.partial(loss, module=reference))(a, d) for a, d in zip(act, delta, strict=True)]
    torch.testing.assert_close(found, torch.stack(plain))


# Registration with torch


def op_cases():
    generator = torch.Generator().manual_seed(2)
    mask = torch.rand(3, 20, generator=generator) < 0.5
    bits = reference.pack_bits(mask)
    a, d, b, e = (factor(generator, (n, w), torch.float32, 0.7) for n, w in ((3, 20), (3, 5), (2, 20), (2, 5)))
    leaves = [t.double().requires_grad_() for t in (a, d, b, e)]
    gram = torch.ops.gatentk.gram_ntk.default
    yield gram, ([a], [d], [], [], [None], [None], [0.0], False)
    yield gram, ([a, a], [d, d], [b, b], [e, e], [bits, None], [None, None], [0.0, 1.0], True)
    yield gram, ([leaves[0]], [leaves[1]], [], [], [bits], [None], [1.0], False)
    yield gram, ([leaves[0]], [leaves[1]], [leaves[2]], [leaves[3]], [None], [None], [0.0], True)
    yield gram, ([a.expand(2, 3, 20)], [d.expand(2, 3, 5)], [], [], [None], [None], [0.0], False)


@pytest.mark.parametrize(("op", "arguments"), list(op_cases()))
def test_opcheck(op, arguments):
    torch.library.opcheck(op, arguments)


def test_compiles_without_graph_breaks(generator):
    a, d = (factor(generator, (5, 20), torch.float64, 0.5) for _ in range(2))

    def function(act, delta):
        gates = ops.pack_bits(act > 0)
        return ops.gram_ntk([2 * act], [delta], gates=[gates]) + ops.infinite_ntk(delta, None, [2], "relu")[0]

    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(a, d), function(a, d))


# Refusals

ONE = torch.ones(3, 4)
BITS = reference.pack_bits(torch.ones(3, 4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (TypeError, "acts: expected a list of tensors", lambda: ops.gram_ntk(ONE, [ONE])),
        (TypeError, "deltas: expected a list of tensors", lambda: ops.gram_ntk([ONE], ONE)),
        (TypeError, "acts_b: expected a list of tensors", lambda: ops.gram_ntk([ONE], [ONE], ONE, [ONE])),
        (ValueError, "acts: expected at least one layer", lambda: ops.gram_ntk([], [])),
        (ValueError, "deltas: expected 1 tensors", lambda: ops.gram_ntk([ONE], [ONE, ONE])),
        (ValueError, "acts_b: expected 1 tensors", lambda: ops.gram_ntk([ONE], [ONE], [ONE, ONE], [ONE])),
        (TypeError, r"acts\[0\]: expected a float32 or float64", lambda: ops.gram_ntk([ONE.int()], [ONE])),
        (TypeError, r"acts\[0\]: expected a float32 or float64", lambda: ops.gram_ntk([ONE.half()], [ONE])),
        (TypeError, r"acts\[0\]: expected a float32 or .*ndarray|array", lambda: ops.gram_ntk([ONE.numpy()], [ONE])),
        (TypeError, r"deltas\[0\]: expected torch.float32", lambda: ops.gram_ntk([ONE], [ONE.double()])),
        (TypeError, r"acts\[1\]: expected torch.float32", lambda: ops.gram_ntk([ONE, ONE.double()], [ONE, ONE])),
        (TypeError, r"acts_b\[0\]: expected torch.float32", lambda: ops.gram_ntk([ONE], [ONE], [ONE.double()])),
        (ValueError, r"acts\[0\]: expected shape \(\.\.\., n, width\)", lambda: ops.gram_ntk([ONE[0]], [ONE])),
        (ValueError, r"deltas\[0\]: expected shape \(3,\)", lambda: ops.gram_ntk([ONE], [ONE[:2]])),
        (ValueError, r"acts\[1\]: expected shape", lambda: ops.gram_ntk([ONE, ONE[:2]], [ONE, ONE])),
        (ValueError, r"deltas\[0\]: expected shape", lambda: ops.gram_ntk([ONE.expand(2, 3, 4)], [ONE])),
        (ValueError, r"acts_b\[0\]: expected width 4", lambda: ops.gram_ntk([ONE], [ONE], [ONE[:, :3]], [ONE])),
        (ValueError, r"deltas_b\[0\]: expected width 4", lambda: ops.gram_ntk([ONE], [ONE], [ONE], [ONE[:, :3]])),
        (ValueError, r"deltas_b\[0\]: expected shape", lambda: ops.gram_ntk([ONE], [ONE], [ONE], [ONE[:2]])),
        (ValueError, "expected shape", lambda: ops.gram_ntk([ONE], [ONE], deltas_b=[ONE[:2]])),
        (ValueError, "acts_b.*expected shape", lambda: ops.gram_ntk([ONE], [ONE], [ONE[None]], [ONE[None]])),
        (ValueError, "gates: expected 1 entries", lambda: ops.gram_ntk([ONE], [ONE], gates=[None, None])),
        (TypeError, r"gates\[0\]: expected packed bits", lambda: ops.gram_ntk([ONE], [ONE], gates=[ONE > 0])),
        (ValueError, r"gates\[0\]: expected rows of 16", lambda: ops.gram_ntk([ONE], [ONE], gates=[BITS[:, :8]])),
        (ValueError, r"gates\[0\]: expected \(3,\) rows", lambda: ops.gram_ntk([ONE], [ONE], gates=[BITS[:2]])),
        (ValueError, "bias: expected 1 numbers", lambda: ops.gram_ntk([ONE], [ONE], bias=[1, 2])),
        (ValueError, r"acts\[0\]: .*CPU", lambda: ops.gram_ntk([ONE.to("meta")], [ONE.to("meta")])),
    ],
)
def test_bad_gram_arguments_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
