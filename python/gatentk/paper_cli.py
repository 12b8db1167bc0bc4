"""The command `gatentk paper`."""

from __future__ import annotations

import json
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

    from gatentk.papers.experiment import Experiment, Scale, Settings
    from gatentk.papers.record import Journal, Result

# Data sets that experiments read from files of the user's.
BROUGHT = ("mnist", "fashion-mnist", "svhn", "cifar10", "cifar10-pickle", "sgemm", "librispeech")


def _paths(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """NAME=PATH pairs."""
    paths = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise click.BadParameter(f"expected NAME=PATH such as cifar10=cifar-10-batches-bin, got {value!r}")
        if name not in BROUGHT:
            raise click.BadParameter(f"expected one of {', '.join(BROUGHT)} before the =, got {name!r}")
        paths[name] = Path(path)
    return paths


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of the results.")
@click.option("--full", is_flag=True, help="At the published size instead of one for a laptop.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    callback=_paths,
    metavar="NAME=PATH",
    help=f"Where the files of a data set are, for what --full needs; may be repeated. NAME: {', '.join(BROUGHT)}.",
)
@click.option("--restart", is_flag=True, help="Forget what the folder holds instead of continuing.")
def paper(name: str, out: Path, full: bool, paths: dict[str, Path], restart: bool) -> None:
    """Recompute a figure, table or theorem of the papers: NAME is one of those below, or "all".

    \b
    angles              angles between gradients by depth, exact
    conditioning        minimal angle and condition number by depth
    training-depth      training loss by depth, beside the rates that the kernel predicts
    width-law           which widths train to zero loss: ReLU and GReLU
    dynamics            gradients, activation patterns, dead neurons by epoch
    image-regression    train error of ReLU and GReLU by depth and width
    switch              from GReLU to ReLU in the middle of training
    rates               losses by learning rate, width and depth
    speed               training and inference time of GReLU against ReLU
    bounds              the theorems' bounds beside measured quantities
    grelu-conditioning  ReLU against GReLU kernels

    What is finished is kept: the same command goes on where a run was stopped.
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from rich.console import Console

    from gatentk import papers
    from gatentk.checks import check_choice
    from gatentk.papers import record
    from gatentk.papers.experiment import Scale
    from gatentk.report import write_aside

    console = Console(highlight=False, markup=False, emoji=False)
    check_choice("name", name, (*papers.NAMES, "all"))
    names = papers.NAMES if name == "all" else (name,)
    scale = Scale(full, paths)
    jobs, left_out = _prepare(console, [papers.experiment(each) for each in names], scale)
    results = []
    for experiment, settings in jobs:
        folder = out / experiment.name if name == "all" else out
        result = _run(console, experiment, scale, settings, folder, restart)
        page = record.write(folder, result)
        results.append(result)
        _show(console, result)
        console.print(f"Written: {page}", soft_wrap=True)
    if name == "all":
        page = out / "report.html"
        write_aside(page, record.html(results, "Two papers on wide networks, recomputed", left_out).encode())
        console.print(f"All of them: {page}", soft_wrap=True)


def _prepare(
    console: Console, experiments: list[Experiment], scale: Scale
) -> tuple[list[tuple[Experiment, Settings]], dict[str, str]]:
    """Settings of all experiments, before any of them runs, and what those lack that cannot run.

    Raises:
        DataError, MemoryError, ValueError: what the last of them lacks, if none can run.
    """
    from gatentk.errors import DataError

    jobs, left_out, total = [], {}, 0.0
    for experiment in experiments:
        try:
            settings = experiment.settings(scale)
            needed, seconds = experiment.needs(settings)
            if seconds > 600:
                console.print(f"{experiment.name}: about {_duration(seconds)} and {needed / 1e9:.1f} GB of memory.")
            _check_memory(experiment, needed)
        except (DataError, MemoryError, ValueError) as error:
            left_out[experiment.name] = reason = str(error).removeprefix(f"{experiment.name} ")
            if len(left_out) == len(experiments):
                raise
            console.print(f"{experiment.name} is left out: {reason}", soft_wrap=True)
            continue
        jobs.append((experiment, settings))
        total += seconds
    read = {name for _, settings in jobs for name in _read(settings, scale)}
    for name, path in scale.paths.items():
        if name not in read:
            console.print(
                f"{name} is not read from {path} here" + ("." if scale.full else "; --full may."), soft_wrap=True
            )
    if len(jobs) > 1 and total > 600:
        console.print(f"All of them: about {_duration(total)}.")
    return jobs, left_out


def _read(settings: Settings, scale: Scale) -> dict[str, Path]:
    """Those of the user's files that an experiment reads, by data set: its settings name them."""
    text = json.dumps(settings)
    return {name: path for name, path in scale.paths.items() if json.dumps(str(path)) in text}


def _duration(seconds: float) -> str:
    """To read: minutes, hours or days."""
    for unit, size in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds / 60:.0f} minutes"


def _check_memory(experiment: Experiment, needed: int) -> None:
    from gatentk.study import available_memory

    free = available_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"{experiment.name} needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free"
        )


def _run(
    console: Console, experiment: Experiment, scale: Scale, settings: Settings, folder: Path, restart: bool
) -> Result:
    """Compute what is missing in the folder."""
    from gatentk.cli import Interrupted
    from gatentk.papers.record import Result, digest
    from gatentk.report import environment

    files = {name: digest(path) for name, path in _read(settings, scale).items()}
    with _open_journal(folder, experiment, settings, restart, files) as journal:
        try:
            _compute(console, experiment, settings, journal)
        except KeyboardInterrupt:
            raise Interrupted(
                f"interrupted; {len(journal.numbers)} of {len(experiment.cells(settings))} cells are kept in {folder}, "
                "and the same command goes on from there"
            ) from None
        return Result(experiment, scale, settings, dict(journal.numbers), dict(journal.seconds), environment())


def _open_journal(
    folder: Path, experiment: Experiment, settings: Settings, restart: bool, files: dict[str, str]
) -> Journal:
    from gatentk.papers.record import Journal

    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Journal(folder, experiment, settings, restart, files)
    except OSError as error:
        raise click.BadParameter(f"cannot write to {folder}: {error.strerror or error}", param_hint="--out") from error


def _compute(console: Console, experiment: Experiment, settings: Settings, journal: Journal) -> None:
    """Run the missing cells behind a progress bar and write each to the journal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from gatentk.papers.experiment import run

    cells = experiment.cells(settings)
    if journal.numbers:
        console.print(f"Continuing: {len(journal.numbers)} of {len(cells)} cells are done already.")
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        _time_left(experiment.needs(settings)[1]),
    )
    # Rich forgets after 30 seconds how long the last steps took; a cell may take longer.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=math.inf
    ) as progress:
        bar = progress.add_task(experiment.name, total=sum(cell.cost for cell in cells))
        progress.advance(bar, sum(cell.cost for cell in cells if cell.key in journal.numbers))
        start = time.perf_counter()
        for cell, numbers in run(experiment, settings, dict(journal.numbers)):
            now = time.perf_counter()
            journal.append(cell, numbers, now - start)
            start = now
            progress.update(bar, advance=cell.cost, description=f"{experiment.name}: {cell.key}")


def _time_left(expected: float) -> ProgressColumn:
    """The time left from the cells that are done; until there are two, what is expected of all, in seconds."""
    from rich.progress import Task, TimeRemainingColumn
    from rich.text import Text

    class TimeLeft(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            if task.time_remaining is not None or not task.total or not expected:
                return super().render(task)
            left = max(0.0, expected * (1 - task.completed / task.total) - (task.elapsed or 0.0))
            return Text(f"about {timedelta(seconds=round(left))}", style="progress.remaining")

    return TimeLeft()


def _show(console: Console, result: Result) -> None:
    """The claims and what came of them."""
    from gatentk.papers.record import VERDICTS

    console.print(f"{result.experiment.title} ({result.experiment.source})", style="bold")
    for claim in result.findings.claims:
        style = {True: "green", False: "red", None: "yellow"}[claim.agrees]
        console.print(f"- {claim.statement} {claim.source}")
        console.print(f"  {VERDICTS[claim.agrees]}: {claim.outcome}", style=style)
