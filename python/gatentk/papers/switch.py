"""A GReLU network that becomes a ReLU network in mid-training: [G, Fig. 3b, 3c, Thm 2]."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from gatentk.papers import trainings
from gatentk.papers.augmentation import rand_augment
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.train import Config, Run

SUMMARY = "from GReLU to ReLU in the middle of training"
PLACE = 70

NAMES = {"switched": "GReLU, then ReLU", "grelu": "GReLU", "relu": "ReLU"}
COLOURS = {"switched": style.GREEN, "grelu": style.ORANGE, "relu": style.BLUE}
STYLES = {"switched": style.SOLID, "grelu": style.DASHED, "relu": style.DOTTED}
# How far the train loss may move at the switch, relative to itself.
CONTINUOUS = 1e-4


class Switch(Experiment):
    """Losses around the switch, for more neurons than samples and for fewer."""

    name = "switch"
    title = "A GReLU network turns into a ReLU network without a step in the train loss"
    source = "[G, Fig. 3b, 3c, Thm 2]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST, 1,500 train samples; CIFAR-10 with `full`, 10,000 of them so that n <= m holds, with RandAugment."""
        config: dict[str, Any] = {
            "data": "mnist",
            "n": 2500,
            "test_fraction": 0.4,
            "width": 2048,
            "depth": 3,
            "epochs": 20,
            "switch": 10,
        }
        narrow = [1024, 512, 256]
        augment = None
        if scale.full:
            config |= trainings.cifar10(scale) | {"n": 12_000, "test_fraction": 1 / 6}
            config |= {"width": 10_240, "epochs": 80, "switch": 40}
            narrow = [5120]
            augment = {"operations": 2, "magnitude": 9}
        found: Settings = {"config": config, "narrow": narrow, "augment": augment, "factor": 0.5, "seed": 0}
        split = trainings.samples(trainings.config(found))
        return found | {"train_samples": len(split.train)}

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each training."""
        width = settings["config"]["width"]
        runs = [(kind, width) for kind in NAMES] + [("switched", narrow) for narrow in settings["narrow"]]
        epochs = settings["config"]["epochs"]
        return [
            Cell(_key(k, m), trainings.seconds(self._config(settings, k, m), epochs), {"kind": k, "width": m})
            for k, m in runs
        ]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Of the training with the switch, and all of them."""
        widest = self._config(settings, "switched", settings["config"]["width"])
        return trainings.memory(widest), sum(cell.cost for cell in self.cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Losses by epoch, and what the conversion did."""
        config = self._config(settings, cell.arguments["kind"], cell.arguments["width"])
        begun = trainings.start(config, settings["seed"])
        rate = settings["factor"] / trainings.largest_eigenvalue(begun)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the fit is not exact is what the numbers show
            numbers = trainings.curve(Run(config, begun, rate, augment=self._augment(settings, config)), config.epochs)
        del numbers["diagnostics"]
        return numbers | {"rate": rate}

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """What the theorem says, and what the figures show."""
        claims = [
            self._continuity(settings, results),
            self._values(settings, results),
            self._drop(settings, results),
            self._after(settings, results),
            *self._too_many(settings, results),
        ]
        remarks = [
            (
                "The theorem is about the samples that the weights are fitted to; nothing holds the test loss at the "
                "switch. "
                "The fitted weights are those of least norm, and usually larger than before: the kernel's largest "
                "eigenvalue "
                "rises, and the learning rate is divided by as much."
            ),
            self._augmented(settings),
        ]
        return Findings(claims, self._plots(settings, results), self._tables(settings, results), remarks)

    def _continuity(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        switch = self._switch(settings, results)
        n, m = settings["train_samples"], settings["config"]["width"]
        statement = (
            "At any time a GReLU network can be turned into a ReLU network with the same outputs on the training "
            "set, so "
            "that the train loss is continuous."
        )
        if switch is None:
            return Claim("[G, Thm 2]", statement, "The training diverged before the switch.", None)
        step = _step(switch)
        return Claim(
            "[G, Thm 2]",
            statement,
            f"{n:,} samples, width {m:,}, after epoch {settings['config']['switch']}: train loss "
            f"{number(switch['train_loss_before'], 5)} before and {_text(switch['train_loss_after'], 5)} after, "
            f"{_text(step, 2)} relative.",
            step is not None and step <= CONTINUOUS if n <= m else None,
        )

    def _values(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        switch = self._switch(settings, results)
        statement = "The ReLU network has the same values in every layer: n <= m samples have inputs of rank n."
        if switch is None:
            return Claim("[G, Thm 2]", statement, "The training diverged before the switch.", None)
        layers, n = switch["report"]["layers"], settings["train_samples"]
        shown = ", ".join(f"layer {f['layer']}: rank {f['rank']:,}, {number(f['residual'], 2)}" for f in layers)
        return Claim(
            "[G, Thm 2]",
            statement,
            f"Rank of the inputs of {n:,} samples and relative error of the values: {shown}.",
            all(f["residual"] <= CONTINUOUS for f in layers) if n <= settings["config"]["width"] else None,
        )

    def _drop(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        switch = self._switch(settings, results)
        statement = "The test loss drops at the switch."
        if switch is None or switch["test_loss_after"] is None:
            return Claim("[G, Fig. 3c]", statement, "There is no test loss after the switch.", None)
        before, after = switch["test_loss_before"], switch["test_loss_after"]
        narrow = {m: results[_key("switched", m)]["switch"] for m in settings["narrow"]}
        others = "".join(
            f"; m = {m:,}: {number(found['test_loss_before'])} and {_text(found['test_loss_after'])}"
            for m, found in narrow.items()
            if found is not None
        )
        return Claim(
            "[G, Fig. 3c]",
            statement,
            f"Test loss at m = {settings['config']['width']:,}: {number(before)} before and {number(after)} after"
            f"{others}.",
            after < before,
        )

    def _after(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        ends = {kind: results[_key(kind, settings["config"]["width"])] for kind in NAMES}
        shown = ", ".join(
            f"{NAMES[kind]} "
            + ("diverged" if r["diverged"] else f"{number(r['train'][-1])} and {number(r['test'][-1])}")
            for kind, r in ends.items()
        )
        switch = self._switch(settings, results)
        falls = (
            switch is not None
            and not ends["switched"]["diverged"]
            and ends["switched"]["train"][-1] < switch["train_loss_before"]
        )
        return Claim(
            "[G, Fig. 3b]",
            "After the switch the train loss keeps falling.",
            f"Train and test loss after {settings['config']['epochs']} epochs: {shown}.",
            falls,
        )

    def _too_many(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
        n = settings["train_samples"]
        narrow = {m: results[_key("switched", m)]["switch"] for m in settings["narrow"] if m < n}
        found = {m: switch for m, switch in narrow.items() if switch is not None}
        if not found:
            return []
        shown = "; ".join(
            f"m = {m:,}: largest relative error of a layer {number(_residual(switch), 2)}, train loss "
            f"{number(switch['train_loss_before'])} before and {_text(switch['train_loss_after'])} after"
            for m, switch in found.items()
        )
        jumps = [(_step(switch), switch) for switch in found.values()]
        return [
            Claim(
                "[G, Thm 2]",
                "The condition n <= m is needed: with more samples than neurons the weights are a least squares "
                "fit, and "
                "the train loss jumps.",
                f"{n:,} samples. {shown}.",
                all(step is None or step > CONTINUOUS for step, _ in jumps),
            )
        ]

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        config, n = settings["config"], settings["train_samples"]
        label = ("Epoch", "Loss, half the squared error")
        figure, axes = figures.panels(
            [("Train loss", f"{n:,} samples, width {config['width']:,}"), ("Test loss", "the switch is dotted")],
            [label, label],
        )
        for axis, side in zip(axes, ("train", "test"), strict=True):
            for kind, name in NAMES.items():
                _line(
                    axis,
                    results[_key(kind, config["width"])],
                    side,
                    config["switch"],
                    COLOURS[kind],
                    STYLES[kind],
                    name,
                )
        shown = [(figure, axes)]
        widths = [config["width"], *settings["narrow"]]
        titles = [("Train loss", f"switched, {n:,} samples"), ("Test loss", "the switch is dotted")]
        narrow, sides = figures.panels(titles, [label, label])
        for axis, side in zip(sides, ("train", "test"), strict=True):
            for width, colour in zip(reversed(widths), trainings.shades(len(widths)), strict=True):
                run = results[_key("switched", width)]
                _line(axis, run, side, config["switch"], colour, style.SOLID, f"width {width:,}")
        shown.append((narrow, sides))
        for _, both in shown:
            for axis in both:
                figures.logarithmic(axis)
                axis.axvline(config["switch"], color=style.INK, linewidth=0.7, linestyle=style.DOTTED)
                figures.integers(axis)
            figures.legend(both[0])
        captions = [
            (
                f"Loss by epoch; the GReLU network becomes a ReLU network after epoch {config['switch']}. At the "
                "switch there "
                "are two values, before and after."
            ),
            "The same at smaller widths: with more samples than neurons the ReLU network cannot have the same values.",
        ]
        names = ("switch", "switch-widths")
        return [Plot(name, text, f) for name, text, (f, _) in zip(names, captions, shown, strict=True)]

    def _tables(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Table]:
        rows: list[list[Any]] = []
        layers: list[list[Any]] = []
        for width in (settings["config"]["width"], *settings["narrow"]):
            run = results[_key("switched", width)]
            switch = run["switch"]
            if switch is None:
                continue
            rows.append(
                [
                    width,
                    settings["train_samples"],
                    switch["train_loss_before"],
                    switch["train_loss_after"],
                    _step(switch),
                    switch["test_loss_before"],
                    switch["test_loss_after"],
                    run["rate"],
                    switch["rate"],
                ]
            )
            for fit in switch["report"]["layers"]:
                names = ("layer", "rank", "residual", "norm", "change", "method")
                layers.append([width, *(fit[name] for name in names)])
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

    def _augment(self, settings: Settings, config: Config) -> Callable[[], Tensor] | None:
        """Changed samples for every epoch, the same for all networks."""
        augment = settings["augment"]
        return None if augment is None else rand_augment(config, **augment, seed=settings["seed"])

    def _augmented(self, settings: Settings) -> str:
        augment = settings["augment"]
        if augment is None:
            return "Samples are not augmented; the paper trains on CIFAR-10 with RandAugment, as --full does."
        return (
            f"Every epoch learns from images changed by RandAugment, {augment['operations']} operations of magnitude "
            f"{augment['magnitude']} (the paper does not give these); gates are looked up for the changed images, and "
            "losses and the switch are of the images as they are."
        )

    def _switch(self, settings: Settings, results: Mapping[str, Numbers]) -> dict[str, Any] | None:
        found: dict[str, Any] | None = results[_key("switched", settings["config"]["width"])]["switch"]
        return found

    def _config(self, settings: Settings, kind: str, width: int) -> Config:
        changes: dict[str, Any] = {"width": width, "model": "relu" if kind == "relu" else "grelu"}
        if kind != "switched":
            changes["switch"] = None
        return trainings.config(settings, **changes)


def _key(kind: str, width: int) -> str:
    return f"{kind} width {width}"


def _step(switch: Mapping[str, Any]) -> float | None:
    """Of the train loss at the switch, relative to that before; None if it is not finite."""
    before, after = switch["train_loss_before"], switch["train_loss_after"]
    return None if after is None else abs(after - before) / before


def _residual(switch: Mapping[str, Any]) -> float:
    return max(float(fit["residual"]) for fit in switch["report"]["layers"])


def _text(value: float | None, digits: int = 3) -> str:
    return "not finite" if value is None else number(value, digits)


def _line(axis: Any, run: Numbers, side: str, epoch: int, colour: Any, dash: Any, label: str) -> None:
    """Losses by epoch, with the value after the switch at the epoch of the switch."""
    x, y = list(range(len(run[side]))), list(run[side])
    after = None if run["switch"] is None else run["switch"][f"{side}_loss_after"]
    if after is not None:
        x.insert(epoch + 1, epoch)
        y.insert(epoch + 1, after)
    axis.plot(x, y, color=colour, linestyle=dash, label=label)


EXPERIMENT = Switch()
