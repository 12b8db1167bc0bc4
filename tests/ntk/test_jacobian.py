import warnings

import pytest
import torch
from cases.kernels import (
    D_IN,
    NETWORKS,
    OTHER,
    Recurrent,
    assert_equal_kernels,
    brute_force,
    hooked,
    reduced,
    samples,
    seeded,
)
from torch import nn

from gatentk.ntk import empirical, jacobian
from gatentk.spectra import spectrum


@pytest.mark.parametrize(
    "name", ["two layers", "shared layer", "shared block", "tied weights", "frozen bias", "relu MLP of depth 2"]
)
def test_jacobians_give_the_same_kernel(name):
    net, x = seeded(NETWORKS[name]), samples(4)
    full = brute_force(net, x).sum(0)
    for outputs in ("trace", "full"):
        assert_equal_kernels(empirical(net, x, outputs=outputs, method="jacobian"), reduced(full, outputs))


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


@pytest.mark.parametrize("outputs", ["trace", "diag", "full", 1])
@pytest.mark.parametrize("components", [False, True])
def test_kernels_of_chunks_in_float32_are_symmetric_to_the_bit(outputs, components):
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(45, 20, generator=generator)
    double = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 3)).double()
    double.load_state_dict(net.state_dict())
    expected = empirical(double, x.double(), outputs=outputs, method="jacobian", components=components)
    sample = 4 * 3 * 4 * sum(p.numel() for p in net.parameters())
    for chunk in (17, 45):
        options = {"outputs": outputs, "components": components, "memory_limit": chunk * sample}
        K = empirical(net, x, method="jacobian", **options)
        assert torch.equal(K, K.movedim((-4, -3), (-2, -1)) if outputs == "full" else K.mT)
        assert_equal_kernels(K.double(), expected, 1e-5)
        if outputs == "trace" and not components:
            assert spectrum(K).lmax == pytest.approx(spectrum(expected).lmax, rel=1e-5)


def test_a_smaller_limit_means_smaller_chunks(monkeypatch):
    net, x = seeded(OTHER["tanh"]), samples(9)
    sizes = []
    contract = jacobian._contract

    def recorded(left, right, outputs):
        sizes.append(left.numel() + right.numel())
        return contract(left, right, outputs)

    monkeypatch.setattr(jacobian, "_contract", recorded)
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


@pytest.mark.parametrize("name", ["GReLUNetwork of depth 2", "ReLUNetwork of depth 2", "wide GReLUNetwork"])
def test_jacobians_serve_networks_between_fixed_ends(name):
    net, x = seeded(NETWORKS[name]), samples(4)
    each = brute_force(net, x)
    for outputs in ("trace", "diag", "full", 1):
        for components in (False, True):
            result = empirical(net, x, outputs=outputs, method="jacobian", components=components)
            assert_equal_kernels(result, reduced(each if components else each.sum(0), outputs))


def test_hooks_are_honoured_by_jacobians():
    net, x = hooked("0").double(), samples(3)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(D_IN, 2), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.scale * self.layer(x)


@pytest.mark.filterwarnings("ignore:net. no layerwise NTK for Scaled", "ignore:Full backward hook")
def test_a_parameter_may_be_a_scalar():
    net, x, z = Scaled().double(), samples(4), samples(3, seed=1)
    each = brute_force(net, x, z)
    for method in ("auto", "jacobian"):
        for outputs in ("trace", "diag", "full", 1):
            assert_equal_kernels(empirical(net, x, z, outputs, method=method), reduced(each.sum(0), outputs))
    assert_equal_kernels(
        empirical(net, x, z, "full", components=True, method="jacobian"),
        torch.stack([reduced(k, "full") for k in each]),
    )
    other = Scaled().double()
    other.load_state_dict(net.state_dict())
    other.layer.register_full_backward_hook(lambda module, before, after: None)
    with pytest.warns(UserWarning, match="net: torch.func cannot make its Jacobians"):
        assert_equal_kernels(empirical(other, x, method="jacobian"), empirical(net, x))


@pytest.mark.parametrize(
    ("build", "both"),
    [
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(D_IN, 3)), nn.Linear(3, 1)), False),
        (lambda: Doubled(nn.Bilinear(D_IN, D_IN, 2)), False),
        (Recurrent, True),
    ],
)
def test_that_jacobians_are_taken_is_said_once(build, both):
    net, x = seeded(build), samples(4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = empirical(net, x)
    assert_equal_kernels(result, reduced(brute_force(net, x).sum(0), "trace"))
    (warning,) = caught
    assert "its kernel is made of Jacobians, which is slower" in str(warning.message)
    assert ("torch.func cannot make its Jacobians" in str(warning.message)) == both
    assert warning.filename == __file__


class Doubled(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x, x)
