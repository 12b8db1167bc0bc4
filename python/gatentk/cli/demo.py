"""The command `gatentk demo`."""

from __future__ import annotations

from pathlib import Path

import click

from gatentk.cli import options
from gatentk.cli.console import open_console
from gatentk.cli.ntk import run
from gatentk.study.config import StudyConfig


@click.command()
@options.out("Folder of the reports.", default="demo")
def demo(folder: Path) -> None:
    """Two data sets of handwritten digits, from data to a report, in a few minutes.

    Depths 0 to 10, infinite width on all samples and width 512 with five seeds on 500 of them; then the same
    with mini-batches of 32 samples, where linear networks can be compared with ReLU. DIR gets a folder for each
    and one report.html about all of them. Run again, it continues where it stopped.
    """
    from gatentk.reporting.output import write_page
    from gatentk.runs.journal import DemoFolder
    from gatentk.study import page
    from gatentk.study.folder import PAGE
    from gatentk.study.sentences import headline, title

    console = open_console()
    with DemoFolder(folder, {}, files=[PAGE]) as overview:
        studies = [run(console, config, folder / name, restart=None) for name, config in configurations().items()]
        write_page(
            folder / PAGE,
            lambda path, content: overview.put(path.name, content),
            lambda: page.html(studies, "Neural tangent kernels of handwritten digits"),
        )
    for study in studies:
        console.print(f"\n{title(study.config, study.samples)}", style="bold")
        for sentence in headline(study.config, study.samples, study.series):
            console.print(sentence)
    console.print(f"\nReport: {folder / PAGE}", soft_wrap=True)


def configurations() -> dict[str, StudyConfig]:
    """Five mini-batches are enough for finite width: their condition numbers vary little."""
    whole = {name: StudyConfig(data=name, subset=500) for name in ("digits", "mnist")}
    batches = {f"{name}-batch32": StudyConfig(data=name, subset=160, batch=32) for name in ("digits", "mnist")}
    return whole | batches
