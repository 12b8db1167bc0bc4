"""records.jsonl: what a study has computed, a task a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatentk.errors import StudyError
from gatentk.runs import journal
from gatentk.runs.plain import from_json
from gatentk.study.run import StudyRecord, Task

JOURNAL = journal.STUDY.file_name


class Journal(journal.Journal):
    """Finished tasks of one study in its output folder.

    Attributes:
        done: keys of the finished tasks.
        records: what they computed.

    Raises:
        StudyError: the folder holds another study, anything of another runner, or a file of nobody known that this
            study would write; cannot be written, or another process is writing to it; the journal is damaged.
    """

    runner = journal.STUDY
    error = StudyError

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], restart: bool | None = False, files: Iterable[str] = ()
    ) -> None:
        self.records: list[StudyRecord] = []
        self.done: set[str] = set()
        super().__init__(folder, identity, restart, files)

    def take(self, entry: dict[str, Any]) -> None:
        """Remember a finished task."""
        self.done.add(entry["task"])
        self.records.extend(from_json(list[StudyRecord], entry["records"], entry["task"]))

    def append(self, task: Task, records: list[StudyRecord]) -> None:
        """Add a finished task; the disk has it when this returns."""
        self.write({"task": task.key, "records": [asdict(record) for record in records]})
        self.done.add(task.key)
        self.records.extend(records)
