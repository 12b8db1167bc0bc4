"""What gradient descent must do on tiny data."""

import math

import pytest
import torch
from cases.experiments import plain_numbers_of

from gatentk.papers.training_depth import EXPERIMENT
from gatentk.papers.training_depth.cells import network, samples_of


def test_the_first_loss_is_that_of_the_untrained_network(settings, numbers):
    samples = samples_of("npy", settings["sets"]["blobs"]["path"]).train
    with torch.no_grad():
        logits = network(4, 32, 2, 3)(samples.x)
    expected = torch.nn.functional.cross_entropy(logits, samples.targets)
    assert numbers["blobs cross-entropy depth 2 rate 1"]["losses"][0] == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(samples.x.norm(dim=1), torch.ones(60))


def test_gradient_descent_follows_the_linearised_network_and_its_rates(settings, numbers):
    for depth in settings["depths"]:
        found = numbers[f"blobs square depth {depth}"]
        rate = math.log1p(-found["lmin"] / found["lmax"])
        linearised = found["linearised"]
        assert found["losses"][0] == 1
        assert linearised[0] == pytest.approx(1)
        assert linearised == sorted(linearised, reverse=True)
        # Each component falls at least as fast as the slowest one.
        assert all(loss <= math.exp(2 * t * rate) * (1 + 1e-9) for t, loss in enumerate(linearised))
        assert found["losses"][1] == pytest.approx(linearised[1], rel=0.05)


def test_a_cell_gives_the_same_numbers_again(settings, numbers):
    for key in list(numbers)[::5]:
        assert plain_numbers_of(EXPERIMENT, settings, key) == numbers[key]
