"""Kernels of tiny data against their closed forms."""

import math

import pytest
from cases.conditioning import point
from cases.experiments import plain_numbers_of

from gatentk import ntk, spectrum
from gatentk.papers.conditioning import EXPERIMENT
from gatentk.papers.conditioning.cells import samples_of


def test_infinite_width_is_that_of_the_closed_form(settings, numbers):
    x = samples_of("synthetic", None, 60).x
    for depth in (1, 7):
        expected = spectrum(ntk.infinite(x, depth=depth)).condition
        assert point(numbers, depth)["condition"] == pytest.approx(expected, rel=1e-6)
        assert math.radians(point(numbers, depth)["angle"]) == pytest.approx(ntk.min_angle(x, depth), rel=1e-9)


def test_linear_networks_keep_angle_and_condition_number_of_the_samples(settings, numbers):
    x = samples_of("digits", None, 40).x
    gram = spectrum(x @ x.T)
    for depth in range(11):
        found = point(numbers, depth, "linear", "digits")
        assert found["condition"] == pytest.approx(gram.condition, rel=1e-6)
        assert math.radians(found["angle"]) == pytest.approx(ntk.min_angle(x, 0), rel=1e-9)


def test_depth_zero_is_the_linear_model_for_both(numbers):
    relu, linear = (point(numbers, 0, activation, "digits") for activation in ("relu", "linear"))
    assert relu["condition"] == pytest.approx(linear["condition"])


def test_means_are_over_all_seeds(settings, numbers):
    found = numbers["digits subset finite relu depth 3"]
    assert len(found["seeds"]) == settings["seeds"]
    angles = [seed[0]["angle"] for seed in found["seeds"]]
    assert angles[0] != angles[1]
    assert found["points"][0]["angle"] == pytest.approx(sum(angles) / 2)


def test_a_cell_gives_the_same_numbers_again(settings, numbers):
    key = "synthetic batches finite linear depth 2"
    assert plain_numbers_of(EXPERIMENT, settings, key) == numbers[key]
