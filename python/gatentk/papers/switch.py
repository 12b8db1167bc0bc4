"""A GReLU network that becomes a ReLU network in mid-training: [G, Fig. 3b, 3c, Thm 2]."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from gatentk.activations import LABELS, MODELS
from gatentk.papers.augmentation import rand_augment
from gatentk.papers.frame import datasets, trainings
from gatentk.papers.frame.colours import COLOURS as MODEL_COLOURS
from gatentk.papers.frame.colours import shades
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.runs.plain import ABSENT, Absent
from gatentk.train import Run, TrainingConfig

SUMMARY = "from GReLU to ReLU in the middle of training"
PLACE = 70

NAMES = {"switched": "GReLU, then ReLU", **{model: LABELS[model] for model in MODELS}}
COLOURS = {"switched": style.GREEN, **MODEL_COLOURS}
STYLES = {"switched": style.SOLID, "grelu": style.DASHED, "relu": style.DOTTED}
# How far the train loss may move at the switch, relative to itself.
CONTINUOUS = 1e-4


@dataclass(frozen=True)
class Training:
    """A part of the configuration of all trainings; the path is set for published images."""

    data: str
    n: int
    test_fraction: float
    width: int
    depth: int
    epochs: int
    switch: int
    path: UserFile | Absent | None = ABSENT


@dataclass(frozen=True)
class Augmentation:
    """What `rand_augment` does to images."""

    operations: int
    magnitude: int


@dataclass(frozen=True)
class Settings:
    """Networks with and without the switch.

    Attributes:
        config: of the training that switches.
        narrow: widths of others that switch.
        augment: how samples are changed in training.
        factor: of the learning rate, times 1 / lambda_max of each network's kernel at the start.
        seed: of the networks.
        train_samples: how many there are.
    """

    config: Training
    narrow: tuple[int, ...]
    augment: Augmentation | None
    factor: float
    seed: int
    train_samples: int

    def training(self, kind: str, width: int) -> TrainingConfig:
        """The training of one network."""
        changes = {} if kind == "switched" else {"switch": None}
        return trainings.config(self.config, width=width, model="relu" if kind == "relu" else "grelu", **changes)


@dataclass(frozen=True)
class Losses(trainings.Curve):
    """Losses by epoch, what the conversion did, and the learning rate at the start."""

    rate: float


@dataclass(frozen=True)
class Network(Cell[Settings, Losses]):
    """One training: of a network that switches, or of one that stays what it is."""

    kind: str
    width: int

    KEY = "{kind} width {width}"

    def cost(self, settings: Settings) -> float:
        """Seconds."""
        return trainings.seconds(settings.training(self.kind, self.width), settings.config.epochs)

    def compute(self, settings: Settings) -> Losses:
        """Train; every epoch learns from samples that are changed in the same way for all networks."""
        config, augment = settings.training(self.kind, self.width), settings.augment
        begun = trainings.start(config, settings.seed)
        rate = settings.factor / trainings.largest_eigenvalue(begun)
        changed: Callable[[], Tensor] | None = None
        if augment is not None:
            changed = rand_augment(config, augment.operations, augment.magnitude, settings.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the fit is not exact is what the numbers show
            curve, _ = trainings.curve(Run(config, begun, rate, augment=changed), config.epochs)
        return Losses(**vars(curve), rate=rate)


class Switch(Experiment[Settings]):
    """Losses around the switch, for more neurons than samples and for fewer."""

    name = "switch"
    title = "A GReLU network turns into a ReLU network without a step in the train loss"
    source = "[G, Fig. 3b, 3c, Thm 2]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST, 1,500 train samples; CIFAR-10 with `full`, 10,000 of them so that n <= m holds, with RandAugment."""
        config = Training("mnist", n=2500, test_fraction=0.4, width=2048, depth=3, epochs=20, switch=10)
        narrow: tuple[int, ...] = (1024, 512, 256)
        augment = None
        if scale.full:
            name = datasets.cifar10(scale)
            config = replace(config, data=name, path=datasets.file(scale, name), n=12_000, test_fraction=1 / 6)
            config = replace(config, width=10_240, epochs=80, switch=40)
            narrow = (5120,)
            augment = Augmentation(operations=2, magnitude=9)
        samples = trainings.samples(trainings.config(config))
        return Settings(config, narrow, augment, factor=0.5, seed=0, train_samples=len(samples.train))

    def cells(self, settings: Settings) -> Sequence[Network]:
        """One for each training."""
        widest = [Network(kind, settings.config.width) for kind in NAMES]
        return [*widest, *(Network("switched", width) for width in settings.narrow)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Memory of the training with the switch, and seconds of all trainings."""
        seconds = sum(cell.cost(settings) for cell in self.cells(settings))
        return trainings.memory(settings.training("switched", settings.config.width)), seconds

    def findings(self, settings: Settings, results: Results) -> Findings:
        """What the theorem says, and what the figures show."""
        claims = [
            _continuity(settings, results),
            _values(settings, results),
            _drop(settings, results),
            _after(settings, results),
            *_too_many(settings, results),
        ]
        remarks = [
            (
                "The theorem is about the samples that the weights are fitted to; nothing holds the test loss at the "
                "switch. The fitted weights are those of least norm, and usually larger than before: the kernel's "
                "largest eigenvalue rises, and the learning rate is divided by as much."
            ),
            _augmented(settings),
        ]
        return Findings(claims, lambda: _plots(settings, results), _tables(settings, results), remarks)


def _continuity(settings: Settings, results: Results) -> Claim:
    switch = _switch(settings, results)
    n, m = settings.train_samples, settings.config.width
    statement = (
        "At any time a GReLU network can be turned into a ReLU network with the same outputs on the training set, so "
        "that the train loss is continuous."
    )
    if switch is None:
        return Claim("[G, Thm 2]", statement, "The training diverged before the switch.", None)
    step = _step(switch)
    return Claim(
        "[G, Thm 2]",
        statement,
        f"{n:,} samples, width {m:,}, after epoch {settings.config.switch}: train loss "
        f"{number(switch.train_loss_before, 5)} before and {_text(switch.train_loss_after, 5)} after, {_text(step, 2)} "
        "relative.",
        step is not None and step <= CONTINUOUS if n <= m else None,
    )


def _values(settings: Settings, results: Results) -> Claim:
    switch = _switch(settings, results)
    statement = "The ReLU network has the same values in every layer: n <= m samples have inputs of rank n."
    if switch is None:
        return Claim("[G, Thm 2]", statement, "The training diverged before the switch.", None)
    layers, n = switch.report.layers, settings.train_samples
    shown = ", ".join(f"layer {f.layer}: rank {f.rank:,}, {number(f.residual, 2)}" for f in layers)
    return Claim(
        "[G, Thm 2]",
        statement,
        f"Rank of the inputs of {n:,} samples and relative error of the values: {shown}.",
        all(f.residual <= CONTINUOUS for f in layers) if n <= settings.config.width else None,
    )


def _drop(settings: Settings, results: Results) -> Claim:
    switch = _switch(settings, results)
    statement = "The test loss drops at the switch."
    before, after = (None, None) if switch is None else (switch.test_loss_before, switch.test_loss_after)
    if before is None or after is None:
        return Claim("[G, Fig. 3c]", statement, "There is no test loss after the switch.", None)
    narrow = {m: results[Network("switched", m)].switch for m in settings.narrow}
    others = "".join(
        f"; m = {m:,}: {_text(switch.test_loss_before)} and {_text(switch.test_loss_after)}"
        for m, switch in narrow.items()
        if switch is not None
    )
    return Claim(
        "[G, Fig. 3c]",
        statement,
        f"Test loss at m = {settings.config.width:,}: {number(before)} before and {number(after)} after{others}.",
        after < before,
    )


def _after(settings: Settings, results: Results) -> Claim:
    ends = {kind: results[Network(kind, settings.config.width)] for kind in NAMES}
    shown = ", ".join(
        f"{NAMES[kind]} " + ("diverged" if r.diverged else f"{number(r.train[-1])} and {number(r.test[-1])}")
        for kind, r in ends.items()
    )
    switch = _switch(settings, results)
    falls = (
        switch is not None and not ends["switched"].diverged and ends["switched"].train[-1] < switch.train_loss_before
    )
    return Claim(
        "[G, Fig. 3b]",
        "After the switch the train loss keeps falling.",
        f"Train and test loss after {settings.config.epochs} epochs: {shown}.",
        falls,
    )


def _too_many(settings: Settings, results: Results) -> list[Claim]:
    n = settings.train_samples
    narrow = {m: results[Network("switched", m)].switch for m in settings.narrow if m < n}
    made = {m: switch for m, switch in narrow.items() if switch is not None}
    if not made:
        return []
    shown = "; ".join(
        f"m = {m:,}: largest relative error of a layer {number(_residual(switch), 2)}, train loss "
        f"{number(switch.train_loss_before)} before and {_text(switch.train_loss_after)} after"
        for m, switch in made.items()
    )
    jumps = [_step(switch) for switch in made.values()]
    return [
        Claim(
            "[G, Thm 2]",
            "The condition n <= m is needed: with more samples than neurons the weights are a least squares fit, and "
            "the train loss jumps.",
            f"{n:,} samples. {shown}.",
            all(step is None or step > CONTINUOUS for step in jumps),
        )
    ]


def _plots(settings: Settings, results: Results) -> list[Plot]:
    config, n = settings.config, settings.train_samples
    label = ("Epoch", "Loss, half the squared error")
    figure, axes = figures.panels(
        [("Train loss", f"{n:,} samples, width {config.width:,}"), ("Test loss", "the switch is dotted")],
        [label, label],
    )
    for axis, side in zip(axes, ("train", "test"), strict=True):
        for kind, name in NAMES.items():
            _line(
                axis,
                results[Network(kind, config.width)],
                side,
                config.switch,
                COLOURS[kind],
                STYLES[kind],
                name,
            )
    shown = [(figure, axes)]
    widths = [config.width, *settings.narrow]
    titles = [("Train loss", f"switched, {n:,} samples"), ("Test loss", "the switch is dotted")]
    narrow, sides = figures.panels(titles, [label, label])
    for axis, side in zip(sides, ("train", "test"), strict=True):
        for width, colour in zip(reversed(widths), shades(len(widths)), strict=True):
            run = results[Network("switched", width)]
            _line(axis, run, side, config.switch, colour, style.SOLID, f"width {width:,}")
    shown.append((narrow, sides))
    for _, both in shown:
        for axis in both:
            figures.logarithmic(axis)
            axis.axvline(config.switch, color=style.INK, linewidth=0.7, linestyle=style.DOTTED)
            figures.integers(axis)
        figures.legend(both[0])
    captions = [
        (
            f"Loss by epoch; the GReLU network becomes a ReLU network after epoch {config.switch}. At the switch there "
            "are two values, before and after."
        ),
        "The same at smaller widths: with more samples than neurons the ReLU network cannot have the same values.",
    ]
    names = ("switch", "switch-widths")
    return [Plot(name, text, f) for name, text, (f, _) in zip(names, captions, shown, strict=True)]


def _tables(settings: Settings, results: Results) -> list[Table]:
    rows: list[list[Any]] = []
    layers: list[list[Any]] = []
    for width in (settings.config.width, *settings.narrow):
        run = results[Network("switched", width)]
        switch = run.switch
        if switch is None:
            continue
        rows.append(
            [
                width,
                settings.train_samples,
                switch.train_loss_before,
                switch.train_loss_after,
                _step(switch),
                switch.test_loss_before,
                switch.test_loss_after,
                run.rate,
                switch.rate,
            ]
        )
        for fit in switch.report.layers:
            layers.append([width, fit.layer, fit.rank, fit.residual, fit.norm, fit.change, fit.method])
    columns = ["width", "samples", "train before", "train after", "relative step", "test before", "test after"]
    return [
        Table("switch", "Losses at the switch", [*columns, "rate before", "rate after"], rows),
        Table(
            "switch-layers",
            "Conversion by layer: Frobenius norms of the new weight and of its difference from the old one",
            ["width", "layer", "rank", "residual", "norm", "change", "method"],
            layers,
        ),
    ]


def _augmented(settings: Settings) -> str:
    augment = settings.augment
    if augment is None:  # the words stand on a page, whose readers have the command
        return "Samples are not augmented; the paper trains on CIFAR-10 with RandAugment, as --full does."
    return (
        f"Every epoch learns from images changed by RandAugment, {augment.operations} operations of magnitude "
        f"{augment.magnitude} (the paper does not give these); gates are looked up for the changed images, and losses "
        "and the switch are of the images as they are."
    )


def _switch(settings: Settings, results: Results) -> trainings.Switch | None:
    return results[Network("switched", settings.config.width)].switch


def _step(switch: trainings.Switch) -> float | None:
    """The step of the train loss at the switch, relative to the loss before; None if it is not finite."""
    before, after = switch.train_loss_before, switch.train_loss_after
    return None if after is None else abs(after - before) / before


def _residual(switch: trainings.Switch) -> float:
    return max(float(fit.residual) for fit in switch.report.layers)


def _text(value: float | None, digits: int = 3) -> str:
    return "not finite" if value is None else number(value, digits)


def _line(axis: Any, run: Losses, side: str, epoch: int, colour: Any, dash: Any, label: str) -> None:
    """Losses by epoch, with the value after the switch at the epoch of the switch."""
    losses = run.train if side == "train" else run.test
    x, y = list(range(len(losses))), list(losses)
    after = None
    if run.switch is not None:
        after = run.switch.train_loss_after if side == "train" else run.switch.test_loss_after
    if after is not None:
        x.insert(epoch + 1, epoch)
        y.insert(epoch + 1, after)
    axis.plot(x, y, color=colour, linestyle=dash, label=label)


EXPERIMENT = Switch()
