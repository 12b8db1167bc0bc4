import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from gatentk import train
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.train import diagnostics
from gatentk.train.diagnostics import Linearisation, Monitor, Probe

N, D, WIDTH, DEPTH, OUTPUTS = 7, 4, 12, 3, 2
KINDS = ("grelu", "relu", "relu without the last")


def network(kind, seed=0, width=WIDTH, d=D, outputs=OUTPUTS, depth=DEPTH):
    generator = torch.Generator().manual_seed(seed)
    if kind == "grelu":
        return GReLUNetwork(d, width, depth, outputs, generator=generator, dtype=torch.float64)
    last_relu = kind == "relu"
    return ReLUNetwork(d, width, depth, outputs, last_relu=last_relu, generator=generator, dtype=torch.float64)


def samples(n=N, d=D, outputs=OUTPUTS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, outputs, generator=generator, dtype=torch.float64)


def masks(net, x):
    """D_0 .. D_L, (L + 1, n, width), by the definitions of [G], Sec. 2."""
    if isinstance(net, GReLUNetwork):
        z, found = torch.relu(x @ net.input_weight.T), []
        found.append(z > 0)
        for psi in net.gate_net.weights:
            z = torch.relu(z @ psi.T)
            found.append(z > 0)
        return torch.stack(found).double()
    h, found = x @ net.input_weight.T, []
    for weight in net.weights:
        found.append((h > 0).double())
        h = (found[-1] * h) @ weight.T
    found.append((h > 0).double() if net.last_relu else torch.ones_like(h))
    return torch.stack(found).detach()


def products(net, mask):
    """G_0 .. G_L and F_1 .. F_{L+1} of one sample with patterns mask (L + 1, width)."""
    W = [w.detach() for w in net.weights]
    diagonal = [torch.diag(row) for row in mask]
    G = [diagonal[0] @ net.input_weight]
    for k, weight in enumerate(W, 1):
        G.append(diagonal[k] @ weight @ G[-1])
    F = []
    for k in range(len(mask)):
        product = torch.eye(net.width, dtype=torch.float64)
        for layer in range(k + 1, len(mask)):
            product = diagonal[layer] @ W[layer - 1] @ product
        F.append(net.output_weight @ product @ diagonal[k])
    return G, F


def moved(net, size=0.1, seed=5):
    """The same network a little further on."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.weights:
            weight += size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return net


def full_jacobian(net, x):
    """(n d_out, parameters) by automatic differentiation."""
    names = [name for name, _ in net.named_parameters()]

    def outputs(*weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,)).flatten()

    parts = jacobian(outputs, tuple(p.detach() for p in net.parameters()))
    return torch.cat([part.flatten(1) for part in parts], dim=1)


@pytest.mark.parametrize("size", [1, 5, 300])
def test_tau_is_the_largest_singular_value_of_a_change(size, generator):
    before = [torch.randn(size, size, generator=generator, dtype=torch.float64) for _ in range(3)]
    now = [w + 0.1 * torch.randn(size, size, generator=generator, dtype=torch.float64) for w in before]
    expected = max(np.linalg.norm((a - b).numpy(), 2) for a, b in zip(now, before, strict=True))
    assert diagnostics.tau(now, before) == pytest.approx(expected, rel=1e-9)
    assert diagnostics.tau(before, before) == 0


def test_large_norms_in_float32_do_not_lose_accuracy(generator):
    matrix = torch.randn(400, 400, generator=generator)
    expected = np.linalg.norm(matrix.double().numpy(), 2)
    assert diagnostics.spectral_norm(matrix) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_sum_of_outer_products(kind):
    # [G], Eq. 9-10: grad_k = sum_i F_{k+1}^T r_i (G_{k-1} x_i)^T.
    net, (x, y) = network(kind), samples()
    residual, mask = (net(x) - y).detach(), masks(net, x)
    expected = [torch.zeros(WIDTH, WIDTH, dtype=torch.float64) for _ in range(DEPTH)]
    for i in range(N):
        G, F = products(net, mask[:, i])
        for k in range(1, DEPTH + 1):
            expected[k - 1] += torch.outer(F[k].T @ residual[i], G[k - 1] @ x[i]) / N
    result = diagnostics.gradient(net, x, y, train.square_loss)
    torch.testing.assert_close(result, torch.cat([part.flatten() for part in expected]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_patterns_dead_neurons_and_shift_follow_their_definitions(kind):
    net, (x, _) = network(kind), samples()
    mask = masks(net, x)
    expected = mask[:-1] if kind == KINDS[2] else mask
    table = diagnostics.patterns(net, x)
    torch.testing.assert_close(table.to_bool().double(), expected)
    assert diagnostics.dead_neurons(table) == pytest.approx([float((d.sum(0) == 0).double().mean()) for d in expected])
    values = diagnostics.activations(net, x)
    G = [products(net, mask[:, i])[0] for i in range(N)]
    means = [torch.stack([G[i][k] @ x[i] for i in range(N)]).mean() for k in range(DEPTH + 1)]
    assert diagnostics.mean_shift(values) == pytest.approx([float(m) for m in means], rel=1e-10)


def test_dead_neurons_are_counted_by_layer():
    mask = torch.ones(2, 3, 4, dtype=torch.bool)
    mask[0, :, 0] = False
    mask[1, :2, :3] = False
    mask[1, :, 3] = False
    assert diagnostics.dead_neurons(GateTable.from_bool(mask)) == [0.25, 0.25]


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_eigenvalues_are_those_of_the_products(kind):
    net, (x, _) = network(kind), samples(n=3)
    mask = masks(net, x)
    result = diagnostics.extreme_eigenvalues(net, x)
    pairs = [products(net, mask[:, i]) for i in range(3)]
    for k in range(DEPTH + 1):
        of_G = np.concatenate([np.linalg.eigvalsh((G[k].T @ G[k]).numpy()) for G, _ in pairs])
        of_F = np.concatenate([np.linalg.eigvalsh((F[k] @ F[k].T).numpy()) for _, F in pairs])
        assert result["G"][k] == pytest.approx([of_G.min(), of_G.max()], rel=1e-8, abs=1e-12)
        assert result["F"][k] == pytest.approx([of_F.min(), of_F.max()], rel=1e-8, abs=1e-12)


def test_eigenvalues_at_the_start_lie_where_theorem_5_says():
    d, outputs, m = 5, 3, 600
    net, (x, _) = network("grelu", width=m, d=d, outputs=outputs, depth=2), samples(n=2, d=d, outputs=outputs)
    result = diagnostics.extreme_eigenvalues(net, x, net.gate_table(x))
    for name, inputs in (("G", d), ("F", outputs)):
        for low, high in result[name]:
            assert m / (12 * inputs) <= low <= high <= 27 * m / (4 * inputs)


@pytest.mark.parametrize("kind", KINDS)
def test_linearisation_has_the_jacobian_of_the_network(kind, generator):
    net, (x, _) = network(kind), samples()
    J = full_jacobian(net, x)
    linear = Linearisation(net, x)
    change = [torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64) for _ in range(DEPTH)]
    flat = torch.cat([part.flatten() for part in change])
    torch.testing.assert_close(linear.tangent(change).flatten(), J @ flat, rtol=1e-10, atol=1e-10)
    residual = torch.randn(N, OUTPUTS, generator=generator, dtype=torch.float64)
    cotangent = torch.cat([part.flatten() for part in linear.cotangent(residual)])
    torch.testing.assert_close(cotangent, J.T @ residual.flatten(), rtol=1e-10, atol=1e-10)
    largest = np.linalg.eigvalsh((J @ J.T).numpy())[-1] / N
    assert linear.largest_eigenvalue(200) == pytest.approx(largest, rel=1e-6)
    assert linear.largest_eigenvalue() <= largest * (1 + 1e-12)
    outputs = net(x).detach()
    weights = [w.detach() + part for w, part in zip(net.weights, change, strict=True)]
    torch.testing.assert_close(linear(weights), outputs + (J @ flat).view(N, OUTPUTS), rtol=1e-10, atol=1e-10)


@settings(max_examples=30)
@given(depth=st.integers(1, 3), width=st.integers(1, 9), n=st.integers(1, 5), kind=st.sampled_from(KINDS))
def test_a_linearised_network_is_exact_to_first_order(depth, width, n, kind):
    net = network(kind, seed=width + depth, width=width, depth=depth)
    x, _ = samples(n=n, seed=n)
    linear = Linearisation(net, x)
    before = net(x).detach()
    moved(net, size=1e-7)
    first = (linear(list(net.weights)) - before).norm()
    assert (net(x).detach() - linear(list(net.weights))).norm() <= 1e-4 * first + 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_the_monitor_measures_everything_against_start_and_epoch_before(kind):
    net, (x, y) = network(kind), samples()
    gates = net.gate_table(x) if kind == "grelu" else None
    monitor = Monitor(diagnostics.NAMES, Probe(x, y, train.square_loss, gates), net)
    first_weights = [w.detach().clone() for w in net.weights]
    first_J, first_outputs = full_jacobian(net, x), net(x).detach()
    first = monitor.measure(net)
    assert list(first) == list(diagnostics.NAMES)
    assert first["gradient"] is None
    assert first["patterns"] is None
    assert first["tau"] == 0
    assert first["drift"] == 0
    assert first["linearised"] == pytest.approx(0, abs=1e-14)  # the same outputs, summed in another order

    moved(net)
    before_gradient = diagnostics.gradient(net, x, y, train.square_loss)
    before_mask = masks(net, x)
    monitor.measure(net)
    moved(net, seed=6)
    values = monitor.measure(net)
    change = torch.cat([(w.detach() - v).flatten() for w, v in zip(net.weights, first_weights, strict=True)])
    assert values["tau"] == pytest.approx(diagnostics.tau(list(net.weights), first_weights))
    gradient = diagnostics.gradient(net, x, y, train.square_loss)
    assert values["gradient"] == pytest.approx(float((gradient - before_gradient).norm()))
    layers = DEPTH if kind == KINDS[2] else DEPTH + 1
    switched = (masks(net, x) != before_mask).double().mean(dim=(1, 2))[:layers]
    assert values["patterns"] == pytest.approx(switched.tolist())
    assert (max(values["patterns"]) == 0) == (kind == "grelu")
    J = full_jacobian(net, x)

    def traced(J):
        K = (J @ J.T).view(N, OUTPUTS, N, OUTPUTS)
        return K.diagonal(dim1=1, dim2=3).sum(-1)

    drift = (traced(J) - traced(first_J)).norm() / traced(first_J).norm()
    assert values["drift"] == pytest.approx(float(drift), rel=1e-9)
    linear = first_outputs + (first_J @ change).view(N, OUTPUTS)
    outputs = net(x).detach()
    assert values["linearised"] == pytest.approx(float((outputs - linear).norm() / outputs.norm()), rel=1e-9)


def test_only_what_is_asked_for_is_measured():
    net, (x, y) = network("relu"), samples()
    monitor = Monitor(("dead", "tau"), Probe(x, y, train.square_loss), net)
    assert list(monitor.measure(net)) == ["dead", "tau"]


def test_a_network_that_was_observed_is_the_one_before():
    net, (x, y) = network("relu"), samples()
    monitor = Monitor(("gradient", "patterns"), Probe(x, y, train.square_loss), net)
    monitor.observe(net)
    assert monitor.measure(net) == {"gradient": 0.0, "patterns": [0.0] * (DEPTH + 1)}


def test_kernels_and_eigenvalues_are_measured_on_few_samples(monkeypatch):
    net, (x, y) = network("grelu"), samples(n=200)
    sizes = []
    compute = diagnostics.ntk.empirical
    monkeypatch.setattr(diagnostics.ntk, "empirical", lambda net, x: sizes.append(len(x)) or compute(net, x))
    monitor = Monitor(("drift", "spectra"), Probe(x, y, train.square_loss, net.gate_table(x)), net)
    values = monitor.measure(net)
    assert sizes == [diagnostics.KERNEL_SAMPLES] * 2
    assert values["spectra"] == diagnostics.extreme_eigenvalues(net, x[: diagnostics.SPECTRA_SAMPLES])
    assert math.isfinite(values["drift"])
