"""Cells of the experiment `bounds`, computed once for all of its tests."""

import pytest
from cases.theorems import SMALL

from gatentk.papers.bounds import EXPERIMENT
from gatentk.papers.frame.experiment import Results


@pytest.fixture(scope="session")
def numbers():
    """By key."""
    return {cell.key: cell.compute(SMALL) for cell in EXPERIMENT.cells(SMALL)}


@pytest.fixture(scope="session")
def results(numbers):
    """By cell."""
    return Results(numbers)
