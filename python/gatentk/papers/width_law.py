"""Which width gradient descent needs: [G, Fig. 2a, Thm 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.trainings import NAMES
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.train import Config, Run

SUMMARY = "which widths train to zero loss: ReLU and GReLU"
PLACE = 40

STEPS = {"theorem": "step of the theorem", "kernel": "step 1/λmax(K)"}
LEVEL = {"theorem": "the step of Thm 1, d_x/(n⁴ L³ d_y)", "kernel": "the step 1/lambda_max of the kernel at the start"}


class WidthLaw(Experiment):
    """Loss by step of gradient descent at widths (n^2 L)^p and n L."""

    name = "width-law"
    title = "Width n²L is enough for gradient descent to fit n samples"
    source = "[G, Fig. 2a, Thm 1]"

    def settings(self, scale: Scale) -> Settings:
        """n = 20 samples in 40 dimensions; the published 100 in 200 with `full`."""
        n, depth = (100 if scale.full else 20), 4
        return {
            "config": {"data": "ackley", "n": n, "normalize": "none", "depth": depth, "optimizer": "gd"},
            "features": 2 * n,
            "powers": [0.4, 0.5, 0.7, 0.8, 0.9, 1.0],
            "steps": 150,
            # A loss of this share of that at the start counts as zero.
            "zero": 1e-4,
            "seeds": 5,
        }

    def widths(self, settings: Settings) -> dict[str, int]:
        """By name, in ascending order: (n^2 L)^p as "p = ...", and n L."""
        n, depth = settings["config"]["n"], settings["config"]["depth"]
        found = {f"p = {p:g}": max(2, round((n * n * depth) ** p)) for p in settings["powers"]}
        return dict(sorted({**found, "nL": n * depth}.items(), key=lambda item: item[1]))

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each width, network, step size and seed; narrow ones first."""
        found = []
        for name, width in self.widths(settings).items():
            for step in STEPS:
                for model in NAMES:
                    cost = trainings.seconds(self._config(settings, model, width), settings["steps"])
                    for seed in range(settings["seeds"]):
                        arguments = {"model": model, "width": width, "step": step, "seed": seed}
                        found.append(Cell(_key(model, name, step, seed), cost / _shortening(name, model), arguments))
        return found

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Of the widest network; the time if none stops early where it could."""
        widest = self._config(settings, "grelu", max(self.widths(settings).values()))
        return trainings.memory(widest), sum(cell.cost for cell in self.cells(settings))

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Losses relative to that at the start by step, until they are zero or not finite."""
        a = cell.arguments
        config = self._config(settings, a["model"], a["width"])
        begun = trainings.start(config, a["seed"])
        largest = trainings.largest_eigenvalue(begun)
        # The theorem's step is for the sum of the losses of all samples, and training takes their mean.
        rate = settings["config"]["n"] * _theorem_step(settings) if a["step"] == "theorem" else 1 / largest
        numbers = trainings.curve(Run(config, begun, rate), settings["steps"], settings["zero"])
        return {
            "losses": [loss / numbers["train"][0] for loss in numbers["train"]],
            "diverged": numbers["diverged"],
            "stability": rate * largest,
        }

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Theorem and figure, for both networks and both step sizes."""
        claims = [self._theorem(settings, results, step) for step in STEPS]
        claims += [self._figure(settings, results, model, step) for model in NAMES for step in STEPS]
        claims.append(self._step(settings, results))
        remarks = [
            (
                "The step of the theorem is the same for all widths, and the kernel grows with the square of the "
                "width, so "
                "that the step is short for narrow networks: the column η λmax says how short. With a step that "
                "fits each "
                "network the limit is another one: narrow networks have to change their weights so much that the step "
                "does not fit any more."
            )
        ]
        return Findings(claims, self._plots(settings, results), [self._table(settings, results)], remarks)

    def _theorem(self, settings: Settings, results: Mapping[str, Numbers], step: str) -> Claim:
        runs = self._runs(settings, results, "grelu", "p = 1", step)
        reached = [run for run in runs if _is_zero(settings, run)]
        most = max((len(run["losses"]) - 1 for run in reached), default=0)
        return Claim(
            "[G, Thm 1]",
            f"At width n²L gradient descent with {LEVEL[step]} brings the loss of a GReLU network to zero.",
            f"Width {self.widths(settings)['p = 1']:,}: {len(reached)} of {len(runs)} seeds reach "
            f"{settings['zero']:g} of the loss at the start" + (f", in at most {most} steps." if reached else "."),
            len(reached) == len(runs),
        )

    def _figure(self, settings: Settings, results: Mapping[str, Numbers], model: str, step: str) -> Claim:
        counts = {
            name: sum(_is_zero(settings, run) for run in self._runs(settings, results, model, name, step))
            for name in self.widths(settings)
        }
        wide = counts.pop("p = 1")
        shown = ", ".join(f"{name} {count}" for name, count in counts.items())
        return Claim(
            "[G, Fig. 2a]",
            f"{NAMES[model]}, {LEVEL[step]}: every seed reaches zero at p = 1, and at smaller widths not even the "
            "best does.",
            f"Seeds of {settings['seeds']} that reach {settings['zero']:g} of the start within "
            f"{settings['steps']} steps: "
            f"{wide} at p = 1; below: {shown}.",
            wide == settings["seeds"] and not any(counts.values()),
        )

    def _step(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        by_model = {m: self._runs(settings, results, m, "p = 1", "theorem") for m in NAMES}
        spans = {
            m: f"{number(min(r['stability'] for r in runs))} to {number(max(r['stability'] for r in runs))}"
            for m, runs in by_model.items()
        }
        peaks = {m: max(max(r["losses"]) for r in runs) for m, runs in by_model.items()}
        return Claim(
            "our reading of [G, Thm 1]",
            "The theorem's step holds up to a constant. With that taken as 1 it is within the limit 2/lambda_max "
            "beyond which a network with a constant kernel diverges.",
            f"Step times lambda_max at p = 1: GReLU {spans['grelu']}, ReLU {spans['relu']}; the loss rises to at most "
            f"{number(peaks['grelu'])} and {number(peaks['relu'])} times that at the start.",
            all(r["stability"] < 2 for r in by_model["grelu"]),
        )

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        shown = []
        widths = self.widths(settings)
        colours = dict(zip(widths, trainings.shades(len(widths)), strict=True))
        for step, title in STEPS.items():
            figure, axes = figures.panels(
                [(f"{NAMES[m]}, {title}", "p = 1: worst seed; narrower: best seed") for m in NAMES],
                [("Step", "Loss / loss at the start")] * len(NAMES),
            )
            for panel, model in zip(axes, NAMES, strict=True):
                for name, width in widths.items():
                    chosen = self._shown(settings, self._runs(settings, results, model, name, step), name == "p = 1")
                    panel.plot(
                        range(len(chosen["losses"])),
                        [min(loss, 1e3) for loss in chosen["losses"]],
                        color=colours[name],
                        linestyle=style.DASHED if name == "nL" else style.SOLID,
                        linewidth=2.2 if name == "p = 1" else 1.4,
                        label=f"{width:,} ({name})",
                    )
                    if chosen["diverged"]:
                        last = min(chosen["losses"][-1], 1e3)
                        panel.plot(len(chosen["losses"]) - 1, last, "x", color=colours[name], markersize=6)
                figures.logarithmic(panel)
                panel.set_ylim(settings["zero"] / 2, 300)
                panel.set_xlim(0, settings["steps"])
            figures.legend(axes[0], title="Width", title_fontsize=7.5, loc="upper right", ncols=2)
            caption = (
                f"Loss of {settings['config']['n']} samples by step of gradient descent, {LEVEL[step]}: the worst of "
                f"{settings['seeds']} seeds at p = 1, the best at smaller widths, as in the paper. A line that leaves "
                "through the top, or ends in a cross, diverges."
            )
            shown.append(Plot(f"width-law-{step}", caption, figure))
        return shown

    def _table(self, settings: Settings, results: Mapping[str, Numbers]) -> Table:
        columns = ["network", "step", "width", "power", "reach zero", "most steps", "best loss", "worst loss", "η λmax"]
        rows: list[list[Any]] = []
        for step in STEPS:
            for model in NAMES:
                for name, width in self.widths(settings).items():
                    runs = self._runs(settings, results, model, name, step)
                    zero = [run for run in runs if _is_zero(settings, run)]
                    ends = [run["losses"][-1] for run in runs if not run["diverged"]]
                    rows.append(
                        [
                            NAMES[model],
                            STEPS[step],
                            width,
                            name,
                            len(zero),
                            max((len(run["losses"]) - 1 for run in zero), default=None),
                            min(ends, default=None),
                            max(ends) if len(ends) == len(runs) else None,
                            sum(run["stability"] for run in runs) / len(runs),
                        ]
                    )
        title = f"Of {settings['seeds']} seeds; losses relative to the start, none where a seed diverged"
        return Table("width-law", title, columns, rows)

    def _runs(
        self, settings: Settings, results: Mapping[str, Numbers], model: str, name: str, step: str
    ) -> list[Numbers]:
        return [results[_key(model, name, step, seed)] for seed in range(settings["seeds"])]

    def _shown(self, settings: Settings, runs: list[Numbers], worst: bool) -> Numbers:
        """The run with the largest loss at the end, or the smallest; of those that reach zero, by their steps."""

        def order(run: Numbers) -> tuple[bool, float, int]:
            zero = _is_zero(settings, run)
            return run["diverged"], 0.0 if zero else run["losses"][-1], len(run["losses"])

        return max(runs, key=order) if worst else min(runs, key=order)

    def _config(self, settings: Settings, model: str, width: int) -> Config:
        return trainings.config(settings, model=model, width=width, epochs=settings["steps"])


def _key(model: str, name: str, step: str, seed: int) -> str:
    return f"{model} {name} {step} seed {seed}"


def _is_zero(settings: Settings, run: Numbers) -> bool:
    return not run["diverged"] and run["losses"][-1] <= settings["zero"]


def _theorem_step(settings: Settings) -> float:
    """d_x / (n^4 L^3 d_y), for the sum of the losses; one output."""
    n, depth = settings["config"]["n"], settings["config"]["depth"]
    return float(settings["features"] / (n**4 * depth**3))


def _shortening(name: str, model: str) -> float:
    """By which factor a wide network is done before the last step, as measured at n = 20."""
    return {"grelu": 10.0, "relu": 4.0}[model] if name in ("p = 1", "p = 0.9") else 1.0


EXPERIMENT = WidthLaw()
