"""Which width gradient descent needs: [G, Fig. 2a, Thm 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatentk.activations import LABELS, MODELS
from gatentk.papers.frame import trainings
from gatentk.papers.frame.colours import shades
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number
from gatentk.train import Run, TrainingConfig

SUMMARY = "which widths train to zero loss: ReLU and GReLU"
PLACE = 40

STEPS = {"theorem": "step of the theorem", "kernel": "step 1/λmax(K)"}
# By which factor a wide network is done before the last step, as measured at n = 20.
SHORTENING = {"grelu": 10.0, "relu": 4.0}
LEVEL = {"theorem": "the step of Thm 1, d_x/(n⁴ L³ d_y)", "kernel": "the step 1/lambda_max of the kernel at the start"}


@dataclass(frozen=True)
class Training:
    """A part of the configuration of all trainings."""

    data: str
    n: int
    normalize: str
    depth: int
    optimizer: str


@dataclass(frozen=True)
class Settings:
    """Networks of several widths on the same samples.

    Attributes:
        config: of the trainings.
        features: of a sample, d_x.
        powers: p, for widths (n^2 L)^p.
        steps: of gradient descent, at most.
        zero: a loss of this share of that at the start counts as zero.
        seeds: of networks.
    """

    config: Training
    features: int
    powers: tuple[float, ...]
    steps: int
    zero: float
    seeds: int

    @property
    def widths(self) -> dict[str, int]:
        """Widths by name, in ascending order: (n^2 L)^p as "p = ...", and n L."""
        n, depth = self.config.n, self.config.depth
        powers = {f"p = {p:g}": max(2, round((n * n * depth) ** p)) for p in self.powers}
        return dict(sorted({**powers, "nL": n * depth}.items(), key=lambda item: item[1]))

    @property
    def theorem_step(self) -> float:
        """d_x / (n^4 L^3 d_y), for the sum of the losses; one output."""
        n, depth = self.config.n, self.config.depth
        return float(self.features / (n**4 * depth**3))

    def training(self, model: str, width: int) -> TrainingConfig:
        """The training of one network."""
        return trainings.config(self.config, model=model, width=width, epochs=self.steps)


@dataclass(frozen=True)
class Losses:
    """Relative to that at the start, by step, until they are zero or not finite.

    Attributes:
        stability: step times the largest eigenvalue of K / n at the start.
    """

    losses: list[float]
    diverged: bool
    stability: float

    def reach(self, zero: float) -> bool:
        """Whether the last is at most that."""
        return not self.diverged and self.losses[-1] <= zero


@dataclass(frozen=True)
class Descent(Cell[Settings, Losses]):
    """One network.

    Attributes:
        model, seed: of the network.
        width: its name.
        step: "theorem" or "kernel".
    """

    model: str
    width: str
    step: str
    seed: int

    KEY = "{model} {width} {step} seed {seed}"

    def cost(self, settings: Settings) -> float:
        """Seconds; wide networks are done before the last step."""
        config = settings.training(self.model, settings.widths[self.width])
        shortening = SHORTENING[self.model] if self.width in ("p = 1", "p = 0.9") else 1.0
        return trainings.seconds(config, settings.steps) / shortening

    def compute(self, settings: Settings) -> Losses:
        """Train until the loss is zero."""
        config = settings.training(self.model, settings.widths[self.width])
        begun = trainings.start(config, self.seed)
        largest = trainings.largest_eigenvalue(begun)
        # The theorem's step is for the sum of the losses of all samples, and training takes their mean.
        rate = settings.config.n * settings.theorem_step if self.step == "theorem" else 1 / largest
        curve, _ = trainings.curve(Run(config, begun, rate), settings.steps, settings.zero)
        return Losses([loss / curve.train[0] for loss in curve.train], curve.diverged, rate * largest)


class WidthLaw(Experiment[Settings]):
    """Loss by step of gradient descent at widths (n^2 L)^p and n L."""

    name = "width-law"
    title = "Width n²L is enough for gradient descent to fit n samples"
    source = "[G, Fig. 2a, Thm 1]"

    def settings(self, scale: Scale) -> Settings:
        """n = 20 samples in 40 dimensions; the published 100 in 200 with `full`."""
        n = 100 if scale.full else 20
        return Settings(
            config=Training(data="ackley", n=n, normalize="none", depth=4, optimizer="gd"),
            features=2 * n,
            powers=(0.4, 0.5, 0.7, 0.8, 0.9, 1.0),
            steps=150,
            zero=1e-4,
            seeds=5,
        )

    def cells(self, settings: Settings) -> Sequence[Descent]:
        """One for each width, network, step size and seed; narrow ones first."""
        return [
            Descent(model, width, step, seed)
            for width in settings.widths
            for step in STEPS
            for model in MODELS
            for seed in range(settings.seeds)
        ]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Memory of the widest network, and seconds if none stops early where it could."""
        widest = settings.training("grelu", max(settings.widths.values()))
        return trainings.memory(widest), sum(cell.cost(settings) for cell in self.cells(settings))

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Theorem and figure, for both networks and both step sizes."""
        claims = [_theorem(settings, results, step) for step in STEPS]
        claims += [_figure(settings, results, model, step) for model in MODELS for step in STEPS]
        claims.append(_step(settings, results))
        remarks = [
            (
                "The step of the theorem is the same for all widths, and the kernel grows with the square of the "
                "width, so that the step is short for narrow networks: the column η λmax says how short. With a step "
                "that fits each network the limit is another one: narrow networks have to change their weights so much "
                "that the step does not fit any more."
            )
        ]
        return Findings(claims, lambda: _plots(settings, results), [_table(settings, results)], remarks)


def _theorem(settings: Settings, results: Results, step: str) -> Claim:
    runs = _runs(settings, results, "grelu", "p = 1", step)
    reached = [run for run in runs if run.reach(settings.zero)]
    most = max((len(run.losses) - 1 for run in reached), default=0)
    return Claim(
        "[G, Thm 1]",
        f"At width n²L gradient descent with {LEVEL[step]} brings the loss of a GReLU network to zero.",
        f"Width {settings.widths['p = 1']:,}: {len(reached)} of {len(runs)} seeds reach {given(settings.zero)} of the "
        "loss at the start" + (f", in at most {most} steps." if reached else "."),
        len(reached) == len(runs),
    )


def _figure(settings: Settings, results: Results, model: str, step: str) -> Claim:
    counts = {
        name: sum(run.reach(settings.zero) for run in _runs(settings, results, model, name, step))
        for name in settings.widths
    }
    wide = counts.pop("p = 1")
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    return Claim(
        "[G, Fig. 2a]",
        f"{LABELS[model]}, {LEVEL[step]}: every seed reaches zero at p = 1, and at smaller widths not even the best "
        "does.",
        f"Seeds of {settings.seeds} that reach {given(settings.zero)} of the start within {settings.steps} steps: "
        f"{wide} at p = 1; below: {shown}.",
        wide == settings.seeds and not any(counts.values()),
    )


def _step(settings: Settings, results: Results) -> Claim:
    by_model = {m: _runs(settings, results, m, "p = 1", "theorem") for m in MODELS}
    spans = {
        m: f"{number(min(r.stability for r in runs))} to {number(max(r.stability for r in runs))}"
        for m, runs in by_model.items()
    }
    peaks = {m: max(max(r.losses) for r in runs) for m, runs in by_model.items()}
    return Claim(
        "our reading of [G, Thm 1]",
        "The theorem's step holds up to a constant. With that taken as 1 it is within the limit 2/lambda_max beyond "
        "which a network with a constant kernel diverges.",
        f"Step times lambda_max at p = 1: GReLU {spans['grelu']}, ReLU {spans['relu']}; the loss rises to at most "
        f"{number(peaks['grelu'])} and {number(peaks['relu'])} times that at the start.",
        all(r.stability < 2 for r in by_model["grelu"]),
    )


def _plots(settings: Settings, results: Results) -> list[Plot]:
    shown = []
    widths = settings.widths
    colours = dict(zip(widths, shades(len(widths)), strict=True))
    for step, title in STEPS.items():
        figure, axes = figures.panels(
            [(f"{LABELS[m]}, {title}", "p = 1: worst seed; narrower: best seed") for m in MODELS],
            [("Step", "Loss / loss at the start")] * len(MODELS),
        )
        for panel, model in zip(axes, MODELS, strict=True):
            for name, width in widths.items():
                chosen = _shown(settings, _runs(settings, results, model, name, step), name == "p = 1")
                panel.plot(
                    range(len(chosen.losses)),
                    [min(loss, 1e3) for loss in chosen.losses],
                    color=colours[name],
                    linestyle=style.DASHED if name == "nL" else style.SOLID,
                    linewidth=2.2 if name == "p = 1" else 1.4,
                    label=f"{width:,} ({name})",
                )
                if chosen.diverged:
                    last = min(chosen.losses[-1], 1e3)
                    panel.plot(len(chosen.losses) - 1, last, "x", color=colours[name], markersize=6)
            figures.logarithmic(panel)
            panel.set_ylim(settings.zero / 2, 300)
            panel.set_xlim(0, settings.steps)
        figures.legend(axes[0], title="Width", title_fontsize=7.5, loc="upper right", ncols=2)
        caption = (
            f"Loss of {settings.config.n} samples by step of gradient descent, {LEVEL[step]}: the worst of "
            f"{settings.seeds} seeds at p = 1, the best at smaller widths, as in the paper. A line that leaves through "
            "the top, or ends in a cross, diverges."
        )
        shown.append(Plot(f"width-law-{step}", caption, figure))
    return shown


def _table(settings: Settings, results: Results) -> Table:
    columns = ["network", "step", "width", "power", "reach zero", "most steps", "best loss", "worst loss", "η λmax"]
    rows: list[list[Any]] = []
    for step in STEPS:
        for model in MODELS:
            for name, width in settings.widths.items():
                runs = _runs(settings, results, model, name, step)
                zero = [run for run in runs if run.reach(settings.zero)]
                ends = [run.losses[-1] for run in runs if not run.diverged]
                rows.append(
                    [
                        LABELS[model],
                        STEPS[step],
                        width,
                        name,
                        len(zero),
                        max((len(run.losses) - 1 for run in zero), default=None),
                        min(ends, default=None),
                        max(ends) if len(ends) == len(runs) else None,
                        sum(run.stability for run in runs) / len(runs),
                    ]
                )
    title = f"Of {settings.seeds} seeds; losses relative to the start, none where a seed diverged"
    return Table("width-law", title, columns, rows)


def _runs(settings: Settings, results: Results, model: str, name: str, step: str) -> list[Losses]:
    return [results[Descent(model, name, step, seed)] for seed in range(settings.seeds)]


def _shown(settings: Settings, runs: list[Losses], worst: bool) -> Losses:
    """The run with the largest loss at the end, or the smallest; of those that reach zero, by their steps."""

    def order(run: Losses) -> tuple[bool, float, int]:
        zero = run.reach(settings.zero)
        return run.diverged, 0.0 if zero else run.losses[-1], len(run.losses)

    return max(runs, key=order) if worst else min(runs, key=order)


EXPERIMENT = WidthLaw()
