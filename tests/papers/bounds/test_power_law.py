"""Exponents of exact power laws."""

import pytest

from gatentk.papers.bounds.power_law import exponent


def test_the_power_of_a_power_law_is_found():
    x = [2.0, 4.0, 16.0]
    assert exponent(x, [3 * v**-1.5 for v in x]) == pytest.approx(-1.5)


def test_zeros_fall_steeply_and_do_not_fail():
    assert exponent([1.0, 2.0], [1.0, 0.0]) < -100
