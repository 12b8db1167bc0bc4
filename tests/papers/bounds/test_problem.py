"""The data and the step of gradient descent that the checks of [G] share."""

import pytest
import torch

from gatentk.papers.bounds.problem import ackley, descend, network, scaled_ackley


def test_rows_are_unit_and_almost_orthogonal():
    x, labels = ackley(12)
    assert x.shape == (12, 24)
    assert labels.shape == (12, 1)
    assert torch.allclose(x.norm(dim=1), torch.ones(12, dtype=torch.float64))
    assert float((x @ x.T).fill_diagonal_(0).abs().max()) < 0.8
    assert float(labels.square().mean()) == pytest.approx(1)


def test_labels_are_of_the_size_of_the_outputs():
    x, labels = scaled_ackley(12, 128)
    assert float(labels.square().mean()) == pytest.approx(128 / 24)
    outputs = torch.cat([network(12, 128, 1, seed)(x).detach() for seed in range(40)])
    assert float(outputs.square().mean()) == pytest.approx(2 * 128 / 24, rel=0.2)  # B ~ N(0, 2 / d_y)


def test_a_step_goes_down_the_gradient_of_half_the_squared_error():
    x, labels = scaled_ackley(5, 16)
    net = network(5, 16, 2, 0)
    gates = net.gate_table(x)
    before = [weight.detach().clone() for weight in net.weights]
    outputs = net(x, gates=gates)
    descend(net, outputs, labels, 1e-3)
    for k, weight in enumerate(before):
        moved = net.weights[k].detach() - weight
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)

        def loss(change, k=k):
            with torch.no_grad():
                for index, start in enumerate(before):
                    net.weights[index].copy_(start + (change if index == k else 0))
                return float((net(x, gates=gates) - labels).square().sum() / 2)

        after = [w.detach().clone() for w in net.weights]
        slope = (loss(1e-6 * direction) - loss(-1e-6 * direction)) / 2e-6
        with torch.no_grad():
            for w, value in zip(net.weights, after, strict=True):
                w.copy_(value)
        assert float((moved * direction).sum()) == pytest.approx(-1e-3 * slope, rel=1e-6)
