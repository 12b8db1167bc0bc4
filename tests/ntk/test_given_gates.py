"""The kernel that follows from a gate table: simulated networks of these gates, plain counts, and every refusal."""

import numpy as np
import pytest
import torch
from cases.gated_samples import measured, samples, within_standard_errors

from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork
from gatentk.ntk import given_gates, infinite


@pytest.mark.parametrize("kind", ["deep", "shallow"])
@pytest.mark.parametrize("block", [1, 5])
def test_it_is_the_mean_over_all_other_weights(kind, block):
    """Of deep gates too, at any width; C is drawn apart."""
    x = samples(3, 4) + 1
    gates = GateNetwork(
        4, 12, 2, torch.Generator().manual_seed(1), torch.float64, block=block, kind=kind, center=x.mean(0)
    )
    nets = [GReLUNetwork(4, 12, 2, 3, gates, torch.Generator().manual_seed(seed), torch.float64) for seed in range(250)]
    draws = torch.stack([measured(net, x).sum(0) for net in nets])
    assert within_standard_errors(draws, given_gates(x, gates.table(x)))


def test_with_the_papers_gates_it_is_the_mean_over_the_trained_weights_and_b():
    x = samples(3, 4)
    gates = GateNetwork(4, 12, 2, torch.Generator().manual_seed(1), torch.float64)
    nets = [GReLUNetwork(4, 12, 2, 3, gates, torch.Generator().manual_seed(seed), torch.float64) for seed in range(250)]
    draws = torch.stack([measured(net, x).sum(0) for net in nets])
    assert within_standard_errors(draws, given_gates(x, gates.table(x), input_weight=gates.input_weight))
    assert not within_standard_errors(draws, given_gates(x, gates.table(x)))


@pytest.mark.parametrize("kind", ["deep", "shallow"])
def test_it_tends_to_the_closed_form_with_the_width(kind):
    x = samples(5, 4)
    generator = torch.Generator().manual_seed(0)
    net = GateNetwork(4, 3000, 2, generator, torch.float64, kind=kind, block=2, center=x.mean(0))
    closed = infinite(x, depth=2, activation="grelu", gates=net)
    torch.testing.assert_close(given_gates(x, net.table(x)), closed, rtol=0, atol=0.15 * float(closed.diagonal().max()))


def test_the_papers_gates_tend_to_the_papers_kernel():
    x = samples(5, 4)
    net = GateNetwork(4, 2000, 2, torch.Generator().manual_seed(0), torch.float64)
    closed = infinite(x, depth=2, activation="grelu")
    K = given_gates(x, net.table(x), input_weight=net.input_weight)
    torch.testing.assert_close(K, closed, rtol=0, atol=0.15 * float(closed.diagonal().max()))


@pytest.mark.parametrize("block", [1, 3, 8, 70])
def test_counts_are_of_neurons(block):
    x, z = samples(6, 3), samples(4, 3, seed=1)
    net = GateNetwork(3, 70, 2, torch.Generator().manual_seed(0), block=block, kind="shallow")
    table, table_z = net.table(x), net.table(z)
    on, on_z = (t.expand().to_bool().double() for t in (table, table_z))
    expected = 2 * x @ z.T
    for a, b in zip(on, on_z, strict=True):
        expected = expected * (2 / 70) * (a @ b.T)
    K = given_gates(x, table, z, table_z)
    torch.testing.assert_close(K, expected)
    own = given_gates(x, table)
    assert torch.equal(own, own.T)
    array = given_gates(x.numpy(), table, z.numpy(), table_z)
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, K.numpy())


def small(n=2, width=4, layers=2):
    return GateTable.from_bool(torch.ones(layers, n, width, dtype=torch.bool))


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "^table: expected a GateTable, got list", (samples(2, 3), [1])),
        (ValueError, r"^x: expected shape \(n, d\)", (samples(2, 3).expand(2, 2, 3), small())),
        (ValueError, "^table: expected the gates of the 3 rows of x, got those of 2", (samples(3, 3), small())),
        (ValueError, "^table_z: expected the gates of z", (samples(2, 3), small(), samples(2, 3))),
        (ValueError, "^table_z: expected the gates of z, and none", (samples(2, 3), small(), None, small())),
        (ValueError, "^z: expected 3 features", (samples(2, 3), small(), samples(2, 4), small())),
        (ValueError, "^table_z: expected 2 layers of width 4", (samples(2, 3), small(), samples(2, 3), small(width=5))),
        (ValueError, "^table: expected at least two layers", (samples(2, 3), small(layers=1))),
        (ValueError, r"^input_weight: expected shape \(4, 3\)", (samples(2, 3), small(), None, None, samples(3, 3))),
        (ValueError, "^x: expected finite", (samples(2, 3) * torch.nan, small())),
    ],
)
def test_what_does_not_fit_is_refused_by_name(error, message, arguments):
    with pytest.raises(error, match=message):
        given_gates(*arguments)
