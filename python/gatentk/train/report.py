"""What a training leaves behind besides its log: results.json and a plot of the losses."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk.reporting import figures
from gatentk.reporting.environment import environment
from gatentk.reporting.style import BLUE, INK, ORANGE, SMALL
from gatentk.reporting.text import data_name, json_text, number
from gatentk.runs.files import write_aside
from gatentk.train import Config, Record, Result, Samples, diagnostics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "gatentk/training/1"
NAMES = {"grelu": "GReLU", "relu": "ReLU"}
OPTIMIZERS = {"sgd": "SGD", "gd": "gradient descent", "adam": "Adam"}
TRAIN, TEST = BLUE, ORANGE


def write(folder: Path, samples: Samples, result: Result) -> Path:
    """Write results.json, loss.png and loss.svg; returns the path of results.json."""
    figure = draw(samples, result)
    for kind in ("png", "svg"):
        write_aside(folder / f"loss.{kind}", figures.render(figure, kind))
    path = folder / "results.json"
    write_aside(path, document_text(samples, result).encode())
    return path


def document_text(samples: Samples, result: Result) -> str:
    """Settings, data and the outcome of each run, machine-readable; log.jsonl has every epoch."""
    config = result.config
    document = {
        "schema": SCHEMA,
        "command": command_line(config),
        "config": asdict(config),
        "data": {
            "name": samples.name,
            "train_samples": len(samples.train),
            "test_samples": 0 if samples.test is None else len(samples.test),
            "features": samples.train.x.shape[1],
            "outputs": samples.outputs,
            "classes": samples.classes,
            "zero_rows": samples.zero_rows,
            "sha256": samples.digest,
        },
        "environment": environment(),
        "diagnostics": {name: diagnostics.NAMES[name] for name in config.diagnostics},
        "learning_rate": result.rate,
        "trials": [trial._asdict() for trial in result.trials],
        "runs": [_outcome(result.run(seed)) for seed in range(config.seeds)],
    }
    return json_text(document)


def _outcome(records: Sequence[Record]) -> dict[str, Any]:
    """How one run went: its first and last epoch, its smallest test loss, and the switch if there was one."""
    tested = [record for record in records if record.test_loss is not None]
    best = min(tested, key=lambda record: record.test_loss or 0.0, default=None)
    return {
        "seed": records[0].seed,
        "diverged": records[-1].diverged,
        "epochs": records[-1].epoch,
        "seconds": sum(record.seconds for record in records),
        "first": asdict(records[0]),
        "last": asdict(records[-1]),
        "best_test": None if best is None else {"epoch": best.epoch, "test_loss": best.test_loss},
        "switch": next((record.switch for record in records if record.switch is not None), None),
    }


def command_line(config: Config, out: str = "DIR") -> str:
    """The command that repeats a training."""
    words = ["gatentk", "train", "--data", config.data]
    defaults = Config(config.data)
    for option, name in _OPTIONS.items():
        value = getattr(config, name)
        if value is None or (value == getattr(defaults, name) and name not in _ALWAYS):
            continue
        text = ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
        words += [option, text]
    return shlex.join([*words, "--out", out])


_ALWAYS = ("model", "width", "depth", "loss", "optimizer", "epochs")
_OPTIONS = {
    "--path": "path",
    "-n": "n",
    "--data-seed": "data_seed",
    "--test-fraction": "test_fraction",
    "--normalize": "normalize",
    "--model": "model",
    "--width": "width",
    "--depth": "depth",
    "--loss": "loss",
    "--optimizer": "optimizer",
    "--batch": "batch",
    "--lr": "rates",
    "--trial-epochs": "trial_epochs",
    "--epochs": "epochs",
    "--seeds": "seeds",
    "--switch": "switch",
    "--switch-lr": "switch_rate",
    "--diagnostics": "diagnostics",
    "--diagnostic-samples": "diagnostic_samples",
    "--dtype": "dtype",
}


def headline(samples: Samples, result: Result) -> list[str]:
    """What came out, in sentences; diverged runs with what to change."""
    sentences = []
    for seed in range(result.config.seeds):
        records = result.run(seed)
        last = records[-1]
        if last.diverged:
            sentences.append(
                f"Seed {seed}: the loss diverged in epoch {last.epoch}; the learning rate {last.rate:g} is too large."
            )
        elif (last.train_loss or 0) > (records[0].train_loss or 0):
            sentences.append(
                f"Seed {seed}: the train loss rose; the learning rate {last.rate:g} is probably too large."
            )
        switch = next((record for record in records if record.switch is not None), None)
        if switch is not None and switch.switch is not None:
            sentences.append(f"Seed {seed}: {_switch_text(switch.epoch, switch.switch)}")
    return sentences


def _switch_text(epoch: int, switch: dict[str, Any]) -> str:
    losses = [switch["train_loss_before"], switch["train_loss_after"]]
    before, after = ("not finite" if loss is None else number(loss) for loss in losses)
    residual = max(layer["residual"] for layer in switch["report"]["layers"])
    return (
        f"converted to ReLU after epoch {epoch}, train loss {before} before and {after} after (layers fitted to "
        f"{number(residual, 2)} relative at worst); learning rate {switch['rate']:g} from there."
    )


# The plot


def draw(samples: Samples, result: Result) -> Figure:
    """Train and test loss by epoch, a line a seed, logarithmic."""
    config = result.config
    loss = "1/2 |output - label|²" if config.loss == "square" else "Cross-entropy"
    with figures.plot(f"{loss}, mean over samples", _subtitle(samples, result), 3.4, 26) as (figure, axes):
        axes.set_xlabel("Epoch")
        _lines(axes, result)
        if config.switch is not None:
            axes.axvline(config.switch, color=INK, linewidth=0.6, linestyle=(0, (2, 2)))
            place: dict[str, Any] = {
                "xycoords": ("data", "axes fraction"),
                "xytext": (3, 3),
                "textcoords": "offset points",
            }
            axes.annotate("ReLU", (config.switch, 0), fontsize=SMALL, **place)
        return figure


def _lines(axes: Axes, result: Result) -> None:
    logarithmic = True
    for name, colour, label in (("train_loss", TRAIN, "train"), ("test_loss", TEST, "test")):
        for seed in range(result.config.seeds):
            points = [(r.epoch, value) for r in result.run(seed) if (value := getattr(r, name)) is not None]
            if points:
                logarithmic = logarithmic and all(value > 0 for _, value in points)
                marker = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=marker, label=label)
                label = "_"  # once in the legend
    if logarithmic and axes.lines:
        axes.set_yscale("log")
    if axes.lines:
        figures.legend(axes)
    figures.integers(axes, 10)


def _subtitle(samples: Samples, result: Result) -> str:
    config = result.config
    seeds = f", {config.seeds} seeds" if config.seeds > 1 else ""
    return (
        f"{data_name(samples.name)}, {len(samples.train):,} samples; "
        f"{NAMES[config.model]}, width {config.width:,}, depth {config.depth}\n"
        f"{OPTIMIZERS[config.optimizer]}, learning rate {number(result.rate, 2)}{seeds}"
    )
