"""A study in a folder: what is missing is computed, what is there is kept, all files are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatentk.data.entries import COLUMNS
from gatentk.extras import require
from gatentk.reporting.environment import environment
from gatentk.reporting.output import write_results
from gatentk.runs.files import write_atomically
from gatentk.runs.identity import identity_of
from gatentk.runs.memory import check_memory
from gatentk.runs.progress import Progress
from gatentk.runs.results import RESULTS
from gatentk.study import page
from gatentk.study.config import StudyConfig
from gatentk.study.journal import Journal
from gatentk.study.result import Study, document_text, table_text
from gatentk.study.run import cost, plan, run_tasks, study_memory
from gatentk.study.samples import StudySamples, prepare_study

PAGE = "report.html"
TABLE = "results.csv"
FILES = (RESULTS, TABLE, "angle.png", "angle.svg", "condition.png", "condition.svg", PAGE)
FORMAT = 1  # of the journal; raised when a task would compute something else


def run_study(
    config: StudyConfig,
    folder: Path,
    samples: StudySamples | None = None,
    *,
    restart: bool | None = False,
    command: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Study:
    """Compute the kernels that the folder lacks and write report.html, results.json, results.csv and two plots.

    Args:
        config: what to compute.
        folder: of the results; created if it is not there.
        samples: those of `prepare_study(config)` if left out.
        restart: forget what the folder holds; None to do so only if it belongs to another study.
        command: what repeats the study, for its files; the call of this function if left out.
        report: called before the first task and after each.

    Returns:
        The records of all kernels, with those that the folder held before, and what is made of them.

    Raises:
        MissingExtraError: a package of the extra `cli` is missing, which plots and pages need.
        DataError, TypeError, ValueError, StudyError: as `prepare_study`.
        MemoryError: less is free than the study needs; nothing is written.
        OSError: results.json or results.csv cannot be written; what was computed is kept in the folder.
        StudyError: the folder holds another study, anything of another runner, or a file of nobody known that the study
            would write; it cannot be written, or another process is writing to it; its journal is damaged; a kernel
            has no spectrum.

    Warns:
        DrawingWarning: a plot or the page could not be drawn; everything else is written.
    """
    require("cli", "run_study")
    samples = prepare_study(config) if samples is None else samples
    check_memory(
        study_memory(config, samples),
        remedy="take fewer samples with n= (or subset=, if finite width is the larger part), a smaller width=, or "
        "mini-batches with batch=",
    )
    with Journal(folder, identity(config, samples), restart, FILES) as finished:
        _compute(config, samples, finished, report or (lambda progress: None))
        records = list(finished.records)
        study = Study(config, samples, records, environment(), command or f"run_study({config!r}, Path('DIR'))")
        write(folder, study, finished.put)
    return study


def _compute(config: StudyConfig, samples: StudySamples, finished: Journal, report: Callable[[Progress], None]) -> None:
    costs = {task.key: cost(config, samples, task) for task in plan(config, samples)}
    report(Progress.of(costs, finished.done))
    for task, records in run_tasks(config, samples, frozenset(finished.done)):
        finished.append(task, records)
        report(Progress.of(costs, finished.done, task.key))


def write(folder: Path, study: Study, put: Callable[[str, bytes], None] | None = None) -> None:
    """Write all files of a study.

    Args:
        folder: of the files.
        study: what they show.
        put: writes one of them; replaces what is there if left out.
    """
    write_results(
        folder,
        put or (lambda name, content: write_atomically(folder / name, content)),
        {RESULTS: document_text(study).encode(), TABLE: table_text(study.records).encode()},
        lambda: study.drawn,
        {PAGE: lambda: page.html([study])},
    )


def identity(config: StudyConfig, samples: StudySamples) -> dict[str, Any]:
    """All that results depend on: a journal with another identity is not continued."""
    return identity_of(config, samples.digest, FORMAT, dict.fromkeys(COLUMNS))
