import pytest
import torch
from cases.kernels import NETWORKS, OTHER, jacobians, samples, seeded

from gatentk.ntk.outputs import chosen_outputs
from gatentk.ntk.pullbacks import ByBackward, ByTransforms, pullbacks_of


@pytest.mark.parametrize("kind", [ByTransforms, ByBackward])
@pytest.mark.parametrize("name", ["two layers", "shared layer", "tied weights", "frozen bias", "residual"])
def test_products_are_those_of_the_jacobian(kind, name):
    net, x = seeded({**NETWORKS, **OTHER}[name]), samples(4)
    full = jacobians(net, x)
    d_out = full[0].shape[1]
    products = kind(net, chosen_outputs("full", d_out, x))
    assert products.parameters == sum(part.shape[-1] for part in full)
    generator = torch.Generator().manual_seed(0)
    cotangents = torch.randn(3, 4, d_out, generator=generator, dtype=torch.float64)
    back = products.back(x, cotangents)
    for result, jacobian in zip(back, full, strict=True):
        torch.testing.assert_close(result.flatten(1), torch.einsum("cnp,npk->ck", cotangents, jacobian))
    images = sum(torch.einsum("ck,npk->cnp", g.flatten(1), part) for g, part in zip(back, full, strict=True))
    torch.testing.assert_close(products.forth(x, back), images)


def test_transforms_are_taken_where_they_agree():
    net, x = seeded(NETWORKS["two layers"]), samples(2)
    assert isinstance(pullbacks_of(net, x, chosen_outputs("trace", 3, x)), ByTransforms)
    net[0].weight.register_hook(lambda gradient: 2 * gradient)
    with pytest.warns(UserWarning, match="net: torch.func cannot make products with its Jacobian .its gradient is"):
        products = pullbacks_of(net, x, chosen_outputs("trace", 3, x))
    assert isinstance(products, ByBackward)
