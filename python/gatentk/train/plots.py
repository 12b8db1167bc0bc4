"""The plot of a training: losses by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatentk.activations import ACTIVATIONS
from gatentk.reporting import figures
from gatentk.reporting.style import BLUE, INK, ORANGE, SMALL
from gatentk.reporting.text import data_name, number
from gatentk.train.result import Result
from gatentk.train.samples import TrainingSamples
from gatentk.train.schedule import best_epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPTIMIZER_LABELS = {"sgd": "SGD", "gd": "gradient descent", "adam": "Adam"}


def draw(samples: TrainingSamples, result: Result) -> Figure:
    """Train and test loss by epoch, a line a seed, logarithmic."""
    config = result.config
    loss = "1/2 |output - label|²" if config.loss == "square" else "Cross-entropy"
    figure, axes = figures.plot(f"{loss}, mean over samples", _subtitle(samples, result), 3.4, 26)
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
    for name, colour, label in (("train_loss", BLUE, "train"), ("test_loss", ORANGE, "test")):
        for seed in range(result.config.seeds):
            points = [(r.epoch, value) for r in result.run(seed) if (value := getattr(r, name)) is not None]
            if points:
                logarithmic = logarithmic and all(value > 0 for _, value in points)
                marker = "o" if len(points) == 1 else None
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, marker=marker, label=label)
                label = "_"  # once in the legend
    _best(axes, result)
    if logarithmic and axes.lines:
        axes.set_yscale("log")
    if axes.lines:
        figures.legend(axes)
    figures.integers(axes, 10)


def _best(axes: Axes, result: Result) -> None:
    """A point at the best epoch of every seed, where its loss stands."""
    bests = [best for seed in range(result.config.seeds) if (best := best_epoch(result.run(seed))) is not None]
    if bests:
        epochs, losses = [best.epoch for best in bests], [best.loss for best in bests]
        axes.scatter(epochs, losses, s=14, color=INK, zorder=3, label="best epoch")


def _subtitle(samples: TrainingSamples, result: Result) -> str:
    config = result.config
    seeds = f", {config.seeds} seeds" if config.seeds > 1 else ""
    return (
        f"{data_name(samples.name)}, {len(samples.train):,} samples; "
        f"{ACTIVATIONS[config.model].label}, width {config.width:,}, depth {config.depth}\n"
        f"{OPTIMIZER_LABELS[config.optimizer]}, learning rate {number(result.rate, 2)}{seeds}"
    )
