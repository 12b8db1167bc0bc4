"""Cells, their keys, and the numbers that they computed."""

from dataclasses import dataclass

import pytest
from cases.experiments import Toy, ToyCell, ToyNumbers

from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale


@dataclass(frozen=True)
class Described(Cell):
    name: str
    factor: float

    KEY = "{name} rate {factor:g}"

    def cost(self, settings):
        return 1.0

    def compute(self, settings) -> float:
        return self.factor


def test_the_key_is_made_of_the_fields():
    assert Described("digits", 32.0).key == "digits rate 32"
    assert ToyCell(3).key == "cell 3"


def test_equal_cells_have_the_same_numbers():
    numbers = ToyNumbers(0.5, (1, None), {})
    results = Results({"cell 1": numbers})
    assert results[ToyCell(1, Toy())] is numbers
    with pytest.raises(KeyError, match="cell 2"):
        results[ToyCell(2)]


def test_a_small_experiment_needs_nothing():
    assert Experiment.needs(Toy(), None) == (0, 0.0)
    assert Scale() == Scale(full=False, paths={})
