"""Masked products and their gradients on every instruction set.

Whole numbers make the order of sums irrelevant, so products of any shape are compared exactly; how they round is a
matter of its own.
"""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from cases.bits import scatter_bits
from cases.products import GATED, KINDS, METHODS, Case, Layer, errors, products
from cases.tensors import DENSITIES, DTYPES, LAYOUTS, SEEDS, factor, same_bits, scatter, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import _core, ops, reference

# Rows of a group, vectors and panels, chunks and spans of rows, blocks of columns.
BLOCKS = (4, 8, 12, 24, 48, 96, 128, _core.block_columns, 2 * _core.block_columns, 1024)
EDGES = sorted({m + o for m in BLOCKS for o in (-1, 0, 1)} | {0, 1})
SIZES = st.sampled_from([size for size in EDGES if size < 200]) | st.integers(0, 200)


def scatter_gate(gate, layout):
    """Scattered bits, with the plans that they come with; None stays None."""
    if isinstance(gate, Layer):
        gate.bits = scatter_bits(gate.bits, layout)
        return gate
    return None if gate is None else scatter_bits(gate, layout)


# Products of whole numbers: every index, gate and block


@functools.cache
def boundary(dtype, role, size):
    case = Case(**{"rows": 9, "inner": 50, "columns": 30, role: size}, dtype=dtype)
    return case, case.dense(torch.float64)


@DTYPES
@pytest.mark.parametrize("role", ["rows", "inner", "columns"])
@pytest.mark.usefixtures("one_thread")
def test_every_block_boundary(isa, dtype, role):
    for i, size in enumerate(EDGES):
        case, expected = boundary(dtype, role, size)
        planned = i % 2 == (dtype == torch.float32)  # plans know no dtype
        found = products(ops, case.poisoned(), case.gates(planned), method="masked")
        for out, exact in zip(found, expected, strict=True):
            assert out.dtype == dtype
            assert torch.equal(out.double(), exact), (role, size, planned)


@DTYPES
@given(
    rows=SIZES,
    inner=SIZES,
    columns=SIZES,
    density=DENSITIES,
    kind=st.sampled_from(KINDS),
    planned=st.booleans(),
    layouts=st.tuples(LAYOUTS, LAYOUTS, LAYOUTS, LAYOUTS, LAYOUTS),
    threads=st.sampled_from([1, 2]),
    seed=SEEDS,
)
@settings(max_examples=25)
def test_any_shape_density_and_layout(isa, dtype, rows, inner, columns, density, kind, planned, layouts, threads, seed):
    case = Case(rows, inner, columns, dtype, density, kind, seed)
    tensors = [scatter(t, layout) for t, layout in zip(case.poisoned(), layouts[:3], strict=True)]
    gates = [scatter_gate(gate, layout) for gate, layout in zip(case.gates(planned), layouts[3:], strict=True)]
    found = with_threads(threads, lambda: products(ops, tensors, gates, method="masked"))
    for out, exact in zip(found, case.dense(torch.float64), strict=True):
        assert torch.equal(out.double(), exact)


@GATED
@METHODS
@pytest.mark.parametrize("shape", [(9, 50, 30), (70, 129, 80)])
def test_every_method_gives_the_product(isa, kind, method, shape):
    case = Case(*shape, torch.float32, kind=kind)
    for out, exact in zip(
        products(ops, case.tensors(), case.gates(), method=method), case.dense(torch.float64), strict=True
    ):
        assert torch.equal(out.double(), exact)


@DTYPES
@pytest.mark.parametrize("shape", [(8, 8, 8), (80, 200, 90)])
@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_auto_is_one_of_the_two_methods(isa, dtype, shape, density):
    case = Case(*shape, dtype, density, entries=factor)
    masked, dense, auto = (
        ops.masked_linear(case.z, case.weight, *case.gates(), method=m) for m in ("masked", "dense", "auto")
    )
    assert torch.equal(auto, masked) or torch.equal(auto, dense)


def test_arguments_stay_as_they_are(isa):
    case = Case(9, 50, 30, torch.float32)
    gates = case.gates(planned=True)
    before = [t.clone() for t in (*case.tensors(), *(t for g in gates for t in (g.bits, *g.plans)))]
    products(ops, case.tensors(), gates, method="masked")
    after = [*case.tensors(), *(t for g in gates for t in (g.bits, *g.plans))]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


# What is off


@METHODS
@pytest.mark.parametrize("shape", [(9, 50, 30), (70, 129, 80)])
@pytest.mark.parametrize("planned", [False, True])
def test_what_is_off_is_never_read_and_gives_exact_zeros(isa, method, shape, planned):
    case = Case(*shape, torch.float32)
    case.mask_in[2], case.mask_in[:, 7], case.mask_out[5], case.mask_out[:, 3] = False, False, False, False
    found = products(ops, case.poisoned(), case.gates(planned), method=method)
    for out, exact in zip(found, case.dense(torch.float64), strict=True):
        assert torch.equal(out.double(), exact)
    out, by_z, by_weight = found
    assert not out[~case.mask_out].any()
    assert not out[2].any()
    assert not by_z[~case.mask_in].any()
    assert not by_z[5].any()
    assert not by_weight[3].any()
    assert not by_weight[:, 7].any()


@METHODS
@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_outputs_that_are_off_are_zeros_whatever_the_weight_holds(isa, method, value):
    case = Case(9, 50, 30, torch.float64)
    case.mask_out[:, 3] = False
    expected = ops.masked_linear(case.z, case.weight, *case.gates(), method=method)
    case.weight[3] = value
    assert torch.equal(ops.masked_linear(case.z, case.weight, *case.gates(), method=method), expected)


@METHODS
@pytest.mark.parametrize("gated", [False, True])
def test_what_is_on_and_no_number_shows(isa, method, gated):
    case = Case(9, 50, 30, torch.float32, kind="in" if gated else "none")
    case.z[4, 8], case.mask_in[4, 8] = torch.nan, True
    out = ops.masked_linear(case.z, case.weight, *case.gates(), method=method)
    assert out[4].isnan().all()
    assert not out[[0, 1, 2, 3, 5, 6, 7, 8]].isnan().any()


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("kind", ["none", "in"])
@pytest.mark.parametrize("shape", [(9, 50, 30), (9, 600, 530)])
def test_weights_that_are_no_numbers_show_where_something_is_multiplied_by_them(isa, value, kind, shape):
    """Elsewhere dense products make NaN of 0 * inf, and those that skip do or leave it out: only there they differ."""
    case = Case(*shape, torch.float64, 0.3, kind, entries=factor)
    on = case.mask_in & (case.z != 0)
    case.weight[3, 7] = value
    case.mask_in[4, 7], case.z[4, 7], on[4, 7] = True, 2.0, True
    case.mask_in[5, 7], case.z[5, 7], on[5, 7] = kind == "none", 0.0, False
    masked, dense, auto = (
        ops.masked_linear(case.z, case.weight, *case.gates(), method=m) for m in ("masked", "dense", "auto")
    )
    case.weight[3, 7] = 0.0
    without = ops.masked_linear(case.z, case.weight, *case.gates(), method="dense")
    assert dense[~on[:, 7], 3].isnan().all()
    for out in (masked, dense, auto):
        assert not out[on[:, 7], 3].isfinite().any()
        torch.testing.assert_close(torch.where(out.isfinite(), out, without), without)
        out[:, 3] = 0.0
        assert out.isfinite().all()


# Rounding

# The last four are the benchmark's widths at an eighth of their size. Products of a few columns are not among them:
# there torch sums every element in many short chains, as no kernel that takes columns side by side does (its error
# at 40 x 600 x 3 is 3.1 times that of torch).
SHAPES = [
    (37, 205, 101),
    (130, 191, 97),
    (129, _core.block_columns + 1, 95),
    (40, 600, 24),
    (3, 385, 60),
    (60, 5, 700),
    (32, 384, 384),
    (32, 512, 512),
    (64, 256, 256),
    (32, 256, 256),
]
ROUNDED = [(shape, 0.5, "both") for shape in SHAPES] + [
    (shape, density, kind)
    for shape in [SHAPES[0], SHAPES[-2]]
    for density, kind in [(0.5, "none"), (0.03, "in"), (0.97, "out"), (1.0, "both")]
]


@functools.cache
def rounding(dtype, shape, density, kind):
    """Cases with at least 2000 elements in each of the three products; errors of plain torch, largest elements."""
    repeats = math.ceil(2000 / min(a * b for a, b in itertools.combinations(shape, 2)))
    cases = [Case(*shape, dtype, density, kind, seed, factor) for seed in range(repeats)]
    exact = [case.exact() for case in cases]
    largest = [max(np.abs(e[i]).max() for e in exact) for i in range(3)]
    return cases, exact, errors([case.dense() for case in cases], exact), largest


@DTYPES
@pytest.mark.parametrize(("shape", "density", "kind"), ROUNDED, ids=lambda value: str(value).replace(", ", "x"))
@pytest.mark.usefixtures("one_thread")
def test_products_are_as_accurate_as_those_of_torch(isa, dtype, shape, density, kind):
    """max|out - exact| <= 2 max|torch - exact|, and half a unit in the last place of the largest element."""
    cases, exact, dense, largest = rounding(dtype, shape, density, kind)
    ours = errors([products(ops, case.tensors(), case.gates(), method="masked") for case in cases], exact)
    for error, error_torch, size in zip(ours, dense, largest, strict=True):
        assert error <= 2 * error_torch + torch.finfo(dtype).eps / 2 * size


@DTYPES
@pytest.mark.parametrize(
    ("shape", "kind"), [((150, 400, 200), "both"), ((150, 400, 200), "none"), ((1100, 30, 110), "both")]
)
def test_threads_and_plans_change_no_bit(isa, dtype, shape, kind):
    case = Case(*shape, dtype, kind=kind, entries=factor)
    results = [
        with_threads(threads, lambda p=planned: products(ops, case.tensors(), case.gates(p), method="masked"))
        for threads, planned in ((1, False), (2, False), (2, True))
    ]
    for other in results[1:]:
        assert all(same_bits(a, b) for a, b in zip(results[0], other, strict=True))


# Gradients


@GATED
@pytest.mark.parametrize(("method", "planned"), [("masked", False), ("masked", True), ("dense", False)])
def test_first_and_second_derivatives(kind, method, planned):
    case = Case(5, 4, 3, torch.float64, 0.6, kind, entries=factor)
    gates = case.gates(planned)
    leaves = [t.requires_grad_() for t in (case.z, case.weight)]

    def product(z, weight):
        return ops.masked_linear(z, weight, *gates, method=method)

    assert torch.autograd.gradcheck(product, leaves)
    assert torch.autograd.gradgradcheck(product, leaves, fast_mode=True)


@GATED
@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
def test_tangents(kind):
    case, tangent = (Case(70, 129, 80, torch.float64, kind=kind, seed=seed) for seed in (0, 1))
    tangents = tangent.z, tangent.weight

    def product(module, **options):
        return lambda z, weight: module.masked_linear(z, weight, *case.gates(), **options)

    found = torch.func.jvp(product(ops, method="masked"), (case.z, case.weight), tangents)
    plain = torch.func.jvp(product(reference), (case.z, case.weight), tangents)
    assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))
    by_z = torch.func.jvp(lambda z: product(ops)(z, case.weight), (case.z,), tangents[:1])[1]
    assert torch.equal(by_z, reference.masked_linear(tangent.z, case.weight, *case.gates()))


def test_second_derivatives_equal_those_of_plain_torch(isa):
    case = Case(70, 129, 80, torch.float64, entries=factor)
    found = []
    for module, options in ((ops, {"method": "masked"}), (reference, {})):
        z, weight = (t.clone().requires_grad_() for t in (case.z, case.weight))
        out = module.masked_linear(z, weight, *case.gates(), **options)
        by_z, by_weight = torch.autograd.grad(out.square().sum(), (z, weight), create_graph=True)
        found.append(torch.autograd.grad(by_z.square().sum() + by_weight.square().sum(), (z, weight)))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_only_what_requires_a_gradient_gets_one():
    case = Case(4, 5, 3, torch.float64)
    for wanted in (0, 1):
        leaves = [t.clone().requires_grad_(i == wanted) for i, t in enumerate((case.z, case.weight))]
        ops.masked_linear(*leaves, *case.gates(), method="masked").sum().backward()
        assert leaves[wanted].grad is not None
        assert leaves[1 - wanted].grad is None
    assert not ops.masked_linear(case.z, case.weight).requires_grad


@METHODS
@pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)  # by torch's own decompositions
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float16, torch.float64])
def test_gradients_and_tangents_of_another_dtype_are_converted(method, given):
    """torch hands it on as it is given."""
    case = Case(9, 50, 30, torch.float32)
    z, weight = (t.clone().requires_grad_() for t in (case.z, case.weight))
    ops.masked_linear(z, weight, *case.gates(), method=method).backward(case.upstream.to(given))
    for found, exact in zip((z.grad, weight.grad), case.dense()[1:], strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found, exact)
    product = functools.partial(ops.masked_linear, gate_in=case.gates()[0], gate_out=case.gates()[1], method=method)
    tangents = (2 * case.z).to(given), case.weight.to(given)
    found = torch.func.jvp(product, (case.z, case.weight), tangents)[1]
    assert found.dtype == torch.float32
    assert torch.equal(found, 3 * case.dense()[0])


# Batches


@METHODS
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided", "offset"])
def test_leading_dimensions_are_batches(isa, method, layout):
    case = Case(2 * 3 * 11, 50, 30, torch.float32)
    shape = (3, 2, 11)  # swapped below, so that no batch is a view of the rows
    expected = [t.reshape(*shape, -1).transpose(0, 1) for t in case.dense()[:2]]
    z, upstream = (scatter(t.reshape(*shape, -1).transpose(0, 1), layout) for t in (case.z, case.upstream))
    gates = [scatter_bits(g.reshape(*shape, -1).transpose(0, 1), layout) for g in case.gates()]
    out, by_z, by_weight = products(ops, (z, case.weight, upstream), gates, method=method)
    assert torch.equal(out, expected[0])
    assert torch.equal(by_z, expected[1])
    assert torch.equal(by_weight, case.dense()[2])


@METHODS
def test_an_empty_batch_gives_an_empty_product(method):
    z, weight = torch.ones(2, 0, 3, 4), torch.ones(5, 4)
    bits = torch.zeros(2, 0, 3, 16, dtype=torch.uint8)
    out, by_z, by_weight = products(ops, (z, weight, torch.ones(2, 0, 3, 5)), (bits, bits), method=method)
    assert out.shape == (2, 0, 3, 5)
    assert by_z.shape == z.shape
    assert torch.equal(by_weight, torch.zeros(5, 4))


def test_samples_may_share_memory(isa):
    case = Case(1, 50, 30, torch.float32)
    bits = [g.expand(9, -1) for g in case.gates()]
    tensors = case.z.expand(9, 50), case.weight[:1].expand(30, 50), torch.ones(1, 1).expand(9, 30)
    copies = [t.clone() for t in tensors], [g.clone() for g in bits]
    for shared, alone in zip(
        products(ops, tensors, bits, method="masked"), products(ops, *copies, method="masked"), strict=True
    ):
        assert torch.equal(shared, alone)


BATCHED = [dims for dims in itertools.product((0, None), repeat=4) if any(d is not None for d in dims)]


@pytest.mark.parametrize("dims", BATCHED, ids=lambda dims: "-".join("shared" if d is None else "batched" for d in dims))
@METHODS
def test_vmap(dims, method):
    """Over z, weight, the gates inside and outside, each batched or shared."""
    cases = [Case(9, 20, 12, torch.float32, seed=seed) for seed in range(3)]
    columns = list(zip(*([case.z, case.weight, *case.gates()] for case in cases), strict=True))
    arguments = [column[0] if dim is None else torch.stack(column) for column, dim in zip(columns, dims, strict=True)]
    function = functools.partial(ops.masked_linear, method=method)
    expected = [
        reference.masked_linear(*(a if dim is None else a[i] for a, dim in zip(arguments, dims, strict=True)))
        for i in range(3)
    ]
    assert torch.equal(torch.func.vmap(function, dims)(*arguments), torch.stack(expected))


def test_vmap_over_other_dimensions_without_gates_and_nested(isa):
    case = Case(2 * 3 * 11, 50, 30, torch.float32, kind="none")
    z = case.z.reshape(2, 3, 11, 50)
    expected = reference.masked_linear(z, case.weight)

    def product(z, weight):
        return ops.masked_linear(z, weight, method="masked")

    nested = torch.func.vmap(torch.func.vmap(product, (0, None)), (0, None))
    assert torch.equal(nested(z, case.weight), expected)
    moved = torch.func.vmap(product, (1, None), out_dims=2)(z.movedim(1, 2).movedim(2, 1), case.weight)
    assert torch.equal(moved, expected.movedim(1, 2))
    weights = torch.stack([case.weight, 2 * case.weight], dim=1)
    assert torch.equal(
        torch.func.vmap(product, (None, 1))(case.z, weights),
        torch.stack([expected.flatten(0, 2), 2 * expected.flatten(0, 2)]),
    )


def test_vmap_with_plans_of_shared_gates(isa):
    case = Case(9, 50, 30, torch.float32)
    z = torch.stack([case.z, 2 * case.z])
    found = torch.func.vmap(lambda z: ops.masked_linear(z, case.weight, *case.gates(planned=True), method="masked"))(z)
    out = case.dense()[0]
    assert torch.equal(found, torch.stack([out, 2 * out]))


@METHODS
def test_gradients_of_single_samples(method):
    case = Case(6, 20, 12, torch.float64)

    def loss(weight, z, gate_in, gate_out, module=ops, **options):
        return module.masked_linear(z[None], weight, gate_in[None], gate_out[None], **options).square().sum()

    found = torch.func.vmap(torch.func.grad(functools.partial(loss, method=method)), (None, 0, 0, 0))(
        case.weight, case.z, *case.gates()
    )
    plain = [
        torch.func.grad(functools.partial(loss, module=reference))(
            case.weight, case.z[i], *(g[i] for g in case.gates())
        )
        for i in range(6)
    ]
    torch.testing.assert_close(found, torch.stack(plain))


# Gates that blocks of neurons share


def shared(case, block_in, block_out):
    """The case with its gates drawn for blocks, and these as bits; 0 leaves a side without gates."""
    bits = []
    for name, block in (("in", block_in), ("out", block_out)):
        mask = getattr(case, f"mask_{name}")
        if not block:
            setattr(case, f"mask_{name}", torch.ones_like(mask))
            bits.append(None)
            continue
        first = mask[:, ::block].contiguous()
        setattr(case, f"mask_{name}", first.repeat_interleave(block, 1)[:, : mask.shape[1]])
        bits.append(ops.pack_bits(first))
    return bits


@METHODS
@DTYPES
@pytest.mark.parametrize("blocks", [(8, 8), (16, 0), (0, 16), (7, 5), (1, 8), (8, 1), (50, 30)])
def test_blocks_are_their_neurons(isa, dtype, method, blocks):
    """Whatever each side has: blocks, single neurons, no gates."""
    case = Case(9, 50, 30, dtype)
    inside, outside = shared(case, *blocks)
    z, weight, upstream = case.poisoned()
    leaves = [t.requires_grad_() for t in (z, weight)]
    sides = [block or 1 for block in blocks]
    arguments = [[] if bits is None else [bits] for bits in (inside, outside)]
    out = torch.ops.gatentk.masked_matmul(
        *leaves, False, True, arguments[0], [], arguments[1], ops.METHODS.index(method), [sides[0], 1, sides[1]]
    )
    found = out.detach(), *torch.autograd.grad(out, leaves, upstream)
    for result, exact in zip(found, case.dense(torch.float64), strict=True):
        assert torch.equal(result.double(), exact)
    layers = [
        None if bits is None else ops.GateLayer(bits, width, block)
        for bits, width, block in zip((inside, outside), (50, 30), sides, strict=True)
    ]
    for result, again in zip(products(ops, case.poisoned(), layers, method=method), found, strict=True):
        assert torch.equal(result, again)
    if sides[0] == sides[1]:
        assert torch.equal(ops.masked_linear(z, weight, inside, outside, method, block=sides[0]), found[0])


@pytest.mark.parametrize("blocks", [(3, 2), (4, 0), (1, 3)])
def test_derivatives_and_tangents_of_blocks(blocks):
    case, other = Case(5, 7, 6, torch.float64, 0.6, entries=factor), Case(5, 7, 6, torch.float64, seed=1)
    gates = [[] if bits is None else [bits] for bits in shared(case, *blocks)]
    sides = [block or 1 for block in blocks]

    def product(z, weight):
        return torch.ops.gatentk.masked_matmul(
            z, weight, False, True, gates[0], [], gates[1], 1, [sides[0], 1, sides[1]]
        )

    leaves = [t.requires_grad_() for t in (case.z, case.weight)]
    assert torch.autograd.gradcheck(product, leaves, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(product, leaves, fast_mode=True)
    for dims in ((0, None), (None, 0), (0, 0)):
        arguments = [
            t.detach() if d is None else torch.stack([t.detach(), u])
            for t, u, d in zip(leaves, (other.z, other.weight), dims, strict=True)
        ]
        expected = [product(*(a if d is None else a[i] for a, d in zip(arguments, dims, strict=True))) for i in (0, 1)]
        torch.testing.assert_close(torch.func.vmap(product, dims)(*arguments), torch.stack(expected))


# Registration with torch


def op_cases():
    case = Case(6, 20, 12, torch.float32)
    (inside, outside), (layer_in, layer_out) = case.gates(), case.gates(planned=True)
    planned = [[g.bits, *g.plans] for g in (layer_in, layer_out)]
    matmul = torch.ops.gatentk.masked_matmul.default
    z, weight, upstream = (t.double().requires_grad_() for t in case.tensors())
    yield "bare", matmul, (case.z, case.weight, False, True, [], [], [], 0)
    yield "forward", matmul, (z, weight, False, True, [inside], [], [outside], 1)
    yield "weight", matmul, (upstream, z, True, False, planned[1], planned[0], [], 1)
    yield "blocks", matmul, (z, weight, False, True, [inside], [], [outside], 1, [4, 1, 3])
    yield "dense", matmul, (z, weight, False, True, [inside], [], [outside], 2, [4, 1, 3])


@pytest.mark.parametrize(("op", "arguments"), [c[1:] for c in op_cases()], ids=[c[0] for c in op_cases()])
def test_opcheck(op, arguments):
    torch.library.opcheck(op, arguments)


@pytest.mark.parametrize("planned", [False, True])
def test_compiles_without_graph_breaks(planned):
    case = Case(70, 129, 80, torch.float32)
    z, weight, upstream = case.tensors()

    def network(z, weight, gate_in, gate_out):
        on = ops.pack_bits(ops.ordered_linear(z, weight) > 0)
        return 2 * ops.masked_linear(z, weight, gate_in, gate_out, method="masked") + 0 * ops.masked_linear(
            z, weight, None, on
        )

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    leaves = [t.clone().requires_grad_() for t in (z, weight)]
    out = compiled(*leaves, *case.gates(planned))
    out.backward(upstream)
    for found, expected in zip((out, leaves[0].grad, leaves[1].grad), case.dense(), strict=True):
        assert torch.equal(found, 2 * expected)


# Refusals

Z, W = torch.ones(3, 4), torch.ones(5, 4)
BITS = reference.pack_bits(torch.ones(3, 4, dtype=torch.bool))
OUT = reference.pack_bits(torch.ones(3, 5, dtype=torch.bool))
WIDE = torch.zeros(3, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "method: expected one of 'auto', .* got 'fast'", lambda: ops.masked_linear(Z, W, method="fast")),
        (
            TypeError,
            "^z: expected a float32 or float64 or bfloat16 tensor, got .*int64",
            lambda: ops.masked_linear(Z.long(), W),
        ),
        (TypeError, "^z: expected a float32 or float64 or bfloat16", lambda: ops.masked_linear(Z.half(), W)),
        (TypeError, "^z: expected a float32 or float64 or bfloat16", lambda: ops.masked_linear(Z.numpy(), W)),
        (TypeError, "^weight: expected a float32 or float64 or bfloat16", lambda: ops.masked_linear(Z, W.int())),
        (TypeError, "^weight: expected torch.float32 as z", lambda: ops.masked_linear(Z, W.double())),
        (ValueError, r"^z: expected a matrix \(\.\.\., rows, columns\)", lambda: ops.masked_linear(Z[0], W)),
        (ValueError, "^weight: expected a matrix", lambda: ops.masked_linear(Z, W[0])),
        (ValueError, r"^weight: expected shape \(out_features, 4\)", lambda: ops.masked_linear(Z, W[:, :3])),
        (ValueError, r"^weight: expected shape \(out_features, 4\)", lambda: ops.masked_linear(Z, W[None])),
        (ValueError, "^gate_in: expected rows of 16 bytes for width 4", lambda: ops.masked_linear(Z, W, WIDE)),
        (ValueError, "^gate_out: expected rows of 16 bytes for width 5", lambda: ops.masked_linear(Z, W, None, WIDE)),
        (ValueError, r"^gate_in: expected bits of \(3,\) rows", lambda: ops.masked_linear(Z, W, BITS[:2])),
        (ValueError, r"^gate_out: expected bits of \(3,\) rows", lambda: ops.masked_linear(Z, W, None, OUT[:2])),
        (
            ValueError,
            r"^gate_in: expected bits of \(2, 3\) rows",
            lambda: ops.masked_linear(Z.expand(2, 3, 4), W, BITS),
        ),
        (ValueError, r"^gate_in: expected bits of \(3,\) rows", lambda: ops.masked_linear(Z, W, Layer(BITS[:2], 4))),
        (ValueError, "^gate_in: expected rows of 16 bytes", lambda: ops.masked_linear(Z, W, Layer(WIDE, 256))),
        (TypeError, r"^gate_in: expected packed bits \(uint8\)", lambda: ops.masked_linear(Z, W, Z > 0)),
        (TypeError, r"^gate_out: expected packed bits \(uint8\)", lambda: ops.masked_linear(Z, W, None, OUT.int())),
        (TypeError, "^block: expected an integer, got", lambda: ops.masked_linear(Z, W, BITS, block=2.0)),
        (ValueError, "^block: expected an integer of at least 1, got 0", lambda: ops.masked_linear(Z, W, block=0)),
        (
            ValueError,
            "^block: expected a number from 1 to 4, the width of gate_in, got 5",
            lambda: ops.masked_linear(Z, W, BITS, block=5),
        ),
        (
            ValueError,
            "^block: expected 1 as in gate_in, got 2",
            lambda: ops.masked_linear(Z, W, Layer(BITS, 4), block=2),
        ),
        (ValueError, "^z: .*CPU tensors only", lambda: ops.masked_linear(Z.to("meta"), W)),
        (ValueError, "^weight: .*CPU tensors only", lambda: ops.masked_linear(Z, W.to("meta"))),
        (ValueError, "^gate_in: .*CPU tensors only", lambda: ops.masked_linear(Z, W, BITS.to("meta"))),
    ],
)
def test_bad_arguments_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
