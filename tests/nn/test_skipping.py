"""A Linear that skips zeros, and when it does not look for them."""

import pytest
import torch
from torch import nn

from gatentk import ops
from gatentk.nn.skipping import SkippingLinear


@pytest.fixture
def products(monkeypatch):
    """The methods of the masked products that are computed."""
    asked = []
    masked_linear = ops.masked_linear

    def count(*args, method="auto", **options):
        asked.append(method)
        return masked_linear(*args, method=method, **options)

    monkeypatch.setattr("gatentk.nn.skipping.ops.masked_linear", count)
    return asked


def pair(in_features=600, out_features=520, **options):
    layer = nn.Linear(in_features, out_features, **options)
    skipping = SkippingLinear(in_features, out_features, **options)
    skipping.load_state_dict(layer.state_dict())
    return layer, skipping


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 3), (2, 3, 0), (2, 1, 3)])
@pytest.mark.parametrize("method", ops.METHODS)
def test_it_computes_what_a_linear_does(method, shape, bias, generator, products):
    layer, skipping = pair(bias=bias, dtype=torch.float64)
    skipping.method = method
    z = torch.randn(*shape, 600, generator=generator, dtype=torch.float64).relu_().requires_grad_()
    results = []
    for module in (layer, skipping):
        out = module(z)
        results.append((out, *torch.autograd.grad(out.sin().sum(), (z, *module.parameters()))))
    torch.testing.assert_close(*results)
    assert products == ([] if method == "dense" else [method])


@pytest.mark.parametrize(
    ("dtype", "shape", "device"),
    [
        (torch.float32, (600,), "cpu"),
        (torch.bfloat16, (4, 600), "cpu"),
        (torch.float16, (4, 600), "cpu"),
        (torch.complex64, (4, 600), "cpu"),
        (torch.float32, (4, 600), "meta"),
    ],
)
def test_without_kernels_it_is_a_linear(dtype, shape, device, products):
    layer, skipping = pair(device=device, dtype=dtype)
    z = torch.ones(shape, device=device, dtype=dtype)
    assert skipping(z).shape == (*shape[:-1], 520)
    assert skipping(z).dtype == dtype
    if device == "cpu":
        assert torch.equal(skipping(z), layer(z))
    assert products == []


def test_under_autocast_it_is_a_linear(products):
    layer, skipping = pair()
    z = torch.randn(4, 600).relu()
    with torch.autocast("cpu", torch.bfloat16):
        assert skipping(z).dtype == torch.bfloat16
        assert torch.equal(skipping(z), layer(z))
    assert products == []


@pytest.mark.parametrize("wrong", [torch.ones(4, 599), torch.ones(4, 600, dtype=torch.float64), torch.tensor(1.0)])
def test_errors_are_those_of_a_linear(wrong):
    layer, skipping = pair()
    with pytest.raises(RuntimeError) as expected:
        layer(wrong)
    with pytest.raises(RuntimeError) as found:
        skipping(wrong)
    assert str(found.value) == str(expected.value)


def test_sparse_inputs():
    layer, skipping = pair(6, 5)
    z = torch.eye(6)[:4]
    torch.testing.assert_close(skipping(z.to_sparse()), layer(z))
