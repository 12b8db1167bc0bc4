"""depths.jsonl: what a fit has computed, a depth a line, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatentk.errors import FitError
from gatentk.fit.record import DepthRecord, Outcome
from gatentk.runs import journal
from gatentk.runs.plain import from_json

JOURNAL = journal.FIT.file_name


class Journal(journal.Journal):
    """Finished depths of one fit in its output folder.

    Attributes:
        records: by depth.
        outcome: of the best pair, once it is known.

    Raises:
        FitError: the folder holds another fit, anything of another runner, or a file of nobody known that this fit
            would write; cannot be written, or another process is writing to it; the journal is damaged.
    """

    runner = journal.FIT
    error = FitError

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], restart: bool | None = False, files: Iterable[str] = ()
    ) -> None:
        self.records: dict[int, DepthRecord] = {}
        self.outcome: Outcome | None = None
        super().__init__(folder, identity, restart, files)

    def take(self, entry: dict[str, Any]) -> None:
        """Remember a finished depth, or the outcome."""
        if "outcome" in entry:
            self.outcome = from_json(Outcome, entry["outcome"], "outcome")
        else:
            record = from_json(DepthRecord, entry["tried"], "tried")
            self.records[record.depth] = record

    def append(self, record: DepthRecord) -> None:
        """Add a finished depth; the disk has it when this returns."""
        self.write({"tried": asdict(record)})
        self.records[record.depth] = record

    def finish(self, outcome: Outcome) -> None:
        """Add the outcome."""
        self.write({"outcome": asdict(outcome)})
        self.outcome = outcome
