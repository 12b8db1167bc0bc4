"""The networks of both papers: shapes, scales, statistics of their weights, use as torch modules, and every refusal."""

import copy
import io
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from gatentk import GateTableError, ntk, ops, reference
from gatentk.gates import GateLayer, GateNetwork, GateTable
from gatentk.nn import MLP, GReLULinear, GReLUNetwork, ReLUNetwork

# The network of [S], Eq. 1-3


def test_weights_have_the_shapes_of_the_layers():
    net = MLP(3, 7, 2, 4)
    assert [tuple(w.shape) for w in net.weights] == [(7, 3), (7, 7), (4, 7)]
    assert [name for name, _ in net.named_parameters()] == ["weights.0", "weights.1", "weights.2"]
    assert [tuple(w.shape) for w in MLP(3, 7, 0, 4).weights] == [(4, 3)]


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_forward_is_equation_1_to_3(activation, depth, generator):
    net = MLP(3, 7, depth, 2, activation, generator, torch.float64)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    expected = []
    for sample in x:
        alpha = sample
        for weight in list(net.weights)[:-1]:
            pre = weight @ alpha
            alpha = math.sqrt(2 / 7) * pre.clamp(min=0) if activation == "relu" else math.sqrt(1 / 7) * pre
        expected.append(net.weights[-1] @ alpha)
    torch.testing.assert_close(net(x), torch.stack(expected))
    torch.testing.assert_close(net(x.view(1, 5, 3)), torch.stack(expected).view(1, 5, 2))


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_wide_layers_preserve_the_norm(activation, generator):
    x, seeds = torch.randn(1, 6, generator=generator, dtype=torch.float64), 30
    nets = [MLP(6, 256, 3, 50, activation, generator, torch.float64) for _ in range(seeds)]
    outputs = torch.cat([net(x).detach() for net in nets])
    means = outputs.square().mean(1)
    assert abs(float(means.mean() - x.square().sum())) <= 4.5 * float(means.std()) / seeds**0.5


def test_weights_are_standard_normal(generator):
    weights = torch.cat([w.detach().flatten() for w in MLP(50, 200, 2, 10, generator=generator).weights])
    assert abs(float(weights.mean())) < 5 / len(weights) ** 0.5
    assert abs(float(weights.var()) - 1) < 5 * (2 / len(weights)) ** 0.5


def test_a_generator_fixes_the_weights_and_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    first, second = (MLP(3, 5, 1, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.weights, second.weights, strict=True))


def test_dtype_is_that_asked_for_or_the_default_one():
    assert MLP(3, 5, 1, dtype=torch.float64).weights[0].dtype == torch.float64
    assert MLP(3, 5, 1).weights[0].dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert MLP(3, 5, 1).weights[0].dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_state_can_be_stored_and_loaded(generator):
    net, other = MLP(3, 5, 2), MLP(3, 5, 2)
    other.load_state_dict(net.state_dict())
    x = torch.randn(4, 3, generator=generator)
    assert torch.equal(net(x), other(x))


def test_repr_tells_the_sizes():
    assert "d_in=3, width=5, depth=2, d_out=1, activation='linear'" in repr(MLP(3, 5, 2, activation="linear"))


@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "d_in: expected an integer of at least 1, got 0", (0, 5, 1), {}),
        (ValueError, "width: expected an integer of at least 1, got 0", (3, 0, 1), {}),
        (ValueError, "depth: expected an integer of at least 0, got -1", (3, 5, -1), {}),
        (ValueError, "d_out: expected an integer of at least 1, got 0", (3, 5, 1, 0), {}),
        (TypeError, "width: expected an integer, got float 5.0", (3, 5.0, 1), {}),
        (TypeError, "depth: expected an integer, got bool True", (3, 5, True), {}),
        (ValueError, "activation: expected one of 'relu', 'linear', got 'tanh'", (3, 5, 1), {"activation": "tanh"}),
        (TypeError, "dtype: expected torch.float32 or torch.float64", (3, 5, 1), {"dtype": torch.float16}),
    ],
)
def test_bad_sizes_and_names_are_refused(error, message, arguments, options):
    with pytest.raises(error, match=message):
        MLP(*arguments, **options)


# One gated layer


def bits_of(generator, n, width):
    return ops.pack_bits(torch.rand(n, width, generator=generator) < 0.5)


@pytest.mark.parametrize("method", ops.METHODS)
def test_gated_layer_is_the_masked_product_of_the_reference(method, generator):
    layer = GReLULinear(150, 70, generator, torch.float64)
    layer.method = method
    z = torch.randn(90, 150, generator=generator, dtype=torch.float64, requires_grad=True)
    gate_in, gate_out = bits_of(generator, 90, 150), bits_of(generator, 90, 70)
    for inside, outside in ((None, None), (gate_in, None), (None, gate_out), (gate_in, gate_out)):
        expected = reference.masked_linear(z, layer.weight, inside, outside)
        cotangent = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        for wrap in (lambda bits, width: bits, GateLayer):
            rows = [None if g is None else wrap(g, w) for g, w in ((inside, 150), (outside, 70))]
            result = layer(z, *rows)
            torch.testing.assert_close(result, expected)
            inputs = (z, layer.weight)
            torch.testing.assert_close(
                torch.autograd.grad(result, inputs, cotangent),
                torch.autograd.grad(expected, inputs, cotangent, retain_graph=True),
            )


def test_gated_layers_keep_the_mean_square_of_the_values_that_they_read():
    weight = GReLULinear(300, 400, torch.Generator().manual_seed(0)).weight.detach()
    assert weight.shape == (400, 300)
    assert abs(float(weight.square().mean()) * 300 / 2 - 1) < 5 * (2 / weight.numel()) ** 0.5
    assert abs(float(weight.mean())) < 5 * (2 / 300 / weight.numel()) ** 0.5
    assert repr(GReLULinear(3, 4)) == "GReLULinear(in_features=3, out_features=4)"
    assert GReLULinear(3, 4, dtype=torch.float64).weight.dtype == torch.float64


LAYER, Z = GReLULinear(150, 70), torch.ones(4, 150)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "in_features: expected an integer of at least 1", lambda: GReLULinear(0, 4)),
        (TypeError, "out_features: expected an integer", lambda: GReLULinear(4, 4.0)),
        (TypeError, "dtype: expected torch.float32 or torch.float64", lambda: GReLULinear(4, 4, dtype=torch.int32)),
        (ValueError, r"weight: expected shape \(out_features, 149\)", lambda: LAYER(Z[:, 1:])),
        (TypeError, "weight: expected torch.float64 as z", lambda: LAYER(Z.double())),
        (TypeError, "gate_in: expected packed bits", lambda: LAYER(Z, Z > 0)),
        (
            ValueError,
            "gate_in: expected rows of 32 bytes for width 150",
            lambda: LAYER(Z, ops.pack_bits(Z[:, :70] > 0)),
        ),
        (ValueError, "gate_out: expected rows of 16 bytes for width 70", lambda: LAYER(Z, None, ops.pack_bits(Z > 0))),
        (ValueError, r"gate_in: expected bits of \(4,\) rows", lambda: LAYER(Z, ops.pack_bits(Z[1:] > 0))),
    ],
)
def test_bad_gates_of_a_layer_are_refused_by_name(error, message, call):
    with pytest.raises(error, match=message):
        call()


# The networks of [G]: C and B fixed, W_1 .. W_depth trained

SIZES = st.integers(1, 9) | st.sampled_from([63, 64, 65, 130])
KINDS = pytest.mark.parametrize("kind", [GReLUNetwork, ReLUNetwork])


def build(kind, d_in=7, width=70, depth=3, d_out=2, seed=0, **options):
    return kind(d_in, width, depth, d_out, generator=torch.Generator().manual_seed(seed), **options)


def rows(n, d_in=7, seed=1, dtype=torch.float32):
    return torch.randn(n, d_in, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gates_in_plain_torch(net, x):
    """z_0 = relu(C x), z_k = relu(Psi_k z_{k-1}), D_k = [z_k > 0]."""
    z, gates = torch.relu(x @ net.gate_net.input_weight.T), []
    for psi in (*net.gate_net.weights, None):
        gates.append(z > 0)
        z = z if psi is None else torch.relu(z @ psi.T)
    return gates


def plain(net, x):
    """Output and intermediate values of either network in plain torch."""
    if isinstance(net, GReLUNetwork):
        gates = gates_in_plain_torch(net, x)
        ends = net.input_weight, net.output_weight
        values = [gates[0] * (x @ net.input_weight.T)]
        for gate, weight in zip(gates[1:], net.weights, strict=True):
            values.append(gate * (values[-1] @ weight.T))
        return reference.grelu_network(x, gates, list(net.weights), *ends), values
    values = [x @ net.input_weight.T]
    for weight in net.weights:
        values.append(torch.relu(values[-1]) @ weight.T)
    last = torch.relu(values[-1]) if net.last_relu else values[-1]
    return last @ net.output_weight.T, values


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


def test_a_given_gate_network_is_used_as_it_is():
    gates = GateNetwork(7, 70, 3, torch.Generator().manual_seed(1))
    net = GReLUNetwork(7, 70, 3, gates=gates, dtype=torch.float64)
    assert net.gate_net is gates
    assert net.input_weight.dtype == torch.float64
    assert torch.equal(net.input_weight, gates.input_weight.double())
    assert gates.input_weight.dtype == torch.float32
    with torch.no_grad():
        GReLUNetwork(7, 70, 3, gates=gates).input_weight.zero_()
    assert torch.equal(net.input_weight, gates.input_weight.double())


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


def test_gates_have_no_gradient_but_samples_have_one():
    net, x = build(GReLUNetwork, dtype=torch.float64), rows(5, dtype=torch.float64).requires_grad_()
    expected = torch.autograd.grad(plain(net, x)[0].sum(), x)
    torch.testing.assert_close(torch.autograd.grad(net(x).sum(), x), expected)
    torch.testing.assert_close(torch.autograd.grad(net(x, gates=net.gate_table(x)).sum(), x), expected)


def test_looking_gates_up_changes_no_bit():
    net, x = build(GReLUNetwork, width=200), rows(90)
    table, idx = net.gate_table(x), torch.randperm(90, generator=torch.Generator().manual_seed(0))[:70]
    assert torch.equal(net(x[idx]), net(x[idx], gates=table[idx]))
    assert all(torch.equal(a, b) for a, b in zip(net.intermediate(x), net.intermediate(x, table), strict=True))


@KINDS
def test_no_sample_gives_no_output(kind):
    assert build(kind)(torch.empty(0, 7)).shape == (0, 2)


def test_a_gate_table_may_be_a_file(tmp_path):
    net, x = build(GReLUNetwork), rows(30)
    table = net.gate_table(x, tmp_path / "gates")
    assert torch.equal(GateTable.load(tmp_path / "gates").bits, net.gate_table(x).bits)
    assert torch.equal(net(x[3:9], gates=table[3:9]), net(x[3:9]))


# Modules


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


def test_conversion_leaves_gates_as_they_are():
    net, x = build(GReLUNetwork), rows(20)
    table, fingerprint = net.gate_table(x), net.gate_net.fingerprint
    net.double()
    assert net.gate_net.fingerprint == fingerprint
    assert torch.equal(net.gate_table(x.double()).bits, table.bits)
    assert torch.equal(net(x.double(), gates=table), net(x.double()))


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


class Indexed(Dataset):
    """Samples with their numbers, by which gates are looked up."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return i, self.x[i], self.y[i]


def test_a_loader_that_yields_indices_finds_the_gates_of_its_samples():
    net, x, y = build(GReLUNetwork), rows(50), rows(50, 2)
    table, seen = net.gate_table(x), []
    loader = DataLoader(Indexed(x, y), batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(0))
    for idx, inputs, labels in loader:
        assert torch.equal(inputs, x[idx])
        assert torch.equal(labels, y[idx])
        assert torch.equal(net(inputs, gates=table[idx]), net(inputs))
        seen += idx.tolist()
    assert sorted(seen) == list(range(50))
    assert seen != sorted(seen)


def test_what_a_spawned_worker_gets_is_pickled():
    net, x = build(GReLUNetwork), rows(50)
    data, network, table = pickle.loads(pickle.dumps((Indexed(x, rows(50, 2)), net, net.gate_table(x))))
    idx, inputs, _ = next(iter(DataLoader(data, batch_size=16)))
    assert torch.equal(network(inputs, gates=table[idx]), net(x[:16]))


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


def test_tables_do_not_make_torch_compile_again():
    net, x = build(GReLUNetwork), rows(40)
    torch.compiler.reset()
    compiled, table = torch.compile(net, fullgraph=True, backend="eager"), net.gate_table(x)
    compiled(x[:10], gates=table[:10])
    with torch._dynamo.config.patch(error_on_recompile=True):
        used = table[10:20]
        net(x[10:20], gates=used)  # has its plans now
        for gates in (used, used, table[list(range(10, 20))]):
            torch.testing.assert_close(compiled(x[10:20], gates=gates), net(x[10:20]))


# Convergence


def test_gradient_descent_fits_any_labels():
    """[G], Thm 1, with the step 1/lambda_max of the kernel: width n^2 L, (n, d) = (20, 40), loss below 1e-6."""
    n, d, depth = 20, 40, 2
    x = torch.nn.functional.normalize(rows(n, d, dtype=torch.float64))
    y = rows(n, 1, seed=2, dtype=torch.float64)
    net = build(GReLUNetwork, d, n * n * depth, depth, 1, dtype=torch.float64)
    table = net.gate_table(x)
    step = 1 / float(torch.linalg.eigvalsh(ntk.empirical(net, x))[-1])
    optimizer = torch.optim.SGD(net.parameters(), step)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = 0.5 * (net(x, gates=table) - y).square().sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1
    assert losses[-1] < 1e-6


# Refusals

NET, OTHER_NET, X = build(GReLUNetwork), build(GReLUNetwork, seed=5), rows(6)
TABLE = NET.gate_table(X)
GATES = GateNetwork(7, 70, 3)


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


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "gates: expected one of 'random', got 'learned'", lambda: GReLUNetwork(7, 70, 3, gates="learned")),
        (ValueError, "gates: expected one of 'random', got GateTable", lambda: GReLUNetwork(7, 70, 3, gates=TABLE)),
        (ValueError, "gates: expected .* d_in=7, width=70, depth=2, got", lambda: GReLUNetwork(7, 70, 2, gates=GATES)),
        (ValueError, "gates: expected .* d_in=8, width=70, depth=3, got", lambda: GReLUNetwork(8, 70, 3, gates=GATES)),
        (ValueError, "gates: expected .* d_in=7, width=71, depth=3, got", lambda: GReLUNetwork(7, 71, 3, gates=GATES)),
        (TypeError, "last_relu: expected a bool, got int 1", lambda: ReLUNetwork(7, 70, 3, last_relu=1)),
    ],
)
def test_bad_forms_of_networks_are_refused(error, message, call):
    with pytest.raises(error, match=message):
        call()


@KINDS
@pytest.mark.parametrize(
    ("error", "message", "x"),
    [
        (TypeError, "x: expected a torch tensor, got an array", X.numpy()),
        (ValueError, r"x: expected shape \(n, 7\), got", X[:, :6]),
        (ValueError, r"x: expected shape \(n, 7\), got", X[0]),
        (ValueError, r"x: expected shape \(n, 7\), got", X[None]),
        (TypeError, "x: expected torch.float32 as the network's weights, got", X.double()),
        (TypeError, "x: expected torch.float32 as the network's weights, got", X.int()),
    ],
)
def test_samples_that_do_not_fit_are_refused(kind, error, message, x):
    net = build(kind)
    for call in (net, net.intermediate):
        with pytest.raises(error, match=message):
            call(x)


@pytest.mark.parametrize(
    ("error", "message", "gates"),
    [
        (TypeError, "gates: expected a gatentk.gates.GateTable, got a tensor", TABLE.bits),
        (ValueError, "gates: expected .* 6 samples as in x .* 5 samples", TABLE[:5]),
        (ValueError, "gates: expected .* width 70, got .* width 69", GateTable.from_bool(TABLE.to_bool()[..., 1:])),
        (ValueError, "gates: expected 4 layers, .* got a table of 3 layers", GateTable.from_bool(TABLE.to_bool()[1:])),
        (GateTableError, "gates: expected a table of this network's gate network", OTHER_NET.gate_table(X)),
    ],
)
def test_gates_that_do_not_fit_are_refused(error, message, gates):
    for call in (NET, NET.intermediate):
        with pytest.raises(error, match=message):
            call(X, gates=gates)


def test_a_table_is_refused_once_the_gate_network_has_changed():
    net = build(GReLUNetwork)
    table = net.gate_table(X)
    net(X, gates=table)
    net.load_state_dict(OTHER_NET.state_dict())
    with pytest.raises(GateTableError, match="compute it again by gate_table"):
        net(X, gates=table)
    net(X, gates=OTHER_NET.gate_table(X))


def test_samples_that_are_not_finite_have_no_gates():
    with pytest.raises(ValueError, match="x: expected finite values, got nan"):
        NET.gate_table(torch.full((2, 7), torch.nan))


@KINDS
def test_unknown_methods_are_refused(kind):
    net = build(kind)
    net.method = "sparse"
    with pytest.raises(ValueError, match="method: expected one of 'auto', 'masked', 'dense', got 'sparse'"):
        net(X)


# What training and its diagnostics ask of both networks


@pytest.mark.parametrize("last_relu", [True, False])
def test_activations_are_what_the_next_weight_is_applied_to(last_relu, generator):
    net = ReLUNetwork(3, 8, 2, 2, last_relu=last_relu, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    values = net.activations(x)
    assert torch.equal(values[0], torch.relu(x @ net.input_weight.T))
    for before, weight, after in zip(values, net.weights, values[1:], strict=False):
        product = before @ weight.T
        expected = product if after is values[-1] and not last_relu else torch.relu(product)
        torch.testing.assert_close(after, expected)
    torch.testing.assert_close(net(x), values[-1] @ net.output_weight.T)
    assert torch.equal(net.patterns(x).to_bool(), torch.stack([v > 0 for v in values[: 3 if last_relu else 2]]))
    assert net.gate_table(x) is None


def test_patterns_of_a_gated_network_are_its_gates():
    table = NET.gate_table(X)
    assert NET.patterns(X, table) is table
    assert torch.equal(NET.patterns(X).bits, table.bits)
    for value, gate in zip(NET.activations(X, table), table.to_bool(), strict=True):
        assert not value[~gate].any()


def test_gates_are_not_for_relu_networks():
    net = ReLUNetwork(X.shape[1], 8, 2, 2)
    for method in (net.activations, net.patterns):
        with pytest.raises(TypeError, match="gates: expected None, as a ReLU network has no gates"):
            method(X, TABLE)
