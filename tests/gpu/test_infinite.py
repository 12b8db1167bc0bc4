"""Kernels and angles of infinitely wide networks on a CUDA device, against plain torch on the CPU."""

import pytest
import torch
from cases.tensors import DTYPES, factor, scatter

from gatentk import ntk, ops, reference
from gatentk.ops.infinite import OF_DIRECTIONS

QUANTITIES = pytest.mark.parametrize("quantity", ops.QUANTITIES)


def assert_equals_plain_torch(out, x, z, depths, quantity):
    """To what the condition of close angles allows, as for the CPU's kernels."""
    expected = reference.infinite_ntk(x.double(), None if z is None else z.double(), depths, quantity)
    assert out.shape == expected.shape
    assert out.dtype == x.dtype
    eps = torch.finfo(x.dtype).eps
    size = float(x.norm(dim=-1).max() * (x if z is None else z).norm(dim=-1).max()) if expected.numel() else 0.0
    tolerance = max(1e-11, 100 * eps) if quantity in OF_DIRECTIONS else 20 * eps * (max(depths) + 1) * size
    torch.testing.assert_close(out.cpu().double(), expected, rtol=0, atol=tolerance)


@DTYPES
@QUANTITIES
@pytest.mark.parametrize(("n", "n_z", "d"), [(0, None, 3), (1, None, 5), (37, None, 30), (5, 0, 4), (33, 20, 7)])
def test_every_quantity(device, dtype, quantity, n, n_z, d, generator):
    x = factor(generator, (n, d), dtype, 1)
    z = None if n_z is None else factor(generator, (n_z, d), dtype, 1)
    depths = [4] if quantity == "relu_components" else [1, 4]
    out = ops.infinite_ntk(x.to(device), None if z is None else z.to(device), depths, quantity)
    assert out.device.type == device.type
    assert_equals_plain_torch(out, x, z, depths, quantity)
    if z is None:
        assert torch.equal(out, out.mT)


@DTYPES
@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
def test_samples_in_any_layout_and_batches(device, dtype, layout, generator):
    x, z = factor(generator, (2, 9, 6), dtype, 1), factor(generator, (2, 5, 6), dtype, 1)
    out = ops.infinite_ntk(scatter(x, layout).to(device), scatter(z, layout).to(device), [1, 3], "relu")
    assert_equals_plain_torch(out, x, z, [1, 3], "relu")
    assert torch.equal(out[:, 1], ops.infinite_ntk(x[1].to(device), z[1].to(device), [1, 3], "relu"))


def test_close_samples_keep_their_angles(device, cpu):
    """Angles of 1e-10 come out to 1e-9 of themselves, where an arc cosine would give 0."""
    x = torch.tensor([[1.0, 0.0], [1.0, 1e-10], [0.3, 1.0]], dtype=torch.float64)
    with cpu():
        expected = ntk.gradient_angles(x, 5)
    found = ntk.gradient_angles(x.to(device), 5).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
    assert found[0, 1] > 0


def public_results(x, z, activation):
    """Everything that `gatentk.ntk` has for infinite width."""
    return [
        ntk.infinite(x, depth=3, activation=activation),
        ntk.infinite(x, z, depth=3, activation=activation),
        ntk.infinite(x, z, depth=3, activation=activation, components=True),
        ntk.infinite_sweep(x, depths=[4, 1, 1], activation=activation),
        torch.tensor(ntk.min_angle(x, 3, activation)),
    ]


@pytest.mark.parametrize("activation", ["relu", "linear", "grelu"])
@pytest.mark.parametrize("exponent", [0, 200])
def test_public_functions_give_what_they_give_on_the_cpu(device, cpu, activation, exponent, generator):
    x, z = (factor(generator, (n, 5), torch.float64, 1) * 2.0**exponent for n in (12, 7))
    with cpu():
        expected = public_results(x, z, activation)
    for found, plain in zip(public_results(x.to(device), z.to(device), activation), expected, strict=True):
        size = float(plain.abs().max())
        torch.testing.assert_close(found.cpu(), plain, rtol=1e-11, atol=1e-13 * size)


def network_results(x, z, options):
    """Kernels with weight and bias variances, of gradients and of outputs."""
    return [
        ntk.infinite_sweep(x, other, [3, 0, 1], kernel=kernel, dtype=dtype, **options)
        for kernel in ("ntk", "nngp")
        for dtype in ("float64", "float32")
        for other in (None, z)
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"w_std": 1.5, "b_std": 0.3},
        {"w_std": 1.2, "activation": "leaky_relu", "slope": 0.5},
        {"activation": "abs", "b_std": 1.0},
        {"w_std": 1.5, "b_std": 0.3, "activation": "erf"},
        {"w_std": 1.5, "activation": "gelu"},
    ],
    ids=lambda options: options.get("activation", "relu"),
)
def test_networks_with_variances_give_what_they_give_on_the_cpu(device, cpu, options, generator):
    """Close, opposite and zero rows among them."""
    x, z = (factor(generator, (n, 5), torch.float64, 1) for n in (40, 7))
    x[3], x[4], x[5] = x[0] + 1e-6 * x[1], -x[0], 0
    with cpu():
        expected = network_results(x, z, options)
    for found, plain in zip(network_results(x.to(device), z.to(device), options), expected, strict=True):
        assert found.device.type == device.type
        if plain.shape[-2] == plain.shape[-1]:
            assert torch.equal(found, found.mT)
        relative = 1e-13 if plain.dtype == torch.float64 else 2e-6
        torch.testing.assert_close(found.cpu(), plain, rtol=0, atol=relative * float(plain.abs().max()))


def gradients(x, z, device, **options):
    """Of a weighted sum of two kernels, by samples and deviations."""
    w_std = torch.tensor(1.4, dtype=torch.float64)
    leaves = [leaf.detach().to(device).requires_grad_() for leaf in (x, z, w_std)]
    kernels = ntk.infinite_sweep(leaves[0], leaves[1], [1, 3], w_std=leaves[2], **options)
    weights = torch.linspace(-1, 1, kernels.numel(), dtype=torch.float64).view(kernels.shape)
    return torch.autograd.grad((weights.to(device) * kernels).sum(), leaves)


@pytest.mark.parametrize("options", [{"b_std": 0.3}, {"activation": "erf", "kernel": "nngp"}])
def test_gradients_are_those_of_the_cpu(device, cpu, options, generator):
    x, z = (factor(generator, (n, 5), torch.float64, 1) for n in (9, 6))
    with cpu():
        expected = gradients(x, z, "cpu", **options)
    for found, plain in zip(gradients(x, z, device, **options), expected, strict=True):
        assert found.device.type == device.type
        torch.testing.assert_close(found.cpu(), plain, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("layout", ["transposed", "strided", "offset"])
@pytest.mark.parametrize("quantity", ["leaky_relu", "gelu_nngp"])
def test_networks_take_samples_in_any_layout_and_batches(device, layout, quantity, generator):
    x, z = factor(generator, (2, 9, 6), torch.float64, 1), factor(generator, (2, 5, 6), torch.float64, 1)
    options = {"bias": 0.3, "first": 0.5}
    out = ops.infinite_network(
        scatter(x, layout).to(device), scatter(z, layout).to(device), [1, 3], quantity, **options
    )
    assert out.shape == (2, 2, 9, 5)
    member = ops.infinite_network(x[1].to(device), z[1].to(device), [1, 3], quantity, **options)
    assert torch.equal(out[:, 1], member)


@pytest.mark.parametrize("quantity", ["relu", "relu_components"])
def test_opcheck(device, quantity, generator):
    x, z = factor(generator, (2, 5, 6), torch.float64, 1), factor(generator, (2, 3, 6), torch.float64, 1)
    for other in (None, z.to(device)):
        torch.library.opcheck(torch.ops.gatentk.infinite_ntk.default, (x.to(device), other, [2], quantity))


@pytest.mark.parametrize("quantity", ["leaky_relu", "erf_nngp"])
def test_opcheck_of_networks(device, quantity, generator):
    x, z = factor(generator, (2, 5, 6), torch.float64, 1), factor(generator, (2, 3, 6), torch.float64, 1)
    for other in (None, z.to(device)):
        arguments = (x.to(device), other, [0, 2], quantity, [0.1, 1.0, 2.0, 0.3])
        torch.library.opcheck(torch.ops.gatentk.infinite_network.default, arguments)
