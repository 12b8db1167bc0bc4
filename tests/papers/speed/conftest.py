"""Times of tiny networks, and how well their gates of low rank agree."""

import pytest
from cases.experiments import defaults, plain_numbers

from gatentk.papers.speed import EXPERIMENT


@pytest.fixture(scope="package")
def small():
    return defaults(EXPERIMENT) | {
        "data": "digits",
        "depth": 2,
        "batch": 16,
        "rows": [1, 16],
        "widths": [32, 64],
        "rounds": 2,
        "agreement_samples": 60,
    }


@pytest.fixture(scope="package")
def results(small):
    return plain_numbers(EXPERIMENT, small)
