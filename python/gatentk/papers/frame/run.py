"""Running an experiment in a folder: what is missing is computed, what is there is kept, all files are written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatentk.extras import require
from gatentk.papers.frame import page
from gatentk.papers.frame.experiment import Experiment, Scale, UserFile
from gatentk.papers.frame.record import Journal
from gatentk.papers.frame.result import Result, document_text
from gatentk.reporting.environment import environment
from gatentk.reporting.output import text_bytes, write_results
from gatentk.reporting.text import csv_text
from gatentk.runs.files import write_atomically
from gatentk.runs.identity import file_digest
from gatentk.runs.plain import to_json
from gatentk.runs.progress import Progress
from gatentk.runs.results import RESULTS

PAGE = "report.html"


@dataclass(frozen=True)
class Job:
    """An experiment that can run.

    Attributes:
        experiment, scale, settings: what is run.
        memory, seconds: that it may take, at most, zeros if little.
    """

    experiment: Experiment[Any]
    scale: Scale
    settings: Any
    memory: int
    seconds: float

    @property
    def files(self) -> dict[str, Path]:
        """Those of the user's files that it reads, by data set: its settings name them."""
        read = set(_user_files(to_json(self.settings)))
        return {name: path for name, path in self.scale.paths.items() if str(path) in read}


def _user_files(value: Any) -> Iterator[UserFile]:
    """Those in plain data."""
    if isinstance(value, UserFile):
        yield value
    elif isinstance(value, (dict, list)):
        for content in value.values() if isinstance(value, dict) else value:
            yield from _user_files(content)


def prepare(experiment: Experiment[Any], scale: Scale) -> Job:
    """What is to be run at a scale.

    Raises:
        DataError: a data set is not there.
        ValueError: the scale does not fit the experiment.
    """
    settings = experiment.settings(scale)
    return Job(experiment, scale, settings, *experiment.needs(settings))


def run_experiment(
    job: Job,
    folder: Path,
    restart: bool = False,
    report: Callable[[Progress], None] | None = None,
    command: str | None = None,
) -> Result:
    """Compute the cells that the folder lacks, in their order, and write all files.

    Args:
        job: from `prepare`.
        folder: of the results; created if it is not there.
        restart: forget what it holds.
        report: called before the first cell and after each.
        command: what repeats the experiment, for its files; the call of this function if left out.

    Raises:
        MissingExtraError: a package of the extra `cli` is missing, which figures and pages need.
        PaperError: the folder holds other numbers, anything of another runner, or a file of nobody known that the
            experiment would write; it cannot be written, or another process is writing to it; its journal is damaged.
        OSError: results.json or a table cannot be written; what was computed is kept in the folder.

    Warns:
        DrawingWarning: a plot or the page could not be drawn; everything else is written.
    """
    require("cli", "run_experiment")
    files = {name: file_digest(path) for name, path in job.files.items()}
    with Journal(folder, job.experiment, job.settings, restart, files, (RESULTS, PAGE)) as journal:
        _compute(job, journal, report or (lambda progress: None))
        numbers, seconds = dict(journal.numbers), dict(journal.seconds)
        command = command or f"run_experiment(prepare(experiment({job.experiment.name!r}), {job.scale!r}), Path('DIR'))"
        result = Result(job.experiment, job.settings, numbers, seconds, environment(), command)
        write(folder, result, journal.put)
    return result


def _compute(job: Job, journal: Journal, report: Callable[[Progress], None]) -> None:
    cells = job.experiment.cells(job.settings)
    costs = {cell.key: cell.cost(job.settings) for cell in cells}
    report(Progress.of(costs, journal.numbers))
    for cell in cells:
        if cell.key not in journal.numbers:
            begun = time.perf_counter()
            numbers = cell.compute(job.settings)
            journal.append(cell, numbers, time.perf_counter() - begun)
            report(Progress.of(costs, journal.numbers, cell.key))


def write(folder: Path, result: Result, put: Callable[[str, bytes], None] | None = None) -> None:
    """Write results.json, tables, plots and the page.

    Args:
        folder: of the files.
        result: what they show.
        put: writes one of them; replaces what is there if left out.
    """
    tables = {f"{table.name}.csv": csv_text(table.columns, table.rows) for table in result.findings.tables}
    write_results(
        folder,
        put or (lambda name, content: write_atomically(folder / name, content)),
        {RESULTS: document_text(result).encode(), **{name: text_bytes(text) for name, text in tables.items()}},
        lambda: result.drawn,
        {PAGE: lambda: page.html([result], result.experiment.title)},
    )
