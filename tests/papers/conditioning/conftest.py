"""Kernels of tiny data by depth and width."""

import copy

import pytest
from cases.experiments import plain_numbers

from gatentk.papers.conditioning import EXPERIMENT
from gatentk.papers.conditioning.experiment import LAPTOP, describe
from gatentk.runs.plain import to_json


@pytest.fixture(scope="package")
def settings():
    """Sixty points in five dimensions and forty digits, all depths."""
    sets = {name: to_json(describe(name, n, None, LAPTOP)) for name, n in (("synthetic", 60), ("digits", 40))}
    for chosen in sets.values():
        chosen["rows"] |= {"subset": 10, "batches": min(4, 40 // chosen["batch"]) * chosen["batch"]}
    return {
        "sets": sets,
        "missing": {"fashion-mnist": "a file"},
        "depths": list(range(11)),
        "width": 48,
        "seeds": 2,
        "by_width": {"set": "digits", "rows": 8, "depths": [1, 2], "widths": [16, 256]},
    }


@pytest.fixture(scope="package")
def numbers(settings):
    return plain_numbers(EXPERIMENT, settings)


@pytest.fixture
def altered(numbers):
    """Numbers that a test may change."""
    return copy.deepcopy(numbers)
