"""The table of activations against the functions themselves and the operations that it names."""

import math

import pytest
import torch

from gatentk import ops
from gatentk.activations import ACTIVATIONS, FUNCTIONS, GATE_KINDS, LABELS, MODELS, WITH_ANGLES

ROWS = [row for row in ACTIVATIONS.values() if row.function is not None]
WITH_FUNCTIONS = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_every_row_goes_by_its_name_and_every_quantity_belongs_to_at_most_one():
    assert all(row.name == name and LABELS[name] == row.label for name, row in ACTIVATIONS.items())
    assert set(MODELS) <= set(ACTIVATIONS)
    own = [quantity for row in ACTIVATIONS.values() for quantity in row.quantities]
    assert len(own) == len(set(own))
    gated = [quantity for row in GATE_KINDS.values() for quantity in row.quantities]
    assert len(gated) == len(set(gated))
    assert {*own, *(ACTIVATIONS[name].angle for name in WITH_ANGLES), *gated} == set(ops.QUANTITIES)
    networks = {row.network for row in ACTIVATIONS.values() if row.network is not None}
    assert {*networks, *(f"{name}_nngp" for name in networks)} == set(ops.NETWORK_QUANTITIES)


def test_networks_and_studies_know_those_with_angles_only():
    assert WITH_ANGLES == ("relu", "linear", "grelu")
    assert FUNCTIONS == ("relu", "linear")


@WITH_FUNCTIONS
def test_the_derivative_is_that_of_the_function(row):
    z = torch.linspace(-3, 3, 11, dtype=torch.float64)[torch.arange(11) != 5].requires_grad_()
    (expected,) = torch.autograd.grad(row.function(z).sum(), z)
    found = torch.ones_like(z) if row.derivative is None else row.derivative(z)
    torch.testing.assert_close(found.to(z.dtype), expected)


@WITH_FUNCTIONS
def test_the_gain_keeps_the_mean_square(row):
    """E[f(g)^2] by a sum over a fine grid of the normal density."""
    g = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-g.square() / 2) / math.sqrt(2 * math.pi)
    assert float(torch.trapezoid(row.function(g).square() * density, g)) == pytest.approx(1 / row.gain, rel=1e-9)
    assert row.scale(50) == math.sqrt(row.gain / 50)
    assert row.gain_of(row.slope) == pytest.approx(row.gain, rel=1e-15)


def test_networks_with_fixed_ends_train_two_matrices_less_than_they_have():
    assert [ACTIVATIONS[name].trained(3) for name in ("relu", "linear", "grelu")] == [4, 4, 3]
    assert [ACTIVATIONS[name].smallest_depth for name in ("relu", "linear", "grelu")] == [0, 0, 1]
