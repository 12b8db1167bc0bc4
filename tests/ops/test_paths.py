"""Which way a product goes: a pure function of its sizes, its gates and a calibration."""

import itertools

import pytest
import torch
from cases.products import Case

from gatentk import ops
from gatentk.ops import calibration, masked, paths
from gatentk.ops.cpu_products import PATHS
from gatentk.ops.layouts import MaskedProduct
from gatentk.ops.paths import Work

F32 = torch.float32
FLAT = {way: [[0.5, 1.0]] * len(calibration.SAMPLES) for way in calibration.WAYS}


def work(kind="forward", samples=256, width=1024, block=1, density=0.5):
    return Work(kind, F32, samples, (width, width), (block, block), (density, density))


def test_costs_lie_between_what_was_measured():
    ratios = {**FLAT, "neurons": [[1.0, 2.0], [1.0, 2.0], [0.5, 1.0], [0.5, 1.0], [0.5, 1.0], [0.5, 0.75]]}
    assert paths.cost("neurons", work(samples=16), ratios) == 0.5
    assert paths.cost("neurons", work(samples=8), ratios) == 0.75  # half way in powers of two
    assert paths.cost("neurons", work(samples=10**6, density=1.0), ratios) == 0.75
    assert paths.cost("neurons", work(samples=16, density=0.75), ratios) == 0.75
    assert paths.cost("blocks", work(block=64, density=0.5), ratios) == 0.5
    assert paths.cost("blocks", work(block=1024, density=1.0), ratios) == 1.0
    assert paths.cost("blocks", work(block=2), ratios) == 4 * paths.cost("blocks", work(block=8), ratios)
    assert 0 < paths.cost("blocks", work(block=64, density=0.0), ratios) < 0.5


def test_a_side_without_blocks_is_skipped_by_none():
    one_sided = work()._replace(blocks=(1, 64), densities=(0.5, 0.5))
    assert paths.cost("blocks", one_sided, FLAT) == pytest.approx(0.5 + 0.5 / 3)


@pytest.mark.parametrize("kind", calibration.KINDS)
def test_the_cheapest_way_is_chosen_and_dense_where_none_is_cheaper(kind):
    typical = calibration.TYPICAL[kind]
    assert paths.choose(work(kind, block=64), typical, True) == "blocks"
    assert paths.choose(work(kind), typical, False) == "neurons"
    assert paths.choose(work(kind, block=8, density=1.0), typical, True) == "dense"
    neurons = {**typical, "neurons of blocks": typical["neurons"]}
    assert paths.choose(work(kind, block=2), neurons, True) == "neurons"
    assert paths.choose(work(kind, block=2), {**FLAT, "neurons of blocks": [[0.9, 0.9]] * 6}, True) == "dense"
    assert paths.choose(work(kind, samples=1), typical, False) == "neurons"
    assert paths.choose(work(kind, samples=1024, density=1.0), typical, False) == "dense"


def test_gates_of_neurons_must_promise_more_where_rows_are_wider_than_measured():
    ratios = {**FLAT, "neurons": [[0.8, 1.0]] * len(calibration.SAMPLES)}
    assert paths.choose(work(samples=1024, width=1024), ratios, False) == "neurons"
    assert paths.choose(work(samples=1024, width=2048), ratios, False) == "dense"


def test_gates_of_neurons_that_are_made_of_those_of_blocks_cost_more():
    ratios = {**FLAT, "neurons of blocks": [[0.75, 1.0]] * len(calibration.SAMPLES)}
    assert paths.cost("neurons", work(block=8), ratios) == 0.75
    assert paths.cost("neurons", work(), ratios) == 0.5


def products(rows, width, block, kind="both"):
    """The three products of a layer."""
    case = Case(rows, width, width, F32, kind=kind)
    inside, outside = ([ops.pack_bits(mask[:, ::block].contiguous())] for mask in (case.mask_in, case.mask_out))
    if kind == "none":
        inside, outside = [], []
    yield MaskedProduct(case.z, case.weight, False, True, inside, [], outside, 0, (block, 1, block))
    yield MaskedProduct(case.upstream, case.weight, False, False, outside, [], inside, 0, (block, 1, block))
    yield MaskedProduct(case.upstream, case.z, True, False, outside, inside, [], 0, (block, block, 1))


def test_small_products_start_no_calibration(monkeypatch):
    monkeypatch.setattr(calibration, "ratios", lambda *_: pytest.fail("measured"))
    for rows, block in itertools.product((1, 2, 4, 64), (1, 4, 8, 64)):
        ways = [paths.path(product)[0] for product in products(rows, 128, block)]
        assert ways == ["neurons" if block < 16 else "blocks"] * 3
    assert [paths.path(product)[0] for product in products(64, 128, 1, "none")] == ["dense"] * 3


def test_products_that_mask_a_weight_go_the_way_that_can():
    case = Case(9, 16, 16, F32)
    gate = [ops.pack_bits(torch.ones(16, 2, dtype=torch.bool))]
    product = MaskedProduct(case.z, case.weight, False, True, [], gate, [], 0, (1, 8, 1))
    assert paths.kind_of(product) is None
    assert paths.path(product)[0] == "neurons"


def test_large_products_ask_the_calibration_with_their_densities(monkeypatch):
    asked = []
    calibration.forget()
    monkeypatch.setattr(paths, "choose", lambda work, ratios, has_blocks: asked.append(work) or "dense")
    for block in (1, 16):
        for product in products(300, 1024, block):
            assert paths.path(product)[0] == "dense"
    assert [w.kind for w in asked] == 2 * list(calibration.KINDS)
    assert all(abs(density - 0.5) < 0.02 for w in asked for density in w.densities)
    assert [w.blocks for w in asked] == [(1, 1)] * 3 + [(16, 16)] * 3
    # What was chosen is remembered, until the calibration is looked at again.
    for product in products(300, 1024, 16):
        assert paths.path(product)[0] == "dense"
    assert len(asked) == 6
    calibration.forget()
    for product in products(300, 1024, 16):
        assert paths.path(product)[0] == "dense"
    assert len(asked) == 9
    calibration.forget()


def test_gradients_of_few_samples_are_written_by_skipping_whatever_is_measured(monkeypatch):
    monkeypatch.setattr(calibration, "ratios", lambda *_: pytest.fail("measured"))
    for samples, block in itertools.product((1, 4), (1, 64)):
        _, _, product = products(samples, 2048, block)
        assert paths.path(product)[0] == ("neurons" if block == 1 else "blocks")


def test_blocks_of_zeros_are_found_in_factors_without_gates():
    case = Case(300, 1024, 1024, F32, kind="out")
    mask = torch.rand(300, 32) < 0.5
    outside = [ops.pack_bits(case.mask_out[:, ::32].contiguous())]
    z = torch.where(mask.repeat_interleave(32, 1), 1.0, 0.0)
    for left, block in ((z, 32), (torch.ones(300, 1024), 1), (z.flip(0)[:0], 1)):
        product = MaskedProduct(left, case.weight, False, True, [], [], outside, 0, (1, 1, 32))
        assert paths.with_block_of_zeros(product, 32).blocks == (block, 1, 32)
    name, product = paths.path(MaskedProduct(z, case.weight, False, True, [], [], outside, 0, (1, 1, 32)))
    assert (name, product.blocks) == ("blocks", (32, 1, 32))
    expected = PATHS["dense"](product)
    torch.testing.assert_close(PATHS[name](product), expected, atol=1e-4, rtol=1e-4)


def test_densities_of_parts_of_the_rows():
    mask = torch.rand(3000, 1000, generator=torch.Generator().manual_seed(0)) < 0.3
    for dtype, layout in itertools.product((F32, torch.float64), (lambda t: t, lambda t: t.t().contiguous().t())):
        assert abs(paths.share_on(layout(ops.pack_bits(mask)), 1000) - 0.3) < 0.02
        assert abs(paths.share_not_zero(layout(mask.to(dtype))) - 0.3) < 0.02
    assert paths.share_on(ops.pack_bits(torch.ones(3, 1001, dtype=torch.bool)), 1001) == 1.0
    assert paths.share_on(ops.pack_bits(mask[:0]), 1000) == paths.share_not_zero(mask[:0].float()) == 1.0
    assert paths.share_not_zero(torch.tensor([[0.0, 1.0, 0.0, 0.0, 5.0]]), 2) == 0.5


def test_auto_goes_the_way_that_is_chosen(monkeypatch):
    for name in PATHS:
        monkeypatch.setattr(masked, "path", lambda product, name=name: (name, product))
        for product in products(9, 48, 16):
            assert torch.equal(torch.ops.gatentk.masked_matmul(*product), PATHS["dense"](product))
