import math

import numpy as np
import pytest
import torch
from cases.machines import samples, tensor

from gatentk import ntk
from gatentk.kernel_machines import networks
from gatentk.kernel_machines.networks import WideNetwork

X, Z = tensor(samples(7)), tensor(samples(5, seed=1))


def angles(x, z):
    cosines = (x @ z.T) / np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(z, axis=1))
    return np.arccos(np.clip(cosines, -1, 1))


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
def test_the_kernel_of_all_weights_is_that_of_ntk(activation):
    kernels = WideNetwork(activation=activation).sweep(X, Z, [3, 1])
    for K, depth in zip(kernels, (3, 1), strict=True):
        assert torch.equal(K, ntk.infinite(X, Z, depth, activation))


def test_the_kernel_of_the_last_layer_is_the_arc_cosine_recursion():
    theta = angles(X.numpy(), Z.numpy())
    norms = np.outer(X.norm(dim=1), Z.norm(dim=1))
    kernels = WideNetwork(kernel="nngp").sweep(X, Z, range(4))
    for K in kernels:
        np.testing.assert_allclose(K, norms * np.cos(theta), rtol=0, atol=1e-13 * norms.max())
        theta = np.arccos(np.clip(((math.pi - theta) * np.cos(theta) + np.sin(theta)) / math.pi, -1, 1))


def test_normalised_samples_have_norm_one():
    network = WideNetwork(normalize=True)
    expected = WideNetwork().sweep(X / X.norm(dim=1, keepdim=True), None, [2])
    torch.testing.assert_close(network.sweep(1e9 * X, None, [2]), expected, rtol=1e-14, atol=1e-14)
    assert float(network.sweep(torch.zeros(1, 4, dtype=torch.float64), X, [2]).abs().max()) == 0


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs", "erf", "gelu"])
def test_biases_and_variances_are_those_of_ntk(kernel, activation):
    slope = 0.2 if activation == "leaky_relu" else None
    options = {"kernel": kernel, "w_std": 1.5, "b_std": 0.3, "slope": slope}
    kernels = WideNetwork(activation=activation, **options).sweep(X, Z, [3, 1])
    for K, depth in zip(kernels, (3, 1), strict=True):
        torch.testing.assert_close(K, ntk.infinite(X, Z, depth, activation, **options), rtol=1e-14, atol=0)


BIASES = {"w_std": 1.5, "b_std": 0.3}


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("depth", [0, 1, 5])
@pytest.mark.parametrize("changes", [{}, BIASES, {"activation": "gelu", **BIASES}])
def test_the_diagonal_is_that_of_the_kernel(kernel, depth, changes):
    network = WideNetwork(kernel=kernel, **changes)
    expected = network.sweep(X, None, [depth])[0].diagonal()
    torch.testing.assert_close(network.diagonal(X, depth), expected, rtol=1e-15, atol=0)


def test_blocks_of_rows_are_the_whole(monkeypatch):
    monkeypatch.setattr(networks, "AT_ONCE", 3 * len(Z))
    parts = list(WideNetwork().in_blocks(X, Z, 2))
    assert [part.start for part, _ in parts] == [0, 3, 6]
    whole = WideNetwork().sweep(X, Z, [2])[0]
    torch.testing.assert_close(torch.cat([K for _, K in parts]), whole, rtol=1e-15, atol=0)


@pytest.mark.parametrize("free", [None, 10**9, 16 * 49 * 5, 0])
def test_sweeps_are_of_as_many_depths_as_fit(monkeypatch, free):
    monkeypatch.setattr(networks, "available_memory", lambda: free)
    depths = [1, 2, 4, 7, 9]
    kernels = torch.stack(list(WideNetwork().one_by_one(X, depths)))
    torch.testing.assert_close(kernels, WideNetwork().sweep(X, None, depths), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kernel": "ntkk"}, ValueError, "kernel: expected one of 'ntk', 'nngp', got 'ntkk'"),
        ({"activation": "tan"}, ValueError, "activation: expected one of"),
        ({"normalize": "yes"}, TypeError, "normalize: expected True or False, got 'yes'"),
        ({"kernel": "nngp", "activation": "grelu"}, ValueError, "expected .*, got "),
        ({"w_std": -1.0}, ValueError, "w_std: expected"),
        ({"b_std": float("nan")}, ValueError, "b_std: expected"),
        ({"slope": 0.1}, ValueError, "slope: expected"),
    ],
)
def test_what_is_no_network_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        WideNetwork(**changes).sweep(X, None, [1])


@pytest.mark.parametrize("options", [{}, BIASES, {"normalize": True, "activation": "erf", **BIASES}])
def test_one_depth_has_the_dtype_asked_for(options):
    network = WideNetwork(**options)
    expected = network.sweep(X, Z, [2])[0]
    torch.testing.assert_close(network.at(X, Z, 2, torch.float64), expected, rtol=1e-14, atol=1e-14)
    narrow = network.at(X.float(), Z.float(), 2, torch.float32)
    torch.testing.assert_close(narrow, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("names", [["b_std"], ["w_std", "b_std"]])
@pytest.mark.parametrize("options", [BIASES, {"normalize": True, "activation": "linear", **BIASES}])
def test_derivatives_by_logarithms_are_those_of_the_graph(options, names):
    deviations = {name: torch.tensor(BIASES[name], dtype=torch.float64) for name in names}
    K, found = WideNetwork(**options).with_gradient(X, 2, names)
    torch.testing.assert_close(K, WideNetwork(**options).sweep(X, None, [2])[0], rtol=1e-14, atol=0)
    for name, by_logarithm in zip(names, found.unbind(-1), strict=True):
        value = deviations[name].requires_grad_()
        entry = WideNetwork(**{**options, name: value}).at(X, None, 2, torch.float64)[1, 4]
        (expected,) = torch.autograd.grad(entry, value)
        assert by_logarithm[1, 4].item() == pytest.approx(expected.item() * BIASES[name], rel=1e-12)


def test_no_derivatives_leave_the_kernel():
    K, found = WideNetwork().with_gradient(X, 2, [])
    assert torch.equal(K, WideNetwork().sweep(X, None, [2])[0])
    assert found.shape == (7, 7, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"normalize": 1}, "normalize: expected True or False"), ({"w_std": "1"}, "w_std: expected")],
)
def test_arguments_that_no_samples_go_with_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        WideNetwork(**options).check()
