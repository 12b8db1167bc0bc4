"""What changes inside GReLU and ReLU networks from epoch to epoch: [G, Fig. 2b, 2c, Remark 3]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gatentk.activations import LABELS, MODELS
from gatentk.papers.frame import datasets, trainings
from gatentk.papers.frame.colours import COLOURS
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.reporting import figures
from gatentk.reporting.text import given, number
from gatentk.runs.plain import ABSENT, Absent
from gatentk.train import Run, TrainingConfig

SUMMARY = "gradients, activation patterns, dead neurons by epoch"
PLACE = 50

# [G, Fig. 2c]: shares of activations that change in an epoch.
REPORTED = (0.2, 0.25)
# A mean activation below this share of ReLU's counts as none.
NO_SHIFT = 0.1


@dataclass(frozen=True)
class Training:
    """A part of the configuration of all trainings; the path is set where a file stands for the data."""

    data: str
    n: int | None
    normalize: str
    width: int
    depth: int
    epochs: int
    diagnostics: tuple[str, ...]
    path: UserFile | Absent | None = ABSENT


@dataclass(frozen=True)
class Settings:
    """Networks of one shape.

    Attributes:
        config: of the trainings.
        factor: of the learning rate, times 1 / lambda_max of each network's kernel at the start.
        seeds: of networks.
    """

    config: Training
    factor: float
    seeds: int

    def training(self, model: str) -> TrainingConfig:
        """The training of one network."""
        return trainings.config(self.config, model=model)


@dataclass(frozen=True)
class Measured:
    """Diagnostics of an epoch, as `gatentk.train` measures them; by layer where there are several."""

    gradient: float | None
    gradient_norm: float
    patterns: list[float] | None
    dead: list[float]
    shift: list[float]

    @property
    def trained_patterns(self) -> float | None:
        """Share of neurons of layers 1 .. L that switched; None before the first epoch."""
        return None if self.patterns is None else float(sum(self.patterns[1:]) / len(self.patterns[1:]))

    @property
    def most_dead(self) -> float:
        """Share of neurons that are off for every sample, in the worst layer."""
        return max(self.dead)

    @property
    def largest_shift(self) -> float:
        """The largest shift of the mean activations of a trained layer."""
        return max(abs(float(value)) for value in self.shift[1:])


@dataclass(frozen=True)
class Epochs(trainings.Curve):
    """Losses relative to the variance of the targets, diagnostics by epoch, and the learning rate."""

    diagnostics: list[Measured]
    rate: float


@dataclass(frozen=True)
class Network(Cell[Settings, Epochs]):
    """One training."""

    model: str
    seed: int

    KEY = "{model} seed {seed}"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        return trainings.seconds(settings.training(self.model), settings.config.epochs)

    def compute(self, settings: Settings) -> Epochs:
        """Losses and diagnostics by epoch."""
        config = settings.training(self.model)
        spread = trainings.target_spread(config)
        begun = trainings.start(config, self.seed, spread)
        rate = settings.factor / trainings.largest_eigenvalue(begun)
        curve, measured = trainings.curve(Run(config, begun, rate), config.epochs)
        return Epochs(
            train=trainings.unexplained(curve.train, spread),
            test=trainings.unexplained(curve.test, spread),
            accuracy=curve.accuracy,
            diverged=curve.diverged,
            switch=None,
            diagnostics=[Measured(**values) for values in measured],
            rate=rate,
        )


class Dynamics(Experiment[Settings]):
    """Changes of gradients and activation patterns, dead neurons and mean activations by epoch."""

    name = "dynamics"
    title = "What changes in training: gradients, activation patterns, dead neurons, mean activations"
    source = "[G, Fig. 2b, 2c, Remark 3]"

    def settings(self, scale: Scale) -> Settings:
        """Friedman's regression, which needs no download, in the place of SGEMM; that with `full`."""
        config = Training(
            data="friedman",
            n=2000,
            normalize="standard",
            width=512,
            depth=4,
            epochs=30,
            diagnostics=("gradient", "gradient_norm", "patterns", "dead", "shift"),
        )
        if scale.full:
            path = datasets.file(scale, "sgemm")
            config = replace(config, data="sgemm", path=path, n=None, width=4096, depth=10, epochs=100)
        settings = Settings(config, factor=0.3, seeds=3)
        trainings.samples(settings.training("grelu"))
        return settings

    def cells(self, settings: Settings) -> Sequence[Network]:
        """One for each network and seed."""
        return [Network(model, seed) for model in MODELS for seed in range(settings.seeds)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Memory of one training, and seconds of all of them."""
        seconds = sum(cell.cost(settings) for cell in self.cells(settings))
        return trainings.memory(settings.training("grelu")), seconds

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Gradients, patterns, dead neurons and shifts of both networks."""
        diverged = [cell.key for cell in self.cells(settings) if results[cell].diverged]
        if diverged:
            gone = ", ".join(diverged)
            claims = [Claim(self.source, "Both networks can be compared.", f"Trainings diverged: {gone}.", None)]
            return Findings(claims, list, [])
        claims = [
            _gradients(settings, results),
            *_patterns(settings, results),
            _dead(settings, results),
            _shift(settings, results),
        ]
        remarks = [
            (
                f"Each network has the learning rate that fits it: {given(settings.factor)} / lambda_max of its kernel "
                f"at the start. Samples are those of {settings.config.data}, targets scaled to mean 0 and variance 1; "
                "diagnostics are measured on 256 of them. Layer 0 is fixed in both networks and its activations are "
                "those of a ReLU."
            )
        ]
        return Findings(claims, lambda: _plots(settings, results), [_table(settings, results)], remarks)


def _gradients(settings: Settings, results: Results) -> Claim:
    change = {m: _mean(settings, results, m, lambda d: d.gradient) for m in MODELS}
    ratios = [r / g for g, r in zip(change["grelu"], change["relu"], strict=True) if g and r is not None]
    ratio = geometric_mean(ratios)
    size = {m: _mean(settings, results, m, lambda d: d.gradient_norm) for m in MODELS}
    relative = {
        m: geometric_mean([c / s for c, s in zip(change[m][1:], size[m], strict=False) if c is not None and s])
        for m in MODELS
    }
    return Claim(
        "our reading of [G, Fig. 2b]",
        "The gradient of a GReLU network changes less from epoch to epoch than that of a ReLU network.",
        f"Over {len(ratios)} epochs ReLU's gradient changes {number(ratio)} times as much as GReLU's (geometric mean "
        f"of the ratio of means over {settings.seeds} seeds), and more in {sum(r > 1 for r in ratios)} of them. "
        f"Relative to its size the epoch before it changes by {relative['grelu']:.0%} (GReLU) and "
        f"{relative['relu']:.0%} (ReLU) in the geometric mean.",
        ratio > 1 and relative["relu"] > relative["grelu"],
    )


def _patterns(settings: Settings, results: Results) -> list[Claim]:
    relu = [v for v in _mean(settings, results, "relu", lambda d: d.trained_patterns) if v is not None]
    grelu = [v for v in _mean(settings, results, "grelu", lambda d: d.trained_patterns) if v is not None]
    early, late = relu[: max(1, len(relu) // 4)], relu[-max(1, len(relu) // 4) :]
    first, last = sum(early) / len(early), sum(late) / len(late)
    mean = sum(relu) / len(relu)
    return [
        Claim(
            "[G, Fig. 2c]",
            "In every epoch 20 to 25% of the activations of a ReLU network change.",
            f"Between {min(relu):.1%} and {max(relu):.1%}, on average {mean:.1%}, of the neurons of trained layers "
            f"switch for a sample in an epoch.",
            REPORTED[0] <= mean <= REPORTED[1],
        ),
        Claim(
            "[G, Fig. 2c]",
            "That share rises during training.",
            f"First quarter of the epochs {first:.1%}, last quarter {last:.1%}.",
            last > first,
        ),
        Claim(
            "[G, Sec. 2]",
            "The patterns of a GReLU network never change.",
            f"The largest share of an epoch is {number(max(grelu))}.",
            max(grelu) == 0,
        ),
    ]


def _dead(settings: Settings, results: Results) -> Claim:
    dead = {m: _mean(settings, results, m, lambda d: d.most_dead) for m in MODELS}
    grown = {m: (values[-1] or 0.0) - (values[0] or 0.0) for m, values in dead.items()}
    shown = ", ".join(f"{LABELS[m]} {dead[m][0] or 0:.2%} and {dead[m][-1] or 0:.2%}" for m in MODELS)
    return Claim(
        "[G, Remark 3]",
        "No neuron of a GReLU network dies in training; those of a ReLU network may.",
        f"Share of neurons that are off for every sample, in the worst layer, at the start and at the end: {shown}.",
        grown["grelu"] == 0,
    )


def _shift(settings: Settings, results: Results) -> Claim:
    shift = {m: _mean(settings, results, m, lambda d: d.largest_shift) for m in MODELS}
    last = {m: values[-1] or 0.0 for m, values in shift.items()}
    shown = ", ".join(f"{LABELS[m]} {number(shift[m][0] or 0.0)} and {number(last[m])}" for m in MODELS)
    return Claim(
        "[G, Remark 3]",
        f"The activations of a GReLU network have no mean shift: below {NO_SHIFT:.0%} of ReLU's.",
        f"Largest |mean activation| of a trained layer at the start and at the end: {shown}.",
        last["grelu"] <= NO_SHIFT * last["relu"],
    )


def _plots(settings: Settings, results: Results) -> list[Plot]:
    name = settings.config.data
    subtitle = f"{name}, width {settings.config.width:,}, depth {settings.config.depth}"
    figure, (gradient, patterns) = figures.panels(
        [("Change of the gradient", f"in an epoch; {subtitle}"), ("Activations that change", "in an epoch")],
        [("Epoch", "|g(t) - g(t-1)|"), ("Epoch", "share of trained layers")],
    )
    inside, (loss, dead, shift) = figures.panels(
        [
            ("Train loss", subtitle),
            ("Dead neurons", "worst layer"),
            ("Mean shift", "largest |mean activation| of a trained layer"),
        ],
        [("Epoch", "MSE / variance of the targets"), ("Epoch", "share"), ("Epoch", "|mean activation|")],
    )
    for model in MODELS:
        for axes, value in (
            (gradient, lambda d: d.gradient),
            (patterns, lambda d: d.trained_patterns),
            (dead, lambda d: d.most_dead),
            (shift, lambda d: d.largest_shift),
        ):
            _line(axes, _mean(settings, results, model, value), COLOURS[model], LABELS[model])
        for seed in range(settings.seeds):
            losses = results[Network(model, seed)].train
            loss.plot(losses, color=COLOURS[model], linewidth=1, label=LABELS[model] if seed == 0 else None)
    for axes in (gradient, loss, shift):
        figures.logarithmic(axes)
    for axes in (patterns, dead):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}%")
    for axes in (gradient, patterns, loss, dead, shift):
        figures.integers(axes)
    figures.legend(gradient)
    figures.legend(loss)
    text = f"by epoch, means over {settings.seeds} seeds."
    return [
        Plot("dynamics", f"Change of the loss gradient (2-norm) and of activation patterns {text}", figure),
        Plot("dynamics-inside", f"Train loss by seed; dead neurons and mean activations {text}", inside),
    ]


def _table(settings: Settings, results: Results) -> Table:
    rows: list[list[Any]] = []
    for model in MODELS:
        for seed in range(settings.seeds):
            r = results[Network(model, seed)]
            for epoch, (loss, d) in enumerate(zip(r.train, r.diagnostics, strict=True)):
                measured = [
                    d.gradient,
                    d.gradient_norm,
                    d.trained_patterns,
                    d.most_dead,
                    d.largest_shift,
                ]
                rows.append([LABELS[model], seed, epoch, loss, *measured])
    columns = ["network", "seed", "epoch", "train loss", "gradient change", "gradient", "pattern change"]
    columns += ["dead", "shift"]
    return Table("dynamics", "All epochs", columns, rows)


def _mean(
    settings: Settings, results: Results, model: str, value: Callable[[Measured], float | None]
) -> list[float | None]:
    """Means over seeds by epoch; None where there is no value."""
    runs = [results[Network(model, seed)].diagnostics for seed in range(settings.seeds)]
    means: list[float | None] = []
    for measured in zip(*runs, strict=True):
        values = [value(d) for d in measured]
        known = [v for v in values if v is not None]
        means.append(sum(known) / len(known) if len(known) == len(values) else None)
    return means


def _line(axes: Any, values: list[float | None], colour: str, label: str) -> None:
    known = [(epoch, v) for epoch, v in enumerate(values) if v is not None]
    axes.plot([epoch for epoch, _ in known], [v for _, v in known], color=colour, label=label)


EXPERIMENT = Dynamics()
