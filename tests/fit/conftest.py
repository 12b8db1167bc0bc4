"""Fits of numbers and of classes that several tests look at."""

import pytest
from cases.fits import finished, given, small, waves


@pytest.fixture
def numbers(monkeypatch):
    return finished(*given(monkeypatch, {"train": waves(40), "test": waves(9, seed=1)}, test="test"))


@pytest.fixture(scope="package")
def classes():
    return finished(small(n=60))
