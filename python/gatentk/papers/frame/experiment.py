"""What an experiment is: settings, cells that compute numbers, and findings drawn from the numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from gatentk.errors import RunError
from gatentk.papers.frame.findings import Findings

S = TypeVar("S")  # settings: a frozen dataclass of everything the numbers depend on
N = TypeVar("N", covariant=True)  # the numbers of a cell: a frozen dataclass


class PaperError(RunError):
    """An experiment cannot start or go on as asked; the message says what to change."""


class UserFile(str):
    """The path of a file or folder that the user brings, as a setting: text in JSON.

    What an experiment reads is what its settings hold of these, and a part of what its numbers depend on.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Scale:
    """How large an experiment is run.

    Attributes:
        full: at the published size instead of one for a laptop.
        paths: files of data sets that the user brings, by the name of the data set.
    """

    full: bool = False
    paths: Mapping[str, Path] = field(default_factory=dict)


class Cell(ABC, Generic[S, N]):
    """The unit of work, of progress and of resuming: a frozen dataclass whose fields say what to compute.

    An experiment has a class of cells for each kind of numbers that it computes.

    Attributes:
        KEY: pattern of the key in the syntax of `str.format`, in which the fields have their names.
    """

    KEY: ClassVar[str]

    @property
    def key(self) -> str:
        """Unique in an experiment: names the cell in the journal, in results.json and on the screen."""
        return self.KEY.format(**vars(self))

    @abstractmethod
    def cost(self, settings: S) -> float:
        """Expected work, positive, in any unit that all cells of the experiment share."""

    @abstractmethod
    def compute(self, settings: S) -> N:
        """The numbers; the same cell gives the same. What it is annotated to return is how they are read back."""


class Results:
    """The numbers of finished cells.

    Args:
        numbers: by the key of the cell.
    """

    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._numbers = numbers

    def __getitem__(self, cell: Cell[Any, N]) -> N:
        """What the cell computed."""
        numbers: N = self._numbers[cell.key]
        return numbers


class Experiment(ABC, Generic[S]):
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
    def settings(self, scale: Scale) -> S:
        """What is to be run at this scale.

        Raises:
            DataError: a data set that the scale needs is not there.
        """

    @abstractmethod
    def cells(self, settings: S) -> Sequence[Cell[S, Any]]:
        """All cells, in the order in which they run."""

    @abstractmethod
    def findings(self, settings: S, results: Results) -> Findings:
        """Claims, plots and tables from the numbers of all cells."""

    def needs(self, settings: S) -> tuple[int, float]:
        """Bytes of memory that the largest cell takes and seconds that all of them may take; zeros if small."""
        return 0, 0.0
