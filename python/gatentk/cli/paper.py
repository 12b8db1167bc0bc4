"""The command `gatentk paper`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatentk import papers
from gatentk.cli import options
from gatentk.cli.console import open_console, shown_progress
from gatentk.data import registry
from gatentk.reporting.text import shell_line

if TYPE_CHECKING:
    from rich.console import Console

    from gatentk.papers.frame.experiment import Experiment, Scale
    from gatentk.papers.frame.result import Result
    from gatentk.papers.frame.run import Job

BROUGHT = registry.brought_names()


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


HELP = f"""Recompute a figure, table or theorem of the papers: NAME is one of those below, or "all".

\b
{papers.listing()}

What is finished is kept: the same command goes on where a run was stopped.
"""


@click.command(help=HELP)
@click.argument("name")
@options.out()
@click.option("--full", is_flag=True, help="At the published size instead of one for a laptop.")
@click.option(
    "--path",
    "paths",
    multiple=True,
    callback=_paths,
    metavar="NAME=PATH",
    help=f"Where the files of a data set are, for what --full needs; may be repeated. NAME: {', '.join(BROUGHT)}.",
)
@options.restart("Forget what the folder holds instead of continuing.")
def paper(name: str, folder: Path, full: bool, paths: dict[str, Path], restart: bool) -> None:
    """Recompute an experiment, or all of them into a folder each."""
    from gatentk.checks import check_choice
    from gatentk.papers.frame.experiment import Scale

    console = open_console()
    check_choice("name", name, (*papers.NAMES, "all"))
    names = papers.NAMES if name == "all" else (name,)
    jobs, left_out = _prepare(console, [papers.experiment(each) for each in names], Scale(full, paths))
    if name == "all":
        _run_all(console, jobs, left_out, folder, restart)
    else:
        _run(console, jobs[0], folder, restart)


def _run_all(console: Console, jobs: list[Job], left_out: dict[str, str], folder: Path, restart: bool) -> None:
    """All experiments, each into a folder inside, and a page about them."""
    from gatentk.papers.frame import page
    from gatentk.papers.frame.run import PAGE
    from gatentk.reporting.output import write_page
    from gatentk.runs.journal import PapersFolder

    with PapersFolder(folder, {}, restart, [PAGE]) as overview:
        results = [_run(console, job, folder / job.experiment.name, restart) for job in jobs]
        write_page(
            folder / PAGE,
            lambda path, content: overview.put(path.name, content),
            lambda: page.html(results, "Two papers on wide networks, recomputed", left_out),
        )
    console.print(f"All of them: {folder / PAGE}", soft_wrap=True)


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
    """Compute what is missing in the folder, behind a progress bar, write all files, and say what came out."""
    from gatentk.papers.frame.run import PAGE, run_experiment

    with shown_progress(console, job.experiment.name, folder, "cells", job.seconds) as report:
        result = run_experiment(job, folder, restart, report, command_line(job.experiment.name, job.scale))
    _show(console, result)
    console.print(f"Written: {folder / PAGE}", soft_wrap=True)
    return result


def command_line(name: str, scale: Scale, out: str = "DIR") -> str:
    """The command that runs an experiment at a scale."""
    words = ["gatentk", "paper", name, *(["--full"] if scale.full else [])]
    for data, path in scale.paths.items():
        words += ["--path", f"{data}={path}"]
    return shell_line([*words, "--out", out])


def _show(console: Console, result: Result) -> None:
    """The claims and what came of them."""
    from gatentk.papers.frame.findings import VERDICTS

    console.print(f"{result.experiment.title} ({result.experiment.source})", style="bold")
    for claim in result.findings.claims:
        style = {True: "green", False: "red", None: "yellow"}[claim.agrees]
        console.print(f"- {claim.statement} {claim.source}")
        console.print(f"  {VERDICTS[claim.agrees]}: {claim.outcome}", style=style)
