"""Networks and the trainings that they stand for."""

import pytest
from cases.experiments import settings_of

from gatentk.papers.blocks import EXPERIMENT, settings
from gatentk.papers.blocks.settings import KINDS, Network, gated


def test_a_network_is_a_training(small):
    task = settings_of(EXPERIMENT, small).tasks["digits"]
    config = Network("centred", 32, 16).config(task, 2)
    assert (config.model, config.block, config.gates, config.center) == ("grelu", 16, "shallow", True)
    config = Network("relu", 24).config(task, 2, "float64")
    assert (config.model, config.width, config.depth, config.dtype) == ("relu", 24, 2, "float64")


@pytest.mark.parametrize(("width", "block", "units"), [(10, 1, 10), (10, 3, 4), (10, 10, 1)])
def test_units_are_blocks_and_the_last_may_be_shorter(width, block, units):
    assert Network("deep", width, block).units == units


def test_no_block_is_longer_than_a_layer():
    networks = list(gated(KINDS, (4, 32), (1, 16)))
    assert len(networks) == 3 * 1 + 3 * 2
    assert len({network.name for network in networks}) == len(networks)


def test_samples_of_classes_are_the_same_at_every_width(small):
    tasks = settings_of(EXPERIMENT, small).tasks
    assert settings.samples(tasks["digits"], 24) is settings.samples(tasks["digits"], 48)
    of_numbers = [settings.samples(tasks["friedman"], width) for width in (24, 48)]
    assert of_numbers[0].train.scale.unit != of_numbers[1].train.scale.unit


def test_networks_are_found_by_what_they_are(small):
    task = settings_of(EXPERIMENT, small).tasks["digits"]
    assert [network.width for network in task.having("relu")] == [24, 32, 48]
    assert task.having("shallow") == []
