"""What a data set tells of itself: its names, its line in tables and help texts, and what reads or draws it.

Entries are declared in the modules of `gatentk.data.sets`. The command line reads them all for its help texts, so
neither these nor this module import numpy or torch before samples are wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_WHOLE = 2**53  # every integer up to here is a float64


class Source(NamedTuple):
    """Samples as stored: x (n, ...) is still to be divided by `scale` and flattened to (n, d), float64.

    `classes` are the names of y's numbers, `note` says what was guessed of a file, `features` are names of the columns
    of x where a file has names.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    scale: float = 1.0
    classes: tuple[str, ...] | None = None
    note: str = ""
    features: tuple[str, ...] | None = None


# Arguments of `gatentk.data.load` that say what the columns of a file are.
COLUMNS = ("label", "index", "header")


@dataclass(frozen=True)
class Columns:
    """What the user says of the columns of a table; what is None is guessed.

    Attributes:
        label: the name of the column that is y; "" if none is.
        index: whether the first column is left out.
        header: whether the first line names the columns.
    """

    label: str | None = None
    index: bool | None = None
    header: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A data set.

    Attributes:
        name: what `gatentk.data.load` calls it.
        place: where it stands in lists, among the places of the others.
        rows: in a line, how many samples of how many features it has, and what x and y are.
        brought: whether experiments of the papers take a file of the user's for it.
    """

    name: str
    place: int
    rows: tuple[Row, ...] = ()
    brought: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All names that `gatentk.data.load` knows it by; `PATH` stands for a file."""
        return (self.name,)


class Row(NamedTuple):
    """A line of the table of data sets."""

    name: str
    samples: str
    x: str
    y: str


@dataclass(frozen=True, kw_only=True)
class Generated(Entry):
    """Drawn from random numbers: `draw` gets the number of samples, `default` where none is given, and the seed."""

    draw: Callable[[int, int], Source]
    default: int


@dataclass(frozen=True, kw_only=True)
class Installed(Entry):
    """Part of a Python package."""

    read: Callable[[], Source]


@dataclass(frozen=True, kw_only=True)
class Published(Entry):
    """Files that users install or download.

    Attributes:
        read: gets the user's file or folder, None for where a package of the system puts it.
        read_test: the same for the test set, called NAME-test, if there is one.
        path: in a sentence without its end, what the file or folder is.
        listed: whether help texts name it.
    """

    read: Callable[[Path | None], Source]
    read_test: Callable[[Path | None], Source] | None = None
    path: str
    listed: bool = True
    brought: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the train set, or of the only one, and that of the test set."""
        return (self.name,) if self.read_test is None else (self.name, f"{self.name}-test")

    def reader(self, name: str) -> Callable[[Path | None], Source]:
        """What reads the set of that name."""
        return self.read if self.read_test is None or name == self.name else self.read_test


@dataclass(frozen=True, kw_only=True)
class FileFormat(Entry):
    """Any file of a format, loaded as NAME:PATH.

    Attributes:
        samples_note, training_note: what a help text adds where samples are looked at, and where y is learnt.
        columns: whether users may say what its columns are.
    """

    read: Callable[[Path, Columns], Source]
    samples_note: str
    training_note: str
    columns: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The name with the mark of a path."""
        return (f"{self.name}:PATH",)


@dataclass(frozen=True, kw_only=True)
class Features(Entry):
    """Features that users compute and `gatentk.data.load` reads as a file; experiments of the papers know its name."""

    brought: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """None: it is loaded as a file."""
        return ()
