"""Products in block form on every instruction set, against plain products of masked matrices.

Whole numbers make the order of sums irrelevant, so that products are compared exactly; how they round is a matter of
its own.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from cases.blocks import NAMES, Blocks
from cases.products import errors
from cases.tensors import DENSITIES, DTYPES, SEEDS, factor, same_bits, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ops

SIDES = st.sampled_from([("in", "out"), ("in",), ("out",), ()])
WIDTHS = st.sampled_from([1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 130]) | st.integers(1, 150)
SIZES = st.sampled_from([1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 128]) | st.integers(1, 150)
SAMPLES = st.sampled_from([0, 1, 2, 5, 6, 7, 63, 64, 65, 129]) | st.integers(0, 100)


def check(case, off=torch.nan):
    found = case.products(off)
    for out, exact in zip(case.matrices(found), case.exact(), strict=True):
        assert torch.equal(out.double(), exact)
    for out, exact in zip(case.products_of_rows(off), case.exact(), strict=True):
        assert torch.equal(out.double(), exact)
    for blocks, size in zip(found, case.sizes[::-1], strict=False):  # nothing beyond the width
        assert not NAMES.from_blocks(blocks, [], blocks.shape[0] * blocks.shape[2])[:, size:].any()


# Products of whole numbers


@DTYPES
@pytest.mark.parametrize("block", [1, 4, 8, 15, 16, 17, 24, 32, 48, 64, 65, 128, 200])
@pytest.mark.parametrize("gated", [("in", "out"), ("in",), ("out",), ()], ids=lambda sides: "-".join(sides) or "none")
def test_blocks_of_every_size(isa, dtype, block, gated):
    check(Blocks(70, (200, 230), (block, block), dtype, gated=gated), off=torch.nan if len(gated) == 2 else 0.0)


@DTYPES
@given(
    n=SAMPLES,
    sizes=st.tuples(WIDTHS, WIDTHS),
    blocks=st.tuples(SIZES, SIZES),
    density=DENSITIES,
    gated=SIDES,
    unit_major=st.booleans(),
    threads=st.sampled_from([1, 2]),
    seed=SEEDS,
)
@settings(max_examples=30)
def test_any_shape_density_and_blocks(isa, dtype, n, sizes, blocks, density, gated, unit_major, threads, seed):
    case = Blocks(n, sizes, blocks, dtype, density, gated, seed, unit_major=unit_major)
    with_threads(threads, lambda: check(case))


@pytest.mark.parametrize("n", [1, 2, 3, 8, 1100])
@pytest.mark.parametrize("block", [8, 32])
def test_few_and_many_samples(isa, n, block):
    check(Blocks(n, (100, 90), (block, block), torch.float32))


def test_a_block_may_be_wider_than_the_layer(isa):
    check(Blocks(9, (20, 7), (64, 30), torch.float64))


def test_layers_without_neurons_or_inputs(isa):
    z, weight = torch.ones(0, 3, 4), torch.ones(5, 0)
    assert torch.equal(NAMES.block_product(z, weight, False, [], [], 2), torch.zeros(3, 3, 2))
    assert NAMES.block_product(torch.ones(1, 3, 5), weight, True, [], [], 2).shape == (0, 3, 2)
    assert NAMES.block_weight_gradient(torch.ones(1, 3, 5), z, [], [], 5, 0).shape == (5, 0)


def test_factors_need_not_be_contiguous(isa):
    case = Blocks(33, (100, 90), (16, 32), torch.float32)
    z, upstream = case.block_forms()
    z, upstream = (t.transpose(0, 1).contiguous().transpose(0, 1) for t in (z, upstream))
    case.weight = case.weight.T.contiguous().T
    gate_in, gate_out = ([bits.T.contiguous().T for bits in gate] for gate in case.gates)
    found = (
        NAMES.block_product(z, case.weight, False, gate_in, gate_out, 32),
        NAMES.block_product(upstream, case.weight, True, gate_out, gate_in, 16),
        NAMES.block_weight_gradient(upstream, z, gate_out, gate_in, 90, 100),
    )
    for out, exact in zip(case.matrices(found), case.exact(), strict=True):
        assert torch.equal(out.double(), exact)


# What is off


def test_blocks_of_zeros_without_gates_are_as_if_gated(isa):
    gated = Blocks(70, (200, 230), (16, 64), torch.float32, entries=factor)
    open_ended = Blocks(70, (200, 230), (16, 64), torch.float32, entries=factor)
    open_ended.z, open_ended.upstream = (t.float() for t in gated.rows(torch.float32)[::2])
    open_ended.gates = [[], []]
    out, by_z, by_weight = gated.matrices(gated.products())
    out_open, by_z_open, by_weight_open = open_ended.matrices(open_ended.products())
    assert torch.equal(out_open * gated.masks[1], out)
    assert torch.equal(by_z_open * gated.masks[0], by_z)
    assert torch.equal(by_weight_open, by_weight)


def test_no_numbers_show_where_they_are_on(isa):
    case = Blocks(9, (50, 30), (8, 8), torch.float32, entries=factor)
    case.masks[0][4, 8] = True
    case.gates[0] = [ops.pack_bits(case.masks[0][:, ::8])]
    case.gates[1] = []
    case.z[4, 8], case.masks[0][4, 8:16] = torch.nan, True
    case.gates[0] = [ops.pack_bits(case.masks[0][:, ::8].contiguous())]
    out = case.matrices(case.products())[0]
    assert out[4].isnan().all()
    assert not out[[0, 1, 2, 3, 5, 6, 7, 8]].isnan().any()


# Rounding

ROUNDED = [
    ((64, 256, 256), (64, 64), 0.5, ("in", "out")),
    ((37, 205, 101), (16, 16), 0.5, ("in", "out")),
    ((40, 600, 24), (32, 8), 0.5, ("in", "out")),
    ((60, 700, 60), (64, 32), 0.5, ("in",)),
    ((64, 512, 128), (8, 16), 0.97, ("in", "out")),
    ((33, 300, 300), (1, 100), 1.0, ("out",)),
    ((1, 700, 300), (64, 64), 0.5, ("in", "out")),
    ((600, 40, 60), (16, 20), 0.9, ("in", "out")),
]


@functools.cache
def rounding(dtype, shape, blocks, density, gated):
    """Cases with at least 2000 elements in each of the three products; errors of plain torch, largest elements."""
    n, *sizes = shape
    repeats = math.ceil(2000 / min(a * b for a, b in itertools.combinations(shape, 2)))
    cases = [Blocks(n, sizes, blocks, dtype, density, gated, seed, factor) for seed in range(repeats)]
    exact = []
    for case in cases:
        wide = np.longdouble if dtype == torch.float64 else np.float64
        z, weight, upstream = (t.numpy().astype(wide) for t in case.rows(dtype))
        mask_in, mask_out = (m.numpy() for m in case.masks)
        exact.append(((z @ weight.T) * mask_out, (upstream @ weight) * mask_in, upstream.T @ z))
    largest = [max(np.abs(e[i]).max() for e in exact) for i in range(3)]
    return cases, exact, errors([case.exact(dtype) for case in cases], exact), largest


@DTYPES
@pytest.mark.parametrize(("shape", "blocks", "density", "gated"), ROUNDED)
@pytest.mark.usefixtures("one_thread")
def test_products_are_as_accurate_as_those_of_torch(isa, dtype, shape, blocks, density, gated):
    """max|out - exact| <= 2 max|torch - exact|, and half a unit in the last place of the largest element."""
    cases, exact, dense, largest = rounding(dtype, shape, blocks, density, gated)
    ours = errors([case.matrices(case.products()) for case in cases], exact)
    for error, error_torch, size in zip(ours, dense, largest, strict=True):
        assert error <= 2 * error_torch + torch.finfo(dtype).eps / 2 * size


@DTYPES
@pytest.mark.parametrize("blocks", [(64, 64), (16, 16), (5, 100)])
@pytest.mark.parametrize("n", [1, 3, 150, 1100])
def test_threads_and_unit_major_bits_change_no_bit(isa, dtype, blocks, n):
    results = []
    for threads, unit_major in ((1, True), (2, True), (2, False)):
        case = Blocks(n, (300, 200), blocks, dtype, entries=factor, unit_major=unit_major)
        results.append(with_threads(threads, case.products))
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


# Derivatives

SHAPES = [(5, (9, 7), (4, 3)), (4, (6, 5), (2, 5))]


def chain(case):
    """Two layers from rows to rows, the second one backwards."""
    (size_in, size_out), (block_in, block_out), (gate_in, gate_out) = case.sizes, case.blocks, case.gates

    def run(z, weight):
        blocks = NAMES.to_blocks(z, gate_in, block_in)
        inner = NAMES.block_product(blocks, weight, False, gate_in, gate_out, block_out)
        back = NAMES.block_product(inner, weight, True, gate_out, gate_in, block_in)
        change = NAMES.block_weight_gradient(inner, back, gate_out, gate_in, size_out, size_in)
        return NAMES.from_blocks(back, gate_in, size_in), change

    return run


def plain_chain(case):
    mask_in, mask_out = (mask.double() for mask in case.masks)

    def run(z, weight):
        z = z * mask_in
        inner = (z @ weight.T) * mask_out
        back = (inner @ weight) * mask_in
        return back, inner.T @ back

    return run


@pytest.mark.parametrize(("n", "sizes", "blocks"), SHAPES)
@pytest.mark.parametrize("gated", [("in", "out"), ("in",), ("out",), ()], ids=lambda sides: "-".join(sides) or "none")
def test_first_and_second_derivatives(n, sizes, blocks, gated):
    case = Blocks(n, sizes, blocks, torch.float64, 0.6, gated, entries=factor)
    leaves = [t.requires_grad_() for t in (case.z, case.weight)]
    assert torch.autograd.gradcheck(chain(case), leaves)
    assert torch.autograd.gradgradcheck(chain(case), leaves, fast_mode=True)


@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_tangents_and_batches_are_those_of_plain_products(isa):
    case = Blocks(5, (9, 7), (4, 3), torch.float64, 0.6, entries=factor)
    leaves = case.z, case.weight
    for a, b in zip(
        torch.func.jvp(chain(case), leaves, leaves)[1],
        torch.func.jvp(plain_chain(case), leaves, leaves)[1],
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    batch = torch.stack([case.z, 2 * case.z, -case.z])
    for a, b in zip(
        torch.func.vmap(chain(case), (0, None))(batch, case.weight),
        torch.func.vmap(plain_chain(case), (0, None))(batch, case.weight),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_cotangents_where_gates_are_off_count_for_nothing(isa):
    case = Blocks(40, (90, 70), (16, 8), torch.float64)
    z, _ = case.block_forms()
    z, weight = z.requires_grad_(), case.weight.clone().requires_grad_()
    out = NAMES.block_product(z, weight, False, *case.gates, 8)
    noise = NAMES.to_blocks(torch.where(case.masks[1], case.upstream, torch.nan), [], 8)
    by_z, by_weight = torch.autograd.grad(out, (z, weight), noise)
    _, exact_by_z, exact_by_weight = case.exact()
    assert torch.equal(NAMES.from_blocks(by_z, [], 90), exact_by_z)
    assert torch.equal(by_weight, exact_by_weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_gives_its_dtype(dtype):
    case = Blocks(40, (90, 70), (16, 8), torch.float32, entries=factor)
    z, _ = case.block_forms()
    expected = NAMES.block_product(z.to(dtype).float(), case.weight.to(dtype).float(), False, *case.gates, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = NAMES.block_product(z.to(dtype), case.weight.to(dtype), False, *case.gates, 8)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, expected.bfloat16())


def test_bfloat16_is_computed_in_float32_and_rounded_once():
    case = Blocks(40, (90, 70), (16, 8), torch.bfloat16, entries=factor)
    wide = Blocks(40, (90, 70), (16, 8), torch.bfloat16, entries=factor)
    wide.z, wide.weight, wide.upstream = (t.float() for t in (wide.z, wide.weight, wide.upstream))
    for out, expected in zip(case.products(), wide.products(), strict=True):
        assert torch.equal(out, expected.bfloat16())


# Registration with torch


def op_cases():
    case = Blocks(6, (20, 12), (8, 5), torch.float64, entries=factor)
    z, upstream = (t.requires_grad_() for t in case.block_forms())
    weight = case.weight.requires_grad_()
    yield "block_product", NAMES.block_product, (z, weight, False, *case.gates, 5)
    yield "transposed", NAMES.block_product, (upstream, weight, True, [], case.gates[0][:1], 8)
    yield "block_weight_gradient", NAMES.block_weight_gradient, (upstream, z, case.gates[1], [], 12, 20)


@pytest.mark.parametrize(("op", "arguments"), [c[1:] for c in op_cases()], ids=[c[0] for c in op_cases()])
def test_opcheck(op, arguments):
    torch.library.opcheck(op.default, arguments)


def test_compiles_without_graph_breaks():
    case = Blocks(40, (90, 70), (16, 8), torch.float64)
    leaves = [t.clone().requires_grad_() for t in (case.z, case.weight)]
    compiled = torch.compile(chain(case), fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad([t.sum() for t in compiled(*leaves)], leaves)
    expected = torch.autograd.grad([t.sum() for t in plain_chain(case)(*leaves)], leaves)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


# Refusals

Z, W = torch.ones(2, 3, 4), torch.ones(5, 8)
BITS = ops.pack_bits(torch.ones(3, 2, dtype=torch.bool))


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "^z: expected the block form", lambda: NAMES.block_product(Z, W[:, :3], False, [], [], 2)),
        (TypeError, "^weight: expected torch.float32", lambda: NAMES.block_product(Z, W.double(), False, [], [], 2)),
        (ValueError, "^gate_in: expected", lambda: NAMES.block_product(Z, W, False, [BITS[:2]], [], 2)),
        (ValueError, "^gate_out: expected", lambda: NAMES.block_product(Z, W, False, [], [BITS, BITS], 5)),
        (ValueError, "^gate_in: expected", lambda: NAMES.block_product(Z, W, False, [BITS.int()], [], 2)),
        (ValueError, "^right: expected", lambda: NAMES.block_weight_gradient(Z, Z.double(), [], [], 8, 8)),
        (ValueError, "^right: expected", lambda: NAMES.block_weight_gradient(Z, Z[:, :2], [], [], 8, 8)),
        (ValueError, "^left: expected", lambda: NAMES.block_weight_gradient(Z, Z, [], [], 9, 8)),
    ],
)
def test_bad_arguments_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
