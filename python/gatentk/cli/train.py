"""The command `gatentk train`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gatentk.activations import MODELS
from gatentk.cli import options
from gatentk.cli.console import number_table, open_console
from gatentk.cli.errors import Interrupted
from gatentk.data import registry
from gatentk.reporting.text import data_name, number
from gatentk.runs.bar import progress_bar
from gatentk.train.config import (
    BATCH,
    DIAGNOSTIC_NAMES,
    DTYPES,
    GATES,
    LOSS_NAMES,
    NORMALIZATIONS,
    OPTIMIZERS,
    SCHEDULES,
    TARGETS,
    TrainingConfig,
)

if TYPE_CHECKING:
    from rich.console import Console

    from gatentk.train import EpochRecord, Result, TrainingSamples


def _rates(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    """Learning rates; none for auto."""
    if value.strip().lower() == "auto":
        return ()
    rates = options.numbers(value)
    if not all(0 < rate < math.inf for rate in rates) or len(set(rates)) < len(rates):
        raise click.BadParameter(
            f"expected auto, or different positive numbers such as 0.1 or 0.01,0.1,1, got {value!r}", ctx, param
        )
    return tuple(rates)


def _names(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Diagnostics in the order of the table in `diagnostics`; all and none are known, too."""
    parts = [part.strip().lower() for part in value.split(",")]
    if parts == ["none"]:
        return ()
    if parts == ["all"]:
        return DIAGNOSTIC_NAMES
    for part in parts:
        if part not in DIAGNOSTIC_NAMES:
            raise click.BadParameter(
                f"expected none, all or some of {', '.join(DIAGNOSTIC_NAMES)}, got {part!r}", ctx, param
            )
    return tuple(name for name in DIAGNOSTIC_NAMES if name in parts)


@click.command()
@options.data(registry.training_help())
@options.path()
@options.columns()
@options.n()
@options.data_seed(TrainingConfig.data_seed, "-n, --test-fraction, samples of the diagnostics")
@options.fraction(default=TrainingConfig.test_fraction, show_default=True)
@options.normalize(
    TrainingConfig.normalize,
    NORMALIZATIONS,
    "unit: every sample gets norm 1, as the theory assumes; standard: every feature gets mean 0 and variance 1; "
    "auto: unit for classes, standard for numbers to predict.",
)
@click.option(
    "--targets",
    type=click.Choice(TARGETS),
    default=TrainingConfig.targets,
    show_default=True,
    help="standard: numbers to predict are learnt with mean 0 and a spread that suits the network, whatever their "
    "unit; losses are shown in their unit. none: as they are. Classes are not concerned.",
)
@click.option(
    "--model",
    type=click.Choice(MODELS),
    default=TrainingConfig.model,
    show_default=True,
    help="Gated ReLU or ReLU network; the same seed gives both the same weights at the start.",
)
@click.option(
    "--width",
    type=click.IntRange(1),
    default=TrainingConfig.width,
    show_default=True,
    help="Neurons of a layer.",
)
@click.option(
    "--depth",
    type=click.IntRange(1),
    default=TrainingConfig.depth,
    show_default=True,
    help="Trained layers; first and last are fixed.",
)
@click.option(
    "--block",
    type=click.IntRange(1),
    default=TrainingConfig.block,
    show_default=True,
    metavar="G",
    help="Neurons that share a gate; from 16 on products skip blocks of weights.",
)
@click.option(
    "--gates",
    type=click.Choice(GATES),
    default=TrainingConfig.gates,
    show_default=True,
    help="deep: gates are those of a fixed ReLU network; shallow: half-spaces of the samples, better conditioned.",
)
@click.option(
    "--center",
    is_flag=True,
    default=TrainingConfig.center,
    help="Draw the gates from the samples less the mean of the train samples.",
)
@click.option(
    "--loss",
    type=click.Choice(LOSS_NAMES),
    default=TrainingConfig.loss,
    show_default=True,
    help="square is 1/2 |output - label|^2, with one-hot labels for classes; both are means over samples.",
)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default=TrainingConfig.optimizer,
    show_default=True,
    help="gd is full-batch gradient descent, one step an epoch.",
)
@click.option("--batch", type=click.IntRange(1), metavar="B", help=f"Mini-batch of sgd and adam.  [default: {BATCH}]")
@click.option(
    "--lr",
    "rates",
    callback=_rates,
    metavar="RATE|A,B,..|auto",
    default="auto",
    show_default=True,
    help="Learning rate. Of several, the one with the smallest train loss after --trial-epochs epochs of seed 0; auto "
    "tries 0.05, 0.15, 0.5 and 1.5 over the largest eigenvalue of the tangent kernel (adam: 0.03 to 1 over width).",
)
@click.option(
    "--trial-epochs",
    type=click.IntRange(1),
    default=TrainingConfig.trial_epochs,
    show_default=True,
    help="Length of the trials of --lr.",
)
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default=TrainingConfig.schedule,
    show_default=True,
    help="plateau: where the test loss (train loss without test samples) has not fallen for --patience epochs, go back "
    "to the best epoch and on with 0.2 of the learning rate; end after two such cuts. constant: neither.",
)
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=TrainingConfig.patience,
    show_default=True,
    help="Epochs that --schedule plateau waits.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=TrainingConfig.epochs,
    show_default=True,
    help="Passes over the samples, at most.",
)
@options.seeds(TrainingConfig.seeds, "Networks to train, one after another.")
@click.option(
    "--switch",
    type=click.IntRange(1),
    metavar="EPOCH",
    help="Convert the GReLU network to ReLU after this epoch and go on as ReLU.",
)
@click.option(
    "--switch-ridge",
    type=click.FloatRange(0),
    metavar="C",
    default=TrainingConfig.switch_ridge,
    show_default=True,
    help="Ridge of the conversion: keeps the new weights small, so that test samples keep their outputs too, nearly. "
    "With 0 outputs on the train samples stay the same if there are at most as many as neurons in a layer, and only "
    "those.",
)
@click.option(
    "--switch-lr",
    "switch_rate",
    type=click.FloatRange(0, min_open=True),
    metavar="RATE",
    help="Learning rate after the switch.  [default: reduced as far as the switch raises the largest eigenvalue of "
    "the tangent kernel]",
)
@click.option(
    "--diagnostics",
    callback=_names,
    metavar="NAMES|all|none",
    default="none",
    show_default=True,
    help="Measured after every epoch: tau (spectral change of the weights), gradient (its change), gradient_norm (its "
    "2-norm), patterns (share of neurons that switched), dead (neurons off for every sample), shift (mean "
    "activations), spectra (of G^T G and F F^T), drift (change of the tangent kernel), linearised (distance from the "
    "linearised network).",
)
@click.option(
    "--diagnostic-samples",
    type=click.IntRange(1),
    default=TrainingConfig.diagnostic_samples,
    show_default=True,
    help="Train samples for the diagnostics, at most; drift takes up to 128 of them, spectra two.",
)
@options.dtype(TrainingConfig.dtype, DTYPES, "Precision.")
@click.option(
    "--checkpoint-every", type=click.IntRange(1), default=10, show_default=True, help="Epochs between checkpoints."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on from the last checkpoint, as if never interrupted; with more --epochs or --seeds, further than before. "
    "A folder without a training starts one.",
)
@options.restart("Start over even if the folder holds a training.")
@options.out()
def train(checkpoint_every: int, resume: bool, restart: bool, folder: Path, **settings: Any) -> None:
    """Train a gated ReLU (GReLU) or ReLU network.

    Writes results.json, loss.png, loss.svg, log.jsonl (a line an epoch) and best-SEED.pt (the network of the best
    epoch) into DIR, and checkpoint-SEED.pt while it runs. After Ctrl-C, or a crash, the same command with --resume goes
    on from the last checkpoint.

    \b
    Examples:
      gatentk train --data digits --width 512 --depth 2 --out digits-trained
      gatentk train --data mnist --test-fraction 0.2 --optimizer adam --loss cross-entropy --out mnist-trained
      gatentk train --data mnist --model relu --diagnostics patterns,dead --out relu
      gatentk train --data digits -n 500 --switch 10 --optimizer adam --loss cross-entropy --out switched
      gatentk train --data mnist --width 2048 --block 32 --gates shallow --center --out blocks
      gatentk train --data csv:mine.csv --epochs 200 --resume --out mine
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from gatentk.runs.results import RESULTS
    from gatentk.train import LOG, prepare_training
    from gatentk.train.sentences import headline

    if resume and restart:
        raise click.UsageError("--resume and --restart exclude each other")
    console = open_console()
    config = TrainingConfig(**settings)
    samples = prepare_training(config)
    if resume and not (folder / LOG).exists():
        console.print(f"{folder} holds no training yet: it starts there.", style="yellow", soft_wrap=True)
    for text in _remarks(config, samples):
        console.print(text, style="yellow", soft_wrap=True)
    result = _run(console, config, samples, folder, checkpoint_every, resume=resume, restart=restart)
    _show(console, result)
    for sentence in headline(samples, result):
        console.print(sentence, soft_wrap=True)
    console.print(f"\nResults: {folder / RESULTS}", soft_wrap=True)
    if len(result.diverged) == config.seeds:
        raise click.ClickException("every run diverged; try a smaller learning rate with --lr, or --lr auto")


_ALWAYS_SHOWN = ("data", "model", "width", "depth", "loss", "optimizer", "epochs")


def command_line(config: TrainingConfig, out: str = "DIR") -> str:
    """The command that repeats a training, with the options that differ from their defaults."""
    return options.command_line(train, config, _ALWAYS_SHOWN, out)


def _remarks(config: TrainingConfig, samples: TrainingSamples) -> list[str]:
    """What a user should know before waiting."""
    remarks = [samples.note] if samples.note else []
    if samples.train.scale is not None:
        mean, spread = (float(value) for value in (samples.train.scale.mean, samples.train.scale.spread))
        remarks.append(
            f"Targets: mean {number(mean)}, standard deviation {number(spread)} in {len(samples.train):,} train "
            "samples. They are learnt in a unit of the network's; losses are halves of squared errors in their own."
        )
    if config.center and samples.normalize == "standard":
        remarks.append("Standardised samples have mean 0 already: --center changes next to nothing.")
    if samples.zero_rows:
        remarks.append(
            f"Samples that are all zero: {samples.zero_rows:,}. Their outputs are zero whatever is learnt, so the loss "
            "does not go to zero."
        )
    if config.switch is not None and len(samples.train) > config.width:
        remarks.append(
            f"The conversion to ReLU can keep the outputs of at most as many samples as neurons; with "
            f"{len(samples.train):,} samples and width {config.width:,} the train loss jumps at the switch "
            "(results.json says how far)."
        )
    return remarks


def _run(
    console: Console,
    config: TrainingConfig,
    samples: TrainingSamples,
    folder: Path,
    checkpoint_every: int,
    *,
    resume: bool,
    restart: bool,
) -> Result:
    """Train behind a progress bar; Ctrl-C says what is kept."""
    from gatentk.train import checkpoint_paths, run_training

    done = 0
    with progress_bar(data_name(samples.name), console) as show:

        def report(record: EpochRecord, trial: bool) -> None:
            nonlocal done
            done += 0 if trial else min(record.epoch, 1)
            show(done / (config.seeds * config.epochs), _status(record, trial))

        try:
            return run_training(
                config,
                folder,
                samples,
                resume=resume,
                restart=restart,
                checkpoint_every=checkpoint_every,
                command=command_line(config),
                report=report,
            )
        except KeyboardInterrupt:
            kept = ", ".join(path.name for path in checkpoint_paths(folder))
            raise Interrupted(
                f"interrupted; {kept} in {folder} {'are' if ',' in kept else 'is'} kept, and the same command with "
                "--resume goes on from there"
                if kept
                else f"interrupted before the first checkpoint; the same command with --resume starts again in {folder}"
            ) from None


def _status(record: EpochRecord, trial: bool) -> str:
    loss = "not finite" if record.train_loss is None else number(record.train_loss)
    if trial:
        return f"trial of learning rate {record.rate:g}, epoch {record.epoch}, loss {loss}"
    return f"seed {record.seed}, epoch {record.epoch}, loss {loss}"


def _show(console: Console, result: Result) -> None:
    """The outcome as a table, a row a seed."""
    for trial in result.trials:
        loss = "diverged" if trial.train_loss is None else f"train loss {number(trial.train_loss)}"
        loss += ", more than at the start" if trial.grew else ""
        console.print(f"Learning rate {trial.rate:g}: {loss}" + (", taken" if trial.rate == result.rate else ""))
    columns = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
    lasts = [result.run(seed)[-1] for seed in range(result.config.seeds)]
    shown = [name for name in columns if any(getattr(last, name) is not None for last in lasts)]
    rows = []
    for last in lasts:
        values = [getattr(last, name) for name in shown]
        seconds = sum(record.seconds for record in result.run(last.seed))
        cells = ["diverged" if last.diverged else "" if value is None else number(value) for value in values]
        rows.append([str(last.seed), str(last.epoch), *cells, number(seconds)])
    titles = [name.replace("_", " ") for name in shown]
    console.print(number_table(["seed", "epochs", *titles, "seconds"], rows))
