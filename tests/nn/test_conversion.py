"""Modules in other dtypes than they were made in, under autocast, and made without memory."""

import copy
import pickle

import pytest
import torch
from cases.networks import KINDS, build, rows
from torch._subclasses.fake_tensor import FakeTensorMode

from gatentk import ops
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GatedLinear, GReLULinear, GReLUNetwork, ReLUNetwork

LOW = [torch.bfloat16, torch.float16]
NETWORKS = pytest.mark.parametrize("kind", [GReLUNetwork, ReLUNetwork, MLP])
METHODS = pytest.mark.parametrize("method", ops.METHODS)
SIZES = {
    GReLULinear: (4, 6),
    GatedLinear: (4, 6, True, 2),
    MLP: (4, 6, 2),
    ReLUNetwork: (4, 6, 2),
    GReLUNetwork: (4, 6, 2),
    GateNetwork: (4, 6, 2),
}
MODULES = pytest.mark.parametrize("kind", SIZES)


def make(kind, method="auto", **options):
    net = build(kind, width=520 if kind is ReLUNetwork else 70, **options)
    net.method = method
    return net


def values_rounded(net, x, low, gates=None):
    """Output in float64 of values that are rounded between the layers, where an element is off as `net` says."""

    def product(z, weight):
        return (z.double() @ weight.detach().double().T).to(low)

    on = None if gates is None else gates.to_bool()
    z = product(x, net.input_weight)
    for k, weight in enumerate(net.weights):
        z = torch.where(on[k], z, 0) if on is not None else z.relu()
        z = product(z, weight)
    z = torch.where(on[-1], z, 0) if on is not None else z.relu()
    return product(z, net.output_weight)


# Autocast


@pytest.mark.parametrize("low", LOW)
@METHODS
@KINDS
def test_networks_under_autocast_round_between_their_layers(kind, method, low):
    """Up to the few values that two ways to sum round to different neighbours."""
    net, x = make(kind, method), rows(20)
    table = net.gate_table(x)
    expected = values_rounded(net, x, low, table).double()
    with torch.autocast("cpu", dtype=low):
        outs = [net(x)] + ([net(x, gates=table)] if table is not None else [])
    for out in outs:
        assert out.dtype == low
        torch.testing.assert_close(
            out.double(), expected, rtol=0, atol=4 * torch.finfo(low).eps * float(expected.abs().max())
        )
    assert all(torch.equal(out, outs[0]) for out in outs)


@pytest.mark.parametrize("x_dtype", [torch.float32, *LOW])
def test_gates_are_those_without_autocast(x_dtype):
    net, x = build(GReLUNetwork, width=200), rows(40).to(x_dtype)
    expected = net.gate_net.table(x.float())
    with torch.autocast("cpu"):
        assert torch.equal(net.gate_table(x).bits, expected.bits)
        assert torch.equal(net.gate_net.gates(x), expected.bits)
        assert torch.equal(net.patterns(x).bits, expected.bits)
        assert all(
            torch.equal(layer.bits, bits) for layer, bits in zip(net.gate_layers(x, None), expected.bits, strict=True)
        )
        assert torch.equal(net(x), net(x, gates=expected))
        for t, on in zip(net.intermediate(x), expected.to_bool(), strict=True):
            assert not t[~on].any()
    assert torch.equal(net.gate_table(x).bits, expected.bits)


@NETWORKS
def test_float64_networks_do_not_notice_autocast(kind):
    net, x = build(kind, dtype=torch.float64), rows(20, dtype=torch.float64)
    expected = net(x)
    with torch.autocast("cpu"):
        found = net(x)
    assert found.dtype == torch.float64
    assert torch.equal(found, expected)


@pytest.mark.parametrize("cache_enabled", [True, False])
@METHODS
@NETWORKS
def test_training_under_autocast_lowers_the_loss(kind, method, cache_enabled):
    """The gradients are near those of float32 and have their dtype."""
    net, x, y = make(kind, method), rows(40), rows(40, 2, seed=2)
    first = (net(x) - y).square().mean()
    exact = torch.autograd.grad(first, list(net.parameters()))
    rate = 0.1 * float(first.detach()) / sum(float(slope.square().sum()) for slope in exact)
    optimizer, losses = torch.optim.SGD(net.parameters(), rate), []
    for step in range(8):
        optimizer.zero_grad()
        with torch.autocast("cpu", cache_enabled=cache_enabled):
            loss = (net(x) - y).square().mean()
        loss.backward()
        if step == 0:
            for parameter, slope in zip(net.parameters(), exact, strict=True):
                assert parameter.grad.dtype == torch.float32
                assert float((parameter.grad - slope).norm() / slope.norm()) < 0.05
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@NETWORKS
def test_networks_compile_under_autocast_without_graph_breaks(kind):
    net, x = build(kind), rows(20)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    options = [{}, {"gates": net.gate_table(x)}] if kind is GReLUNetwork else [{}]
    for given in options:
        results = []
        for call in (net, compiled):
            with torch.autocast("cpu"):
                out = call(x, **given)
            results.append([out, *torch.autograd.grad(out.float().square().sum(), list(net.parameters()))])
        assert results[0][0].dtype == results[1][0].dtype == torch.bfloat16
        torch.testing.assert_close(*results)


def test_a_layer_has_one_dtype_whether_its_inputs_hold_zeros_or_not():
    layer, z = GReLULinear(600, 600), rows(8, 600)
    on = ops.pack_bits(torch.ones(8, 600, dtype=torch.bool))
    with torch.autocast("cpu"):
        outs = [layer(z, None, on), layer(z.relu(), None, on), layer(z.bfloat16(), None, on), layer(z, on)]
        with torch.autocast("cpu", enabled=False):
            outs.append(layer(z, None, on).bfloat16())
    assert {out.dtype for out in outs} == {torch.bfloat16}
    assert torch.equal(outs[0], outs[4])


# Conversions


@METHODS
@KINDS
@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU:UserWarning")
def test_bfloat16_networks_work_on_the_cpu(kind, method):
    net, x = make(kind, method).bfloat16(), rows(20).bfloat16()
    table = net.gate_table(x)
    out = net(x)
    expected = values_rounded(net, x, torch.bfloat16, table).double()
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=2**-6 * float(expected.abs().max()))
    if table is not None:
        assert torch.equal(net(x, gates=table), out)
    out.sum().backward()
    assert all(weight.grad.dtype == torch.bfloat16 and weight.grad.any() for weight in net.weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64, torch.float8_e4m3fn])
@pytest.mark.parametrize("kind", [GReLULinear, GatedLinear, ReLUNetwork, GReLUNetwork])
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_conversions_to_what_no_product_takes_are_refused_at_once(kind, dtype):
    module = kind(*SIZES[kind])
    before = copy.deepcopy(module.state_dict())
    with pytest.raises(TypeError, match=rf"^dtype: {kind.__name__} can be converted to .*bfloat16, not to {dtype}"):
        module.to(dtype)
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


# Without memory


def skipped(kind):
    return torch.nn.utils.skip_init(kind, *SIZES[kind])


def emptied(kind):
    with torch.device("meta"):
        module = kind(*SIZES[kind], generator=torch.Generator())
    return module.to_empty(device="cpu")


def named(kind):
    return kind(*SIZES[kind], device="meta").to_empty(device="cpu")


def assigned(kind):
    with torch.device("meta"):
        return kind(*SIZES[kind])


def copied(kind):
    return copy.deepcopy(assigned(kind)).to_empty(device="cpu")


def pickled(kind):
    return pickle.loads(pickle.dumps(assigned(kind)))


@MODULES
@pytest.mark.parametrize("how", [skipped, emptied, named, assigned, copied, pickled])
def test_modules_are_made_without_memory_and_loaded(kind, how):
    source, module, x = kind(*SIZES[kind]), how(kind), rows(9, 4)
    module.load_state_dict(source.state_dict(), assign=how in (assigned, pickled))
    assert "meta" not in {value.device.type for value in module.state_dict().values()}
    if kind is GateNetwork:
        assert module.fingerprint == source.fingerprint
        assert torch.equal(module.table(x).bits, source.table(x).bits)
    else:
        gates = [ops.pack_bits(x > 0)] if kind is GReLULinear else []
        assert torch.equal(module(x, *gates), source(x, *gates))
        assert {n: p.requires_grad for n, p in module.named_parameters()} == dict.fromkeys(
            dict(source.named_parameters()), True
        )
    if kind is GReLUNetwork:
        assert torch.equal(module(x, gates=source.gate_table(x)), source(x))


@MODULES
def test_no_number_is_drawn_for_a_shape(kind):
    state = torch.get_rng_state()
    for context in (torch.device("meta"), FakeTensorMode()):
        with context:
            module = kind(*SIZES[kind])
        real = kind(*SIZES[kind], generator=torch.Generator()).state_dict()
        shapes = {name: value.shape for name, value in real.items()}
        assert {name: value.shape for name, value in module.state_dict().items()} == shapes
        assert all(value.is_meta or isinstance(context, FakeTensorMode) for value in module.state_dict().values())
    assert torch.equal(torch.get_rng_state(), state)


def test_given_gates_keep_their_values():
    gates = GateNetwork(4, 6, 2)
    with torch.device("meta"):
        net = GReLUNetwork(4, 6, 2, gates=gates)
    assert net.gate_net is gates
    assert torch.equal(net.input_weight, gates.input_weight)
    assert net.weights[0].is_meta
    for message, call in (
        ("^device: expected that of gates, cpu, got meta", lambda: GReLUNetwork(4, 6, 2, gates=gates, device="meta")),
        (
            "^device: expected that of input_weight, cpu, got meta",
            lambda: GateNetwork(4, 6, 2, input_weight=gates.input_weight, device="meta"),
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@MODULES
def test_a_device_changes_no_bit(kind):
    first, second = (
        kind(*SIZES[kind], generator=torch.Generator().manual_seed(1), **options) for options in ({}, {"device": "cpu"})
    )
    with torch.device("cpu"):
        third = kind(*SIZES[kind], generator=torch.Generator().manual_seed(1))
    for a, b, c in zip(*(module.state_dict().values() for module in (first, second, third)), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
