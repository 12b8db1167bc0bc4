"""Masked products and their plans, and products in a fixed order, on every instruction set.

Whole numbers make the order of sums irrelevant, so products of any shape are compared exactly; how they round is a
matter of its own.
"""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gate_gram import one_thread, scatter_bits, with_threads  # noqa: F401 (one_thread is a fixture)
from test_ops import DENSITIES, DTYPES, LAYOUTS, SEEDS, factor, scatter

from gatentk import _core, ops, reference

# Rows of a group, vectors and panels, chunks and spans of rows, blocks of columns.
BLOCKS = (4, 8, 12, 24, 48, 96, 128, _core.block_columns, 2 * _core.block_columns, 1024)
EDGES = sorted({m + o for m in BLOCKS for o in (-1, 0, 1)} | {0, 1})
SIZES = st.sampled_from([size for size in EDGES if size < 200]) | st.integers(0, 200)
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


def same_bits(a, b):
    """Equal in every bit, the sign of zero included."""
    integers = {torch.float32: torch.int32, torch.float64: torch.int64}[a.dtype]
    return a.dtype == b.dtype and torch.equal(a.view(integers), b.view(integers))


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


def errors(found, exact):
    """The largest error of each of the three products over all cases."""
    return [max(np.abs(f[i].numpy() - e[i]).max() for f, e in zip(found, exact, strict=True)) for i in range(3)]


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


def test_vmap_of_plans_and_ordered_products(generator):
    z, weight = factor(generator, (3, 9, 40), torch.float32, 1), factor(generator, (30, 40), torch.float32, 1)
    bits = ops.pack_bits(z > 0)
    found = torch.func.vmap(lambda z: ops.ordered_linear(z, weight, relu=True))(z)
    assert same_bits(found, torch.stack([ops.ordered_linear(row, weight, relu=True) for row in z]))
    for neuron_major in (False, True):
        found = torch.func.vmap(lambda b, m=neuron_major: ops.build_plan(b, 40, m))(bits)
        assert torch.equal(found, torch.stack([ops.build_plan(b, 40, neuron_major) for b in bits]))


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


# Plans

BITS = reference.pack_bits(torch.ones(3, 4, dtype=torch.bool))


@given(
    n=st.sampled_from([0, 1, 3, 4, 5, 9, 127, 128, 129]) | st.integers(0, 30),
    width=st.sampled_from([size for size in EDGES if size < 400]) | st.integers(0, 300),
    densities=st.tuples(DENSITIES, DENSITIES),
    neuron_major=st.booleans(),
    layout=LAYOUTS,
    seed=SEEDS,
)
@settings(max_examples=20)
def test_a_plan_visits_what_is_on_exactly_once(isa, n, width, densities, neuron_major, layout, seed):
    """Ones times the identity count the visits."""
    generator = torch.Generator().manual_seed(seed)
    masks = [torch.rand(n, width, generator=generator) < density for density in densities]
    bits = [scatter_bits(ops.pack_bits(mask), layout) for mask in masks]
    layer = Layer(bits[0], width)
    ones = torch.ones(n, width)
    if neuron_major:
        tensors = torch.eye(n), torch.ones(width, n), ones
        found = products(ops, tensors, (None, layer), method="masked")[2]
        assert torch.equal(found, masks[0].mT.float())
    else:
        found = ops.masked_linear(ones, torch.eye(width), layer, method="masked")
        assert torch.equal(found, masks[0].float())
    shapes = [plan.shape for plan in layer.plans]
    assert [plan.dtype for plan in layer.plans] == [torch.uint8, torch.uint8]
    assert shapes == [ops.build_plan(bits[1], width, major).shape for major in (False, True)]
    rows, columns = _core.group_rows, _core.block_columns
    assert shapes[0] == (-(-n // rows), -(-width // columns), _core.plan_bytes)
    assert shapes[1] == (-(-width // rows), -(-n // columns), _core.plan_bytes)


@pytest.mark.parametrize("neuron_major", [False, True])
def test_equal_gates_have_equal_plans(isa, neuron_major, generator):
    """Down to the last byte, whatever was in memory before."""
    bits = ops.pack_bits(torch.rand(150, 300, generator=generator) < 0.3)
    plans = []
    for threads, garbage in ((1, 0), (2, 255)):
        size = plans[0].shape if plans else ops.build_plan(bits, 300, neuron_major).shape
        for _ in range(3):
            torch.full(size, garbage, dtype=torch.uint8)  # freed at once: the plan comes to lie there
        plans.append(with_threads(threads, lambda: ops.build_plan(bits, 300, neuron_major)))
    assert torch.equal(*plans)


def test_a_plan_serves_every_instruction_set(isa):
    case = Case(150, 300, 130, torch.float32)
    ops.select_isa("portable")
    gates = case.gates(planned=True)
    ops.select_isa(isa)
    for out, exact in zip(products(ops, case.tensors(), gates, method="masked"), case.dense(), strict=True):
        assert torch.equal(out, exact)


# Products in a fixed order


def round_to(value, dtype):
    """The nearest float of a fraction, ties to even."""
    digits, lowest = {torch.float32: (24, -149), torch.float64: (53, -1074)}[dtype]
    if not value:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    exponent -= abs(value) < Fraction(2) ** exponent
    unit = Fraction(2) ** max(exponent - digits + 1, lowest)
    return round(value / unit) * unit


def chain(x, weight):
    """Fused multiply-adds over rising columns from 0, exactly: each step is rounded once."""
    total = Fraction(0)
    for a, b in zip(x.tolist(), weight.tolist(), strict=True):
        total = round_to(total + Fraction(a) * Fraction(b), x.dtype)
    return total


def assert_is_chain(found, x, weight, elements):
    for i, j in elements:
        expected = chain(x[i], weight[j])
        assert Fraction(found[i, j].item()) == expected, (i, j)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (Fraction(1) + Fraction(1, 2**24), torch.float32, 1.0),
        (Fraction(1) + Fraction(3, 2**24), torch.float32, 1 + 2.0**-22),
        (Fraction(-(2**25) - 1, 2**25), torch.float32, -1.0),
        (Fraction(3, 2**151), torch.float32, 2.0**-149),
        (Fraction(1, 2**150), torch.float32, 0.0),
        (Fraction(1, 3), torch.float64, 1 / 3),
        (Fraction(2**80 + 1, 7), torch.float64, (2**80 + 1) / 7),
    ],
)
def test_the_oracle_rounds_to_nearest_even(value, dtype, expected):
    assert round_to(value, dtype) == Fraction(expected)


@DTYPES
@given(
    numbers=st.lists(
        st.tuples(*[st.integers(-(2**53), 2**53), st.integers(-5, 5)] * 2),
        max_size=12,
    )
)
@settings(max_examples=40)
def test_short_chains_are_fused(isa, dtype, numbers):
    x = torch.tensor([[a * 2.0**e for a, e, _, _ in numbers]], dtype=dtype)
    weight = torch.tensor([[b * 2.0**e for _, _, b, e in numbers]], dtype=dtype)
    assert_is_chain(ops.ordered_linear(x, weight), x, weight, [(0, 0)])


def test_a_product_is_never_rounded_on_its_own(isa):
    """1 + (2^-24 + 2^-60): rounded to float64 on the way it would be a tie and become 1."""
    x, weight = torch.tensor([[1, 4097 * 2.0**-30]]), torch.tensor([[1, 16773121 * 2.0**-30]])
    assert ops.ordered_linear(x, weight).item() == 1 + 2.0**-23
    # And in float64 2^-80 survives only if the square is not rounded before 1 is taken away.
    x = torch.tensor([[1.0, 1 + 2.0**-40, 1]], dtype=torch.float64)
    weight = torch.tensor([[-1.0, 1 + 2.0**-40, -(2.0**-39)]], dtype=torch.float64)
    assert ops.ordered_linear(x, weight).item() == 2.0**-80


@DTYPES
@pytest.mark.parametrize("size", [0, 1, _core.block_columns - 1, _core.block_columns, _core.block_columns + 1, 400])
def test_long_chains_go_on_across_blocks(isa, dtype, size, generator):
    x, weight = (factor(generator, (n, size), dtype, 0.8) for n in (131, 101))
    found = ops.ordered_linear(x, weight)
    assert found.shape == (131, 101)
    assert_is_chain(found, x, weight, [(0, 0), (4, 47), (128, 48), (130, 100)])


@DTYPES
@given(
    n=st.sampled_from([1, 4, 5, 8, 9, 128, 129]),
    inner=st.integers(0, 400),
    columns=st.sampled_from([1, 11, 12, 13, 24, 25, 48, 49, 97]),
    layouts=st.tuples(LAYOUTS, LAYOUTS),
    relu=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
@settings(max_examples=25)
def test_batches_instruction_sets_and_layouts_change_no_bit(isa, dtype, n, inner, columns, layouts, relu, seed, data):
    generator = torch.Generator().manual_seed(seed)
    x, weight = factor(generator, (n, inner), dtype, 0.9), factor(generator, (columns, inner), dtype, 0.9)
    ops.select_isa("portable")
    expected = ops.ordered_linear(x, weight, relu)
    ops.select_isa(isa)
    assert same_bits(ops.ordered_linear(scatter(x, layouts[0]), scatter(weight, layouts[1]), relu), expected)
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=20))
    neurons = data.draw(st.lists(st.integers(0, columns - 1), max_size=20))
    assert same_bits(ops.ordered_linear(x[rows], weight, relu), expected[rows])
    assert same_bits(ops.ordered_linear(x, weight[neurons], relu), expected[:, neurons])


@DTYPES
def test_threads_change_no_bit_of_ordered_products(isa, dtype, generator):
    x, weight = factor(generator, (1100, 70), dtype, 1), factor(generator, (300, 70), dtype, 1)
    one, two = (with_threads(threads, lambda: ops.ordered_linear(x, weight)) for threads in (1, 2))
    assert same_bits(one, two)


@DTYPES
def test_relu_gives_positive_zeros_only(isa, dtype):
    tiny = torch.finfo(dtype).tiny
    x, weight = (torch.tensor(values, dtype=dtype)[:, None] for values in ([1, -1, 0.0, -0.0, -tiny, 2], [1, tiny, -3]))
    plain, relu = ops.ordered_linear(x, weight), ops.ordered_linear(x, weight, relu=True)
    assert same_bits(plain[4, 1], torch.tensor(-0.0, dtype=dtype))  # -tiny^2 underflows
    assert not relu.signbit().any()
    assert torch.equal(relu, torch.where(plain > 0, plain, 0))


@DTYPES
@pytest.mark.parametrize("size", [205, 512])
def test_ordered_products_are_as_accurate_as_a_chain_can_be(isa, dtype, size, generator):
    """Higham, Accuracy and Stability of Numerical Algorithms, (3.5); plain torch meets it as well."""
    x, weight = factor(generator, (40, size), dtype, 1), factor(generator, (30, size), dtype, 1)
    wide = np.longdouble if dtype == torch.float64 else np.float64
    exact = x.numpy().astype(wide) @ weight.numpy().astype(wide).T
    bound = size * torch.finfo(dtype).eps / 2 * np.abs(x.numpy()).astype(wide) @ np.abs(weight.numpy()).astype(wide).T
    assert (np.abs(ops.ordered_linear(x, weight).numpy() - exact) <= bound).all()


def test_ordered_products_have_no_gradient():
    x, weight = torch.ones(2, 3, requires_grad=True), torch.ones(4, 3, requires_grad=True)
    assert not ops.ordered_linear(x, weight).requires_grad


# Registration with torch


def op_cases():
    case = Case(6, 20, 12, torch.float32)
    (inside, outside), (layer_in, layer_out) = case.gates(), case.gates(planned=True)
    planned = [[g.bits, *g.plans] for g in (layer_in, layer_out)]
    matmul, plan = torch.ops.gatentk.masked_matmul.default, torch.ops.gatentk.build_plan.default
    z, weight, upstream = (t.double().requires_grad_() for t in case.tensors())
    yield "bare", matmul, (case.z, case.weight, False, True, [], [], [], 0)
    yield "forward", matmul, (z, weight, False, True, [inside], [], [outside], 1)
    yield "weight", matmul, (upstream, z, True, False, planned[1], planned[0], [], 1)
    yield "plan", plan, (inside, 20, False)
    yield "neuron-major", plan, (inside, 20, True)
    yield "ordered", torch.ops.gatentk.ordered_linear.default, (case.z, case.weight, True)


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
OUT = reference.pack_bits(torch.ones(3, 5, dtype=torch.bool))
WIDE = torch.zeros(3, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "method: expected one of 'auto', .* got 'fast'", lambda: ops.masked_linear(Z, W, method="fast")),
        (TypeError, "^z: expected a float32 or float64 tensor, got .*int64", lambda: ops.masked_linear(Z.long(), W)),
        (TypeError, "^z: expected a float32 or float64 tensor", lambda: ops.masked_linear(Z.half(), W)),
        (TypeError, "^z: expected a float32 or float64 tensor", lambda: ops.masked_linear(Z.numpy(), W)),
        (TypeError, "^weight: expected a float32 or float64 tensor", lambda: ops.masked_linear(Z, W.int())),
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
        (ValueError, "^z: .*CPU tensors only", lambda: ops.masked_linear(Z.to("meta"), W)),
        (ValueError, "^weight: .*CPU tensors only", lambda: ops.masked_linear(Z, W.to("meta"))),
        (ValueError, "^gate_in: .*CPU tensors only", lambda: ops.masked_linear(Z, W, BITS.to("meta"))),
        (TypeError, "^x: expected a float32 or float64 tensor", lambda: ops.ordered_linear(Z.int(), W)),
        (TypeError, "^weight: expected torch.float32 as x", lambda: ops.ordered_linear(Z, W.double())),
        (ValueError, "^x: expected a matrix", lambda: ops.ordered_linear(Z[0], W)),
        (ValueError, r"^weight: expected shape \(out_features, 4\)", lambda: ops.ordered_linear(Z, W[:, :3])),
        (ValueError, "^x: expected .*got .*2, 3, 4", lambda: ops.ordered_linear(Z.expand(2, 3, 4), W)),
        (TypeError, "^bits: expected packed bits", lambda: ops.build_plan(Z, 4)),
        (ValueError, "^bits: expected rows of 16 bytes for width 4", lambda: ops.build_plan(WIDE, 4)),
        (ValueError, "^bits: .* for width -1", lambda: ops.build_plan(BITS, -1)),
        (ValueError, r"^bits: expected shape \(n, row bytes\)", lambda: ops.build_plan(BITS[0], 4)),
        (ValueError, r"^bits: expected shape \(n, row bytes\)", lambda: ops.build_plan(BITS[None], 4)),
    ],
)
def test_bad_arguments_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()
