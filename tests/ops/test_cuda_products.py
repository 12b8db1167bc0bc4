"""Masked products by kernels for blocks: which kernel gets what, with kernels that torch computes in their place.

What the kernels themselves compute is tested in tests/cuda_emulation, the whole in tests/gpu.
"""

import itertools
import warnings
from operator import ge

import pytest
import torch
from cases.block_core import BlockCore
from cases.blocks import Blocks
from cases.emulation import Emulation, kernels_for

from gatentk import ops
from gatentk.gates import GateNetwork
from gatentk.nn import GReLUNetwork
from gatentk.ops import cuda, cuda_products, plans
from gatentk.ops.cuda_paths import FEWEST_SAMPLES, PREDICTED

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16
BLOCK_KERNELS = ("block_matmul", "block_weight_gradient")


@pytest.fixture
def core(emulated, monkeypatch):
    """Kernels for blocks by torch, on CPU tensors in the place of a device's; architecture 90."""
    core = BlockCore(emulated)
    monkeypatch.setattr(cuda, "kernels", lambda: kernels_for(90, core))
    cuda_products.say_that_it_is_dense.cache_clear()
    emulation = Emulation()
    emulation.on()
    yield core
    emulation.off()
    ops.select_cuda_precision("auto")


def calls(core, *names):
    """Kernels that were called since this was asked last, of these names."""
    found = [call for call in core.calls if call[0] in (names or BLOCK_KERNELS)]
    core.calls.clear()
    return found


def layers(case):
    """Gates of both sides as layers; None where all is on."""
    return [
        ops.GateLayer(gate[0], size, block) if gate else None
        for gate, size, block in zip(case.gates, case.sizes, case.blocks, strict=True)
    ]


def leaves(case, off):
    """Factor, weight and what comes back; `off` stands where a gate is off."""
    z, upstream = (torch.where(m, t, off) for m, t in zip(case.masks, (case.z, case.upstream), strict=True))
    return z.requires_grad_(), case.weight.clone().requires_grad_(), upstream


def products(case, gates, method="masked", off=torch.nan):
    z, weight, upstream = leaves(case, off)
    out = ops.masked_linear(z, weight, *gates, method=method)
    return out.detach(), *torch.autograd.grad(out, (z, weight), upstream)


def assert_exact(case, found, dtype):
    for name, out, exact in zip(("forward", "by z", "by weight"), found, case.exact(), strict=True):
        assert torch.equal(out, exact.to(dtype)), name


@pytest.mark.parametrize("dtype", [F32, F64, BF16])
@pytest.mark.parametrize("gated", [("in", "out"), ("in",), ("out",)])
@pytest.mark.parametrize("blocks", [(32, 64), (64, 64), (96, 32)])
def test_every_product_meets_its_kernel(core, dtype, gated, blocks):
    """Whole numbers; what is off holds no numbers; last blocks are shorter."""
    case = Blocks(270, (208, 136), blocks, dtype, gated=gated)
    block_in, block_out = (block * (name in gated) for name, block in zip(("in", "out"), blocks, strict=True))
    assert_exact(case, products(case, layers(case)), dtype)
    expected = [("block_weight_gradient", block_out, block_in)]
    for left, right in ((block_in, block_out), (block_out, block_in)):
        if right:
            expected.append(("block_matmul", left, right))
        elif dtype == F32:  # masked factors, as there are no blocks to skip by
            expected.append(("block_matmul", 0, 0))
    assert sorted(calls(core)) == sorted(expected)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_derivatives_to_the_second_order(core, dtype):
    case = Blocks(258, (64, 72), (32, 32), dtype)
    z, weight, upstream = leaves(case, 0.0)
    gates = layers(case)

    def second(product, z, weight, upstream):
        out = product(z, weight)
        by_z, by_weight = torch.autograd.grad(out, (z, weight), upstream, create_graph=True)
        loss = by_z.square().sum() + by_weight.square().sum()
        return torch.autograd.grad(loss, (z, weight, upstream))

    given = [t.detach().requires_grad_() for t in (z, weight, upstream)]
    found = second(lambda z, w: ops.masked_linear(z, w, *gates, method="masked"), *given)
    assert sorted(call[0] for call in calls(core)) == ["block_matmul"] * 5 + ["block_weight_gradient"] * 2
    mask_in, mask_out = (mask.to(F64) for mask in case.masks)
    wide = [t.detach().double().requires_grad_() for t in given]
    plain = second(lambda z, w: ((z * mask_in) @ w.T) * mask_out, *wide)
    for out, exact in zip(found, plain, strict=True):
        assert torch.equal(out.double(), exact)


def test_lists_are_made_once_for_a_layer_of_a_table(core):
    case = Blocks(270, (192, 192), (64, 64), F32)
    gates = layers(case)
    for _ in range(3):
        assert_exact(case, products(case, gates), F32)
    assert calls(core, "block_lists") == [("block_lists", 3, 270)] * 2
    bits = [gate[0] for gate in case.gates]
    z, weight, upstream = leaves(case, torch.nan)
    out = ops.masked_linear(z, weight, *bits, method="masked", block=64)
    assert_exact(case, (out.detach(), *torch.autograd.grad(out, (z, weight), upstream)), F32)
    assert calls(core, "block_lists") == [("block_lists", 3, 270)] * 2  # by those that need them


def test_plans_of_a_layer_on_a_device(core):
    case = Blocks(270, (192, 192), (64, 64), F32)
    layer = layers(case)[0]
    unit_major, lists = layer.plans
    assert torch.equal(unit_major, case.gates[0][1])
    mask = case.masks[0][:, ::64]
    for unit, row in enumerate(lists):
        on, off = (torch.nonzero(m[:, unit])[:, 0] for m in (mask, ~mask))
        assert row.tolist() == [len(on), *on.tolist(), *off.tolist()]
    assert layer.plans[1] is lists
    lists.zero_()
    assert torch.equal(layer.plans[1][:, 0], mask.sum(0))


@pytest.mark.parametrize("n", [0, 129, -1])
def test_lists_of_other_samples_than_there_are_bits_of_are_refused(core, n):
    with pytest.raises(ValueError, match=r"^unit_major: expected rows of \d+ bytes for width"):
        torch.ops.gatentk.block_lists(torch.zeros(3, 16, dtype=torch.uint8), n)
    assert core.calls == []


def test_plans_that_are_made_in_a_graph_are_not_kept(core, monkeypatch):
    """They hold no values before it runs."""
    layer = layers(Blocks(270, (192, 192), (64, 64), F32))[0]
    with monkeypatch.context() as patch:
        patch.setattr(plans, "_is_captured", lambda bits: True)
        captured = layer.plans
    assert not any(kept is made for kept, made in zip(layer.plans, captured, strict=True))


def test_a_graph_makes_its_own_plans(core, monkeypatch):
    """It may run again after the bits have changed, which plans from before would not notice."""
    layer = layers(Blocks(270, (192, 192), (64, 64), F32))[0]
    kept = layer.plans
    with monkeypatch.context() as patch:
        patch.setattr(plans, "_is_captured", lambda bits: True)
        assert not any(a is b for a, b in zip(layer.plans, kept, strict=True))
    assert all(a is b for a, b in zip(layer.plans, kept, strict=True))


def test_another_stream_makes_its_own_plans(core, monkeypatch):
    """It would not wait for those of the first one."""
    layer = layers(Blocks(270, (192, 192), (64, 64), F32))[0]
    kept = layer.plans
    monkeypatch.setattr(plans, "_stream", lambda bits: 7)
    moved = layer.plans
    assert not any(a is b for a, b in zip(moved, kept, strict=True))
    assert all(a is b for a, b in zip(layer.plans, moved, strict=True))


def test_plans_serve_a_last_block_of_any_width(core):
    case = Blocks(270, (192, 184), (64, 64), F32)
    gates = layers(case)
    gates[1] = ops.GateLayer(case.gates[1][0], 192, 64)
    assert_exact(case, products(case, gates), F32)


def test_plans_of_others_are_not_asked_for(core):
    """To compare them would wait for the device."""
    case = Blocks(270, (192, 192), (64, 64), F32)

    class Rows:
        block = 64

        def __init__(self, bits):
            self.bits = bits

        @property
        def plans(self):
            raise AssertionError("made somewhere else")

    assert_exact(case, products(case, [Rows(gate[0]) for gate in case.gates]), F32)
    assert len(calls(core)) == 3


def test_a_side_of_single_neurons_is_masked_before_the_kernel(core):
    for blocks, expected in (
        ((1, 32), [("block_matmul", 0, 32), ("block_matmul", 0, 0), ("block_weight_gradient", 32, 0)]),
        ((48, 32), [("block_matmul", 0, 32), ("block_matmul", 0, 0), ("block_weight_gradient", 32, 0)]),
    ):
        case = Blocks(270, (192, 96), blocks, F32)
        assert_exact(case, products(case, layers(case)), F32)
        assert sorted(calls(core)) == sorted(expected)


def test_single_neurons_in_float32_go_whole(core):
    case = Blocks(270, (192, 96), (1, 1), F32)
    assert_exact(case, products(case, layers(case)), F32)
    assert sorted(calls(core)) == [("block_matmul", 0, 0)] * 2 + [("block_weight_gradient", 0, 0)]
    ops.select_cuda_precision("tf32")
    assert_exact(case, products(case, layers(case)), F32)
    assert calls(core) == []


def test_rows_that_start_anywhere_are_copied(core):
    case = Blocks(270, (192, 96), (32, 32), F32)

    def shifted(tensor):
        memory = tensor.new_zeros(tensor.shape[0], tensor.shape[1] + 3)
        memory[:, 1:-2] = tensor
        return memory[:, 1:-2]

    z, weight, upstream = (shifted(t.detach()).requires_grad_() for t in leaves(case, torch.nan))
    out = ops.masked_linear(z, weight, *layers(case), method="masked")
    assert_exact(case, (out.detach(), *torch.autograd.grad(out, (z, weight), upstream.detach())), F32)
    by_columns = leaves(case, torch.nan)[0].detach().T.contiguous().T
    assert torch.equal(ops.masked_linear(by_columns, weight, *layers(case), method="masked"), out)
    assert len(calls(core)) == 4


def test_a_bias_goes_where_gates_are_on(core):
    case = Blocks(270, (192, 96), (32, 32), F32)
    bias = torch.arange(96.0, requires_grad=True)
    z, weight, upstream = leaves(case, torch.nan)
    out = ops.masked_linear(z, weight, *layers(case), method="masked", bias=bias)
    assert torch.equal(out.double(), case.exact()[0] + bias * case.masks[1])
    (by_bias,) = torch.autograd.grad(out, bias, upstream)
    assert torch.equal(by_bias, torch.where(case.masks[1], case.upstream, 0).sum(0))


def test_batches(core):
    case = Blocks(60, (64, 96), (32, 32), F32)
    expected = case.exact()[0].float()
    z, weight = (t.detach() for t in leaves(case, torch.nan)[:2])
    bits = [gate[0].reshape(2, 30, -1) for gate in case.gates]
    z = z.reshape(2, 30, 64)
    given = {"method": "masked", "block": 32}
    assert torch.equal(ops.masked_linear(z, weight, *bits, **given).reshape(60, 96), expected)
    assert calls(core) == [("block_matmul", 32, 32)]
    mapped = torch.func.vmap(lambda z, *bits: ops.masked_linear(z, weight, *bits, **given))
    assert torch.equal(mapped(z, *bits).reshape(60, 96), expected)
    assert calls(core) == [("block_matmul", 32, 32)]
    by_weight = torch.func.vmap(lambda w: ops.masked_linear(z[0], w, bits[0][0], bits[1][0], **given))
    assert torch.equal(by_weight(torch.stack([weight, -weight]))[1], -expected[:30])


@pytest.mark.parametrize("dtype", [F32, F64, BF16])
def test_nothing_has_no_products(core, dtype):
    for n, sizes in ((0, (64, 32)), (70, (64, 0)), (70, (0, 64))):
        case = Blocks(n, sizes, (32, 32), dtype)
        found = products(case, [gate[0] for gate in case.gates] and [None, None])
        assert_exact(case, found, dtype)
    empty = Blocks(0, (64, 96), (32, 32), dtype)
    assert_exact(empty, products(empty, layers(empty)), dtype)


# What "auto" does


@pytest.mark.parametrize(
    ("arithmetic", "block"),
    [("strict", 128), ("tf32x3", 16), *itertools.product(("tf32x3", "tf32", "bf16"), (32, 64, 128))],
)
def test_auto_skips_where_that_is_predicted_to_win(core, arithmetic, block):
    """As predicted for architecture 90, from the samples of each kind on; lists are made where one may use them."""
    dtype = BF16 if arithmetic == "bf16" else F32
    ops.select_cuda_precision("strict" if arithmetic == "bf16" else arithmetic)
    kinds = ("forward", "input_gradient"), ("weight_gradient",)
    table = {kind: PREDICTED.get((kind, arithmetic, 90)) for kind in (*kinds[0], *kinds[1])}
    leasts = [least for least in table.values() if least is not None]
    for n in sorted({255, 512, *(least.samples for least in leasts if least.samples < 2048)}):
        case = Blocks(n, (1024, 1024), (block, block), dtype)
        assert_exact(case, products(case, layers(case), "auto"), dtype)
        names = [call[0] for call in calls(core, *BLOCK_KERNELS, "block_lists")]
        for name, of_kernel in zip(BLOCK_KERNELS, kinds, strict=True):
            found = [table[kind] for kind in of_kernel if table[kind] is not None]
            assert names.count(name) == sum(all(map(ge, (block, n, 1024), least)) for least in found)
        assert names.count("block_lists") == 2 * (n >= FEWEST_SAMPLES and block % 32 == 0)


def test_dense_makes_no_plans(core):
    case = Blocks(512, (1024, 1024), (64, 64), F32)
    assert_exact(case, products(case, layers(case), "dense"), F32)
    assert core.calls == []


def test_networks_with_block_gates(core, generator):
    net = GReLUNetwork(7, 130, 2, 3, GateNetwork(7, 130, 2, generator, block=32), generator, F64)
    x = torch.randn(40, 7, generator=generator, dtype=F64)
    table = net.gate_table(x)
    found = {}
    for method in ops.METHODS:
        net.method = method
        out = net(x, gates=table)
        found[method] = [out, *torch.autograd.grad(out.square().sum(), list(net.weights))]
        assert bool(calls(core)) == (method == "masked")
    for name in ("masked", "auto"):
        for a, b in zip(found[name], found["dense"], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


# What "masked" says where it is dense


def test_somebody_who_asks_for_masked_is_told_once_why_it_is_dense(core):
    case = Blocks(260, (320, 257), (32, 32), F64)
    with pytest.warns(UserWarning, match=r'^method="masked": .* dense, .* rows of 257 values .* 16 bytes'):
        found = products(case, layers(case))
    assert_exact(case, found, F64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        products(case, layers(case))
        narrow = Blocks(260, (320, 9), (32, 9), F64)
        assert_exact(narrow, products(narrow, layers(narrow)), F64)
        neurons = Blocks(260, (320, 256), (1, 1), F64)
        assert_exact(neurons, products(neurons, layers(neurons)), F64)


# Refusals


def test_gates_that_kernels_would_read_beyond_are_refused(core):
    case = Blocks(270, (64, 96), (32, 32), F32)
    z, weight = (t.detach() for t in leaves(case, 0.0)[:2])
    (inside, _), (outside, unit_major) = case.gates
    lists = torch.ops.gatentk.block_lists(unit_major, 270)
    run = torch.ops.gatentk.masked_matmul
    blocks = [32, 1, 32]
    run(z, weight, False, True, [inside], [], [outside, unit_major, lists], 1, blocks)
    for gate in (
        [outside[:9]],
        [outside, unit_major[:2]],
        [outside, unit_major, lists[:, :-1]],
        [outside, unit_major, lists.long()],
        [outside, unit_major, lists.T.contiguous().T],
        [outside, unit_major, lists, lists],
    ):
        with pytest.raises(ValueError, match=r"^gate_out: expected bits of 270 samples and perhaps plans"):
            run(z, weight, False, True, [inside], [], gate, 1, blocks)
    with pytest.raises(ValueError, match=r"^gate_a: expected bits of 270 samples"):
        run(z, weight, False, True, [inside[:9]], [], [outside], 1, blocks)
    with pytest.raises(ValueError, match=r"^b: expected torch.float32 and a shape that fits"):
        run(z, weight[:, :60], False, True, [inside], [], [outside], 1, blocks)
