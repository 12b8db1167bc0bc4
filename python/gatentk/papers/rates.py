"""Losses of GReLU and ReLU networks by learning rate, width and depth: [G, Fig. 4, 5]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.trainings import COLOURS, NAMES
from gatentk.reporting import figures
from gatentk.reporting.text import number
from gatentk.train import Config, Run

SUMMARY = "losses by learning rate, width and depth"
PLACE = 80


class Rates(Experiment):
    """Train loss after the same number of epochs, for both networks at the same learning rates."""

    name = "rates"
    title = "GReLU against ReLU by learning rate, width and depth"
    source = "[G, Fig. 4, 5]"

    def settings(self, scale: Scale) -> Settings:
        """Friedman's regression in the place of SGEMM; that, width 4096 and depth 10, with `full`."""
        config: dict[str, Any] = {
            "data": "friedman",
            "n": 1000,
            "normalize": "standard",
            "width": 256,
            "depth": 4,
            "epochs": 15,
        }
        widths, depths = [64, 128, 256, 512], [1, 2, 4, 8]
        if scale.full:
            path = trainings.file(scale, "sgemm")
            config |= {"data": "sgemm", "path": path, "n": None, "width": 4096, "depth": 10, "epochs": 50}
            widths, depths = [1024, 2048, 4096], [2, 5, 10]
        found: Settings = {
            "config": config,
            "widths": widths,
            "depths": depths,
            # Learning rates in units of 1 / lambda_max of the GReLU network's kernel at the start.
            "factors": [0.1, 0.3, 1.0, 3.0, 10.0],
            "seeds": 2,
        }
        trainings.samples(trainings.config(found))
        return found

    def shapes(self, settings: Settings) -> list[tuple[int, int]]:
        """Widths at the one depth, then depths at the one width."""
        width, depth = settings["config"]["width"], settings["config"]["depth"]
        every = [(m, depth) for m in settings["widths"]] + [(width, L) for L in settings["depths"]]
        return list(dict.fromkeys([*every, (width, depth)]))

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each shape, network and seed: all learning rates."""
        found = []
        for width, depth in self.shapes(settings):
            for model in NAMES:
                config = self._config(settings, model, width, depth)
                cost = trainings.seconds(config, config.epochs * len(settings["factors"]))
                for seed in range(settings["seeds"]):
                    arguments = {"model": model, "width": width, "depth": depth, "seed": seed}
                    found.append(Cell(_key(model, width, depth, seed), cost, arguments))
        return found

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Of the largest network, and all of them."""
        memory = max(trainings.memory(self._config(settings, "grelu", m, L)) for m, L in self.shapes(settings))
        return memory, sum(cell.cost for cell in self.cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Learning rates and losses by epoch for each."""
        a = cell.arguments
        grelu, config = (self._config(settings, m, a["width"], a["depth"]) for m in ("grelu", a["model"]))
        largest = trainings.largest_eigenvalue(trainings.start(grelu, a["seed"]))
        spread = trainings.target_spread(config)
        runs = []
        for factor in settings["factors"]:
            rate = factor / largest
            begun = trainings.start(config, a["seed"], spread)
            numbers = trainings.unexplained(trainings.curve(Run(config, begun, rate), config.epochs), spread)
            runs.append({"rate": rate, "train": numbers["train"], "diverged": numbers["diverged"]})
        return {"runs": runs}

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Comparison at each learning rate, and with the best by width and depth."""
        claims = [
            self._by_rate(settings, results),
            self._by_shape(settings, results, "width"),
            self._by_shape(settings, results, "depth"),
        ]
        remarks = [
            (
                "Learning rates are in units of 1 / lambda_max of the GReLU network's kernel at the start, and the "
                "same for "
                "the ReLU network of that shape and seed: one rate for all widths would be too short for narrow "
                "networks or "
                "too long for wide ones."
            )
        ]
        return Findings(claims, self._plots(settings, results), [self._table(settings, results)], remarks)

    def losses(
        self, settings: Settings, results: Mapping[str, Numbers], model: str, width: int, depth: int
    ) -> list[float]:
        """By factor: geometric mean over seeds of the last train loss; infinite where one diverged."""
        runs = [results[_key(model, width, depth, seed)]["runs"] for seed in range(settings["seeds"])]
        return [trainings.geometric_mean([trainings.final(run) for run in same]) for same in zip(*runs, strict=True)]

    def _by_rate(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        wins, known, ties = 0, 0, []
        for width, depth in self.shapes(settings):
            grelu, relu = (self.losses(settings, results, m, width, depth) for m in ("grelu", "relu"))
            for factor, g, r in zip(settings["factors"], grelu, relu, strict=True):
                if math.isfinite(g) or math.isfinite(r):
                    known, wins = known + 1, wins + (g < r)
                    if (width, depth) == self._base(settings):
                        ties.append(f"{factor:g}: {_text(g)} and {_text(r)}")
        width, depth = self._base(settings)
        return Claim(
            "our reading of [G, Fig. 4]",
            "At the same learning rate a GReLU network reaches a smaller train loss than a ReLU network.",
            f"So in {wins} of {known} pairs of a shape and a rate. Width {width:,}, depth {depth}, GReLU and ReLU by "
            f"rate: {', '.join(ties)}.",
            wins > known / 2 if known else None,
        )

    def _by_shape(self, settings: Settings, results: Mapping[str, Numbers], what: str) -> Claim:
        shown, wins = [], 0
        sizes = settings[f"{what}s"]
        for size in sizes:
            g, r = (
                min(self.losses(settings, results, m, *self._shape(settings, what, size))) for m in ("grelu", "relu")
            )
            wins += g < r
            shown.append(f"{what} {size:,}: {_text(g)} and {_text(r)}")
        return Claim(
            "our reading of [G, Fig. 4, 5]",
            f"With the best learning rate for each the GReLU network is ahead at every {what}.",
            f"Train loss after {settings['config']['epochs']} epochs, GReLU and ReLU: {', '.join(shown)}.",
            wins == len(sizes),
        )

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        from matplotlib.ticker import NullLocator

        width, depth = self._base(settings)
        figure, (rate, wide, deep) = figures.panels(
            [
                ("By learning rate", f"width {width:,}, depth {depth}"),
                ("By width", f"depth {depth}, best learning rate"),
                ("By depth", f"width {width:,}, best learning rate"),
            ],
            [
                ("Learning rate × λmax(K), K of GReLU", f"Train loss after {settings['config']['epochs']} epochs"),
                ("Width", "Train loss"),
                ("Depth", "Train loss"),
            ],
        )
        curves, axes = figures.panels(
            [(NAMES[m], f"width {width:,}, depth {depth}, seed 0") for m in NAMES],
            [("Epoch", "Train loss")] * len(NAMES),
        )
        for model, label in NAMES.items():
            options: dict[str, Any] = {"color": COLOURS[model], "marker": "o", "markersize": 3, "label": label}
            ends = zip(settings["factors"], self.losses(settings, results, model, width, depth), strict=True)
            _points(rate, list(ends), options)
            for axis, what in ((wide, "width"), (deep, "depth")):
                best = [
                    (size, min(self.losses(settings, results, model, *self._shape(settings, what, size))))
                    for size in settings[f"{what}s"]
                ]
                _points(axis, best, options)
        for panel, model in zip(axes, NAMES, strict=True):
            runs = results[_key(model, width, depth, 0)]["runs"]
            shades = trainings.shades(len(runs))
            for run, factor, colour in zip(runs, settings["factors"], shades, strict=True):
                losses = [min(loss, 1e3) for loss in run["train"]]
                panel.plot(losses, color=colour, label=f"{factor:g} / λmax")
                if run["diverged"]:
                    panel.plot(len(losses) - 1, losses[-1], "x", color=colour)
            figures.logarithmic(panel)
            figures.integers(panel)
        top = 2 * max(r["runs"][0]["train"][0] for r in results.values())
        for panel in axes:
            low = min(loss for m in NAMES for run in results[_key(m, width, depth, 0)]["runs"] for loss in run["train"])
            panel.set_ylim(low / 1.5, top)
        for axis in (rate, wide):
            axis.set_xscale("log")
        for axis in (rate, wide, deep):
            figures.logarithmic(axis)
        for axis, ticks in ((rate, settings["factors"]), (wide, settings["widths"]), (deep, settings["depths"])):
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.xaxis.set_minor_locator(NullLocator())
        figures.legend(rate)
        figures.legend(axes[0])
        caption = (
            f"Train loss (mean squared error / variance of the targets) on {settings['config']['data']}, "
            "geometric means over "
            f"{settings['seeds']} seeds. Where a point is missing a training diverged or ended above its start."
        )
        text = (
            "Train loss (mean squared error / variance of the targets) by epoch for each learning rate, in units of "
            "1 / λmax; a cross marks one that diverged."
        )
        return [Plot("rates", caption, figure), Plot("rates-epochs", text, curves)]

    def _table(self, settings: Settings, results: Mapping[str, Numbers]) -> Table:
        rows: list[list[Any]] = []
        for cell in self.cells(settings):
            a = cell.arguments
            for factor, run in zip(settings["factors"], results[cell.key]["runs"], strict=True):
                end = None if run["diverged"] else run["train"][-1]
                rows.append([NAMES[a["model"]], a["width"], a["depth"], a["seed"], factor, run["rate"], end])
        columns = ["network", "width", "depth", "seed", "rate × λmax", "rate", "train loss"]
        return Table("rates", "All trainings; no loss where one diverged", columns, rows)

    def _base(self, settings: Settings) -> tuple[int, int]:
        return settings["config"]["width"], settings["config"]["depth"]

    def _shape(self, settings: Settings, what: str, size: int) -> tuple[int, int]:
        width, depth = self._base(settings)
        return (size, depth) if what == "width" else (width, size)

    def _config(self, settings: Settings, model: str, width: int, depth: int) -> Config:
        return trainings.config(settings, model=model, width=width, depth=depth)


def _key(model: str, width: int, depth: int, seed: int) -> str:
    return f"{model} width {width} depth {depth} seed {seed}"


def _text(loss: float) -> str:
    return number(loss) if math.isfinite(loss) else "diverged"


def _points(axis: Any, points: Sequence[tuple[float, float]], options: Mapping[str, Any]) -> None:
    known = [(x, y) for x, y in points if math.isfinite(y)]
    axis.plot([x for x, _ in known], [y for _, y in known], **options)


EXPERIMENT = Rates()
