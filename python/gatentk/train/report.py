"""What a training leaves behind besides its log: results.json and a plot of the losses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk.report import GRID, INK, environment, number, render, write_aside
from gatentk.train import Config, Record, Result, Samples, diagnostics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "gatentk/training/1"
NAMES = {"grelu": "GReLU", "relu": "ReLU"}
OPTIMIZERS = {"sgd": "SGD", "gd": "gradient descent", "adam": "Adam"}
TRAIN, TEST = "#0072b2", "#d55e00"  # of Okabe and Ito, which differ for every kind of colour vision


def write(folder: Path, samples: Samples, result: Result) -> Path:
    """Write results.json, loss.png and loss.svg; returns the path of results.json."""
    figure = draw(samples, result)
    for kind in ("png", "svg"):
        write_aside(folder / f"loss.{kind}", render(figure, kind))
    path = folder / "results.json"
    write_aside(path, json_text(samples, result).encode())
    return path


def json_text(samples: Samples, result: Result) -> str:
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
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


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
    import matplotlib as mpl
    from matplotlib.figure import Figure

    config = result.config
    style: dict[Any, Any] = {
        "font.size": 8.5,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.linewidth": 0.6,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        axes = figure.add_subplot()
        title = "1/2 |output - label|²" if config.loss == "square" else "Cross-entropy"
        axes.set_title(f"{title}, mean over samples", loc="left", fontsize=9.5, fontweight="bold", pad=26)
        subtitle = axes.text(0, 1.025, _subtitle(samples, result), transform=axes.transAxes, fontsize=7.5)
        subtitle.set_parse_math(False)
        subtitle.set_in_layout(False)  # or a long name of a data set would squeeze the axes
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("Epoch")
        _lines(axes, result)
        if config.switch is not None:
            axes.axvline(config.switch, color=INK, linewidth=0.6, linestyle=(0, (2, 2)))
            place: dict[str, Any] = {
                "xycoords": ("data", "axes fraction"),
                "xytext": (3, 3),
                "textcoords": "offset points",
            }
            axes.annotate("ReLU", (config.switch, 0), fontsize=7.5, **place)
        return figure


def _lines(axes: Axes, result: Result) -> None:
    from matplotlib.ticker import MaxNLocator

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
        axes.legend(frameon=False, fontsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _subtitle(samples: Samples, result: Result) -> str:
    config = result.config
    kind, colon, path = samples.name.partition(":")
    name = f"{kind}:{Path(path).name}" if colon else kind
    seeds = f", {config.seeds} seeds" if config.seeds > 1 else ""
    return (
        f"{name}, {len(samples.train):,} samples; {NAMES[config.model]}, width {config.width:,}, depth {config.depth}\n"
        f"{OPTIMIZERS[config.optimizer]}, learning rate {number(result.rate, 2)}{seeds}"
    )
