"""Two samples against the eigenvalues of their kernel, and claims that follow the numbers."""

import math

import pytest
import torch
from cases.theorems import SMALL, altered, verdict

from gatentk import ntk
from gatentk.papers.bounds.pairs import Pair


@pytest.mark.parametrize("degrees", [1.0, 10.0])
def test_two_samples_have_the_condition_number_of_their_angle(results, degrees):
    t = math.radians(degrees)
    x = torch.tensor([[1.0, 0.0], [math.cos(t), math.sin(t)]], dtype=torch.float64)
    for depth, value in zip(SMALL.pair.depths, results[Pair(degrees)].condition, strict=True):
        values = torch.linalg.eigvalsh(ntk.infinite(x, depth=depth))
        assert value == pytest.approx(float(values[-1] / values[0]), rel=1e-8)


@pytest.mark.parametrize(
    ("start", "cells", "values"),
    [
        ("[S, Thm 5.2] For two", "pair 1 degrees", {"condition": [9.0, 8.0, 7.0, 7.5, 5.0, 4.0, 3.0]}),
        ("[S, Thm 4.5]", "pair 0.01 degrees", {"gap": [1e-8] * 7}),
    ],
)
def test_claims_turn_false_with_the_numbers(numbers, start, cells, values):
    assert verdict(altered(numbers, cells, **values), start) is False
