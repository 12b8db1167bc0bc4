"""Finite-width kernels against brute-force Jacobians, their infinite limit, and every refusal."""

import functools
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn

import gatentk as gt
from gatentk import ops, reference
from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork
from gatentk.ntk import infinite

empirical = gt.ntk.empirical
D_IN = 5


def samples(n, seed=0, dtype=torch.float64):
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def jacobians(net, x):
    """(n, d_y, size) for each trained parameter, one backward pass an output."""
    trained = [p for p in net.parameters() if p.requires_grad]
    rows = [
        [torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True) for value in net(sample[None])[0]]
        for sample in x
    ]
    return [
        torch.stack([torch.stack([zero_for_none(g[i], p).flatten() for g in sample]) for sample in rows])
        for i, p in enumerate(trained)
    ]


def zero_for_none(gradient, parameter):
    return torch.zeros_like(parameter) if gradient is None else gradient


def brute_force(net, x, z=None):
    """(parameters, n, d_y, n_z, d_y)."""
    left = jacobians(net, x)
    right = left if z is None else jacobians(net, z)
    return torch.stack([torch.einsum("npk,mqk->npmq", a, b) for a, b in zip(left, right, strict=True)])


def reduced(full, outputs):
    """The form of `outputs` from (..., n, d_y, n_z, d_y)."""
    if outputs == "full":
        return full
    each = full.diagonal(dim1=-3, dim2=-1).movedim(-1, -3)  # (..., d_y, n, n_z)
    if outputs == "diag":
        return each
    return each.sum(-3) if outputs == "trace" else each[..., outputs, :, :]


def assert_equal_kernels(result, expected, tolerance=1e-10):
    assert result.shape == expected.shape
    assert float((result - expected).abs().max()) <= tolerance * float(expected.abs().max())


def seeded(build):
    """The module with double weights that do not depend on the order of tests."""
    net = build().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return net


def shared_layer():
    layer = nn.Linear(D_IN, D_IN)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(D_IN, 2))


def shared_block():
    block = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU())
    return nn.Sequential(block, block, nn.Linear(D_IN, 1, bias=False))


def tied_weights():
    net = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, 2))
    net[2].weight = net[0].weight
    return net


def tied_biases():
    net = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, 2))
    net[2].bias = net[0].bias
    return net


def frozen(*indices_and_names):
    def build():
        net = nn.Sequential(nn.Linear(D_IN, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 2))
        for index, name in indices_and_names:
            getattr(net[index], name).requires_grad_(False)
        return net

    return build


def fixed_ends(kind, width, depth, *frozen_layers, **options):
    """A network of [G]; its gates are those of float32 weights also when the rest is float64."""

    def build():
        net = kind(D_IN, width, depth, 2, generator=torch.Generator().manual_seed(2), **options)
        for layer in frozen_layers:
            net.weights[layer].requires_grad_(False)
        return net

    return build


NETWORKS = {
    "one layer": lambda: nn.Sequential(nn.Linear(D_IN, 3)),
    "two layers": lambda: nn.Sequential(nn.Linear(D_IN, 9), nn.ReLU(), nn.Linear(9, 3)),
    "no bias": lambda: nn.Sequential(nn.Linear(D_IN, 9, bias=False), nn.ReLU(), nn.Linear(9, 2, bias=False)),
    "mixed bias": lambda: nn.Sequential(nn.Linear(D_IN, 9, bias=False), nn.ReLU(), nn.Linear(9, 4), nn.ReLU()),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(D_IN, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 7))), nn.ReLU(), nn.Linear(7, 2)
    ),
    "consecutive linear": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)),
    "leading relu": lambda: nn.Sequential(nn.ReLU(), nn.Linear(D_IN, 6), nn.ReLU(), nn.Linear(6, 2)),
    "trailing relu": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU()),
    "double relu": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, 2)),
    "relu in place": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)),
    "identity": lambda: nn.Sequential(nn.Identity(), nn.Linear(D_IN, 6), nn.Identity(), nn.ReLU(), nn.Linear(6, 2)),
    "shared layer": shared_layer,
    "shared block": shared_block,
    "tied weights": tied_weights,
    "tied biases": tied_biases,
    "frozen first layer": frozen((0, "weight"), (0, "bias")),
    "frozen bias": frozen((2, "bias")),
    "frozen weight beside its bias": frozen((0, "weight"), (2, "weight")),
    "only the last weight": frozen((0, "weight"), (0, "bias"), (2, "weight"), (2, "bias"), (4, "bias")),
}
for kind in (GReLUNetwork, ReLUNetwork):
    for depth in (1, 2, 4):
        NETWORKS[f"{kind.__name__} of depth {depth}"] = fixed_ends(kind, 9, depth)
    NETWORKS[f"wide {kind.__name__}"] = fixed_ends(kind, 200, 2)
    NETWORKS[f"{kind.__name__} with frozen ends"] = fixed_ends(kind, 9, 4, 0, 3)
    NETWORKS[f"{kind.__name__} with a frozen middle"] = fixed_ends(kind, 9, 3, 1)
NETWORKS["ReLUNetwork without last relu"] = fixed_ends(ReLUNetwork, 9, 2, last_relu=False)
for activation in ("relu", "linear"):
    for depth in range(5):
        NETWORKS[f"{activation} MLP of depth {depth}"] = lambda a=activation, k=depth: MLP(D_IN, 8, k, 2, a)


@pytest.mark.parametrize("name", NETWORKS)
def test_kernel_equals_products_of_gradients(name):
    net = seeded(NETWORKS[name])
    x, z = samples(6), samples(4, seed=1)
    for other in (None, z):
        full = brute_force(net, x, other).sum(0)
        for outputs in ("trace", "diag", "full", 0, full.shape[1] - 1):
            assert_equal_kernels(empirical(net, x, other, outputs=outputs), reduced(full, outputs))


@pytest.mark.parametrize(
    "name", ["two layers", "shared layer", "shared block", "tied weights", "frozen bias", "relu MLP of depth 2"]
)
def test_jacobians_give_the_same_kernel(name):
    net, x = seeded(NETWORKS[name]), samples(4)
    full = brute_force(net, x).sum(0)
    for outputs in ("trace", "full"):
        assert_equal_kernels(empirical(net, x, outputs=outputs, method="jacobian"), reduced(full, outputs))


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


def test_outputs_agree_with_each_other():
    net, x = seeded(NETWORKS["two layers"]), samples(6)
    full = empirical(net, x, outputs="full")
    assert full.shape == (6, 3, 6, 3)
    assert_equal_kernels(empirical(net, x, outputs="diag"), reduced(full, "diag"), 1e-14)
    assert_equal_kernels(empirical(net, x), reduced(full, "trace"), 1e-14)
    assert_equal_kernels(empirical(net, x, outputs=np.int64(2)), reduced(full, 2), 1e-14)


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
    "name", ["relu MLP of depth 4", "two layers", "shared layer", "trailing relu", "GReLUNetwork of depth 4"]
)
def test_kernel_of_a_sample_with_itself_is_symmetric_and_equals_the_rectangular_one(name):
    net, x = seeded(NETWORKS[name]), samples(30)
    K = empirical(net, x)
    assert (K - K.mT).abs().max() <= 8 * torch.finfo(K.dtype).eps * K.abs().max()
    assert_equal_kernels(empirical(net, x, x.clone()), K, 1e-14)


@pytest.mark.parametrize(
    "name", ["relu MLP of depth 3", "linear MLP of depth 3", "two layers", "nested", "wide GReLUNetwork"]
)
def test_float32_is_as_accurate_as_dense_float32(isa, name):
    net, x = seeded(NETWORKS[name]), samples(25)
    single, x = net.float(), x.float()
    # The rounding of the weights and samples belongs to neither side.
    with torch.no_grad():
        rounded = seeded(NETWORKS[name])
        for a, b in zip(rounded.parameters(), single.parameters(), strict=True):
            a.copy_(b)
    exact = reduced(brute_force(rounded, x.double()).sum(0), "trace")
    dense = reduced(brute_force(single, x).sum(0), "trace")
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


def test_numpy_strided_and_requires_grad_samples():
    net, x = seeded(NETWORKS["two layers"]), samples(8)
    expected = empirical(net, x[::2])
    as_array = empirical(net, x.numpy()[::2])
    assert isinstance(as_array, np.ndarray)
    np.testing.assert_array_equal(as_array, expected.numpy())
    result = empirical(net, x.T.contiguous().T.requires_grad_()[::2])
    assert_equal_kernels(result, expected, 1e-14)
    assert not result.requires_grad
    assert all(p.grad is None for p in net.parameters())


def test_one_sample_is_enough():
    net, x = seeded(NETWORKS["two layers"]), samples(1)
    assert_equal_kernels(empirical(net, x), reduced(brute_force(net, x).sum(0), "trace"))


# GReLU networks


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
    width, d_out = 512, 4
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
    width, d_out = 512, 4
    x = nn.functional.normalize(samples(4))
    generator = torch.Generator().manual_seed(6)
    nets = [GReLUNetwork(D_IN, width, depth, d_out, "random", generator, torch.float64) for _ in range(30)]
    unit = width**2 / (D_IN * d_out)
    draws = torch.stack([empirical(net, x, components=True) / d_out / unit for net in nets])
    assert within_standard_errors(draws.sum(1), infinite(x, depth=depth, activation="grelu"), 5)
    assert within_standard_errors(draws, infinite(x, depth=depth, activation="grelu", components=True), 5)


def test_gates_are_those_of_float32_weights_in_a_network_converted_to_float64():
    net, x = GReLUNetwork(D_IN, 300, 2, generator=torch.Generator().manual_seed(0)), samples(20)
    single, double = empirical(net, x.float()), empirical(net.double(), x)
    # A gate that flips changes a kernel of this width by about 1e-3.
    assert_equal_kernels(single.double(), double, 1e-5)


# Jacobians


class Residual(nn.Module):
    """Convolution, normalisation and a skip connection: no layerwise rule."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 2, 3, padding=1)
        self.norm = nn.LayerNorm(2 * D_IN)
        self.head = nn.Linear(2 * D_IN, 3)

    def forward(self, x):
        y = torch.tanh(self.convolution(x.unsqueeze(1))).flatten(1)
        return self.head(y + self.norm(y))


OTHER = {
    "residual": Residual,
    "tanh": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.Tanh(), nn.Linear(6, 2)),
    "normalised": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)),
}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
def test_jacobians_serve_any_module(name, outputs):
    net, x, z = seeded(OTHER[name]), samples(6), samples(4, seed=1)
    for other in (None, z):
        each = brute_force(net, x, other)
        result = empirical(net, x, other, outputs=outputs, method="jacobian")
        assert_equal_kernels(result, reduced(each.sum(0), outputs))
        parts = empirical(net, x, other, outputs=outputs, method="jacobian", components=True)
        assert_equal_kernels(parts, reduced(each, outputs))


def test_jacobians_of_images():
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double()
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
@pytest.mark.parametrize("rectangular", [False, True])
def test_chunks_do_not_change_the_kernel(outputs, rectangular):
    net, x, z = seeded(OTHER["residual"]), samples(7), samples(5, seed=1) if rectangular else None
    sample = 4 * 3 * 8 * sum(p.numel() for p in net.parameters())
    whole = empirical(net, x, z, outputs=outputs, method="jacobian")
    for count in (1, 2, 3):
        part = empirical(net, x, z, outputs=outputs, method="jacobian", memory_limit=count * sample)
        assert_equal_kernels(part, whole, 1e-13)


def test_a_smaller_limit_means_smaller_chunks(monkeypatch):
    net, x = seeded(OTHER["tanh"]), samples(9)
    sizes = []
    module = sys.modules["gatentk.ntk.empirical"]  # the name in the package is the function
    contract = module._contract

    def recorded(left, right, outputs):
        sizes.append(left.numel() + right.numel())
        return contract(left, right, outputs)

    monkeypatch.setattr(module, "_contract", recorded)
    sample = 4 * 2 * 8 * sum(p.numel() for p in net.parameters())
    empirical(net, x, method="jacobian", memory_limit=2 * sample)
    assert 8 * max(sizes) <= 2 * sample


def test_a_limit_below_one_sample_is_a_memory_error():
    with pytest.raises(MemoryError, match="memory_limit: the Jacobian of one sample needs"):
        empirical(seeded(OTHER["tanh"]), samples(3), method="jacobian", memory_limit=100)
    with pytest.raises(ValueError, match="memory_limit: expected an integer of at least 1"):
        empirical(seeded(OTHER["tanh"]), samples(3), method="jacobian", memory_limit=0)


def test_jacobians_keep_buffers_and_module_state():
    net = nn.Sequential(nn.Linear(D_IN, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = samples(5)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# Infinite width


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


# Refusals


class OwnLinear(nn.Linear):
    pass


class OwnMLP(MLP):
    def forward(self, x):
        return super().forward(x).tanh()


def hooked(which):
    net = nn.Sequential(nn.Linear(D_IN, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1)))
    part = {"net": net, "0": net[0], "2": net[2], "2.0": net[2][0]}[which]
    part.register_forward_hook(lambda module, inputs, output: 2 * output)
    return net


class OwnGReLU(GReLUNetwork):
    pass


def hooked_network(kind=MLP):
    net = kind(D_IN, 3, 1)
    net.register_forward_pre_hook(lambda module, inputs: inputs)
    return net


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("^1: no layerwise NTK for Tanh", OTHER["tanh"]),
        ("^0.1.0: .* for Tanh", lambda: nn.Sequential(nn.Sequential(nn.Linear(D_IN, 2), nn.Sequential(nn.Tanh())))),
        ("^1: .* for LayerNorm", OTHER["normalised"]),
        ("^net: .* for Residual", Residual),
        ("^net: .* for OwnMLP", lambda: OwnMLP(D_IN, 3, 1)),
        ("^net: .* for Linear", lambda: nn.Linear(D_IN, 1)),
        ("^0: .* for OwnLinear", lambda: nn.Sequential(OwnLinear(D_IN, 1))),
        ("^1: .* for Dropout", lambda: nn.Sequential(nn.Linear(D_IN, 1), nn.Dropout())),
        ("^net: .* Sequential with hooks", lambda: hooked("net")),
        ("^0: .* Linear with hooks", lambda: hooked("0")),
        ("^2: .* Sequential with hooks", lambda: hooked("2")),
        ("^2.0: .* Linear with hooks", lambda: hooked("2.0")),
        ("^net: .* for MLP with hooks", hooked_network),
        ("^net: .* for OwnGReLU", lambda: OwnGReLU(D_IN, 3, 1)),
        ("^net: .* for GReLUNetwork with hooks", lambda: hooked_network(GReLUNetwork)),
        ("^net: .* for ReLUNetwork with hooks", lambda: hooked_network(ReLUNetwork)),
        (
            "^0: .* for ParametrizedLinear",
            lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(D_IN, 1))),
        ),
    ],
)
@pytest.mark.parametrize("method", ["auto", "layerwise"])
def test_the_part_without_a_layerwise_rule_is_named(message, build, method):
    with pytest.raises(gt.UnsupportedModuleError, match=f'{message}.*method="jacobian"'):
        empirical(build().double(), samples(2), method=method)


def test_hooks_are_honoured_by_jacobians():
    net, x = hooked("0").double(), samples(3)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


def frozen_network():
    return nn.Sequential(nn.Linear(D_IN, 2)).double().requires_grad_(False)


def spoiled(value, row=1):
    x = samples(3)
    x[row, 0] = value
    return x


NET = seeded(NETWORKS["two layers"])


@pytest.mark.parametrize("method", ["layerwise", "jacobian"])
@pytest.mark.parametrize(
    ("error", "message", "arguments", "options"),
    [
        (ValueError, "x: expected at least one sample", (NET, samples(0)), {}),
        (ValueError, "z: expected at least one sample", (NET, samples(2), samples(0)), {}),
        (ValueError, "x: expected finite values, got nan at index", (NET, spoiled(torch.nan)), {}),
        (ValueError, "z: expected finite values, got inf at index", (NET, samples(2), spoiled(torch.inf)), {}),
        (ValueError, "z: expected 5 features as in x", (NET, samples(2), samples(2)[:, :4]), {}),
        (ValueError, "x: expected shape", (NET, samples(2)[0]), {}),
        (TypeError, "x: expected torch.float64 on cpu", (NET, samples(2).float()), {}),
        (TypeError, "z: expected torch.float64 on cpu", (NET, samples(2), samples(2).float()), {}),
        (TypeError, "x: expected float32 or float64", (NET, samples(2).int()), {}),
        (TypeError, "x: expected float32 or float64", (NET, samples(2).half()), {}),
        (TypeError, "x: expected a torch tensor or numpy array", (NET, [[1.0] * 5]), {}),
        (
            ValueError,
            "outputs: expected an int or one of 'trace', 'diag', 'full'",
            (NET, samples(2)),
            {"outputs": "all"},
        ),
        (ValueError, "outputs: expected an output below 3, got 3", (NET, samples(2)), {"outputs": 3}),
        (ValueError, "outputs: expected an integer of at least 0", (NET, samples(2)), {"outputs": -1}),
        (TypeError, "outputs: expected an int or one of", (NET, samples(2)), {"outputs": 1.0}),
        (TypeError, "outputs: expected an int or one of", (NET, samples(2)), {"outputs": True}),
        (ValueError, "net: expected trainable parameters", (frozen_network(), samples(2)), {}),
    ],
)
def test_bad_input_is_refused_by_name(error, message, arguments, options, method):
    with pytest.raises(error, match=message):
        empirical(*arguments, method=method, **options)


def test_unknown_methods_and_networks_that_are_no_modules_are_refused():
    with pytest.raises(ValueError, match="method: expected one of 'auto', 'layerwise', 'jacobian', got 'fast'"):
        empirical(NET, samples(2), method="fast")
    with pytest.raises(TypeError, match="net: expected"):
        empirical(lambda x: x, samples(2))


def test_samples_that_do_not_fit_the_first_layer_are_refused():
    with pytest.raises(ValueError, match="x: expected 5 features"):
        empirical(NET, samples(2)[:, :4])
    with pytest.raises(ValueError, match="x: expected 5 features"):
        empirical(MLP(D_IN, 3, 1, dtype=torch.float64), samples(2)[:, :4])
    with pytest.raises(ValueError, match=r"x: expected shape \(n, d\)"):
        empirical(NET, samples(2).view(1, 2, D_IN))


@pytest.mark.parametrize("name", ["shared layer", "shared block", "tied weights", "two layers"])
@pytest.mark.parametrize("method", ["layerwise", "jacobian"])
def test_the_network_is_left_as_it_was(name, method):
    net = seeded(NETWORKS[name])
    before = dict(net.named_parameters())
    values = {name: p.detach().clone() for name, p in before.items()}
    empirical(net, samples(3), method=method)
    after = dict(net.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is p and torch.equal(p, values[name]) and p.requires_grad for name, p in before.items())


def test_a_zero_sample_is_fine():
    x = spoiled(0)
    x[1] = 0
    assert_equal_kernels(empirical(NET, x), reduced(brute_force(NET, x).sum(0), "trace"))


def test_layers_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match="net: stage 1: expected 4 features"):
        empirical(nn.Sequential(nn.Linear(D_IN, 3), nn.Linear(4, 1)).double(), samples(2))


# for tests/ntk/test_empirical.py once ops.masked_linear works under torch.func
@pytest.mark.parametrize("name", ["GReLUNetwork of depth 2", "ReLUNetwork of depth 2", "wide GReLUNetwork"])
def test_jacobians_serve_networks_between_fixed_ends(name):
    net, x = seeded(NETWORKS[name]), samples(4)
    each = brute_force(net, x)
    for outputs in ("trace", "diag", "full", 1):
        for components in (False, True):
            result = empirical(net, x, outputs=outputs, method="jacobian", components=components)
            assert_equal_kernels(result, reduced(each if components else each.sum(0), outputs))
