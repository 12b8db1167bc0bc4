"""Plans of masked products on every instruction set: each neuron that is on is visited once."""

import contextlib
import copy

import pytest
import torch
from cases.bits import scatter_bits
from cases.products import Case, Layer, products
from cases.tensors import DENSITIES, LAYOUTS, SEEDS, factor, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import _core, ops, reference
from gatentk.ops import GateLayer, plans

# Around groups of rows, vectors, panels, and blocks of columns.
EDGES = sorted({m + o for m in (4, 12, 48, 128, _core.block_columns) for o in (-1, 0, 1)} | {0, 1})


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


def test_a_layer_builds_its_plans_once(generator):
    bits = ops.pack_bits(torch.rand(9, 300, generator=generator) < 0.5)
    layer = GateLayer(bits, 300)
    assert all(a is b for a, b in zip(layer.plans, layer.plans, strict=True))
    for plan, neuron_major in zip(layer.plans, (False, True), strict=True):
        assert torch.equal(plan, ops.build_plan(bits, 300, neuron_major))
    assert repr(layer) == "GateLayer(n=9, width=300)"


@pytest.mark.parametrize("neuron_major", [False, True])
def test_vmap(generator, neuron_major):
    bits = ops.pack_bits(factor(generator, (3, 9, 40), torch.float32, 1) > 0)
    found = torch.func.vmap(lambda b: ops.build_plan(b, 40, neuron_major))(bits)
    assert torch.equal(found, torch.stack([ops.build_plan(b, 40, neuron_major) for b in bits]))


@pytest.mark.parametrize("neuron_major", [False, True])
def test_opcheck(neuron_major):
    bits = Case(6, 20, 12, torch.float32).gates()[0]
    torch.library.opcheck(torch.ops.gatentk.build_plan.default, (bits, 20, neuron_major))


# Refusals

Z = torch.ones(3, 4)
BITS = reference.pack_bits(torch.ones(3, 4, dtype=torch.bool))
WIDE = torch.zeros(3, 32, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
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


# Plans that are not what build_plan makes


def multiply(case, plan, which=1):
    """The product, or the gradient of the weight, by a plan as it is, without a look at its bytes."""
    bits = case.gates()[0]
    plans = [ops.build_plan(bits, case.z.shape[1], neuron_major) for neuron_major in (False, True)]
    plans[which - 1] = plan
    if which == 1:
        return torch.ops.gatentk.masked_matmul(case.z, case.weight, False, True, [bits, *plans], [], [], 1)
    return torch.ops.gatentk.masked_matmul(case.z, case.upstream, True, False, [bits, *plans], [], [], 1)


def good_plan(case, which=1):
    return ops.build_plan(case.gates()[0], case.z.shape[1], neuron_major=which == 2)


def counts(plan):
    return plan[..., :16].view(torch.int16)


WRONG = {
    "ones": lambda plan: plan.fill_(255),
    "a long run": lambda plan: counts(plan)[-1, -1, 3].fill_(-1),
    "many single columns": lambda plan: counts(plan)[0, 0, 0].fill_(_core.block_columns + 1),
    "runs that are too long together": lambda plan: counts(plan)[0, 0].fill_(1 + _core.block_columns // 8),
    "a column that is not there": lambda plan: plan[0, -1, 16].fill_(_core.block_columns - 1),
    "a column in none of its runs": lambda plan: plan[0, -1, -1].fill_(255),
    "the plan of more columns": lambda plan: plan[:, -1].copy_(plan[:, 0].clone()),
}


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("name", WRONG)
def test_kernels_refuse_plans_that_lead_out_of_their_memory(isa, name, which):
    case = Case(200, 300, 130, torch.float32)
    plan = good_plan(case, which)
    expected = multiply(case, plan, which)
    WRONG[name](plan)
    with pytest.raises(ValueError, match=r"^plans: expected those that build_plan makes of the gates, got other bytes"):
        multiply(case, plan, which)
    assert torch.equal(multiply(case, good_plan(case, which), which), expected)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 2]), st.sampled_from([torch.float32, torch.float64]))
def test_no_plan_leads_out_of_the_memory(seed, which, dtype):
    case, generator = Case(13, 200, 30, dtype), torch.Generator().manual_seed(seed)
    plan = good_plan(case, which)
    changed = torch.rand(plan.shape, generator=generator) < 10 ** -torch.randint(0, 4, (), generator=generator)
    high = int(torch.randint(1, 256, (), generator=generator))
    plan[changed] = torch.randint(0, high + 1, plan.shape, generator=generator, dtype=torch.uint8)[changed]
    with contextlib.suppress(ValueError):
        assert torch.isfinite(multiply(case, plan, which)).all()


@pytest.mark.parametrize("change", [lambda plan: plan.reshape(-1), lambda plan: plan[:-1], lambda plan: plan.int()])
def test_the_operation_checks_the_shape_of_plans(change):
    case = Case(13, 200, 30, torch.float32)
    with pytest.raises(ValueError, match=r"^plans: expected plans of its bits as build_plan makes them, got a tensor"):
        multiply(case, change(good_plan(case)))


def test_a_layer_builds_its_plans_again_if_they_were_written_to():
    case = Case(13, 200, 30, torch.float32)
    layer = GateLayer(case.gates()[0], 200)
    expected = ops.masked_linear(case.z, case.weight, layer, method="masked")
    for plan in layer.plans:
        plan.zero_()
    assert torch.equal(ops.masked_linear(case.z, case.weight, layer, method="masked"), expected)


@pytest.mark.parametrize("block", [1, 8])
def test_a_layer_builds_its_plans_again_if_its_bits_were_written_to(block):
    case, other = (Case(13, 200, 30, torch.float32, seed=seed) for seed in (0, 1))
    bits, new = (ops.pack_bits(c.mask_in[:, : -(-200 // block)]) for c in (case, other))
    layer = GateLayer(bits, 200, block)
    ops.masked_linear(case.z, case.weight, layer, method="masked")
    bits.copy_(new)
    expected = ops.masked_linear(case.z, case.weight, new, method="masked", block=block)
    assert torch.equal(ops.masked_linear(case.z, case.weight, layer, method="masked"), expected)


@pytest.mark.parametrize("block", [1, 8])
@pytest.mark.parametrize("nested", [False, True])
def test_plans_that_are_made_in_a_transform_outlive_it(block, nested):
    case = Case(13, 200, 30, torch.float32)
    bits = ops.pack_bits(case.mask_in[:, : -(-200 // block)])
    layer = GateLayer(bits, 200, block)

    def loss(weight):
        return ops.masked_linear(case.z, weight, layer, method="masked").sum()

    def twice(weight):
        return torch.func.grad(loss)(weight).sum() + loss(weight)

    torch.func.vmap(torch.func.grad(twice if nested else loss))(torch.stack([case.weight, case.weight]))
    expected = ops.masked_linear(case.z, case.weight, bits, method="masked", block=block)
    for usable in (layer, copy.deepcopy(layer)):
        assert torch.equal(ops.masked_linear(case.z, case.weight, usable, method="masked"), expected)
    assert layer.plans[0] is layer.plans[0]


class Rows:
    """Gates of somebody else."""

    def __init__(self, bits, plans):
        self.bits, self.plans = bits, plans


def test_plans_of_others_are_compared_once(monkeypatch):
    case, other = Case(13, 200, 30, torch.float32), Case(13, 200, 30, torch.float32, seed=1)
    bits = case.gates()[0]
    rows = Rows(bits, (good_plan(case), good_plan(case, 2)))
    built, build = [], plans.build_plan
    expected = ops.masked_linear(case.z, case.weight, bits, method="masked")
    monkeypatch.setattr(plans, "build_plan", lambda *arguments: built.append(arguments) or build(*arguments))
    for _ in range(3):
        assert torch.equal(ops.masked_linear(case.z, case.weight, rows, method="masked"), expected)
    assert len(built) == 2
    for wrong in ((good_plan(other), rows.plans[1]), (rows.plans[0], good_plan(other, 2))):
        with pytest.raises(ValueError, match=r"^gate_in: expected plans of its bits .*, got other bytes"):
            ops.masked_linear(case.z, case.weight, Rows(bits, wrong))
    rows.plans[0][0, 0, 16] += 1
    with pytest.raises(ValueError, match=r"^gate_in: .*, got other bytes"):
        ops.masked_linear(case.z, case.weight, rows)
    with pytest.raises(ValueError, match=r"^gate_in: .*, got other bytes"):
        ops.masked_linear(case.z, case.weight, Rows(other.gates()[0], (good_plan(case), good_plan(case, 2))))


def test_bits_of_blocks_of_others_are_compared():
    case = Case(13, 200, 30, torch.float32)
    bits, other = (ops.pack_bits(mask[:, :25]) for mask in (case.mask_in, ~case.mask_in))
    rows, wrong, short = (
        Rows(bits, plans) for plans in ((ops.transpose_bits(bits, 25),), (ops.transpose_bits(other, 25),), ())
    )
    rows.block = wrong.block = short.block = 8
    expected = ops.masked_linear(case.z, case.weight, bits, block=8)
    assert torch.equal(ops.masked_linear(case.z, case.weight, rows), expected)
    with pytest.raises(ValueError, match=r"^gate_in: expected plans of its bits .*, got other bytes"):
        ops.masked_linear(case.z, case.weight, wrong)
    with pytest.raises(ValueError, match=r"^gate_in: expected 1 plans for blocks of 8, got 0"):
        ops.masked_linear(case.z, case.weight, short)


def test_plans_of_nothing_are_empty_at_once():
    for n, width in ((1 << 40, 0), (0, 1 << 40)):
        bits = torch.empty(n, ops.row_bytes(width) if n == 0 else 0, dtype=torch.uint8)
        for neuron_major in (False, True):
            assert ops.build_plan(bits, width, neuron_major).numel() == 0
        assert ops.transpose_bits(bits, width).numel() == 0
        assert ops.unpack_bits(bits, width).numel() == 0
        assert ops.pack_bits(torch.empty(n, width, dtype=torch.bool)).numel() == 0
