"""ReLU against GReLU kernels by depth: minimal angle, condition number, and the training speed that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from gatentk import data, nn, ntk
from gatentk.data.rows import first_occurrences
from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.papers.kernel_descent import KernelDescent
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.spectra import spectrum

SUMMARY = "ReLU against GReLU kernels"
PLACE = 110

NAMES = {"relu": "ReLU", "grelu": "GReLU"}
COLOURS = {"relu": style.BLUE, "grelu": style.ORANGE}
# Train loss that gradient descent on the kernel has to reach, relative to that at the start.
TARGET = 0.01
CLOSE = 0.02  # relative, to a limit
SPEED = 3e9  # of the cells' cost, samples to the third power, in a second


# With --full, beside those of the default: data sets, those that the user brings, and how many samples of each.
PUBLISHED = ("mnist", "fashion-mnist", "svhn", "cifar10", "librispeech")
BROUGHT = ("svhn", "cifar10", "librispeech")
MANY = 5000


@lru_cache(maxsize=2)
def unit_rows(name: str, n: int, seed: int, path: str | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Samples of norm 1, different from each other, and centred targets (n, outputs) of mean square 1 if they have any.

    Args:
        name, path: of a data set; features that the user calls `librispeech` are an NPY file.
        n: number of samples, or all if there are fewer.
        seed: of the choice.
    """
    source = trainings.source(name, path)
    available = n if path is None else min(n, len(data.load(source, path=path).x))
    dataset = data.load(source, n=available, seed=seed, path=path)
    kept = dataset.x.any(dim=1)
    x = dataset.x[kept]
    x = x / x.norm(dim=1, keepdim=True)
    first = first_occurrences(x)
    x = x[first]
    if dataset.y is None:
        return x, None
    y = dataset.y[kept][first]
    targets = y.double().unsqueeze(1) if y.is_floating_point() else torch.nn.functional.one_hot(y).double()
    targets = targets - targets.mean(dim=0)
    return x, targets / targets.square().mean().sqrt()


class GreluConditioning(Experiment):
    """Kernels of the two kinds of network on the same unit rows."""

    name = "grelu-conditioning"
    title = "GReLU kernels are better conditioned than ReLU kernels"
    source = "closed forms that go beyond both papers; compare [S, Fig. 2] and [G, Thm 5]"

    def settings(self, scale: Scale) -> Settings:
        """Infinite width on all samples up to a limit, finite width on some; with `full` all data sets that are there.

        Raises:
            DataError: a path was given, and there is no such data set.
        """
        sizes = {"digits": 1797, "synthetic": 2000}
        for name, n in sizes.items():
            unit_rows(name, n, 0)
        names = {
            (trainings.cifar10(scale)["data"] if name == "cifar10" else name): name in BROUGHT for name in PUBLISHED
        }
        brought = {name: f"the user's files, by --path {name}=PATH" for name, is_brought in names.items() if is_brought}
        found, missing = trainings.present(
            names if scale.full else (),
            scale,
            lambda name, path: unit_rows(name, MANY, 0, None if path is None else str(path)),
            brought,
        )
        return {
            "samples": sizes | dict.fromkeys(found, MANY),
            "paths": {name: str(scale.paths[name]) for name in found if name in scale.paths},
            "missing": missing,
            "depths": [*range(1, 11), *([20] if scale.full else [])],
            "width": 2048 if scale.full else 1024,
            "finite_samples": 200,
            "finite_depths": [1, 2, 3, 5],
            "seeds": 5 if scale.full else 3,
            "target": TARGET,
            "limit": {"data": "synthetic", "n": 500, "depths": [1, 10, 100, 1000, 10_000]},
        }

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each data set, activation and depth; finite networks by seed too."""
        limit = settings["limit"]
        cells = [
            Cell(
                f"limit {activation} depth {depth}",
                float(limit["n"]) ** 2 * (depth + limit["n"]),
                {"depth": depth, "activation": activation},
            )
            for depth in limit["depths"]
            for activation in NAMES
        ]
        for name, n in settings["samples"].items():
            for depth in settings["depths"]:
                for activation in NAMES:
                    arguments = {"data": name, "n": n, "depth": depth, "activation": activation, "some": None}
                    key = f"{name} {activation} depth {depth}"
                    cells.append(Cell(key, float(n) ** 3, arguments | {"seed": None}))
            for depth in settings["finite_depths"]:
                for activation in NAMES:
                    some = settings["finite_samples"]
                    arguments = {"data": name, "n": n, "depth": depth, "activation": activation, "some": some}
                    key = f"{name} {activation} depth {depth} some"
                    cells.append(Cell(key, float(some) ** 3, arguments | {"seed": None}))
                    for seed in range(settings["seeds"]):
                        cost = float(some) * settings["width"] ** 2 * depth
                        cells.append(
                            Cell(f"{name} {activation} depth {depth} seed {seed}", cost, arguments | {"seed": seed})
                        )
        return cells

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The kernel, its eigenvectors and what LAPACK needs for them; all cells."""
        largest = max(settings["samples"].values())
        return 5 * 8 * largest**2, sum(cell.cost for cell in self.cells(settings)) / SPEED

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Spectrum, minimal angle and steps of one kernel."""
        a = cell.arguments
        if "data" not in a:
            x, _ = unit_rows(settings["limit"]["data"], settings["limit"]["n"], 0)
            s = spectrum(ntk.infinite(x, depth=a["depth"], activation=a["activation"]))
            return {"samples": len(x), "condition": float(s.condition) if bool(s.resolved) else None}
        x, targets = unit_rows(a["data"], a["n"], 0, settings["paths"].get(a["data"]))
        x = x[: a["some"]]
        if a["seed"] is None:
            K = ntk.infinite(x, depth=a["depth"], activation=a["activation"])
            angle = ntk.min_angle(x, a["depth"], a["activation"])
        else:
            K = ntk.empirical(_network(settings, a, x.shape[1]), x)
            angles = ntk.angles_from_kernel(K)
            angle = float(angles.fill_diagonal_(math.inf).min())
        s = spectrum(K)
        return {
            "samples": len(x),
            "min_angle": math.degrees(angle),
            "lmin": float(s.lmin),
            "lmax": float(s.lmax),
            "resolved": bool(s.resolved),
            "condition": float(s.condition) if bool(s.resolved) else None,
            "condition_bound": float(s.condition_bound),
            "steps": None
            if a["seed"] is not None or targets is None
            else KernelDescent(K, targets[: a["some"]]).steps_to(settings["target"]),
        }

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """Comparisons by data set."""
        claims: list[Claim] = [self._limit(settings, results)]
        for name in settings["samples"]:
            claims += [
                self._condition(settings, results, name),
                self._speed(settings, results, name),
                self._finite(settings, results, name),
            ]
        remarks = trainings.left_out(settings)
        return Findings(claims, self._plots(settings, results), [self._table(settings, results)], remarks)

    def _condition(self, settings: Settings, results: Mapping[str, Numbers], name: str) -> Claim:
        depths = settings["depths"]
        pairs = [[results[f"{name} {a} depth {d}"] for a in NAMES] for d in depths]
        unresolved = any(not r["resolved"] for pair in pairs for r in pair)
        holds = all(
            relu["condition_bound"] > grelu["condition"] if grelu["resolved"] else False for relu, grelu in pairs
        )
        shown = ", ".join(
            f"L = {d}: {_condition(relu)} and {_condition(grelu)}"
            for d, (relu, grelu) in zip(depths, pairs, strict=True)
        )
        return Claim(
            "infinite width",
            f"On unit rows of {name} the condition number of GReLU's kernel is below that of ReLU's at every depth.",
            f"{pairs[0][0]['samples']:,} samples, ReLU and GReLU: {shown}.",
            holds if not unresolved or holds else None,
        )

    def _limit(self, settings: Settings, results: Mapping[str, Numbers]) -> Claim:
        limit = settings["limit"]
        found = {a: [results[f"limit {a} depth {depth}"]["condition"] for depth in limit["depths"]] for a in NAMES}
        limits = {"relu": (results[f"limit relu depth {limit['depths'][0]}"]["samples"] + 3) / 3, "grelu": 1.0}
        is_known = all(value is not None for values in found.values() for value in values)
        holds = is_known and all(
            abs(values[-1] / limits[a] - 1) <= CLOSE and all(p > q for p, q in pairwise(values))
            for a, values in found.items()
        )
        shown = "; ".join(
            f"{NAMES[a]} {', '.join('unresolved' if v is None else number(v) for v in values)} (limit "
            f"{number(limits[a])})"
            for a, values in found.items()
        )
        return Claim(
            "[S, Sec. 7] corrected; new for GReLU",
            "With depth the condition number on unit rows tends to (n + 3)/3 for ReLU (not to 1, as [S] remarks) and "
            "to 1 for GReLU.",
            f"{limit['n']} samples of {limit['data']}, L = {', '.join(f'{depth:,}' for depth in limit['depths'])}: "
            f"{shown}.",
            holds if is_known else None,
        )

    def _speed(self, settings: Settings, results: Mapping[str, Numbers], name: str) -> Claim:
        rows = [(d, *(results[f"{name} {a} depth {d}"]["steps"] for a in NAMES)) for d in settings["depths"]]
        known = [(d, relu, grelu) for d, relu, grelu in rows if relu is not None and grelu is not None]
        holds = all(grelu < relu for _, relu, grelu in known) if known else None
        shown = ", ".join(f"L = {d}: {number(float(r))} and {number(float(g))}" for d, r, g in known)
        return Claim(
            "kernel regime",
            "A better condition number means fewer steps of gradient descent.",
            f"{name}: steps of size 1/lambda_max until the square loss of the labels is {settings['target']:.0%} of "
            f"that at the start, ReLU and GReLU: {shown or 'more than can be counted'}.",
            holds,
        )

    def _finite(self, settings: Settings, results: Mapping[str, Numbers], name: str) -> Claim:
        means = {
            (a, d): _geometric_mean(
                [results[f"{name} {a} depth {d} seed {s}"]["condition_bound"] for s in range(settings["seeds"])]
            )
            for a in NAMES
            for d in settings["finite_depths"]
        }
        holds = all(means["grelu", d] < means["relu", d] for d in settings["finite_depths"])
        shown = ", ".join(
            f"L = {d}: {number(means['relu', d])} and {number(means['grelu', d])}" for d in settings["finite_depths"]
        )
        limits = ", ".join(
            " and ".join(_condition(results[f"{name} {a} depth {d} some"]) for a in NAMES)
            for d in settings["finite_depths"]
        )
        return Claim(
            "finite width",
            f"Networks of width {settings['width']:,} show the same order.",
            f"{name}, {settings['finite_samples']} samples, geometric means over {settings['seeds']} seeds, ReLU and "
            f"GReLU: {shown}. At infinite width these samples have {limits}.",
            holds,
        )

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        shown = []
        for name in settings["samples"]:
            n = results[f"{name} relu depth {settings['depths'][0]}"]["samples"]
            figure, (angle, condition, speed) = figures.panels(
                [
                    ("Smallest gradient angle", f"{name}, unit rows, infinite width"),
                    ("Condition number", f"solid: all samples; dashed and dots: {settings['finite_samples']}"),
                    ("Steps of gradient descent", f"until the loss is {settings['target']:.0%} of its start"),
                ],
                [("Depth", "degrees"), ("Depth", "λmax / λmin"), ("Depth", "steps")],
            )
            for activation, label in NAMES.items():
                self._lines(settings, results, name, activation, label, (angle, condition, speed))
            for axes in (condition, speed):
                figures.logarithmic(axes)
            angle.set_ylim(bottom=0)
            for axes in (angle, condition, speed):
                figures.integers(axes)
            figures.legend(angle)
            caption = (
                f"Kernels of {n:,} samples of {name}: smallest angle between gradients, condition number and steps of "
                f"gradient descent by depth. Dashed: {settings['finite_samples']} of the samples, infinite width; "
                f"dots: the same samples, width {settings['width']:,}."
            )
            shown.append(Plot(f"grelu-{name}", caption, figure))
        return shown

    def _lines(
        self, settings: Settings, results: Mapping[str, Numbers], name: str, activation: str, label: str, axes: Any
    ) -> None:
        angle, condition, speed = axes
        colour, depths = COLOURS[activation], settings["depths"]
        cells = [results[f"{name} {activation} depth {d}"] for d in depths]
        angle.plot(depths, [c["min_angle"] for c in cells], color=colour, label=label)
        known = [(d, c["condition"]) for d, c in zip(depths, cells, strict=True) if c["resolved"]]
        if known:
            condition.plot(*zip(*known, strict=True), color=colour, label=label)
        unknown = [(d, c["condition_bound"]) for d, c in zip(depths, cells, strict=True) if not c["resolved"]]
        figures.bounds(condition, [d for d, _ in unknown], [v for _, v in unknown], colour)
        some = [results[f"{name} {activation} depth {d} some"]["condition_bound"] for d in settings["finite_depths"]]
        condition.plot(settings["finite_depths"], some, color=colour, linestyle=style.DASHED, linewidth=1)
        for depth in settings["finite_depths"]:
            values = [
                results[f"{name} {activation} depth {depth} seed {s}"]["condition_bound"]
                for s in range(settings["seeds"])
            ]
            condition.plot([depth] * len(values), values, ".", color=colour, markersize=4)
        steps = [(d, c["steps"]) for d, c in zip(depths, cells, strict=True) if c["steps"] is not None]
        if steps:
            speed.plot(*zip(*steps, strict=True), color=colour, label=label)

    def _table(self, settings: Settings, results: Mapping[str, Numbers]) -> Table:
        columns = ["data", "samples", "depth", "network", "seed", "min angle (deg)", "condition", "at least", "steps"]
        rows = []
        for cell in self.cells(settings):
            r, a = results[cell.key], cell.arguments
            if "data" not in a:
                continue
            rows.append(
                [a["data"], r["samples"], a["depth"], NAMES[a["activation"]], a["seed"]]
                + [r[name] for name in ("min_angle", "condition", "condition_bound", "steps")]
            )
        return Table("grelu-conditioning", "All kernels", columns, rows)


def _network(settings: Settings, a: Mapping[str, Any], features: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(a["seed"])
    if a["activation"] == "grelu":
        return nn.GReLUNetwork(features, settings["width"], a["depth"], generator=generator, dtype=torch.float64)
    return nn.MLP(features, settings["width"], a["depth"], generator=generator, dtype=torch.float64)


def _condition(result: Numbers) -> str:
    return number(result["condition"]) if result["resolved"] else f"at least {number(result['condition_bound'])}"


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(v) for v in values) / len(values))


EXPERIMENT = GreluConditioning()
