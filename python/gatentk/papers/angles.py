"""Angles between model gradients by depth, exact at infinite width: [S, Fig. 1, Fig. 4, Thm A.2]."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch

from gatentk import ntk
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import number

SUMMARY = "angles between gradients by depth, exact"
PLACE = 10

DEGREES = 180 / math.pi


def pairs(angles: Sequence[float]) -> torch.Tensor:
    """(angles, 2, 2): pairs of unit vectors at each of the angles (radians)."""
    t = torch.tensor(angles, dtype=torch.float64)
    first = torch.stack([torch.ones_like(t), torch.zeros_like(t)], -1)
    return torch.stack([first, torch.stack([t.cos(), t.sin()], -1)], 1)


def pair_angles(x: torch.Tensor, depth: int, activation: str) -> list[float]:
    """The gradient angle (radians) of each pair of a batch (pairs, 2, d)."""
    return [float(value) for value in ntk.gradient_angles(x, depth, activation)[:, 0, 1]]


class Angles(Experiment):
    """Gradient angle against input angle; the map g of embedding angles and its iterates."""

    name = "angles"
    title = "Angles between gradients grow with depth"
    source = "[S, Fig. 1, Fig. 4, Thm 4.1, 4.4, 4.5, Cor. 4.3, Prop. A.1, Thm A.2]"

    def settings(self, scale: Scale) -> Settings:
        """The same at every scale: all values are closed forms."""
        return {
            "depths": [1, 2, 3, 5, 10, 20, 50, 100],
            "angles": [float(a) for a in torch.linspace(0.25, 180, 720, dtype=torch.float64)],
            "small_angles": [1e-6, 1e-4, 1e-2, 0.1, 1.0],
            "iterates": [1, 2, 5, 10, 50],
        }

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """One for each activation and for the embedding angles."""
        return [Cell(kind, 1.0, {"kind": kind}) for kind in ("relu", "grelu", "embedding")]

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Angles in degrees by depth, as computed by `gatentk.ntk`."""
        x = pairs([a / DEGREES for a in settings["angles"]])
        kind = cell.arguments["kind"]
        if kind == "embedding":
            by_depth = {
                depth: [DEGREES * float(v) for v in ntk.embedding_angles(x, depth)[:, 0, 1]]
                for depth in settings["iterates"]
            }
            return {"angles": {str(depth): values for depth, values in by_depth.items()}}
        small = pairs([a / DEGREES for a in settings["small_angles"]])
        return {
            "angles": {str(d): [DEGREES * v for v in pair_angles(x, d, kind)] for d in settings["depths"]},
            "small": {str(d): [DEGREES * v for v in pair_angles(small, d, kind)] for d in settings["depths"]},
        }

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """The statements about angles, and the two figures."""
        claims = [
            self._separation(settings, results["relu"]),
            self._growth(settings, results["relu"]),
            self._slope(settings, results["relu"]),
            *self._embedding(settings, results["embedding"]),
        ]
        return Findings(claims, self._plots(settings, results), [self._table(settings, results)])

    def _separation(self, settings: Settings, relu: Numbers) -> Claim:
        below = [i for i, a in enumerate(settings["angles"]) if a < 60]
        holds = all(relu["angles"][str(d)][i] > settings["angles"][i] for d in settings["depths"] for i in below)
        margin = min(relu["angles"][str(d)][i] / settings["angles"][i] for d in settings["depths"] for i in below)
        return Claim(
            "[S, Fig. 1, Thm 4.5]",
            "The angle between gradients of a ReLU network is larger than that between the samples, for samples that "
            "are close; a linear network leaves it as it is.",
            f"Below 60 degrees the gradient angle is at least {number(margin)} times the input angle at every depth "
            f"from {settings['depths'][0]} to {settings['depths'][-1]}.",
            holds,
        )

    def _growth(self, settings: Settings, relu: Numbers) -> Claim:
        below = [i for i, a in enumerate(settings["angles"]) if a < 60]
        steps = list(pairwise(settings["depths"]))
        holds = all(relu["angles"][str(a)][i] < relu["angles"][str(b)][i] for a, b in steps for i in below)
        index = settings["small_angles"].index(1.0)
        first, last = (relu["small"][str(d)][index] for d in (settings["depths"][0], settings["depths"][-1]))
        return Claim(
            "[S, Thm 4.5]",
            "The deeper the network, the larger the gradient angle of close samples.",
            f"Samples 1 degree apart have gradients {number(first)} degrees apart at depth {settings['depths'][0]} and "
            f"{number(last)} at depth {settings['depths'][-1]}; it grows at every step below 60 degrees: "
            f"{'yes' if holds else 'no'}.",
            holds,
        )

    def _slope(self, settings: Settings, relu: Numbers) -> Claim:
        smallest = settings["small_angles"][0] / DEGREES
        ratios = [
            2 * math.sin(relu["small"][str(d)][0] / DEGREES / 2) ** 2 / (d * smallest / (2 * math.pi))
            for d in settings["depths"]
        ]
        worst = max(abs(r - 1) for r in ratios)
        return Claim(
            "[S, Thm 4.5]",
            "For small input angles theta, 1 - cos(phi) of the gradient angle phi is L theta / (2 pi) to first order "
            "(the proof's last line; the printed constant differs).",
            f"At theta = {settings['small_angles'][0]:g} degrees the two differ by at most {number(worst, 2)} "
            f"relative, over depths {settings['depths'][0]} to {settings['depths'][-1]}.",
            worst < 0.01,
        )

    def _embedding(self, settings: Settings, embedding: Numbers) -> list[Claim]:
        angles, iterates = settings["angles"], settings["iterates"]
        once = embedding["angles"]["1"]
        rising = all(a < b for a, b in pairwise(once))
        below = all(g <= t for g, t in zip(once, angles, strict=True))
        last = embedding["angles"][str(iterates[-1])]
        falling = all(
            embedding["angles"][str(b)][i] <= embedding["angles"][str(a)][i]
            for a, b in pairwise(iterates)
            for i in range(len(angles))
        )
        return [
            Claim(
                "[S, Prop. A.1]",
                "The map g of embedding angles is increasing and g(t) <= t.",
                f"On {len(angles)} angles up to 180 degrees: increasing {'yes' if rising else 'no'}, g(t) <= t "
                f"{'yes' if below else 'no'}; g(180 degrees) = {number(once[-1])} degrees.",
                rising and below,
            ),
            Claim(
                "[S, Thm A.2]",
                "Embeddings of all samples collapse to one direction with depth: the iterates of g tend to 0.",
                f"The largest angle falls from 180 degrees to {number(max(last))} after {iterates[-1]} layers, and "
                f"every angle falls at each step: {'yes' if falling else 'no'}. It does so like 3 pi / L, not "
                "geometrically.",
                falling and max(last) < 180,
            ),
        ]

    def _plots(self, settings: Settings, results: Mapping[str, Numbers]) -> list[Plot]:
        x = settings["angles"]
        figure, (relu, grelu) = figures.panels(
            [("ReLU", "infinite width, all weights trained"), ("GReLU", "infinite width, gates fixed")],
            [("Angle between samples", "Angle between gradients")] * 2,
        )
        for axes, kind in ((relu, "relu"), (grelu, "grelu")):
            for index, depth in enumerate(settings["depths"]):
                shade = 0.25 + 0.75 * index / (len(settings["depths"]) - 1)
                axes.plot(x, results[kind]["angles"][str(depth)], color=style.BLUE, alpha=shade, label=f"depth {depth}")
            axes.plot(x, x, color=style.ORANGE, linestyle=style.DASHED, label="linear")
            _degrees(axes)
            figures.legend(axes, ncols=2, loc="lower right")
        embedding, (left,) = figures.panels(
            [("Embedding angles collapse", "g and its iterates")],
            [("Angle between samples", "Angle between embeddings")],
        )
        for index, depth in enumerate(settings["iterates"]):
            shade = 0.3 + 0.7 * index / (len(settings["iterates"]) - 1)
            left.plot(
                x, results["embedding"]["angles"][str(depth)], color=style.GREEN, alpha=shade, label=f"layer {depth}"
            )
        left.plot(x, x, color=style.ORANGE, linestyle=style.DASHED, label="linear")
        _degrees(left)
        figures.legend(left, loc="upper left")
        return [
            Plot("gradient-angles", "Gradient angle against input angle by depth; linear networks dashed.", figure),
            Plot("embedding-angles", "Angle between embeddings after some layers against input angle.", embedding),
        ]

    def _table(self, settings: Settings, results: Mapping[str, Numbers]) -> Table:
        rows: list[list[Any]] = []
        for depth in settings["depths"]:
            for i in range(1, len(settings["angles"]), 4):
                relu, grelu = (results[kind]["angles"][str(depth)][i] for kind in ("relu", "grelu"))
                rows.append([depth, settings["angles"][i], relu, grelu])
        return Table("gradient-angles", "Gradient angles in degrees", ["depth", "input angle", "ReLU", "GReLU"], rows)


def _degrees(axes: Any) -> None:
    axes.set_xlim(0, 180)
    axes.set_ylim(0, 180)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_every(30))
        axis.set_major_formatter(lambda v, _: f"{v:g}°")


def _every(step: int) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


EXPERIMENT = Angles()
