"""The command `gatentk paper`."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn

    from gatentk.papers.frame.experiment import Experiment, Scale
    from gatentk.papers.frame.result import Result
    from gatentk.papers.frame.run import Job

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
    from gatentk.papers.frame import page
    from gatentk.papers.frame.experiment import Scale
    from gatentk.papers.frame.run import PAGE
    from gatentk.runs.files import write_aside

    console = Console(highlight=False, markup=False, emoji=False)
    check_choice("name", name, (*papers.NAMES, "all"))
    names = papers.NAMES if name == "all" else (name,)
    jobs, left_out = _prepare(console, [papers.experiment(each) for each in names], Scale(full, paths))
    results = []
    for job in jobs:
        folder = out / job.experiment.name if name == "all" else out
        results.append(_run(console, job, folder, restart))
        _show(console, results[-1])
        console.print(f"Written: {folder / PAGE}", soft_wrap=True)
    if name == "all":
        write_aside(out / PAGE, page.html(results, "Two papers on wide networks, recomputed", left_out).encode())
        console.print(f"All of them: {out / PAGE}", soft_wrap=True)


def _prepare(console: Console, experiments: list[Experiment[Any]], scale: Scale) -> tuple[list[Job], dict[str, str]]:
    """All experiments that can run, before any of them does, and what those lack that cannot.

    Raises:
        DataError, MemoryError, ValueError: what the last of them lacks, if none can run.
    """
    from gatentk.errors import DataError
    from gatentk.papers.frame.run import prepare
    from gatentk.reporting.text import duration
    from gatentk.runs.memory import check_memory

    jobs: list[Job] = []
    left_out = {}
    for experiment in experiments:
        try:
            job = prepare(experiment, scale)
            if job.seconds > 600:
                time, size = duration(job.seconds), job.memory / 1e9
                console.print(f"{experiment.name}: about {time} and {size:.1f} GB of memory.")
            check_memory(job.memory, experiment.name)
        except (DataError, MemoryError, ValueError) as error:
            left_out[experiment.name] = reason = str(error).removeprefix(f"{experiment.name} ")
            if len(left_out) == len(experiments):
                raise
            console.print(f"{experiment.name} is left out: {reason}", soft_wrap=True)
            continue
        jobs.append(job)
    for name, path in scale.paths.items():
        if not any(name in job.files for job in jobs):
            console.print(
                f"{name} is not read from {path} here" + ("." if scale.full else "; --full may."), soft_wrap=True
            )
    total = sum(job.seconds for job in jobs)
    if len(jobs) > 1 and total > 600:
        console.print(f"All of them: about {duration(total)}.")
    return jobs, left_out


def _run(console: Console, job: Job, folder: Path, restart: bool) -> Result:
    """Compute what is missing in the folder, behind a progress bar, and write all files."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from gatentk.cli import Interrupted
    from gatentk.papers.frame import run

    name, states = job.experiment.name, []
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        _time_left(job.seconds),
    )

    def report(state: run.Progress) -> None:
        states.append(state)
        if state.last is None and state.done:
            console.print(f"Continuing: {state.done} of {len(state.cells)} cells are done already.")
        description = name if state.last is None else f"{name}: {state.last.key}"
        progress.update(bar, completed=state.work, description=description)

    # Rich forgets after 30 seconds how long the last steps took; a cell may take longer.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=math.inf
    ) as progress:
        bar = progress.add_task(name, total=1.0)
        try:
            return run.run_experiment(job, folder, restart, report)
        except KeyboardInterrupt:
            if not states:
                raise
            raise Interrupted(
                f"interrupted; {states[-1].done} of {len(states[-1].cells)} cells are kept in {folder}, and the same "
                "command goes on from there"
            ) from None
        except OSError as error:
            if states:
                raise
            raise click.BadParameter(
                f"cannot write to {folder}: {error.strerror or error}", param_hint="--out"
            ) from error


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
    from gatentk.papers.frame.findings import VERDICTS

    console.print(f"{result.experiment.title} ({result.experiment.source})", style="bold")
    for claim in result.findings.claims:
        style = {True: "green", False: "red", None: "yellow"}[claim.agrees]
        console.print(f"- {claim.statement} {claim.source}")
        console.print(f"  {VERDICTS[claim.agrees]}: {claim.outcome}", style=style)
