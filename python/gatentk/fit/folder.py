"""A fit in a folder: depths that are missing are tried, what is there is kept, all files are written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from gatentk.data.entries import COLUMNS
from gatentk.errors import FitError, SpectrumError
from gatentk.extras import require
from gatentk.fit import page
from gatentk.fit.config import FitConfig
from gatentk.fit.journal import Journal
from gatentk.fit.plots import draw
from gatentk.fit.result import Fit, document_text, left_out_text, predictions_text, scores_text
from gatentk.fit.run import best_fit, check_network, costs, fit_memory, try_depths
from gatentk.fit.samples import FitSamples, prepare_fit
from gatentk.reporting.environment import environment
from gatentk.reporting.figures import Drawn, rendered
from gatentk.reporting.output import text_bytes, write_results
from gatentk.runs.identity import identity_of
from gatentk.runs.memory import check_memory
from gatentk.runs.progress import Progress
from gatentk.runs.results import RESULTS

PAGE = "report.html"
PREDICTIONS, LEFT_OUT, SCORES = "predictions.csv", "left_out.csv", "scores.csv"
PLOTS = tuple(f"{name}.{kind}" for name in ("scores", "predictions") for kind in ("png", "svg"))
FILES = (RESULTS, PREDICTIONS, LEFT_OUT, SCORES, *PLOTS, PAGE)
FORMAT = 2  # of the journal; raised when a depth would compute something else


def run_fit(
    config: FitConfig,
    folder: Path,
    samples: FitSamples | None = None,
    *,
    restart: bool | None = False,
    command: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Fit:
    """Choose depth and ridge by leave-one-out, predict, and write report.html, results.json, tables and two plots.

    Depths that the folder holds already are not tried again.

    Args:
        config: what to fit.
        folder: of the results; created if it is not there.
        samples: those of `prepare_fit(config)` if left out.
        restart: forget what the folder holds; None to do so only if it belongs to another fit.
        command: what repeats the fit, for its files; the call of this function if left out.
        report: called before the first depth and after each.

    Returns:
        Scores of all depths and ridges, the best fit, and its predictions.

    Raises:
        MissingExtraError: a package of the extra `cli` is missing, which plots and pages need, or scikit-learn.
        DataError, TypeError, ValueError, FitError: as `prepare_fit`.
        MemoryError: less is free than the fit needs; nothing is written.
        OSError: results.json or a table cannot be written; what was computed is kept in the folder.
        FitError: the folder holds another fit, anything of another runner, or a file of nobody known that the fit would
            write; it cannot be written, or another process is writing to it; its journal is damaged; kernels with all
            ridges are below their noise floor.

    Warns:
        DrawingWarning: a plot or the page could not be drawn; everything else is written.
    """
    require("cli", "run_fit")
    require("sklearn", "run_fit")
    samples = prepare_fit(config) if samples is None else samples
    check_memory(fit_memory(config, samples), remedy="take fewer samples with n=")
    check_network(config, samples)
    with Journal(folder, identity(config, samples), restart, FILES) as finished:
        _compute(config, samples, finished, report or (lambda progress: None))
        assert finished.outcome is not None
        records = tuple(finished.records[depth] for depth in config.depths)
        command = command or f"run_fit({config!r}, Path('DIR'))"
        found = Fit(config, samples, records, finished.outcome, environment(), command)
        _write(folder, found, finished.put)
    return found


def _compute(config: FitConfig, samples: FitSamples, finished: Journal, report: Callable[[Progress], None]) -> None:
    parts = costs(config, samples)

    def done() -> set[str]:
        best = set() if finished.outcome is None else {"best fit"}
        return {f"depth {depth}" for depth in finished.records} | best

    report(Progress.of(parts, done()))
    if finished.outcome is not None:
        return
    try:
        for record in try_depths(config, samples, finished.records):
            finished.append(record)
            report(Progress.of(parts, done(), f"depth {record.depth}"))
        finished.finish(best_fit(config, samples, [finished.records[depth] for depth in config.depths]))
    except SpectrumError as error:
        raise FitError(f"no fit: {error}") from error
    report(Progress.of(parts, done(), "best fit"))


def _write(folder: Path, found: Fit, put: Callable[[str, bytes], None]) -> None:
    """Write all files of a fit, each by `put`."""
    tables = {LEFT_OUT: left_out_text(found), SCORES: scores_text(found)}
    if found.samples.test_x is not None:
        tables = {PREDICTIONS: predictions_text(found), **tables}

    @cache
    def drawn() -> Drawn:
        return rendered(lambda: draw(found))

    write_results(
        folder,
        put,
        {name: text_bytes(text) for name, text in {RESULTS: document_text(found), **tables}.items()},
        drawn,
        {PAGE: lambda: page.html(found, drawn())},
    )


def identity(config: FitConfig, samples: FitSamples) -> dict[str, Any]:
    """All that results depend on: a journal with another identity is not continued."""
    return identity_of(config, samples.digest, FORMAT, dict.fromkeys(COLUMNS))
