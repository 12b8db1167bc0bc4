"""What networks, samples and outputs a finite-width kernel is asked of, and every refusal."""

import numpy as np
import pytest
import torch
from cases.kernels import D_IN, NETWORKS, assert_equal_kernels, brute_force, reduced, samples, seeded
from torch import nn

from gatentk.nn import MLP
from gatentk.ntk import empirical


def test_outputs_agree_with_each_other():
    net, x = seeded(NETWORKS["two layers"]), samples(6)
    full = empirical(net, x, outputs="full")
    assert full.shape == (6, 3, 6, 3)
    assert_equal_kernels(empirical(net, x, outputs="diag"), reduced(full, "diag"), 1e-14)
    assert_equal_kernels(empirical(net, x), reduced(full, "trace"), 1e-14)
    assert_equal_kernels(empirical(net, x, outputs=np.int64(2)), reduced(full, 2), 1e-14)


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
        (TypeError, "x: expected a torch tensor or numpy array", (NET, 1.0), {}),
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


@pytest.mark.parametrize("name", ["two layers", "relu MLP of depth 2", "wide GReLUNetwork", "wide ReLUNetwork"])
@pytest.mark.parametrize("method", ["layerwise", "jacobian"])
def test_autocast_does_not_change_the_precision_of_a_kernel(name, method):
    net, x = seeded(NETWORKS[name]), samples(70)
    for dtype in (torch.float64, torch.float32):
        net, x = net.to(dtype), x.to(dtype)
        expected = empirical(net, x, method=method)
        for low in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", low):
                K = empirical(net, x, method=method)
                assert torch.is_autocast_enabled("cpu")
            assert K.dtype == dtype
            assert torch.equal(K, expected)


def test_a_zero_sample_is_fine():
    x = spoiled(0)
    x[1] = 0
    assert_equal_kernels(empirical(NET, x), reduced(brute_force(NET, x).sum(0), "trace"))
