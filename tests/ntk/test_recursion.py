"""Tangents and gradients of one tile are each other's transposes."""

import math

import pytest
import torch

from gatentk.ntk.moments import Erf, Gelu, PiecewiseLinear
from gatentk.ntk.recursion import Direction, Entering, Recursion, Tile

MOMENTS = [PiecewiseLinear(0.0), PiecewiseLinear(-0.4), Erf(), Gelu()]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tile_of(recursion, depth, n=3, n_z=4):
    x, z = (
        recursion.layers(normal(1, n).square() + 0.1, depth),
        recursion.layers(normal(1, n_z, seed=1).square(), depth),
    )
    rows = (slice(None), slice(None))
    theta = torch.rand(1, n, n_z, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * math.pi
    return x, z, Tile(recursion, [one.part(rows, -1) for one in x], [one.part(rows, -2) for one in z], theta)


def entering(kind, depth, theta):
    if kind == "nngp":
        return Entering(None)
    if kind == "ntk":
        return Entering([1.0] * (depth + 1))
    return Entering([float(layer == 1) for layer in range(depth + 1)])


@pytest.mark.parametrize("moments", MOMENTS, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize("kind", ["ntk", "nngp", "second matrix"])
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_gradients_and_tangents_agree(moments, kind, bias):
    depth = 3
    recursion = Recursion(moments, 0.7, 1.9, bias)
    x, z, tile = tile_of(recursion, depth)
    what = entering(kind, depth, tile.theta)
    start, weight = 0.4, -0.6
    rows = [
        [tangent / layer.one.variance for tangent, layer in zip(tangents, side, strict=True)]
        for side in (x, z)
        for tangents in [recursion.tangents(side, normal(*side[0].psi.shape, seed=3), weight, start)]
    ]
    covariance, cotangent = normal(*tile.theta.shape, seed=4), normal(*tile.theta.shape, seed=5)
    direction = Direction(
        covariance, [row.unsqueeze(-1) for row in rows[0]], [row.unsqueeze(-2) for row in rows[1]], weight, start
    )
    (tangent,) = tile.push(depth, what, [direction])
    pulled = tile.pull(depth, {depth: cotangent}, what)
    found = (pulled.covariance * covariance).sum()
    for parts, tangents in ((pulled.left, direction.left), (pulled.right, direction.right)):
        assert len(parts) == depth
        found += sum((part * row).sum() for part, row in zip(parts, tangents, strict=False))
    found += weight * sum(part.sum() for part in pulled.weight)
    # The first layer's bias is part of the given tangents.
    found += start * sum(part.sum() for part in pulled.bias[:-1])
    torch.testing.assert_close(found, (tangent * cotangent).sum(), rtol=1e-12, atol=0)
    turned = pulled.turned()
    assert torch.equal(turned.left[0], pulled.right[0].mT)
    assert torch.equal(turned.covariance, pulled.covariance.mT)


def test_tangents_of_variances_are_their_derivatives():
    squares = torch.tensor([[0.5, 2.0]], dtype=torch.float64)
    for moments in MOMENTS:

        def variances(step, moments=moments):
            recursion = Recursion(moments, 0.7 + step, 1.9 - 2 * step, 0.3 + 3 * step)
            return recursion.layers(squares, 3), recursion

        layers, recursion = variances(0.0)
        tangents = recursion.tangents(layers, squares + 3, -2.0, 3.0)
        for low, high, tangent in zip(variances(-1e-5)[0], variances(1e-5)[0], tangents, strict=True):
            torch.testing.assert_close((high.one.variance - low.one.variance) / 2e-5, tangent, rtol=1e-8, atol=0)


def test_a_sum_that_is_given_stands_beside_covariances():
    """Gated: T = start prod E[f' f'], linear in what it starts with."""
    depth = 2
    recursion = Recursion(PiecewiseLinear(0.0), 1.0, 2.0, 0.0)
    _, _, tile = tile_of(recursion, depth)
    gram = normal(*tile.theta.shape, seed=6)
    pulled = tile.pull(depth, {depth: torch.ones_like(gram)}, Entering([0.0] * 3, gram))
    doubled = tile.pull(depth, {depth: torch.ones_like(gram)}, Entering([0.0] * 3, 2 * gram))
    torch.testing.assert_close(pulled.start, doubled.start)
    torch.testing.assert_close(2 * pulled.covariance, doubled.covariance)
