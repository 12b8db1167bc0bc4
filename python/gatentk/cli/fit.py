"""The command `gatentk fit`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatentk.activations import ACTIVATIONS, SLOPE
from gatentk.cli import options
from gatentk.cli.console import number_table, open_console, shown_progress
from gatentk.cli.errors import with_flags
from gatentk.data import registry
from gatentk.fit.config import KERNELS, NORMALIZATIONS, PREDICTED, TEST_FRACTION, FitConfig
from gatentk.reporting.text import data_name

if TYPE_CHECKING:
    from rich.console import Console

    from gatentk.fit.result import Fit
    from gatentk.fit.samples import FitSamples


def parse_ridges(ctx: click.Context | None, param: click.Parameter | None, value: str) -> tuple[float, ...]:
    """Falling ridges; those of `FitConfig` for auto."""
    if value.strip().lower() == "auto":
        return FitConfig.ridges
    ridges = options.numbers(value)
    if not all(0 <= ridge < math.inf for ridge in ridges):
        raise click.BadParameter(
            f"expected auto, or numbers of at least 0 such as 0.1 or 1e-6,1e-3,1, got {value!r}", ctx, param
        )
    return tuple(sorted(set(ridges), reverse=True))


@click.command()
@options.data(registry.training_help())
@options.path()
@options.columns()
@options.n()
@options.data_seed(FitConfig.data_seed, "-n, --test-fraction")
@click.option(
    "--predict",
    type=click.Choice(PREDICTED),
    default=FitConfig.predict,
    show_default=True,
    help="What the targets are; auto: names, whole numbers in a column called label or class, and few whole numbers in "
    "one that is not called target or y either, are classes, all else numbers.",
)
@click.option(
    "--test",
    metavar="NAME",
    help="Data set for testing, named as --data is. Its targets may be missing, and are then only predicted; columns "
    "of csv files are matched by their names.",
)
@options.fraction(f"  [default: {TEST_FRACTION:g} without --test]")
@options.normalize(
    FitConfig.normalize,
    NORMALIZATIONS,
    "unit: every sample gets norm 1; standard: every feature gets mean 0 and variance 1, which suits columns of a "
    "table; auto: unit for classes of images (16 features or more, of one scale, none negative, a quarter of all "
    "numbers 0), else standard.",
)
@click.option(
    "--constant/--no-constant",
    default=None,
    help="Whether samples get a feature that is 1, a bias of the first layer.  [default: with --normalize standard and "
    "without --b-std]",
)
@click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    default=FitConfig.kernel,
    show_default=True,
    help="ntk: networks whose weights are all trained; nngp: only those of the last layer are.",
)
@options.depths(FitConfig.depths, "Numbers of hidden layers to choose from.")
@click.option(
    "--ridges",
    callback=parse_ridges,
    metavar="A,B,..|auto",
    default="auto",
    show_default=True,
    help="Ridges to choose from: how much of the targets is taken for noise, in units of the kernel's mean diagonal; "
    "auto: 1e-8 to 10, two a decade.",
)
@click.option(
    "--activation",
    type=click.Choice(tuple(ACTIVATIONS)),
    default=FitConfig.activation,
    show_default=True,
    help="Of the network.",
)
@click.option(
    "--w-std",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Standard deviation of the weights, times the root of the fan-in.  [default: sqrt 2 with --b-std; "
    "without both the weights of gatentk.ntk.infinite, without biases]",
)
@click.option("--b-std", type=click.FloatRange(0), metavar="S", help="Standard deviation of biases in all layers.")
@click.option("--slope", type=float, metavar="A", help=f"Of leaky_relu below 0.  [default: {SLOPE:g}]")
@options.restart("Start over even if the folder holds results of another command.")
@options.out()
def fit(restart: bool, folder: Path, **settings: Any) -> None:
    """Predict by the kernel of infinitely wide networks; depth and ridge are chosen by leave-one-out.

    Classes or numbers to predict are told apart as the data say (--predict). Writes report.html (open it in a browser),
    predictions.csv (of the test samples), left_out.csv (each train sample predicted by a fit to all others), scores.csv
    (by depth and ridge), results.json and two plots into DIR. Finished depths are kept there: after Ctrl-C, or a crash,
    the same command goes on where it stopped.

    \b
    Examples:
      gatentk fit --data digits --out digits-fit
      gatentk fit --data csv:mine.csv --out mine-fit
      gatentk fit --data csv:mine.csv --test csv:new.csv --kernel nngp --depths 1,2 --out new
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from gatentk.fit.folder import PAGE, run_fit
    from gatentk.fit.samples import prepare_fit

    console = open_console()
    config = FitConfig(**settings)
    samples = prepare_fit(config)
    for text in _remarks(samples):
        console.print(text, style="yellow", soft_wrap=True)
    with shown_progress(console, data_name(samples.name), folder, "steps") as report:
        found = run_fit(config, folder, samples, restart=restart, command=command_line(config), report=report)
    _show(console, found)
    console.print(f"\nReport: {folder / PAGE}", soft_wrap=True)


def _remarks(samples: FitSamples) -> list[str]:
    """What a user should know before waiting."""
    from gatentk.fit.sentences import data_notes

    return [*samples.notes, *(with_flags(text, fit) for text in data_notes(samples))]


def _show(console: Console, found: Fit) -> None:
    """Scores of the best ridge of each depth, and what came out in sentences."""
    from gatentk.fit.sentences import headline, measure_text, noise_text, ridge_text, score_text

    rows = []
    for record in found.records:
        best = record.trial().best()
        ridge = "-" if best is None else ridge_text(found.config.ridges[best])
        score = "not tried" if best is None else score_text(found, record.scores[best])
        rows.append([str(record.depth), ridge, score])
    console.print(number_table(["depth", "best ridge", measure_text(found)], rows, "Leave-one-out"))
    for sentence in (*headline(found), noise_text(found)):
        console.print(sentence, soft_wrap=True)


def command_line(config: FitConfig, out: str = "DIR") -> str:
    """The command that repeats a fit, with the options that differ from their defaults."""
    return options.command_line(fit, config, ("data", "depths"), out)
