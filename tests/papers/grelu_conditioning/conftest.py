"""Kernels of some digits by depth and gates."""

import copy

import pytest
from cases.experiments import plain_numbers

from gatentk.papers.grelu_conditioning import EXPERIMENT


@pytest.fixture(scope="package")
def settings():
    """150 digits, and networks of which 16 gates a layer are left where neurons share them."""
    return {
        "samples": {"digits": 150},
        "paths": {},
        "missing": {},
        "depths": [1, 2, 3, 5, 10],
        "width": 256,
        "finite_samples": 30,
        "finite_depths": [1, 3],
        "seeds": 2,
        "target": 0.01,
        "limit": {"data": "synthetic", "n": 20, "depths": [1, 100, 10_000]},
    }


@pytest.fixture(scope="package")
def results(settings):
    return plain_numbers(EXPERIMENT, settings)


@pytest.fixture
def altered(results):
    """Numbers that a test may change."""
    return copy.deepcopy(results)
