"""The journal of an experiment: its finished cells, a line each, locked while open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import gatentk
from gatentk.papers.frame.experiment import Cell, Experiment, PaperError
from gatentk.runs import journal
from gatentk.runs.plain import from_json, to_json

S = TypeVar("S")
N = TypeVar("N")
JOURNAL = journal.PAPER.file_name
_KEYS = {"paper", "version", "settings", "set of files"}  # of the first line


class Journal(journal.Journal):
    """Finished cells of one experiment, a line each, in its output folder; locked while open.

    Args:
        folder: of the results; created if it is not there.
        experiment, settings: what the numbers are of.
        restart: forget what is there.
        files: SHA-256 of the user's files that the numbers are of, by data set.
        written: names of files that the experiment will write.

    Raises:
        PaperError: the folder holds other numbers, anything of another runner, or a file of nobody known that the
            experiment would write; cannot be written, or another process is writing to it; the journal is damaged.
    """

    runner = journal.PAPER
    error = PaperError

    def __init__(
        self,
        folder: Path,
        experiment: Experiment[S],
        settings: S,
        restart: bool = False,
        files: Mapping[str, str] | None = None,
        written: Iterable[str] = (),
    ) -> None:
        self.numbers: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        self._cells: Callable[[], Sequence[Cell[Any, Any]]] = lambda: experiment.cells(settings)
        identity = {"paper": experiment.name, "version": gatentk.__version__, "settings": to_json(settings)}
        super().__init__(folder, identity | ({"set of files": dict(files)} if files else {}), restart, written)

    def append(self, cell: Cell[Any, N], numbers: N, seconds: float) -> None:
        """Add a finished cell; the disk has it when this returns."""
        entry = {"cell": cell.key, "seconds": seconds, "numbers": to_json(numbers)}
        self.write(entry)
        self._keep(cell, json.loads(json.dumps(entry)))  # as a run that goes on reads it back

    def first_line(self) -> dict[str, Any]:
        """The identity itself."""
        return self.identity

    def identity_in(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The line itself."""
        return line if {"paper", "version", "settings"} <= set(line) <= _KEYS else None

    def other(self, stored: dict[str, Any], names: list[str]) -> str:
        """What differs, by name only: settings are long."""
        return f"cells of another {' and '.join(names)}"

    def take(self, entry: dict[str, Any]) -> None:
        """Remember a finished cell."""
        cell = self._known.get(entry["cell"])
        if cell is None:
            raise PaperError(f"there is no cell {entry['cell']!r} in this experiment")
        self._keep(cell, entry)

    @cached_property
    def _known(self) -> dict[str, Cell[Any, Any]]:
        return {cell.key: cell for cell in self._cells()}

    def _keep(self, cell: Cell[Any, Any], entry: Mapping[str, Any]) -> None:
        kind = get_type_hints(cell.compute)["return"]
        self.numbers[cell.key] = from_json(kind, entry["numbers"], cell.key)
        self.seconds[cell.key] = from_json(float, entry["seconds"], f"{cell.key}: seconds")
