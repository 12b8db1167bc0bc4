"""Gated networks whose values go from layer to layer in block form, against plain torch with the same gates."""

import pytest
import torch
from cases.networks import rows
from cases.tensors import with_threads
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ntk, ops
from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork, block_chain

WIDTHS = st.integers(1, 9) | st.sampled_from([31, 64, 65, 130])
METHODS = pytest.mark.parametrize("method", ops.METHODS)


def build(d_in=7, width=70, depth=2, d_out=2, block=16, kind="shallow", seed=0, dtype=torch.float32, **options):
    generator = torch.Generator().manual_seed(seed)
    gates = GateNetwork(d_in, width, depth, generator, block=min(block, width), kind=kind)
    net = GReLUNetwork(d_in, width, depth, d_out, gates, generator, dtype, **options)
    net.method = "masked"
    return net


def plain(net, x):
    """Output and values in plain torch."""
    masks = net.gate_table(x.detach()).expand().to_bool()
    t, values = x, []
    for weight, mask in zip((net.input_weight, *net.weights), masks, strict=True):
        t = torch.where(mask, t @ weight.T, 0)
        values.append(t)
    return t @ net.output_weight.T, values


def chained(monkeypatch):
    """How many networks went in block form from here on."""
    made = []

    class Counted(block_chain.BlockChain):
        def __init__(self, *arguments):
            made.append(1)
            super().__init__(*arguments)

    monkeypatch.setattr("gatentk.nn.gated.BlockChain", Counted)
    return made


@given(
    n=st.integers(0, 9) | st.sampled_from([64, 70]),
    d_in=WIDTHS,
    width=WIDTHS,
    depth=st.integers(1, 3),
    d_out=st.integers(1, 3) | st.sampled_from([256, 300]),
    block=st.integers(2, 70),
    kind=st.sampled_from(["shallow", "deep"]),
    train_ends=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_networks_and_their_gradients_equal_plain_torch(n, d_in, width, depth, d_out, block, kind, train_ends, seed):
    net = build(d_in, width, depth, d_out, block, kind, seed, torch.float64, train_ends=train_ends)
    x = rows(n, d_in, seed, torch.float64).requires_grad_()
    expected, values = plain(net, x)
    inputs = (x, *net.parameters())
    slopes = torch.autograd.grad(expected.square().sum(), inputs)
    table = net.gate_table(x.detach())
    for gates in (None, table, table[:]):
        result = net(x, gates)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result.square().sum(), inputs), slopes)
        torch.testing.assert_close(net.intermediate(x, gates), values)
        torch.testing.assert_close(net.activations(x, gates), values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_instruction_set_gives_the_network(isa, dtype):
    net, x = build(20, 200, block=32, dtype=dtype), rows(80, 20, dtype=dtype)
    expected, _ = plain(net, x)
    result = net(x)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        torch.autograd.grad(result.square().sum(), list(net.weights)),
        torch.autograd.grad(expected.square().sum(), list(net.weights)),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.filterwarnings("ignore:bfloat16 on the CPU:UserWarning")
def test_block_form_is_taken_where_it_pays(monkeypatch):
    made = chained(monkeypatch)
    for net, expected in (
        (build(), 1),
        (build(block=1), 0),
        (build().double(), 1),
        (build().bfloat16(), 0),
        (build(width=1100, depth=1, block=64), 1),
        (build(width=128, depth=1, block=4), 0),
        (build(width=1100, depth=1, block=2), 0),
    ):
        net.method = "auto"
        x = rows(100, dtype=net.input_weight.dtype)
        net(x)
        net.method = "dense"
        net(x)
        assert len(made) == expected
        made.clear()


@METHODS
def test_looking_gates_up_changes_no_bit(method, tmp_path):
    net, x = build(block=32, width=200), rows(90)
    net.method = method
    table, idx = net.gate_table(x, tmp_path / "gates"), torch.randperm(90, generator=torch.Generator().manual_seed(0))
    for some in (idx[:70], idx[:1], slice(0, 0)):
        results = []
        for gates in (None, table[some], GateTable.from_bool(table[some].to_bool(), 32, 200)):
            out = net(x[some], gates)
            results.append([out, *net.intermediate(x[some], gates)])
            results[-1] += torch.autograd.grad(out.square().sum(), list(net.weights))
        for found in results[1:]:
            assert all(map(torch.equal, found, results[0]))


def test_threads_change_no_bit():
    net, x = build(20, 200, block=32), rows(80, 20)

    def run():
        out = net(x)
        return [out, *torch.autograd.grad(out.square().sum(), list(net.weights))]

    assert all(map(torch.equal, with_threads(1, run), with_threads(2, run)))


def test_gradients_are_those_of_the_network_to_second_order():
    net, x = build(3, 7, 2, 2, 3, dtype=torch.float64), rows(4, 3, dtype=torch.float64)
    table = net.gate_table(x)

    def call(x, *weights):
        named = {f"weights.{k}": weight for k, weight in enumerate(weights)}
        return torch.func.functional_call(net, named, (x, table))

    inputs = [value.detach().clone().requires_grad_() for value in (x, *net.weights)]
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_what_gates_switch_off_is_an_exact_zero():
    net, x = build(), rows(20)
    for value, mask in zip(net.intermediate(x), net.gate_table(x).expand().to_bool(), strict=True):
        assert not value[~mask].any()


def test_what_is_not_a_number_shows():
    net, x = build(), rows(5)
    x[2, 3] = torch.nan
    out = net(x)
    assert out[2].isnan().all()
    torch.testing.assert_close(out[:2], net(x[:2]))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_values_are_rounded_between_layers_under_autocast(low):
    net, x = build(20, 130), rows(20, 20)
    expected = []
    for method in ("masked", "dense"):
        net.method = method
        with torch.autocast("cpu", dtype=low):
            outs = [net(x), net(x, net.gate_table(x)), net(x.to(low), net.gate_table(x))]
        assert {out.dtype for out in outs} == {low}
        assert torch.equal(outs[0], outs[1])
        slopes = torch.autograd.grad(outs[0].float().square().sum(), list(net.weights))
        assert {slope.dtype for slope in slopes} == {torch.float32}
        expected.append([out.detach().float() for out in outs] + list(slopes))
    for found, dense in zip(*expected, strict=True):
        assert float((found - dense).norm() / dense.norm()) < 0.02


@pytest.mark.parametrize("autocast", [False, True])
def test_compiles_without_graph_breaks(autocast):
    net, x = build(), rows(40)
    torch.compiler.reset()
    compiled, table = torch.compile(net, fullgraph=True, backend="aot_eager"), net.gate_table(x)
    for gates in (None, table):
        found = []
        for call in (net, compiled):
            with torch.autocast("cpu", enabled=autocast):
                out = call(x, gates)
            found.append([out, *torch.autograd.grad(out.float().square().sum(), list(net.weights))])
        torch.testing.assert_close(*found)


@pytest.mark.filterwarnings(  # torch itself loads its rules for forward mode by it
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning"
)
def test_transforms_of_functions_see_samples():
    net, x = build(dtype=torch.float64), rows(6, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(net, 1)(x[:, None].expand(6, 2, 7)), net(x).expand(2, 6, 2))
    tangent = rows(6, seed=4, dtype=torch.float64)
    table = net.gate_table(x)
    found = torch.func.jvp(lambda x: net(x, table), (x,), (tangent,))[1]
    torch.testing.assert_close(found, torch.autograd.functional.jvp(lambda x: net(x, table), x, tangent)[1])
    layerwise, jacobian = (ntk.empirical(net, x, method=method) for method in ("layerwise", "jacobian"))
    torch.testing.assert_close(layerwise, jacobian)


def test_training_in_block_form_lowers_the_loss():
    net, x, y = build(), rows(40), rows(40, 2, seed=2)
    table, losses = net.gate_table(x), []
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for step in range(30):
        idx = torch.randperm(40, generator=torch.Generator().manual_seed(step))[:20]
        optimizer.zero_grad()
        loss = (net(x[idx], table[idx]) - y[idx]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    with torch.inference_mode():
        out = net(x, table)
    torch.testing.assert_close(out, net(x))
