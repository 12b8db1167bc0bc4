import numpy as np
import pytest
import torch
from cases.fixed_ends import DEPTH, KINDS, OUTPUTS, WIDTH, N, full_jacobian, moved, network, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk.train import Linearisation


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
