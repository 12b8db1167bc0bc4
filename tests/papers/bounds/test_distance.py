"""Orders of distances as the papers have them, and claims that follow the numbers."""

import math

import pytest
from cases.theorems import altered, verdict

from gatentk.papers.bounds.distance import radius, tau_order


@pytest.mark.parametrize(
    ("start", "cells", "values"),
    [
        ("[G, Eq. 5]", "training", {"tau": 1.0}),
        ("[G, Cor. 4", "training", {"drift": 0.1}),
        ("[G, Cor. 4", "training n 6 depth 2 width 128", {"drift": 1e3}),
        ("[G, Thm 3]", "training", {"linearised": 0.1}),
    ],
)
def test_claims_turn_false_with_the_numbers(numbers, start, cells, values):
    assert verdict(altered(numbers, cells, **values), start) is False


def test_orders():
    n, depth, width, outputs = 8, 3, 1024, 2
    assert tau_order(n, depth, width, outputs) == pytest.approx(outputs * math.sqrt(n / width) / depth)
    # n^(1/2) L^2 d_x^(1/2) d_y^(3/2) / m^(1/2), with 2n inputs
    assert radius(n, depth, width, outputs) == pytest.approx(n**0.5 * depth**2 * 16**0.5 * 2**1.5 / 1024**0.5)
