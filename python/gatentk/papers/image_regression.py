"""Fit of one-hot labels of images by ReLU and GReLU networks: [G, Table 2, Fig. 3a]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.trainings import COLOURS, NAMES
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.train import Config, Run

SUMMARY = "train error of ReLU and GReLU by depth and width"
PLACE = 60

# Table 2, CIFAR-10: (depth, width) and train MSE of ReLU and GReLU.
PUBLISHED = {(6, 10_000): (0.48, 0.02), (7, 10_000): (0.27, 0.01), (4, 15_000): (0.75, 0.03)}
# The learning rate of the table, for the mean of a mini-batch.
RATE = 1e-4


class ImageRegression(Experiment):
    """Train MSE, the mean over samples of |y - label|^2, for pairs of depth and width."""

    name = "image-regression"
    title = "Fitting images: train error of GReLU and ReLU networks by depth and width"
    source = "[G, Table 2, Fig. 3a]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST and widths 384 and 576; CIFAR-10, 10,000 and 15,000 with `full`."""
        config: dict[str, Any] = {"data": "mnist", "n": 5000, "epochs": 10}
        shapes = [[6, 384], [7, 384], [4, 576]]
        if scale.full:
            config = trainings.cifar10(scale) | {"n": None, "epochs": 50}
            shapes = [list(shape) for shape in PUBLISHED]
        # Factors of 1 / lambda_max of each network's kernel at the start, beside the published learning rate.
        found: Settings = {"config": config, "shapes": shapes, "factors": [3.0, 6.0, 10.0, 20.0], "seed": 0}
        trainings.samples(trainings.config(found))
        return found

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each shape, network and learning rate."""
        found = []
        for depth, width in settings["shapes"]:
            for model in NAMES:
                config = self._config(settings, model, depth, width)
                for factor in (None, *settings["factors"]):
                    arguments = {"model": model, "depth": depth, "width": width, "factor": factor}
                    key = _key(model, depth, width, factor)
                    found.append(Cell(key, trainings.seconds(config, config.epochs), arguments))
        return found

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Of the largest network, and all of them."""
        memory = max(trainings.memory(self._config(settings, "grelu", *shape)) for shape in settings["shapes"])
        return memory, sum(cell.cost for cell in self.cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Train MSE by epoch."""
        a = cell.arguments
        config = self._config(settings, a["model"], a["depth"], a["width"])
        begun = trainings.start(config, settings["seed"])
        largest = trainings.largest_eigenvalue(begun)
        rate = RATE if a["factor"] is None else a["factor"] / largest
        numbers = trainings.curve(Run(config, begun, rate), config.epochs)
        # The loss is half the squared error.
        return {
            "train": [2 * loss for loss in numbers["train"]],
            "diverged": numbers["diverged"],
            "rate": rate,
            "stability": rate * largest,
        }

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """The table with the published rate, and with the best."""
        claims = [self._claim(settings, results, best) for best in (False, True)]
        claims.append(self._depth(settings, results))
        remarks = [
            (
                "MSE is the mean over samples of the sum of squared errors of the outputs. A kernel grows with depth "
                "and the "
                "square of the width, so the same learning rate is a long step for the published widths and a short "
                "one for "
                "narrow networks: the column rate × λmax says how long (gradient descent needs less than 2)."
            )
        ]
        ends = [
            f"{NAMES[model]} depth {depth} width {width:,}"
            for depth, width in settings["shapes"]
            for model in NAMES
            if self.at_end(settings, results, model, depth, width)
        ]
        if ends:
            remarks.append(f"The best learning rate is at an end of the grid for {', '.join(ends)}.")
        return Findings(claims, self._plots(settings, results), self._tables(settings, results), remarks)

    def at_end(self, settings: Settings, results: Mapping[str, Numbers], model: str, depth: int, width: int) -> bool:
        """Whether another learning rate, shorter or longer than all of the grid, could be better than the best."""
        best = self.best(settings, results, model, depth, width)
        ends = (settings["factors"][0], settings["factors"][-1])
        return any(best is results[_key(model, depth, width, factor)] for factor in ends)

    def best(self, settings: Settings, results: Mapping[str, Numbers], model: str, depth: int, width: int) -> Numbers:
        """The training with the smallest MSE, of all learning rates."""
        runs = [results[_key(model, depth, width, factor)] for factor in (None, *settings["factors"])]
        return min(runs, key=trainings.final)

    def _claim(self, settings: Settings, results: Mapping[str, Numbers], best: bool) -> Claim:
        shown, wins = [], 0
        for depth, width in settings["shapes"]:
            runs = {
                m: self.best(settings, results, m, depth, width) if best else results[_key(m, depth, width, None)]
                for m in NAMES
            }
            relu, grelu = (trainings.final(runs[m]) for m in ("relu", "grelu"))
            wins += grelu < relu
            shown.append(f"depth {depth}, width {width:,}: {_text(relu)} and {_text(grelu)}")
        which = "With the best learning rate of a grid for each" if best else f"At learning rate {RATE:g}"
        published = "; ".join(f"{d}, {w:,}: {r:g} and {g:g}" for (d, w), (r, g) in PUBLISHED.items())
        statement = f"{which} the train MSE of GReLU is below that of ReLU"
        return Claim(
            "[G, Table 2]",
            statement + ("." if best else f" (CIFAR-10, depth and width, ReLU and GReLU: {published})."),
            f"{settings['config']['data']}, {settings['config']['epochs']} epochs, ReLU and GReLU: {'; '.join(shown)}.",
            wins == len(settings["shapes"]),
        )

    def _depth(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        shapes = [tuple(shape) for shape in settings["shapes"]]
        pairs = [(a, b) for a in shapes for b in shapes if a[1] == b[1] and a[0] < b[0]]
        shown, holds = [], []
        for (low, width), (high, _) in pairs:
            for model in NAMES:
                a, b = (trainings.final(self.best(settings, results, model, L, width)) for L in (low, high))
                holds.append(b < a)
                shown.append(
                    f"{NAMES[model]} {_text(a)} at depth {low} and {_text(b)} at depth {high}, width {width:,}"
                )
        return Claim(
            "[G, Table 2]",
            "At the same width the deeper network has the smaller train MSE.",
            f"Best learning rates: {', '.join(shown)}." if shown else "No two shapes have the same width.",
            all(holds) if holds else None,
        )

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        shapes = settings["shapes"]
        figure, axes = figures.panels(
            [(f"Depth {depth}, width {width:,}", f"{settings['config']['data']}, train") for depth, width in shapes],
            [("Epoch", "MSE")] * len(shapes),
        )
        for panel, (depth, width) in zip(axes, shapes, strict=True):
            for model, label in NAMES.items():
                for run, dash, which in (
                    (self.best(settings, results, model, depth, width), style.SOLID, "best rate"),
                    (results[_key(model, depth, width, None)], style.DASHED, f"rate {RATE:g}"),
                ):
                    losses = [min(loss, 1e3) for loss in run["train"]]
                    panel.plot(losses, color=COLOURS[model], linestyle=dash, label=f"{label}, {which}")
                    if run["diverged"]:
                        panel.plot(len(losses) - 1, losses[-1], "x", color=COLOURS[model])
            figures.logarithmic(panel)
            start = max(results[_key(m, depth, width, None)]["train"][0] for m in NAMES)
            panel.set_ylim(top=min(panel.get_ylim()[1], 3 * start))
            figures.integers(panel)
        figures.legend(axes[0])
        caption = (
            "Train MSE (sum of squared errors of the outputs, mean over samples) by epoch: solid with the best "
            "learning "
            f"rate of the grid, dashed with the published one, {RATE:g}. A cross marks a training that diverged."
        )
        return [Plot("image-regression", caption, figure)]

    def _tables(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Table]:
        rows: list[list[Any]] = []
        every: list[list[Any]] = []
        for depth, width in settings["shapes"]:
            row: list[Any] = [depth, width]
            for model in ("relu", "grelu"):
                published, best = (
                    results[_key(model, depth, width, None)],
                    self.best(settings, results, model, depth, width),
                )
                row += [trainings.finite(trainings.final(published)), trainings.finite(trainings.final(best))]
                for factor in (None, *settings["factors"]):
                    run = results[_key(model, depth, width, factor)]
                    end = trainings.finite(trainings.final(run))
                    every.append([NAMES[model], depth, width, run["rate"], run["stability"], end])
            rows.append([*row, *PUBLISHED.get((depth, width), (None, None))])
        columns = ["depth", "width", f"ReLU at {RATE:g}", "ReLU best", f"GReLU at {RATE:g}", "GReLU best"]
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

    def _config(self, settings: Settings, model: str, depth: int, width: int) -> Config:
        return trainings.config(settings, model=model, depth=depth, width=width)


def _key(model: str, depth: int, width: int, factor: float | None) -> str:
    return f"{model} depth {depth} width {width} " + (f"rate {RATE:g}" if factor is None else f"factor {factor:g}")


def _text(mse: float) -> str:
    return number(mse) if math.isfinite(mse) else "diverged"


EXPERIMENT = ImageRegression()
