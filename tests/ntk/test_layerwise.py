"""Finite-width kernels against brute-force Jacobians, and their infinite limit."""

import functools
import math

import pytest
import torch
from cases.kernels import (
    D_IN,
    NETWORKS,
    assert_equal_kernels,
    brute_force,
    fixed_ends,
    reduced,
    samples,
    seeded,
)
from torch import nn

from gatentk import ops, reference
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork
from gatentk.ntk import empirical, infinite


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_equals_products_of_gradients(name):
    net = seeded(NETWORKS[name])
    x, z = samples(6), samples(4, seed=1)
    for other in (None, z):
        full = brute_force(net, x, other).sum(0)
        for outputs in ("trace", "diag", "full", 0, full.shape[1] - 1):
            assert_equal_kernels(empirical(net, x, other, outputs=outputs), reduced(full, outputs))


@functools.cache
def full_kernel(name, n, n_z):
    net = seeded(NETWORKS[name])
    return brute_force(net, samples(n), None if n_z is None else samples(n_z, seed=1)).sum(0)


@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
@pytest.mark.parametrize("n_z", [None, 9])
@pytest.mark.parametrize("name", ["two layers", "wide GReLUNetwork", "wide ReLUNetwork"])
def test_every_instruction_set(isa, name, n_z, outputs):
    net, x, z = seeded(NETWORKS[name]), samples(70), None if n_z is None else samples(n_z, seed=1)
    assert_equal_kernels(empirical(net, x, z, outputs=outputs), reduced(full_kernel(name, 70, n_z), outputs))


@pytest.mark.parametrize("name", ["relu MLP of depth 3", "linear MLP of depth 2", "no bias", "tied weights"])
@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
def test_components_are_the_kernels_of_the_layers(name, outputs):
    net = seeded(NETWORKS[name])
    x, z = samples(6), samples(4, seed=1)
    names = [n for n, p in net.named_parameters() if p.requires_grad]
    layers = list(dict.fromkeys(n.removesuffix(".weight").removesuffix(".bias") for n in names))
    for other in (None, z):
        each = brute_force(net, x, other)
        by_parameter = empirical(net, x, other, outputs=outputs, components=True, method="jacobian")
        assert_equal_kernels(by_parameter, reduced(each, outputs))
        by_layer = empirical(net, x, other, outputs=outputs, components=True)
        assert_equal_kernels(by_layer.sum(0), reduced(each.sum(0), outputs))
        if name != "tied weights":
            layered = torch.stack(
                [sum(k for n, k in zip(names, each, strict=True) if n.startswith(layer)) for layer in layers]
            )
            assert_equal_kernels(by_layer, reduced(layered, outputs))


def test_components_of_layers_with_biases_join_weight_and_bias():
    net, x = seeded(NETWORKS["two layers"]), samples(5)
    each = brute_force(net, x)
    parts = empirical(net, x, components=True)
    assert_equal_kernels(parts, reduced(torch.stack([each[0] + each[1], each[2] + each[3]]), "trace"))


@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
@pytest.mark.parametrize("kind", [GReLUNetwork, ReLUNetwork])
def test_components_of_networks_between_fixed_ends_are_those_of_their_trained_weights(kind, outputs):
    x, z = samples(6), samples(4, seed=1)
    for build in (fixed_ends(kind, 9, 3), fixed_ends(kind, 9, 3, 0), fixed_ends(kind, 9, 3, 1)):
        net = seeded(build)
        for other in (None, z):
            each = brute_force(net, x, other)
            assert len(each) == sum(w.requires_grad for w in net.weights)
            assert_equal_kernels(empirical(net, x, other, outputs=outputs, components=True), reduced(each, outputs))


@pytest.mark.parametrize(
    "name",
    ["relu MLP of depth 4", "two layers", "shared layer", "tied biases", "trailing relu", "GReLUNetwork of depth 4"],
)
def test_kernel_of_a_sample_with_itself_is_symmetric_and_equals_the_rectangular_one(name):
    net, x = seeded(NETWORKS[name]), samples(30)
    K = empirical(net, x)
    assert_equal_kernels(empirical(net, x, x.clone()), K, 1e-14)
    for precision in (torch.float64, torch.float32):
        for components in (False, True):
            for outputs in ("trace", "diag", "full", 0):
                K = empirical(net.to(precision), x.to(precision), outputs=outputs, components=components)
                assert torch.equal(K, K.movedim((-4, -3), (-2, -1)) if outputs == "full" else K.mT)


@functools.cache
def float32_kernels(name):
    """A network and samples in float32, their kernel in float64 and from float32 Jacobians.

    The rounding of the weights and samples belongs to neither side.
    """
    single, rounded, x = seeded(NETWORKS[name]).float(), seeded(NETWORKS[name]), samples(25).float()
    with torch.no_grad():
        for a, b in zip(rounded.parameters(), single.parameters(), strict=True):
            a.copy_(b)
    exact = reduced(brute_force(rounded, x.double()).sum(0), "trace")
    return single, x, exact, reduced(brute_force(single, x).sum(0), "trace")


@pytest.mark.parametrize(
    "name", ["relu MLP of depth 3", "linear MLP of depth 3", "two layers", "nested", "wide GReLUNetwork"]
)
def test_float32_is_as_accurate_as_dense_float32(isa, name):
    single, x, exact, dense = float32_kernels(name)
    result = empirical(single, x)
    assert result.dtype == torch.float32
    tiny = torch.finfo(torch.float32).eps * exact.abs().max()
    assert (result - exact).abs().max() <= 2 * (dense - exact).abs().max() + tiny


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_layers_without_neurons_contribute_nothing(outputs):
    with pytest.warns(UserWarning, match="zero-element"):
        net = nn.Sequential(nn.Linear(D_IN, 0), nn.ReLU(), nn.Linear(0, 2)).double()
    x = samples(3)
    torch.testing.assert_close(
        empirical(net, x, outputs=outputs), empirical(net, x, outputs=outputs, method="jacobian")
    )


def test_dead_networks_keep_the_kernel_of_their_last_bias():
    net = seeded(NETWORKS["two layers"])
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.fill_(-1)
    assert torch.equal(empirical(net, samples(4), outputs=0), torch.ones(4, 4, dtype=torch.float64))


def gates_of(net, x):
    """D_0 .. D_L in plain torch, one layer a row."""
    z, gates = x.to(net.gate_net.input_weight.dtype), []
    for weight in (net.gate_net.input_weight, *net.gate_net.weights):
        z = (z @ weight.T).relu()
        gates.append(z > 0)
    return gates


def test_kernel_of_a_grelu_network_is_that_of_equations_9_and_10():
    net, x = seeded(fixed_ends(GReLUNetwork, 9, 3)), samples(6)
    gates = gates_of(net, x)
    first, last = [], []  # [sample][k]: G_k x and F_{k+1}
    for i in range(len(x)):
        D = [torch.diag(gate[i].double()) for gate in gates]
        W = [w.detach() for w in net.weights]
        G, F = [D[0] @ net.input_weight], [net.output_weight @ D[3]]
        for k in range(3):
            G.append(D[k + 1] @ W[k] @ G[-1])
            F.insert(0, F[0] @ W[2 - k] @ D[2 - k])
        first.append([g @ x[i] for g in G])
        last.append(F)
    for p in range(2):
        expected = torch.tensor(
            [
                [
                    sum(first[i][k - 1] @ first[j][k - 1] * (last[i][k][p] @ last[j][k][p]) for k in (1, 2, 3))
                    for j in range(6)
                ]
                for i in range(6)
            ]
        )
        assert_equal_kernels(empirical(net, x, outputs=p), expected)


def test_kernel_of_a_grelu_network_is_that_of_the_reference_under_torch_func():
    net, x = seeded(fixed_ends(GReLUNetwork, 30, 3)), samples(6)
    gates = torch.stack(gates_of(net, x), dim=1)

    def output(weights, sample, gate):
        ends = net.input_weight, net.output_weight
        return reference.grelu_network(sample[None], [g[None] for g in gate], weights, *ends)[0]

    jacobian = torch.func.vmap(torch.func.jacrev(output), in_dims=(None, 0, 0))
    parts = jacobian([w.detach() for w in net.weights], x, gates)
    full = torch.stack([torch.einsum("npab,mqab->npmq", part, part) for part in parts])
    for outputs in ("trace", "diag", "full", 0, 1):
        assert_equal_kernels(empirical(net, x, outputs=outputs), reduced(full.sum(0), outputs))
        assert_equal_kernels(empirical(net, x, outputs=outputs, components=True), reduced(full, outputs))


def within_standard_errors(draws, expected, count):
    """Whether the mean of independent draws is `expected`."""
    return bool(((draws.mean(0) - expected).abs() <= count * draws.std(0) / len(draws) ** 0.5).all())


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_expected_kernel_given_the_gate_table(depth):
    width, d_out = 256, 4
    x = nn.functional.normalize(samples(5))
    generator = torch.Generator().manual_seed(5)
    gates = GateNetwork(D_IN, width, depth, generator, torch.float64)
    table = gates.table(x)
    nets = [GReLUNetwork(D_IN, width, depth, d_out, gates, generator, torch.float64) for _ in range(40)]
    draws = torch.stack([empirical(net, x) / d_out for net in nets])
    t_0 = nets[0].intermediate(x, table)[0]
    shared = [ops.gate_gram(table.bits[s]) for s in range(depth + 1)]
    # E[K_p] = (m/d_y) L <t_0, t_0> prod_s (2/m) |D_s and D_s|: each W and B, N(0, 2/m) and N(0, 2/d_y), pairs neurons
    # that are on for both samples.
    expected = width / d_out * depth * (t_0 @ t_0.T) * math.prod(2 / width * count for count in shared[1:])
    assert within_standard_errors(draws, expected, 4)
    # The factor of the last layer would be missed otherwise.
    assert not within_standard_errors(draws, expected * width / (2 * shared[-1]), 4)


@pytest.mark.parametrize("depth", [1, 3])
def test_wide_grelu_networks_have_the_infinite_kernel(depth):
    width, d_out = 256, 4
    x = nn.functional.normalize(samples(4))
    generator = torch.Generator().manual_seed(6)
    nets = [GReLUNetwork(D_IN, width, depth, d_out, "random", generator, torch.float64) for _ in range(60)]
    unit = width**2 / (D_IN * d_out)
    draws = torch.stack([empirical(net, x, components=True) / d_out / unit for net in nets])
    assert within_standard_errors(draws.sum(1), infinite(x, depth=depth, activation="grelu"), 5)
    assert within_standard_errors(draws, infinite(x, depth=depth, activation="grelu", components=True), 5)


def test_gates_are_those_of_float32_weights_in_a_network_converted_to_float64():
    net, x = GReLUNetwork(D_IN, 300, 2, generator=torch.Generator().manual_seed(0)), samples(20)
    single, double = empirical(net, x.float()), empirical(net.double(), x)
    # A gate that flips changes a kernel of this width by about 1e-3.
    assert_equal_kernels(single.double(), double, 1e-5)


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_wide_networks_have_the_infinite_kernel(activation):
    x, seeds = nn.functional.normalize(samples(4)), 20
    generator = torch.Generator().manual_seed(3)
    for depth in (1, 3):
        nets = [MLP(D_IN, 256, depth, 4, activation, generator, torch.float64) for _ in range(seeds)]
        draws = torch.stack([empirical(net, x) / 4 for net in nets])
        error = draws.std(0) / seeds**0.5
        expected = infinite(x, depth=depth, activation=activation)
        assert ((draws.mean(0) - expected).abs() <= 5.5 * error + 1e-12).all()


def test_components_of_wide_networks_have_the_infinite_components():
    x, seeds = nn.functional.normalize(samples(3)), 20
    generator = torch.Generator().manual_seed(4)
    nets = [MLP(D_IN, 256, 2, 4, "relu", generator, torch.float64) for _ in range(seeds)]
    draws = torch.stack([empirical(net, x, components=True) / 4 for net in nets])
    error = draws.std(0) / seeds**0.5
    expected = infinite(x, depth=2, components=True)
    assert ((draws.mean(0) - expected).abs() <= 5.5 * error + 1e-12).all()
