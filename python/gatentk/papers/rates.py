"""Losses of GReLU and ReLU networks by learning rate, width and depth: [G, Fig. 4, 5]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from gatentk.activations import LABELS, MODELS
from gatentk.papers.frame import datasets, trainings
from gatentk.papers.frame.colours import COLOURS, shades
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.reporting import figures
from gatentk.reporting.text import given, number
from gatentk.runs.plain import ABSENT, Absent
from gatentk.train import Run, TrainingConfig

SUMMARY = "losses by learning rate, width and depth"
PLACE = 80


@dataclass(frozen=True)
class Training:
    """A part of the configuration of all trainings; the path is set where a file stands for the data."""

    data: str
    n: int | None
    normalize: str
    width: int
    depth: int
    epochs: int
    path: UserFile | Absent | None = ABSENT


class Shape(NamedTuple):
    """Width and depth of a network."""

    width: int
    depth: int


@dataclass(frozen=True)
class Settings:
    """Networks of several shapes at the same learning rates.

    Attributes:
        config: of the trainings, with the width and depth of those that vary in depth and width.
        widths, depths: of the networks.
        factors: learning rates in units of 1 / lambda_max of the GReLU network's kernel at the start.
        seeds: of networks.
    """

    config: Training
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    factors: tuple[float, ...]
    seeds: int

    @property
    def base(self) -> Shape:
        """The shape of the networks that vary in nothing but the learning rate."""
        return Shape(self.config.width, self.config.depth)

    @property
    def wide(self) -> list[Shape]:
        """Widths at the one depth."""
        return [Shape(width, self.config.depth) for width in self.widths]

    @property
    def deep(self) -> list[Shape]:
        """Depths at the one width."""
        return [Shape(self.config.width, depth) for depth in self.depths]

    @property
    def shapes(self) -> list[Shape]:
        """All of them, each once."""
        return list(dict.fromkeys([*self.wide, *self.deep, self.base]))

    def training(self, model: str, shape: Shape) -> TrainingConfig:
        """The training of one network."""
        return trainings.config(self.config, model=model, width=shape.width, depth=shape.depth)


@dataclass(frozen=True)
class RateRun:
    """Train losses by epoch at a learning rate, relative to the variance of the targets."""

    rate: float
    train: list[float]
    diverged: bool


@dataclass(frozen=True)
class RateRuns:
    """The trainings of one network, one for each learning rate."""

    runs: list[RateRun]


@dataclass(frozen=True)
class Network(Cell[Settings, RateRuns]):
    """One network with all learning rates."""

    model: str
    width: int
    depth: int
    seed: int

    KEY = "{model} width {width} depth {depth} seed {seed}"

    @property
    def shape(self) -> Shape:
        """The shape of the network."""
        return Shape(self.width, self.depth)

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        config = settings.training(self.model, self.shape)
        return trainings.seconds(config, config.epochs * len(settings.factors))

    def compute(self, settings: Settings) -> RateRuns:
        """Train at each learning rate from the same start."""
        grelu, config = (settings.training(m, self.shape) for m in ("grelu", self.model))
        largest = trainings.largest_eigenvalue(trainings.start(grelu, self.seed))
        spread = trainings.target_spread(config)
        runs = []
        for factor in settings.factors:
            rate = factor / largest
            begun = trainings.start(config, self.seed, spread)
            curve, _ = trainings.curve(Run(config, begun, rate), config.epochs)
            runs.append(RateRun(rate, trainings.unexplained(curve.train, spread), curve.diverged))
        return RateRuns(runs)


class Rates(Experiment[Settings]):
    """Train loss after the same number of epochs, for both networks at the same learning rates."""

    name = "rates"
    title = "GReLU against ReLU by learning rate, width and depth"
    source = "[G, Fig. 4, 5]"

    def settings(self, scale: Scale) -> Settings:
        """Friedman's regression in the place of SGEMM; that, width 4096 and depth 10, with `full`."""
        config = Training("friedman", n=1000, normalize="standard", width=256, depth=4, epochs=15)
        widths: tuple[int, ...] = (64, 128, 256, 512)
        depths: tuple[int, ...] = (1, 2, 4, 8)
        if scale.full:
            path = datasets.file(scale, "sgemm")
            config = replace(config, data="sgemm", path=path, n=None, width=4096, depth=10, epochs=50)
            widths, depths = (1024, 2048, 4096), (2, 5, 10)
        settings = Settings(config, widths, depths, factors=(0.1, 0.3, 1.0, 3.0, 10.0), seeds=2)
        trainings.samples(settings.training("grelu", settings.base))
        return settings

    def cells(self, settings: Settings) -> Sequence[Network]:
        """One for each shape, network and seed: all learning rates."""
        return [
            Network(model, *shape, seed)
            for shape in settings.shapes
            for model in MODELS
            for seed in range(settings.seeds)
        ]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Memory of the largest network, and seconds of all networks."""
        memory = max(trainings.memory(settings.training("grelu", shape)) for shape in settings.shapes)
        return memory, sum(cell.cost(settings) for cell in self.cells(settings))

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Comparison at each learning rate, and with the best by width and depth."""
        claims = [
            _by_rate(settings, results),
            _by_shape(settings, results, "width", settings.wide),
            _by_shape(settings, results, "depth", settings.deep),
        ]
        remarks = [
            (
                "Learning rates are in units of 1 / lambda_max of the GReLU network's kernel at the start, and the "
                "same for the ReLU network of that shape and seed: one rate for all widths would be too short for "
                "narrow networks or too long for wide ones."
            )
        ]
        return Findings(
            claims,
            lambda: _plots(settings, results, self.cells(settings)),
            [_table(settings, results, self.cells(settings))],
            remarks,
        )


def final_losses(settings: Settings, results: Results, model: str, shape: Shape) -> list[float]:
    """The geometric mean over seeds of the last train loss, by factor; infinite where one diverged."""
    runs = [results[Network(model, *shape, seed)].runs for seed in range(settings.seeds)]
    return [
        geometric_mean([trainings.final(run.train, run.diverged) for run in same]) for same in zip(*runs, strict=True)
    ]


def _by_rate(settings: Settings, results: Results) -> Claim:
    wins, known, ties = 0, 0, []
    for shape in settings.shapes:
        grelu, relu = (final_losses(settings, results, m, shape) for m in ("grelu", "relu"))
        for factor, g, r in zip(settings.factors, grelu, relu, strict=True):
            if math.isfinite(g) or math.isfinite(r):
                known, wins = known + 1, wins + (g < r)
                if shape == settings.base:
                    ties.append(f"{given(factor)}: {_text(g)} and {_text(r)}")
    width, depth = settings.base
    return Claim(
        "our reading of [G, Fig. 4]",
        "At the same learning rate a GReLU network reaches a smaller train loss than a ReLU network.",
        f"So in {wins} of {known} pairs of a shape and a rate. Width {width:,}, depth {depth}, GReLU and ReLU by rate: "
        f"{', '.join(ties)}.",
        wins > known / 2 if known else None,
    )


def _by_shape(settings: Settings, results: Results, what: str, shapes: Sequence[Shape]) -> Claim:
    shown, wins = [], 0
    for shape in shapes:
        g, r = (min(final_losses(settings, results, m, shape)) for m in ("grelu", "relu"))
        wins += g < r
        shown.append(f"{what} {getattr(shape, what):,}: {_text(g)} and {_text(r)}")
    return Claim(
        "our reading of [G, Fig. 4, 5]",
        f"With the best learning rate for each the GReLU network is ahead at every {what}.",
        f"Train loss after {settings.config.epochs} epochs, GReLU and ReLU: {', '.join(shown)}.",
        wins == len(shapes),
    )


def _plots(settings: Settings, results: Results, cells: Sequence[Network]) -> list[Plot]:
    from matplotlib.ticker import NullLocator

    width, depth = settings.base
    figure, (rate, wide, deep) = figures.panels(
        [
            ("By learning rate", f"width {width:,}, depth {depth}"),
            ("By width", f"depth {depth}, best learning rate"),
            ("By depth", f"width {width:,}, best learning rate"),
        ],
        [
            ("Learning rate × λmax(K), K of GReLU", f"Train loss after {settings.config.epochs} epochs"),
            ("Width", "Train loss"),
            ("Depth", "Train loss"),
        ],
    )
    curves, axes = figures.panels(
        [(LABELS[m], f"width {width:,}, depth {depth}, seed 0") for m in MODELS],
        [("Epoch", "Train loss")] * len(MODELS),
    )
    for model in MODELS:
        options: dict[str, Any] = {"color": COLOURS[model], "marker": "o", "markersize": 3, "label": LABELS[model]}
        ends = zip(settings.factors, final_losses(settings, results, model, settings.base), strict=True)
        _points(rate, list(ends), options)
        for axis, sizes, shapes in ((wide, settings.widths, settings.wide), (deep, settings.depths, settings.deep)):
            best = [min(final_losses(settings, results, model, shape)) for shape in shapes]
            _points(axis, list(zip(sizes, best, strict=True)), options)
    for panel, model in zip(axes, MODELS, strict=True):
        runs = results[Network(model, width, depth, 0)].runs
        colours = shades(len(runs))
        for run, factor, colour in zip(runs, settings.factors, colours, strict=True):
            losses = [min(loss, 1e3) for loss in run.train]
            panel.plot(losses, color=colour, label=f"{given(factor)} / λmax")
            if run.diverged:
                panel.plot(len(losses) - 1, losses[-1], "x", color=colour)
        figures.logarithmic(panel)
        figures.integers(panel)
    top = 2 * max(results[cell].runs[0].train[0] for cell in cells)
    for panel in axes:
        low = min(loss for m in MODELS for run in results[Network(m, width, depth, 0)].runs for loss in run.train)
        panel.set_ylim(low / 1.5, top)
    for axis in (rate, wide):
        axis.set_xscale("log")
    for axis in (rate, wide, deep):
        figures.logarithmic(axis)
    for axis, ticks in ((rate, settings.factors), (wide, settings.widths), (deep, settings.depths)):
        axis.set_xticks(ticks, list(map(given, ticks)))
        axis.xaxis.set_minor_locator(NullLocator())
    figures.legend(rate)
    figures.legend(axes[0])
    caption = (
        f"Train loss (mean squared error / variance of the targets) on {settings.config.data}, geometric means over "
        f"{settings.seeds} seeds. Where a point is missing a training diverged or ended above its start."
    )
    text = (
        "Train loss (mean squared error / variance of the targets) by epoch for each learning rate, in units of 1 / "
        "λmax; a cross marks one that diverged."
    )
    return [Plot("rates", caption, figure), Plot("rates-epochs", text, curves)]


def _table(settings: Settings, results: Results, cells: Sequence[Network]) -> Table:
    rows: list[list[Any]] = []
    for cell in cells:
        network = [LABELS[cell.model], cell.width, cell.depth, cell.seed]
        for factor, run in zip(settings.factors, results[cell].runs, strict=True):
            rows.append([*network, factor, run.rate, None if run.diverged else run.train[-1]])
    columns = ["network", "width", "depth", "seed", "rate × λmax", "rate", "train loss"]
    return Table("rates", "All trainings; no loss where one diverged", columns, rows)


def _text(loss: float) -> str:
    return number(loss) if math.isfinite(loss) else "diverged"


def _points(axis: Any, points: Sequence[tuple[float, float]], options: Mapping[str, Any]) -> None:
    known = [(x, y) for x, y in points if math.isfinite(y)]
    axis.plot([x for x, _ in known], [y for _, y in known], **options)


EXPERIMENT = Rates()
