"""Fit of one-hot labels of images by ReLU and GReLU networks: [G, Table 2, Fig. 3a]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatentk.activations import LABELS, MODELS
from gatentk.papers.frame import datasets, trainings
from gatentk.papers.frame.colours import COLOURS
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.papers.frame.statistics import finite
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number
from gatentk.runs.plain import ABSENT, Absent
from gatentk.train import Run, TrainingConfig

SUMMARY = "train error of ReLU and GReLU by depth and width"
PLACE = 60

# Table 2, CIFAR-10: (depth, width) and train MSE of ReLU and GReLU.
PUBLISHED = {(6, 10_000): (0.48, 0.02), (7, 10_000): (0.27, 0.01), (4, 15_000): (0.75, 0.03)}
# The learning rate of the table, for the mean of a mini-batch.
RATE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Training:
    """A part of the configuration of all trainings; the path is set for published images."""

    data: str
    path: UserFile | Absent | None = ABSENT
    n: int | None
    epochs: int


@dataclass(frozen=True)
class Settings:
    """Networks of several shapes.

    Attributes:
        config: of the trainings.
        shapes: pairs of depth and width.
        factors: learning rates, times 1 / lambda_max of each network's kernel at the start, beside the published one.
        seed: of the networks.
    """

    config: Training
    shapes: tuple[tuple[int, int], ...]
    factors: tuple[float, ...]
    seed: int

    @property
    def all_factors(self) -> tuple[float | None, ...]:
        """None, for the published learning rate, and the others."""
        return (None, *self.factors)

    def training(self, model: str, depth: int, width: int) -> TrainingConfig:
        """The training of one network."""
        return trainings.config(self.config, model=model, depth=depth, width=width)


@dataclass(frozen=True)
class Errors:
    """Train MSE by epoch.

    Attributes:
        rate: the learning rate.
        stability: that times the largest eigenvalue of K / n at the start.
    """

    train: list[float]
    diverged: bool
    rate: float
    stability: float

    @property
    def final(self) -> float:
        """Infinite where the training diverged or ended above its start."""
        return trainings.final(self.train, self.diverged)


@dataclass(frozen=True)
class Network(Cell[Settings, Errors]):
    """One network at one learning rate; the factor is None for the published one."""

    model: str
    depth: int
    width: int
    factor: float | None

    @property
    def key(self) -> str:
        """The network, with the rate or the factor."""
        rate = f"rate {RATE:g}" if self.factor is None else f"factor {self.factor:g}"
        return f"{self.model} depth {self.depth} width {self.width} {rate}"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        config = settings.training(self.model, self.depth, self.width)
        return trainings.seconds(config, config.epochs)

    def compute(self, settings: Settings) -> Errors:
        """Train."""
        config = settings.training(self.model, self.depth, self.width)
        begun = trainings.start(config, settings.seed)
        largest = trainings.largest_eigenvalue(begun)
        rate = RATE if self.factor is None else self.factor / largest
        curve, _ = trainings.curve(Run(config, begun, rate), config.epochs)
        # The loss is half the squared error.
        return Errors([2 * loss for loss in curve.train], curve.diverged, rate, rate * largest)


class ImageRegression(Experiment[Settings]):
    """Train MSE, the mean over samples of |y - label|^2, for pairs of depth and width."""

    name = "image-regression"
    title = "Fitting images: train error of GReLU and ReLU networks by depth and width"
    source = "[G, Table 2, Fig. 3a]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST and widths 384 and 576; CIFAR-10, 10,000 and 15,000 with `full`."""
        config = Training(data="mnist", n=5000, epochs=10)
        shapes: tuple[tuple[int, int], ...] = ((6, 384), (7, 384), (4, 576))
        if scale.full:
            name = datasets.cifar10(scale)
            config = Training(data=name, path=datasets.file(scale, name), n=None, epochs=50)
            shapes = tuple(PUBLISHED)
        settings = Settings(config, shapes, factors=(3.0, 6.0, 10.0, 20.0), seed=0)
        trainings.samples(trainings.config(config))
        return settings

    def cells(self, settings: Settings) -> Sequence[Network]:
        """One for each shape, network and learning rate."""
        return [
            Network(model, depth, width, factor)
            for depth, width in settings.shapes
            for model in MODELS
            for factor in settings.all_factors
        ]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Memory of the largest network, and seconds of all networks."""
        memory = max(trainings.memory(settings.training("grelu", *shape)) for shape in settings.shapes)
        return memory, sum(cell.cost(settings) for cell in self.cells(settings))

    def findings(self, settings: Settings, results: Results) -> Findings:
        """The table with the published rate, and with the best."""
        claims = [_claim(settings, results, best) for best in (False, True)]
        claims.append(_depth(settings, results))
        remarks = [
            (
                "MSE is the mean over samples of the sum of squared errors of the outputs. A kernel grows with depth "
                "and the square of the width, so the same learning rate is a long step for the published widths and a "
                "short one for narrow networks: the column rate × λmax says how long (gradient descent needs less than "
                "2)."
            )
        ]
        ends = [
            f"{LABELS[model]} depth {depth} width {width:,}"
            for depth, width in settings.shapes
            for model in MODELS
            if _at_end(settings, results, model, depth, width)
        ]
        if ends:
            remarks.append(f"The best learning rate is at an end of the grid for {', '.join(ends)}.")
        return Findings(claims, lambda: _plots(settings, results), _tables(settings, results), remarks)


def _at_end(settings: Settings, results: Results, model: str, depth: int, width: int) -> bool:
    """Whether another learning rate, shorter or longer than all of the grid, could be better than the best."""
    best = _best(settings, results, model, depth, width)
    ends = (settings.factors[0], settings.factors[-1])
    return any(best is results[Network(model, depth, width, factor)] for factor in ends)


def _best(settings: Settings, results: Results, model: str, depth: int, width: int) -> Errors:
    """The training with the smallest MSE, of all learning rates."""
    runs = [results[Network(model, depth, width, factor)] for factor in settings.all_factors]
    return min(runs, key=lambda run: run.final)


def _claim(settings: Settings, results: Results, best: bool) -> Claim:
    shown, wins = [], 0
    for depth, width in settings.shapes:
        runs = {
            m: _best(settings, results, m, depth, width) if best else results[Network(m, depth, width, None)]
            for m in MODELS
        }
        relu, grelu = (runs[m].final for m in ("relu", "grelu"))
        wins += grelu < relu
        shown.append(f"depth {depth}, width {width:,}: {_text(relu)} and {_text(grelu)}")
    which = "With the best learning rate of a grid for each" if best else f"At learning rate {given(RATE)}"
    published = "; ".join(f"{d}, {w:,}: {given(r)} and {given(g)}" for (d, w), (r, g) in PUBLISHED.items())
    statement = f"{which} the train MSE of GReLU is below that of ReLU"
    return Claim(
        "[G, Table 2]",
        statement + ("." if best else f" (CIFAR-10, depth and width, ReLU and GReLU: {published})."),
        f"{settings.config.data}, {settings.config.epochs} epochs, ReLU and GReLU: {'; '.join(shown)}.",
        wins == len(settings.shapes),
    )


def _depth(settings: Settings, results: Results) -> Claim:
    shapes = settings.shapes
    pairs = [(a, b) for a in shapes for b in shapes if a[1] == b[1] and a[0] < b[0]]
    shown, holds = [], []
    for (low, width), (high, _) in pairs:
        for model in MODELS:
            a, b = (_best(settings, results, model, L, width).final for L in (low, high))
            holds.append(b < a)
            shown.append(f"{LABELS[model]} {_text(a)} at depth {low} and {_text(b)} at depth {high}, width {width:,}")
    return Claim(
        "[G, Table 2]",
        "At the same width the deeper network has the smaller train MSE.",
        f"Best learning rates: {', '.join(shown)}." if shown else "No two shapes have the same width.",
        all(holds) if holds else None,
    )


def _plots(settings: Settings, results: Results) -> list[Plot]:
    shapes = settings.shapes
    figure, axes = figures.panels(
        [(f"Depth {depth}, width {width:,}", f"{settings.config.data}, train") for depth, width in shapes],
        [("Epoch", "MSE")] * len(shapes),
    )
    for panel, (depth, width) in zip(axes, shapes, strict=True):
        for model in MODELS:
            for run, dash, which in (
                (_best(settings, results, model, depth, width), style.SOLID, "best rate"),
                (results[Network(model, depth, width, None)], style.DASHED, f"rate {given(RATE)}"),
            ):
                losses = [min(loss, 1e3) for loss in run.train]
                panel.plot(losses, color=COLOURS[model], linestyle=dash, label=f"{LABELS[model]}, {which}")
                if run.diverged:
                    panel.plot(len(losses) - 1, losses[-1], "x", color=COLOURS[model])
        figures.logarithmic(panel)
        start = max(results[Network(m, depth, width, None)].train[0] for m in MODELS)
        panel.set_ylim(top=min(panel.get_ylim()[1], 3 * start))
        figures.integers(panel)
    figures.legend(axes[0])
    caption = (
        "Train MSE (sum of squared errors of the outputs, mean over samples) by epoch: solid with the best learning "
        f"rate of the grid, dashed with the published one, {given(RATE)}. A cross marks a training that diverged."
    )
    return [Plot("image-regression", caption, figure)]


def _tables(settings: Settings, results: Results) -> list[Table]:
    rows: list[list[Any]] = []
    every: list[list[Any]] = []
    for depth, width in settings.shapes:
        row: list[Any] = [depth, width]
        for model in ("relu", "grelu"):
            published, best = (
                results[Network(model, depth, width, None)],
                _best(settings, results, model, depth, width),
            )
            row += [finite(published.final), finite(best.final)]
            for factor in settings.all_factors:
                run = results[Network(model, depth, width, factor)]
                end = finite(run.final)
                every.append([LABELS[model], depth, width, run.rate, run.stability, end])
        rows.append([*row, *PUBLISHED.get((depth, width), (None, None))])
    columns = ["depth", "width", f"ReLU at {given(RATE)}", "ReLU best", f"GReLU at {given(RATE)}", "GReLU best"]
    title = "Train MSE with the published learning rate and the best; published values where the shape is theirs"
    return [
        Table("image-regression", title, [*columns, "ReLU published", "GReLU published"], rows),
        Table(
            "image-regression-rates",
            "All trainings; no MSE where one diverged or ended above its start",
            ["network", "depth", "width", "rate", "rate × λmax", "MSE"],
            every,
        ),
    ]


def _text(mse: float) -> str:
    return number(mse) if math.isfinite(mse) else "diverged"


EXPERIMENT = ImageRegression()
