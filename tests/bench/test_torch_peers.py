from __future__ import annotations

import pytest
import torch

from gatentk import ntk, ops
from gatentk.bench import torch_peers
from gatentk.nn import MLP, ReLUNetwork


@pytest.mark.parametrize("peer", [*torch_peers.LAYERWISE.values(), torch_peers.triangle_blocks])
@pytest.mark.parametrize("n", [1, 16, 40])
def test_torch_peers_follow_the_formula_at_any_size(peer, n, monkeypatch):
    monkeypatch.setattr(torch_peers, "ROWS", 16)
    acts, deltas = torch.randn(2, 3, n, 4, dtype=torch.float64)
    expected = torch.einsum("lik,ljk,lim,ljm->ij", acts, acts, deltas, deltas)
    torch.testing.assert_close(peer(list(acts), list(deltas)), expected)


def test_factors_of_a_network_are_its_activations_and_derivatives():
    net = MLP(3, 5, 2, dtype=torch.float64)
    x = torch.randn(4, 3, dtype=torch.float64)
    gradients = torch.autograd.grad(net(x).sum(), list(net.weights))
    acts, deltas = torch_peers.mlp_factors(net, x)
    for gradient, act, delta in zip(gradients, acts, deltas, strict=True):
        torch.testing.assert_close(delta.T @ act, gradient)


def test_dense_relu_network_trains_copies_of_the_square_weights():
    net = ReLUNetwork(3, 5, 2, 4, dtype=torch.float64)
    x = torch.randn(6, 3, dtype=torch.float64)
    dense = torch_peers.DenseReLUNetwork(net)
    outputs = dense(x)
    torch.testing.assert_close(outputs, net(x))
    gradients = torch.autograd.grad(outputs.square().sum(), list(dense.parameters()))
    expected = torch.autograd.grad(net(x).square().sum(), list(net.weights))
    torch.testing.assert_close(gradients, expected)
    with torch.no_grad():
        net.weights[0].zero_()
    torch.testing.assert_close(dense(x), outputs)


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_arc_cosines_are_the_kernel_of_an_infinite_network(depth):
    x = torch.randn(20, 5, dtype=torch.float64)
    torch.testing.assert_close(torch_peers.arc_cosines(x, depth), ntk.infinite(x, depth=depth), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", [0, 1, 4])
def test_arc_cosines_with_biases_are_the_kernel_of_an_infinite_network(depth):
    x = torch.randn(20, 5, dtype=torch.float64)
    expected = ntk.infinite(x, depth=depth, w_std=1.5, b_std=0.3)
    torch.testing.assert_close(torch_peers.arc_cosines_with_biases(x, depth, 1.5, 0.3), expected, rtol=1e-6, atol=1e-6)


def test_shifts_and_sums_pack_bits():
    mask = torch.rand(5, 256) < 0.5
    assert torch.equal(torch_peers.pack_bits(mask), ops.pack_bits(mask))
