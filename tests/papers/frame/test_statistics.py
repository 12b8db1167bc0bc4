"""Exponents of exact power laws, means with what is infinite, and what a table shows."""

import math

import pytest

from gatentk.papers.frame.statistics import exponent, finite, geometric_mean


def test_the_power_of_a_power_law_is_found():
    x = [2.0, 4.0, 16.0]
    assert exponent(x, [3 * v**-1.5 for v in x]) == pytest.approx(-1.5)


def test_zeros_fall_steeply_and_do_not_fail():
    assert exponent([1.0, 2.0], [1.0, 0.0]) < -100


def test_geometric_means():
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2)
    assert geometric_mean([1.0, math.inf]) == math.inf
    assert geometric_mean([]) == math.inf


def test_a_table_shows_no_number_that_is_infinite():
    assert finite(math.inf) is None
    assert finite(1.0) == 1.0
