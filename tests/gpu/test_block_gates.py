"""Masked products with gates of blocks on a CUDA device, by the kernels that skip blocks, against plain torch.

Whole numbers fit TF32 and bfloat16 and make the order of sums irrelevant: products are compared exactly.
"""

import pytest
import torch
from cases.blocks import Blocks
from cases.products import METHODS
from cases.tensors import factor

from gatentk import ops
from gatentk.gates import GateNetwork
from gatentk.nn import GReLUNetwork
from gatentk.ops.cuda_paths import PREDICTED
from gatentk.ops.cuda_products import say_that_it_is_dense

F32, F64, BF16 = torch.float32, torch.float64, torch.bfloat16
PRECISIONS = [(F32, "tf32x3"), (F32, "tf32"), (F64, "strict"), (BF16, "strict")]

# Ragged last blocks, rows of the batch beyond and below a tile, blocks of one and of several tiles.
SHAPES = [
    (260, (136, 72), (32, 64)),
    (130, (136, 104), (128, 32)),
    (9, (64, 72), (64, 32)),
    (1, (64, 256), (64, 256)),
]


class Layer:
    """A case's gates as layers, its factors, and its products on a device."""

    def __init__(self, case, device, off=torch.nan):
        self.case = case
        z, upstream = (torch.where(m, t, off) for m, t in zip(case.masks, (case.z, case.upstream), strict=True))
        self.z, self.weight, self.upstream = (t.to(device) for t in (z, case.weight, upstream))
        self.gates = [
            ops.GateLayer(gate[0].to(device), size, block) if gate else None
            for gate, size, block in zip(case.gates, case.sizes, case.blocks, strict=True)
        ]

    def products(self, **options):
        leaves = [t.detach().requires_grad_() for t in (self.z, self.weight)]
        out = ops.masked_linear(*leaves, *self.gates, **options)
        return [t.cpu() for t in (out.detach(), *torch.autograd.grad(out, leaves, self.upstream))]


def assert_exact(case, found):
    for name, out, exact in zip(("forward", "by z", "by weight"), found, case.exact(), strict=True):
        assert out.dtype == case.z.dtype
        assert torch.equal(out, exact.to(out.dtype)), name


@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS)
@pytest.mark.parametrize(("n", "sizes", "blocks"), SHAPES)
@pytest.mark.parametrize("gated", [("in", "out"), ("out",), ("in",)])
def test_products_and_gradients_of_whole_numbers(device, cpu, dtype, precision, n, sizes, blocks, gated):
    """What is off holds no numbers."""
    ops.select_cuda_precision(precision)
    with cpu():
        case = Blocks(n, sizes, blocks, dtype, gated=gated)
    assert_exact(case, Layer(case, device).products(method="masked"))


@pytest.mark.parametrize("precision", ["tf32x3", "tf32"])
def test_tf32_has_eleven_bits_and_three_products_have_those_of_float32(device, cpu, precision):
    ops.select_cuda_precision(precision)
    with cpu():
        case = Blocks(300, (256, 96), (32, 32), F32, entries=factor)
        size = [t.abs() for t in case.rows(F64)]
    z, weight, upstream = size
    bounds = z @ weight.T, upstream @ weight, upstream.T @ z
    found = Layer(case, device).products(method="masked")
    for out, exact, bound in zip(found, case.exact(), bounds, strict=True):
        error = ((out.double() - exact).abs() / bound.clamp(min=1e-30)).max()
        assert (2.0**-14 < error < 2.0**-9) if precision == "tf32" else (error < 2.0**-19)


@METHODS
def test_every_method_gives_the_product(device, cpu, method):
    with cpu():
        case = Blocks(270, (192, 128), (64, 32), F32)
    assert_exact(case, Layer(case, device).products(method=method))


@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("dtype", [F32, BF16])
def test_units_that_are_off_or_on_for_all(device, cpu, dtype, density):
    with cpu():
        case = Blocks(260, (128, 96), (32, 32), dtype, density)
    assert_exact(case, Layer(case, device).products(method="masked"))


def test_strict_products_are_dense_and_say_so(device, cpu):
    ops.select_cuda_precision("strict")
    with cpu():
        case = Blocks(260, (256, 320), (64, 32), F32)
    say_that_it_is_dense.cache_clear()
    with pytest.warns(UserWarning, match=r'^method="masked": .* strict'):
        assert_exact(case, Layer(case, device).products(method="masked"))


def test_lists_say_which_samples_are_on(device):
    generator = torch.Generator().manual_seed(0)
    for n, units in ((1, 1), (31, 3), (130, 5), (1025, 2)):
        mask = torch.rand(n, units, generator=generator) < 0.4
        layer = ops.GateLayer(ops.pack_bits(mask.to(device)), 32 * units, 32)
        unit_major, lists = layer.plans
        assert torch.equal(ops.unpack_bits(unit_major.cpu(), n), mask.T)
        assert lists.dtype == torch.int32
        for unit, row in enumerate(lists.cpu()):
            on, off = (torch.nonzero(m[:, unit])[:, 0] for m in (mask, ~mask))
            assert row.tolist() == [len(on), *on.tolist(), *off.tolist()]


def test_plans_that_were_written_to_are_made_again(device, cpu):
    with cpu():
        case = Blocks(260, (64, 96), (32, 32), F32)
    layer = Layer(case, device)
    assert_exact(case, layer.products(method="masked"))
    for gate in layer.gates:
        for plan in gate.plans:
            plan.zero_()
    assert_exact(case, layer.products(method="masked"))


def test_bits_without_a_layer_serve_as_well(device, cpu):
    with cpu():
        case = Blocks(260, (64, 96), (32, 32), F32)
    layer = Layer(case, device)
    layer.gates = [gate.bits for gate in layer.gates]
    assert_exact(case, layer.products(method="masked", block=32))


def test_a_bias_goes_where_gates_are_on(device, cpu):
    with cpu():
        case = Blocks(260, (64, 96), (32, 32), F32)
    layer = Layer(case, device)
    bias = torch.arange(96.0, device=device, requires_grad=True)
    out = ops.masked_linear(layer.z, layer.weight, *layer.gates, method="masked", bias=bias)
    assert torch.equal(out.detach().cpu().double(), case.exact()[0] + bias.detach().cpu() * case.masks[1])
    (by_bias,) = torch.autograd.grad(out, bias, layer.upstream)
    assert torch.equal(by_bias.cpu(), torch.where(case.masks[1], case.upstream, 0).sum(0))


def test_block_form(device, cpu):
    with cpu():
        case = Blocks(70, (64, 96), (32, 64), F64)
        forms = case.block_forms(off=torch.nan)
    (gate_in, gate_out), (z, upstream) = ([g.to(device) for g in gate] for gate in case.gates), forms
    z, upstream, weight = z.to(device), upstream.to(device), case.weight.to(device)
    found = (
        torch.ops.gatentk.block_product(z, weight, False, gate_in, gate_out, 64),
        torch.ops.gatentk.block_product(upstream, weight, True, gate_out, gate_in, 32),
        torch.ops.gatentk.block_weight_gradient(upstream, z, gate_out, gate_in, 96, 64),
    )
    with cpu():
        assert_exact(case, case.matrices([t.cpu() for t in found]))


# Gradients and transforms


def test_first_and_second_derivatives(device, cpu):
    with cpu():
        case = Blocks(8, (34, 36), (32, 32), F64, 0.6, entries=factor)
    layer = Layer(case, device, off=0.0)
    leaves = [t.requires_grad_() for t in (layer.z, layer.weight)]

    def product(z, weight):
        return ops.masked_linear(z, weight, *layer.gates, method="masked")

    assert torch.autograd.gradcheck(product, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(product, leaves, fast_mode=True)


@pytest.mark.parametrize("dims", [(0, None, 0, 0), (None, 0, None, None)])
def test_vmap(device, cpu, dims):
    with cpu():
        cases, others = ([Blocks(20, (64, 96), (32, 32), F32, seed=s) for s in seeds] for seeds in ((0, 1), (0, 0)))
        if dims[0] is None:
            cases, others = others, cases
        for case, other in zip(cases, others, strict=True):
            case.weight = other.weight
    columns = list(zip(*([c.z, c.weight, c.gates[0][0], c.gates[1][0]] for c in cases), strict=True))
    arguments = [c[0] if d is None else torch.stack(c) for c, d in zip(columns, dims, strict=True)]

    def product(*given):
        return ops.masked_linear(*given, method="masked", block=32)

    found = torch.func.vmap(product, dims)(*(t.to(device) for t in arguments))
    assert torch.equal(found.cpu(), torch.stack([case.exact()[0].float() for case in cases]))


def test_opcheck(device, cpu):
    with cpu():
        case = Blocks(6, (64, 40), (32, 32), F64)
    layer = Layer(case, device, off=0.0)
    (inside, outside), blocks = ([gate.bits, *gate.plans] for gate in layer.gates), [32, 1, 32]
    z, weight, upstream = (t.requires_grad_() for t in (layer.z, layer.weight, layer.upstream))
    matmul = torch.ops.gatentk.masked_matmul.default
    torch.library.opcheck(matmul, (z, weight, False, True, inside, [], outside, 1, blocks))
    torch.library.opcheck(matmul, (upstream, z, True, False, outside, inside, [], 1, [32, 32, 1]))
    torch.library.opcheck(torch.ops.gatentk.block_lists.default, (inside[1], 6))


def test_compiles_without_graph_breaks(device, cpu):
    with cpu():
        case = Blocks(20, (64, 96), (32, 32), F32)
    layer = Layer(case, device)

    def network(z, weight, inside, outside):
        gates = ops.GateLayer(inside, 64, 32), ops.GateLayer(outside, 96, 32)
        return ops.masked_linear(z, weight, *gates, method="masked")

    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    leaves = [t.clone().requires_grad_() for t in (layer.z, layer.weight)]
    out = compiled(*leaves, *(gate.bits for gate in layer.gates))
    out.backward(layer.upstream)
    assert_exact(case, [t.cpu() for t in (out.detach(), leaves[0].grad, leaves[1].grad)])


# Networks


@pytest.mark.parametrize("options", [{}, {"kind": "shallow"}])
@pytest.mark.parametrize("method", ["masked", "auto"])
def test_networks_and_their_gradients_are_those_of_the_cpu(device, cpu, generator, method, options):
    with cpu():
        gates = GateNetwork(8, 72, 2, generator, block=32, **options)
        net = GReLUNetwork(8, 72, 2, 4, gates, generator, F64)
        net.method = method
        x = torch.randn(40, 8, generator=generator, dtype=F64)
        expected = net(x)
        gradients = torch.autograd.grad(expected.square().sum(), list(net.weights))
    net.to(device)
    x = x.to(device)
    for table in (None, net.gate_table(x)):
        found = net(x, gates=table)
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-12, atol=1e-12)
        for ours, plain in zip(torch.autograd.grad(found.square().sum(), list(net.weights)), gradients, strict=True):
            torch.testing.assert_close(ours.cpu(), plain, rtol=1e-11, atol=1e-11)


# On a card: sizes that the emulation would take hours for


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "precision"), PRECISIONS)
@pytest.mark.parametrize("block", [32, 64, 128, 256])
def test_large_products_of_whole_numbers(cuda_device, dtype, precision, block):
    """Sums stay below 2^24, so float32 holds them."""
    ops.select_cuda_precision(precision)
    case = Blocks(4099, (1032, 2056), (block, block), dtype)
    layer = Layer(case, cuda_device)
    for method in ("masked", "auto"):
        assert_exact(case, layer.products(method=method))


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "precision"), [(F32, "tf32x3"), (F64, "strict"), (BF16, "strict")])
def test_products_are_as_accurate_as_those_of_torch(cuda_device, dtype, precision):
    """max|out - exact| <= 2 max|torch - exact|, and half a unit in the last place of the largest element."""
    ops.select_cuda_precision(precision)
    case = Blocks(2048, (1024, 1024), (128, 64), dtype, entries=factor)
    layer = Layer(case, cuda_device, off=0.0)
    exact = case.exact()
    plain = [t.to(dtype) for t in case.exact(F32 if dtype == BF16 else dtype)]
    for ours, theirs, result in zip(layer.products(method="masked"), plain, exact, strict=True):
        error, allowed = ((t.double() - result).abs().max() for t in (ours, theirs))
        assert error <= 2 * allowed + torch.finfo(dtype).eps / 2 * result.abs().max()


@pytest.mark.gpu
def test_auto_takes_the_kernels_on_cards_that_they_are_predicted_for(cuda_device):
    """And the torch profiler sees them there."""
    major, minor = torch.cuda.get_device_capability(cuda_device)
    least = PREDICTED.get(("forward", "bf16", 10 * major + minor))
    _, samples, width = least or (256, 4096, 2048)
    layer = Layer(Blocks(samples, (width, width), (256, 256), BF16), cuda_device)
    layer.products()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        layer.products()
    names = {event.name for event in profile.events()}
    assert any("block_matmul" in name for name in names) == (least is not None)


@pytest.mark.gpu
@pytest.mark.parametrize("layers", [False, True])
def test_a_training_step_is_captured_and_follows_its_gates(cuda_device, layers):
    """Lists that are made in a graph are those of the bits that stand there when it runs, layers that have some too."""
    case = Blocks(600, (256, 256), (64, 64), F32)
    layer = Layer(case, cuda_device)
    bits = [gate.bits for gate in layer.gates]
    other = Blocks(600, (256, 256), (64, 64), F32, seed=1)
    z, weight = (t.detach().requires_grad_() for t in (layer.z, layer.weight))

    def step():
        out = ops.masked_linear(z, weight, *(layer.gates if layers else bits), method="masked", block=64)
        return (out.detach(), *torch.autograd.grad(out, (z, weight), layer.upstream))

    side = torch.cuda.Stream(cuda_device)
    side.wait_stream(torch.cuda.current_stream(cuda_device))
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream(cuda_device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for now in (case, other):
        values = now.z, now.weight, now.upstream, *(gate[0] for gate in now.gates)
        with torch.no_grad():
            for old, new in zip((z, weight, layer.upstream, *bits), values, strict=True):
                old.copy_(new)
        graph.replay()
        assert_exact(now, [t.cpu() for t in captured])


@pytest.mark.gpu
def test_plans_that_a_graph_makes_stay_in_it(cuda_device):
    """A layer that met a product in a capture first has plans of its own outside of it."""
    case = Blocks(600, (256, 256), (64, 64), F32)
    warm, layer = Layer(case, cuda_device), Layer(case, cuda_device)
    warm.products(method="masked")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        captured = ops.masked_linear(layer.z, layer.weight, *layer.gates, method="masked")
    assert_exact(case, layer.products(method="masked"))
    graph.replay()
    assert torch.equal(captured.cpu(), case.exact()[0].float())
