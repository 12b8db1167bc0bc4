"""What an experiment is: settings, cells that compute numbers, and findings drawn from the numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Settings = dict[str, Any]  # everything the numbers depend on; JSON
Numbers = dict[str, Any]  # what a cell computes; JSON


@dataclass(frozen=True)
class Scale:
    """How large an experiment is run.

    Attributes:
        full: at the published size instead of one for a laptop.
        paths: files of data sets that the user brings, by the name of the data set.
    """

    full: bool = False
    paths: Mapping[str, Path] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Claim:
    """One statement of a paper and what came of it, computed from the numbers.

    Attributes:
        source: its place, such as "[S, Thm 4.5]".
        statement: what the paper says.
        outcome: what came out, with figures.
        agrees: whether it holds here; None where this scale or these data cannot tell.
    """

    source: str
    statement: str
    outcome: str
    agrees: bool | None


@dataclass(frozen=True)
class Table:
    """Numbers to read; also written as a CSV file under its name."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Plot:
    """A figure and what a reader who cannot see it should know."""

    name: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Findings:
    """What an experiment shows."""

    claims: Sequence[Claim]
    plots: Sequence[Plot]
    tables: Sequence[Table]
    remarks: Sequence[str] = ()


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
