import copy
import io
import pickle

import pytest
import torch
from cases.networks import KINDS, build, plain, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import ntk, ops
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork

SIZES = st.integers(1, 9) | st.sampled_from([63, 64, 65, 130])


@KINDS
def test_only_the_square_weights_are_trained(kind):
    net = build(kind, 3, 5, 2, 4)
    assert [name for name, _ in net.named_parameters()] == ["weights.0", "weights.1"]
    assert [tuple(w.shape) for w in net.weights] == [(5, 5), (5, 5)]
    assert net.input_weight.shape == (5, 3)
    assert net.output_weight.shape == (4, 5)
    assert not net.input_weight.requires_grad
    assert not net.output_weight.requires_grad
    assert (net.d_in, net.width, net.depth, net.d_out) == (3, 5, 2, 4)
    assert "d_in=3, width=5, depth=2, d_out=4" in repr(net)


@KINDS
def test_variances_of_the_weights(kind):
    net = build(kind, 50, 300, 2, 40)
    drawn = [(net.input_weight, 2 / 50), (net.output_weight, 2 / 40), *((w.detach(), 2 / 300) for w in net.weights)]
    if kind is GReLUNetwork:
        drawn += [(psi, 2 / 300) for psi in net.gate_net.weights]
    for weight, variance in drawn:
        assert abs(float(weight.square().mean()) / variance - 1) < 5 * (2 / weight.numel()) ** 0.5
        assert abs(float(weight.mean())) < 5 * (variance / weight.numel()) ** 0.5


def test_the_same_seed_gives_both_networks_the_same_weights_drawn_in_the_documented_order():
    gated, relu = build(GReLUNetwork, seed=3), build(ReLUNetwork, seed=3)
    generator = torch.Generator().manual_seed(3)

    def drawn(rows, columns):
        return torch.randn(rows, columns, generator=generator)

    order = [drawn(70, 7) * (2 / 7) ** 0.5, drawn(2, 70)] + [drawn(70, 70) * (2 / 70) ** 0.5 for _ in range(6)]
    for net in (gated, relu):
        for weight, expected in zip((net.input_weight, net.output_weight, *net.weights), order, strict=False):
            torch.testing.assert_close(weight.detach(), expected)
        assert all(torch.equal(a, b) for a, b in zip(net.weights, gated.weights, strict=True))
    assert torch.equal(gated.input_weight, gated.gate_net.input_weight)
    for psi, expected in zip(gated.gate_net.weights, order[5:], strict=True):
        torch.testing.assert_close(psi, expected)


@given(n=SIZES, d_in=SIZES, width=SIZES, depth=st.integers(1, 3), d_out=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_networks_and_their_gradients_equal_plain_torch(n, d_in, width, depth, d_out, seed):
    x = rows(n, d_in, seed, torch.float64)
    for kind, options in ((GReLUNetwork, {}), (ReLUNetwork, {}), (ReLUNetwork, {"last_relu": False})):
        net = build(kind, d_in, width, depth, d_out, seed, dtype=torch.float64, **options)
        expected, values = plain(net, x)
        slopes = torch.autograd.grad(expected.square().sum(), list(net.weights))
        calls = [{}]
        if kind is GReLUNetwork:
            calls += [{"gates": net.gate_table(x)}, {"gates": GateTable.from_bool(net.gate_table(x).to_bool())}]
        for options_of_call in calls:
            result = net(x, **options_of_call)
            torch.testing.assert_close(result, expected)
            torch.testing.assert_close(torch.autograd.grad(result.square().sum(), list(net.weights)), slopes)
            torch.testing.assert_close(net.intermediate(x, **options_of_call), values)


@pytest.mark.parametrize("method", ops.METHODS)
@KINDS
def test_methods_give_the_same_network(isa, kind, method):
    net, x = build(kind, width=200, dtype=torch.float64), rows(80, dtype=torch.float64)
    net.method = method
    expected, _ = plain(net, x)
    torch.testing.assert_close(net(x), expected)
    torch.testing.assert_close(
        torch.autograd.grad(net(x).square().sum(), list(net.weights)),
        torch.autograd.grad(expected.square().sum(), list(net.weights)),
    )


@KINDS
def test_no_sample_gives_no_output(kind):
    assert build(kind)(torch.empty(0, 7)).shape == (0, 2)


@KINDS
def test_state_dict_round_trip(kind):
    net, other, x = build(kind), build(kind, seed=5), rows(20)
    stored = io.BytesIO()
    torch.save(net.state_dict(), stored)
    stored.seek(0)
    assert not torch.equal(net(x), other(x))
    other.load_state_dict(torch.load(stored))
    assert torch.equal(net(x), other(x))
    if kind is GReLUNetwork:
        assert torch.equal(net(x), other(x, gates=net.gate_table(x)))


@KINDS
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_are_equal_and_independent(kind, duplicate):
    net, x = build(kind), rows(20)
    net(x)
    other = duplicate(net)
    before = net(x)
    assert torch.equal(other(x), before)
    with torch.no_grad():
        other.weights[1].zero_()
        other.input_weight.zero_()
    assert torch.equal(net(x), before)
    if kind is GReLUNetwork:
        assert other.gate_net.fingerprint == net.gate_net.fingerprint


@KINDS
def test_conversion_changes_the_dtype_of_the_network(kind):
    net, x = build(kind), rows(20)
    before = net(x)
    net.to(torch.float64)
    assert {t.dtype for t in (net.input_weight, net.output_weight, *net.weights)} == {torch.float64}
    result = net(x.double())
    assert result.dtype == torch.float64
    torch.testing.assert_close(result.float(), before, rtol=1e-4, atol=1e-4)
    assert torch.equal(net.float()(x), before)


@KINDS
def test_functional_call_uses_the_weights_it_is_given(kind):
    net, other, x = build(kind), build(kind, seed=5), rows(20)
    with torch.no_grad():
        expected = copy.deepcopy(net)
        for weight, value in zip(expected.weights, other.weights, strict=True):
            weight.copy_(value)
    weights = {name: p.detach().clone().requires_grad_() for name, p in other.named_parameters()}
    result = torch.func.functional_call(net, weights, (x,))
    assert torch.equal(result, expected(x))
    if kind is GReLUNetwork:
        assert torch.equal(result, torch.func.functional_call(net, weights, (x,), {"gates": net.gate_table(x)}))
    slopes = torch.autograd.grad(result.sum(), list(weights.values()))
    torch.testing.assert_close(slopes, torch.autograd.grad(expected(x).sum(), list(expected.weights)))
    assert all(p.grad is None for p in net.parameters())


OPTIMIZERS = {
    "SGD": lambda weights: torch.optim.SGD(weights, 1e-5, momentum=0.9),
    "Adam": lambda weights: torch.optim.Adam(weights, 1e-3),
    "AdamW": lambda weights: torch.optim.AdamW(weights, 1e-3),
    "LBFGS": lambda weights: torch.optim.LBFGS(weights, 0.1),
}


@KINDS
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_lower_the_loss_and_touch_only_the_weights(kind, name):
    net, x, y = build(kind), rows(40), rows(40, 2, seed=2)
    options = {"gates": net.gate_table(x)} if kind is GReLUNetwork else {}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    weights = [w.detach().clone() for w in net.weights]
    optimizer = OPTIMIZERS[name](net.parameters())

    def closure():
        optimizer.zero_grad()
        loss = 0.5 * (net(x, **options) - y).square().sum()
        loss.backward()
        return loss.detach()

    first = float(optimizer.step(closure))
    for _ in range(5 if name == "LBFGS" else 20):
        optimizer.step(closure)
    assert float(closure()) < 0.5 * first
    assert all(not torch.equal(a, b) for a, b in zip(net.weights, weights, strict=True))
    assert all(torch.equal(b, buffers[name]) for name, b in net.named_buffers())


@KINDS
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_without_graph_breaks(kind, backend):
    net, x = build(kind), rows(40)
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    calls = [{}] * 2
    if kind is GReLUNetwork:
        table = net.gate_table(x)
        calls += [{"gates": table}, {"gates": table}, {"gates": net.gate_table(x)}]
    for options in calls:
        expected, result = net(x, **options), compiled(x, **options)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(
            torch.autograd.grad(result.square().sum(), list(net.weights)),
            torch.autograd.grad(expected.square().sum(), list(net.weights)),
        )


@KINDS
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "d_in: expected an integer of at least 1, got 0", (0, 5, 1), {}),
        (ValueError, "width: expected an integer of at least 1, got 0", (3, 0, 1), {}),
        (ValueError, "depth: expected an integer of at least 1, got 0", (3, 5, 0), {}),
        (ValueError, "d_out: expected an integer of at least 1, got 0", (3, 5, 1, 0), {}),
        (TypeError, "width: expected an integer, got float 5.0", (3, 5.0, 1), {}),
        (TypeError, "dtype: expected torch.float32 or torch.float64", (3, 5, 1), {"dtype": torch.float16}),
    ],
)
def test_bad_sizes_of_networks_with_fixed_ends_are_refused(kind, error, message, arguments, options):
    with pytest.raises(error, match=message):
        kind(*arguments, **options)


@KINDS
@pytest.mark.parametrize(
    ("error", "message", "x"),
    [
        (TypeError, "x: expected a torch tensor, got an array", rows(6).numpy()),
        (ValueError, r"x: expected shape \(n, 7\), got", rows(6)[:, :6]),
        (ValueError, r"x: expected shape \(n, 7\), got", rows(6)[0]),
        (ValueError, r"x: expected shape \(n, 7\), got", rows(6)[None]),
        (TypeError, "x: expected torch.float32 as the network's weights, got", rows(6).double()),
        (TypeError, "x: expected torch.float32 as the network's weights, got", rows(6).int()),
    ],
)
def test_samples_that_do_not_fit_are_refused(kind, error, message, x):
    net = build(kind)
    for call in (net, net.intermediate):
        with pytest.raises(error, match=message):
            call(x)


@KINDS
def test_unknown_methods_are_refused(kind):
    net = build(kind)
    net.method = "sparse"
    with pytest.raises(ValueError, match="method: expected one of 'auto', 'masked', 'dense', got 'sparse'"):
        net(rows(6))


# Trained ends


@KINDS
def test_ends_are_trained_where_that_is_asked_for(kind):
    net, fixed, x = build(kind, train_ends=True, dtype=torch.float64), build(kind), rows(20, dtype=torch.float64)
    names = ["input_weight", "output_weight", "weights.0", "weights.1", "weights.2"]
    assert [name for name, _ in net.named_parameters()] == names
    assert sorted(net.state_dict()) == sorted(fixed.state_dict())
    assert "train_ends=True" in repr(net)
    expected, _ = plain(net, x)
    result = net(x)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(
        torch.autograd.grad(result.square().sum(), list(net.parameters())),
        torch.autograd.grad(expected.square().sum(), list(net.parameters())),
    )


@KINDS
def test_trained_ends_draw_the_same_numbers_and_load_what_fixed_ones_stored(kind):
    trained, fixed, x = build(kind, train_ends=True), build(kind), rows(9)
    assert all(torch.equal(value, fixed.state_dict()[name]) for name, value in trained.state_dict().items())
    other = build(kind, train_ends=True, seed=5)
    other.load_state_dict(fixed.state_dict())
    assert torch.equal(other(x), fixed(x))


def test_training_the_ends_changes_no_gate():
    net, x = build(GReLUNetwork, train_ends=True), rows(20)
    table, before = net.gate_table(x), net(x)
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    net(x).square().mean().backward()
    optimizer.step()
    assert net.input_weight.grad.any()
    assert torch.equal(net.gate_table(x).bits, table.bits)
    assert torch.equal(net(x), net(x, gates=table))
    assert not torch.equal(net(x), before)


@KINDS
@pytest.mark.parametrize("components", [False, True])
def test_the_kernel_counts_trained_ends(kind, components):
    net, x = build(kind, 5, 20, 2, 3, train_ends=True, dtype=torch.float64), rows(6, 5, dtype=torch.float64)
    layerwise, jacobian = (
        ntk.empirical(net, x, components=components, method=method) for method in ("layerwise", "jacobian")
    )
    if components:  # parameters in the order of the layers, and in that of the module
        assert len(layerwise) == 4
        jacobian = jacobian[[0, 2, 3, 1]]
    torch.testing.assert_close(layerwise, jacobian)


@KINDS
def test_an_answer_to_train_ends_is_a_bool(kind):
    with pytest.raises(TypeError, match="train_ends: expected a bool, got int 1"):
        build(kind, train_ends=1)
