"""Plans of masked products on every instruction set: each neuron that is on is visited once."""

import pytest
import torch
from cases.bits import scatter_bits
from cases.products import Case, Layer, products
from cases.tensors import DENSITIES, LAYOUTS, SEEDS, factor, with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import _core, ops, reference
from gatentk.ops import GateLayer

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
