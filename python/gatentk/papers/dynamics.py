"""What changes inside GReLU and ReLU networks from epoch to epoch: [G, Fig. 2b, 2c, Remark 3]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.trainings import COLOURS, NAMES
from gatentk.reporting import figures
from gatentk.reporting.text import number
from gatentk.train import Config, Run

SUMMARY = "gradients, activation patterns, dead neurons by epoch"
PLACE = 50

# [G, Fig. 2c]: shares of activations that change in an epoch.
REPORTED = (0.2, 0.25)
# A mean activation below this share of ReLU's counts as none.
NO_SHIFT = 0.1


class Dynamics(Experiment):
    """Changes of gradients and activation patterns, dead neurons and mean activations by epoch."""

    name = "dynamics"
    title = "What changes in training: gradients, activation patterns, dead neurons, mean activations"
    source = "[G, Fig. 2b, 2c, Remark 3]"

    def settings(self, scale: Scale) -> Settings:
        """Friedman's regression, which needs no download, in the place of SGEMM; that with `full`."""
        config: dict[str, Any] = {
            "data": "friedman",
            "n": 2000,
            "normalize": "standard",
            "width": 512,
            "depth": 4,
            "epochs": 30,
            "diagnostics": ["gradient", "gradient_norm", "patterns", "dead", "shift"],
        }
        if scale.full:
            path = trainings.file(scale, "sgemm")
            config |= {"data": "sgemm", "path": path, "n": None, "width": 4096, "depth": 10, "epochs": 100}
        found: Settings = {"config": config, "factor": 0.3, "seeds": 3}
        trainings.samples(trainings.config(found))
        return found

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each network and seed."""
        return [
            Cell(
                f"{m} seed {seed}",
                trainings.seconds(self._config(settings, m), self._epochs(settings)),
                {"model": m, "seed": seed},
            )
            for m in NAMES
            for seed in range(settings["seeds"])
        ]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Of one training, and all of them."""
        return trainings.memory(self._config(settings, "grelu")), sum(cell.cost for cell in self.cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Losses and diagnostics by epoch."""
        config = self._config(settings, cell.arguments["model"])
        spread = trainings.target_spread(config)
        begun = trainings.start(config, cell.arguments["seed"], spread)
        rate = settings["factor"] / trainings.largest_eigenvalue(begun)
        numbers = trainings.curve(Run(config, begun, rate), config.epochs)
        return trainings.unexplained(numbers, spread) | {"rate": rate}

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Gradients, patterns, dead neurons and shifts of both networks."""
        if any(numbers["diverged"] for numbers in results.values()):
            gone = ", ".join(key for key, numbers in results.items() if numbers["diverged"])
            claims = [Claim(self.source, "Both networks can be compared.", f"Trainings diverged: {gone}.", None)]
            return Findings(claims, [], [])
        claims = [
            self._gradients(settings, results),
            *self._patterns(settings, results),
            self._dead(settings, results),
            self._shift(settings, results),
        ]
        remarks = [
            (
                "Each network has the learning rate that fits it: "
                f"{settings['factor']:g} / lambda_max of its kernel at the start. "
                f"Samples are those of {settings['config']['data']}, targets scaled to mean 0 and variance 1; "
                "diagnostics "
                "are measured on 256 of them. Layer 0 is fixed in both networks and its activations are those of "
                "a ReLU."
            )
        ]
        return Findings(claims, self._plots(settings, results), [self._table(settings, results)], remarks)

    def _gradients(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        change = {m: _mean(settings, results, m, lambda d: d["gradient"]) for m in NAMES}
        ratios = [r / g for g, r in zip(change["grelu"], change["relu"], strict=True) if g and r is not None]
        ratio = trainings.geometric_mean(ratios)
        size = {m: _mean(settings, results, m, lambda d: d["gradient_norm"]) for m in NAMES}
        relative = {
            m: trainings.geometric_mean(
                [c / s for c, s in zip(change[m][1:], size[m], strict=False) if c is not None and s]
            )
            for m in NAMES
        }
        return Claim(
            "our reading of [G, Fig. 2b]",
            "The gradient of a GReLU network changes less from epoch to epoch than that of a ReLU network.",
            f"Over {len(ratios)} epochs ReLU's gradient changes {number(ratio)} times as much as GReLU's "
            f"(geometric mean of the ratio of means over {settings['seeds']} seeds), and more in "
            f"{sum(r > 1 for r in ratios)} of them. Relative to its size the epoch before it changes by "
            f"{relative['grelu']:.0%} (GReLU) and {relative['relu']:.0%} (ReLU) in the geometric mean.",
            ratio > 1 and relative["relu"] > relative["grelu"],
        )

    def _patterns(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Claim]:
        relu = [v for v in _mean(settings, results, "relu", _trained_patterns) if v is not None]
        grelu = [v for v in _mean(settings, results, "grelu", _trained_patterns) if v is not None]
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
                f"The largest share of an epoch is {max(grelu):g}.",
                max(grelu) == 0,
            ),
        ]

    def _dead(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        dead = {m: _mean(settings, results, m, lambda d: max(d["dead"])) for m in NAMES}
        grown = {m: (values[-1] or 0.0) - (values[0] or 0.0) for m, values in dead.items()}
        shown = ", ".join(f"{NAMES[m]} {dead[m][0] or 0:.2%} and {dead[m][-1] or 0:.2%}" for m in NAMES)
        return Claim(
            "[G, Remark 3]",
            "No neuron of a GReLU network dies in training; those of a ReLU network may.",
            f"Share of neurons that are off for every sample, in the worst layer, at the start and at the end: "
            f"{shown}.",
            grown["grelu"] == 0,
        )

    def _shift(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        shift = {m: _mean(settings, results, m, _largest_shift) for m in NAMES}
        last = {m: values[-1] or 0.0 for m, values in shift.items()}
        shown = ", ".join(f"{NAMES[m]} {number(shift[m][0] or 0.0)} and {number(last[m])}" for m in NAMES)
        return Claim(
            "[G, Remark 3]",
            f"The activations of a GReLU network have no mean shift: below {NO_SHIFT:.0%} of ReLU's.",
            f"Largest |mean activation| of a trained layer at the start and at the end: {shown}.",
            last["grelu"] <= NO_SHIFT * last["relu"],
        )

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        name = settings["config"]["data"]
        subtitle = f"{name}, width {settings['config']['width']:,}, depth {settings['config']['depth']}"
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
        for model, label in NAMES.items():
            for axes, value in (
                (gradient, lambda d: d["gradient"]),
                (patterns, _trained_patterns),
                (dead, lambda d: max(d["dead"])),
                (shift, _largest_shift),
            ):
                _line(axes, _mean(settings, results, model, value), COLOURS[model], label)
            for seed in range(settings["seeds"]):
                losses = results[f"{model} seed {seed}"]["train"]
                loss.plot(losses, color=COLOURS[model], linewidth=1, label=label if seed == 0 else None)
        for axes in (gradient, loss, shift):
            figures.logarithmic(axes)
        for axes in (patterns, dead):
            axes.set_ylim(bottom=0)
            axes.yaxis.set_major_formatter(lambda v, _: f"{100 * v:.3g}%")
        for axes in (gradient, patterns, loss, dead, shift):
            figures.integers(axes)
        figures.legend(gradient)
        figures.legend(loss)
        text = f"by epoch, means over {settings['seeds']} seeds."
        return [
            Plot("dynamics", f"Change of the loss gradient (2-norm) and of activation patterns {text}", figure),
            Plot("dynamics-inside", f"Train loss by seed; dead neurons and mean activations {text}", inside),
        ]

    def _table(self, settings: Settings, results: Mapping[str, Numbers]) -> Table:
        rows: list[list[Any]] = []
        for model in NAMES:
            for seed in range(settings["seeds"]):
                r = results[f"{model} seed {seed}"]
                for epoch, (loss, d) in enumerate(zip(r["train"], r["diagnostics"], strict=True)):
                    measured = [
                        d["gradient"],
                        d["gradient_norm"],
                        _trained_patterns(d),
                        max(d["dead"]),
                        _largest_shift(d),
                    ]
                    rows.append([NAMES[model], seed, epoch, loss, *measured])
        columns = ["network", "seed", "epoch", "train loss", "gradient change", "gradient", "pattern change"]
        columns += ["dead", "shift"]
        return Table("dynamics", "All epochs", columns, rows)

    def _config(self, settings: Settings, model: str) -> Config:
        return trainings.config(settings, model=model)

    def _epochs(self, settings: Settings) -> int:
        epochs: int = settings["config"]["epochs"]
        return epochs


def _trained_patterns(measured: Mapping[str, Any]) -> float | None:
    """Share of neurons of layers 1 .. L that switched; None before the first epoch."""
    shares = measured["patterns"]
    return None if shares is None else float(sum(shares[1:]) / len(shares[1:]))


def _largest_shift(measured: Mapping[str, Any]) -> float:
    return max(abs(float(value)) for value in measured["shift"][1:])


def _mean(
    settings: Settings, results: Mapping[str, Numbers], model: str, value: Callable[[Mapping[str, Any]], float | None]
) -> list[float | None]:
    """Means over seeds by epoch; None where there is no value."""
    runs = [results[f"{model} seed {seed}"]["diagnostics"] for seed in range(settings["seeds"])]
    found: list[float | None] = []
    for measured in zip(*runs, strict=True):
        values = [value(d) for d in measured]
        known = [v for v in values if v is not None]
        found.append(sum(known) / len(known) if len(known) == len(values) else None)
    return found


def _line(axes: Any, values: list[float | None], colour: str, label: str) -> None:
    known = [(epoch, v) for epoch, v in enumerate(values) if v is not None]
    axes.plot([epoch for epoch, _ in known], [v for _, v in known], color=colour, label=label)


EXPERIMENT = Dynamics()
