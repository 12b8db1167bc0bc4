"""What an experiment is: settings, cells that compute numbers, and findings drawn from the numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatentk.papers.frame import experiment as frame
from gatentk.papers.frame.experiment import Scale as Scale
from gatentk.papers.frame.findings import Claim as Claim
from gatentk.papers.frame.findings import Findings as Findings
from gatentk.papers.frame.findings import Plot as Plot
from gatentk.papers.frame.findings import Table as Table

Settings = dict[str, Any]  # everything the numbers depend on; JSON
Numbers = dict[str, Any]  # what a cell computes; JSON


@dataclass(frozen=True)
class Cell:
    """The unit of work, of progress and of resuming.

    Attributes:
        key: unique in an experiment; what the progress bar shows.
        cost: expected work, in any unit that all cells of the experiment share.
        arguments: what to compute.
    """

    key: str
    cost: float
    arguments: Mapping[str, Any]


class Experiment(ABC):
    """One figure, table or group of theorems.

    Attributes:
        name: on the command line.
        title: a line that says what is shown.
        source: where the papers show it.
    """

    name: str
    title: str
    source: str

    @abstractmethod
    def settings(self, scale: Scale) -> Settings:
        """What is to be run at this scale.

        Raises:
            DataError: a data set that the scale needs is not there.
        """

    @abstractmethod
    def cells(self, settings: Settings) -> Sequence[Cell]:
        """All cells, in the order in which they run."""

    @abstractmethod
    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """The numbers of one cell; the same cell gives the same numbers."""

    @abstractmethod
    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Claims, plots and tables from the numbers of all cells, by key."""

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Bytes of memory that the largest cell takes and seconds that all of them may take; zeros if small."""
        return 0, 0.0


def run(experiment: Experiment, settings: Settings, done: Mapping[str, Numbers]) -> Iterator[tuple[Cell, Numbers]]:
    """Compute the cells that are not done, one after another."""
    for cell in experiment.cells(settings):
        if cell.key not in done:
            yield cell, experiment.compute(settings, cell)


# ruff: noqa: D102
@dataclass(frozen=True)
class PlainCell(frame.Cell[Settings, Numbers]):
    """A cell of an experiment whose settings and numbers are dictionaries."""

    cell: Cell
    experiment: Experiment = field(compare=False)

    @property
    def key(self) -> str:
        return self.cell.key

    def cost(self, settings: Settings) -> float:
        return self.cell.cost

    def compute(self, settings: Settings) -> Numbers:
        return self.experiment.compute(settings, self.cell)


class PlainExperiment(frame.Experiment[Settings]):
    """An experiment whose settings and numbers are dictionaries."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.name, self.title, self.source = experiment.name, experiment.title, experiment.source

    def settings(self, scale: Scale) -> Settings:
        return self.experiment.settings(scale)

    def cells(self, settings: Settings) -> Sequence[PlainCell]:
        return [PlainCell(cell, self.experiment) for cell in self.experiment.cells(settings)]

    def findings(self, settings: Settings, results: frame.Results) -> Findings:
        numbers = {cell.key: results[cell] for cell in self.cells(settings)}
        return self.experiment.findings(settings, numbers)

    def needs(self, settings: Settings) -> tuple[int, float]:
        return self.experiment.needs(settings)
