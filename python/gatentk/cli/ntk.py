"""The command `gatentk ntk`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatentk.activations import ACTIVATIONS, FUNCTIONS, LABELS
from gatentk.cli import options
from gatentk.cli.console import number_table, open_console, shown_progress
from gatentk.data import registry
from gatentk.reporting.text import data_name, shell_line
from gatentk.study.config import DTYPES, StudyConfig, depths_text

if TYPE_CHECKING:
    from rich.console import Console

    from gatentk.study.result import Study
    from gatentk.study.samples import StudySamples


def _widths(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int | None, bool]:
    """The finite width or None, and whether infinite width is wanted."""
    parts = [part.strip().lower() for part in value.split(",")]
    finite = [part for part in parts if part != "inf"]
    once = len(finite) <= 1 and len(parts) - len(finite) <= 1
    if not once or not all(re.fullmatch(r"[1-9]\d{0,8}", part) for part in finite):
        raise click.BadParameter(f"expected one width such as 512, or inf, or 512,inf, got {value!r}", ctx, param)
    return (int(finite[0]) if finite else None), "inf" in parts


def _activations(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """ReLU before linear, whatever their order on the command line."""
    parts = [part.strip().lower() for part in value.split(",")]
    for part in parts:
        if part not in FUNCTIONS:
            raise click.BadParameter(f"expected {', '.join(FUNCTIONS)} or both, got {part!r}", ctx, param)
    return tuple(choice for choice in FUNCTIONS if choice in parts)


@click.command()
@options.data(registry.samples_help())
@options.path()
@options.columns()
@options.n()
@options.depths(StudyConfig.depths, "Numbers of hidden layers; 0:10 includes 10. Depth 0 is the linear model.")
@click.option(
    "--width",
    callback=_widths,
    metavar="M|inf|M,inf",
    default=f"{StudyConfig.width},inf",
    show_default=True,
    help="Width of the hidden layers: finite, infinite or both.",
)
@options.seeds(StudyConfig.seeds, "Random networks of finite width for each depth.")
@click.option(
    "--subset",
    type=click.IntRange(2),
    metavar="N",
    help="Use only N random samples for finite width, which is the slow part.  [default: all]",
)
@click.option(
    "--batch",
    type=click.IntRange(2),
    metavar="B",
    help="Average over the kernels of random disjoint mini-batches of B samples. With more samples than features "
    "the kernel of a linear network is singular; mini-batches of at most min(512, features / 2) compare it with ReLU.",
)
@click.option(
    "--activation",
    "activations",
    callback=_activations,
    metavar="NAMES",
    default=",".join(StudyConfig.activations),
    show_default=True,
    help="Kinds of networks.",
)
@options.dtype(
    StudyConfig.dtype,
    DTYPES,
    "Precision of networks and kernels; float32 resolves condition numbers only up to about 10^7 / n.",
)
@click.option("--certify", is_flag=True, help="Prove intervals for the extreme eigenvalues; about three times slower.")
@options.data_seed(StudyConfig.data_seed, "-n, --subset, --batch")
@click.option("--drop-zero-rows", is_flag=True, help="Leave out samples that are all zero; they have no angle.")
@click.option("--drop-duplicates", is_flag=True, help="Leave out samples that equal an earlier one.")
@options.restart("Start over even if the folder holds results of another command.")
@options.out()
def ntk(width: tuple[int | None, bool], restart: bool, folder: Path, **settings: Any) -> None:
    """Minimal gradient angles and condition numbers by depth.

    Writes report.html (open it in a browser), results.json, results.csv and two plots into DIR. Finished steps
    are kept there: after Ctrl-C, or a crash, the same command goes on where it stopped.

    \b
    Examples:
      gatentk ntk --data digits --out digits
      gatentk ntk --data digits --batch 32 --out digits-batches
      gatentk ntk --data csv:mine.csv --depths 0:20:5 --width inf --out by-depth
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from gatentk.study.folder import PAGE

    console = open_console()
    finite, infinite = width
    study = run(console, StudyConfig(width=finite, infinite=infinite, **settings), folder, restart)
    _show(console, study)
    console.print(f"\nReport: {folder / PAGE}", soft_wrap=True)


def run(console: Console, config: StudyConfig, folder: Path, restart: bool | None) -> Study:
    """A study in its folder behind a progress bar; `restart` as for `run_study`."""
    from gatentk.study.folder import run_study
    from gatentk.study.samples import prepare_study

    samples = prepare_study(config)
    for text in _remarks(config, samples):
        console.print(text, style="yellow", soft_wrap=True)
    with shown_progress(console, data_name(samples.name), folder, "steps") as report:
        return run_study(config, folder, samples, restart=restart, command=command_line(config), report=report)


def _remarks(config: StudyConfig, samples: StudySamples) -> list[str]:
    """What a user should know before waiting."""
    n, d = samples.x.shape
    remarks = [samples.note] if samples.note else []
    if samples.duplicates:
        remarks.append(
            f"Rows that equal an earlier one: {samples.duplicates:,}. Their angle is 0 and kernels that hold both are "
            "singular; --drop-duplicates leaves them out."
        )
    singular = 0 in config.depths or any(ACTIVATIONS[name].kernel is None for name in config.activations)
    if config.batch is not None and config.batch > d and singular:
        remarks.append(
            f"Mini-batches of {config.batch} samples with {d:,} features: kernels of linear networks stay singular; "
            f"--batch {max(2, min(512, d // 2))} resolves them."
        )
    if config.width is not None and config.subset is None and config.batch is None and n > 2000:
        remarks.append(f"Finite width on all {n:,} samples takes long; --subset 1000 is quicker.")
    return remarks


def _show(console: Console, study: Study) -> None:
    """The results as tables, a row a depth and a column a series, and in sentences."""
    from gatentk.study.sentences import angle_text, condition_text, headline

    columns = ["depth", *(f"{LABELS[series.activation]}, {series.label}" for series in study.series)]
    for name, text in (("Smallest angle", angle_text), ("Condition number", condition_text)):
        rows = (
            [str(depth), *(text(series.points[index]) for series in study.series)]
            for index, depth in enumerate(study.config.depths)
        )
        console.print(number_table(columns, rows, f"{name}, {data_name(study.samples.name)}"))
    for sentence in headline(study.config, study.samples, study.series):
        console.print(sentence)


def command_line(config: StudyConfig, out: str = "DIR") -> str:
    """The command that repeats a study."""
    widths = ([str(config.width)] if config.width is not None else []) + (["inf"] if config.infinite else [])
    words = ["gatentk", "ntk", "--data", config.data]
    if config.path is not None:
        words += ["--path", config.path]
    words += options.column_words(config)
    if config.n is not None:
        words += ["-n", str(config.n)]
    words += ["--depths", depths_text(config.depths), "--activation", ",".join(config.activations)]
    words += ["--width", ",".join(widths)]
    if config.width is not None:
        words += ["--seeds", str(config.seeds)]
        words += ["--subset", str(config.subset)] if config.subset is not None else []
    words += ["--batch", str(config.batch)] if config.batch is not None else []
    words += ["--data-seed", str(config.data_seed)] if config.data_seed != StudyConfig.data_seed else []
    words += ["--dtype", config.dtype] if config.dtype != StudyConfig.dtype else []
    for flag in ("certify", "drop_zero_rows", "drop_duplicates"):
        words += [f"--{flag.replace('_', '-')}"] if getattr(config, flag) else []
    return shell_line([*words, "--out", out])
