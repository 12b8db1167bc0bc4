"""The journal of an experiment: its finished cells, a line each, locked while open."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, get_type_hints

import gatentk
from gatentk.journal import JournalBusyError, JournalFile
from gatentk.papers.frame.experiment import Cell, Experiment, PaperError
from gatentk.papers.frame.plain import plain, restored

S = TypeVar("S")
N = TypeVar("N")
JOURNAL = "cells.jsonl"


class Journal:
    """Finished cells of one experiment, a line each, in its output folder; locked while open.

    Args:
        folder: of the results; it exists.
        experiment, settings: what the numbers are of.
        restart: forget what is there.
        files: SHA-256 of the user's files that the numbers are of, by data set.

    Raises:
        PaperError: the folder holds other numbers, or another process is writing to it.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Experiment[S],
        settings: S,
        restart: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.numbers: dict[str, Any] = {}
        self.seconds: dict[str, float] = {}
        try:
            self._file = JournalFile(folder / JOURNAL)
        except JournalBusyError as error:
            raise PaperError(str(error)) from error
        try:
            if restart:
                self._file.clear()
            identity = {"paper": experiment.name, "version": gatentk.__version__, "settings": plain(settings)}
            entries = self._entries(folder, identity | ({"set of files": dict(files)} if files else {}))
            self._restore(entries, experiment.cells(settings) if entries else ())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, cell: Cell[Any, N], numbers: N, seconds: float) -> None:
        """Add a finished cell; the disk has it when this returns."""
        entry = {"cell": cell.key, "seconds": seconds, "numbers": plain(numbers)}
        self._file.write(entry)
        self._file.sync()
        self._keep(cell, json.loads(json.dumps(entry)))  # as a run that goes on reads it back

    def _entries(self, folder: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
        """What follows the first line, which is written where there is none."""
        entries = self._file.read()
        if not entries:
            self._file.write(identity)
            self._file.sync()
            return []
        expected = json.loads(json.dumps(identity))
        if entries[0] != expected:
            different = [name for name in expected | entries[0] if entries[0].get(name) != expected.get(name)]
            raise PaperError(
                f"{folder} holds cells of another {' and '.join(different)}; choose another folder with --out, or "
                "--restart to start over in this one"
            )
        return entries[1:]

    def _restore(self, entries: Sequence[Mapping[str, Any]], cells: Sequence[Cell[Any, Any]]) -> None:
        known = {cell.key: cell for cell in cells}
        for entry in entries:
            cell = known.get(entry["cell"])
            if cell is None:
                raise PaperError(f"{self._file.path}: there is no cell {entry['cell']!r} in this experiment")
            self._keep(cell, entry)

    def _keep(self, cell: Cell[Any, Any], entry: Mapping[str, Any]) -> None:
        kind = get_type_hints(cell.compute)["return"]
        self.numbers[cell.key] = restored(kind, entry["numbers"], f"{self._file.path}: {cell.key}")
        self.seconds[cell.key] = entry["seconds"]
