"""Angles between model gradients by depth, exact at infinite width: [S, Fig. 1, Fig. 4, Thm A.2]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from gatentk import ntk
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number

SUMMARY = "angles between gradients by depth, exact"
PLACE = 10

DEGREES = 180 / math.pi


@dataclass(frozen=True)
class Settings:
    """Angles in degrees.

    Attributes:
        depths: of the networks.
        angles, small_angles: between two samples.
        iterates: how often the map g of embedding angles is applied.
    """

    depths: tuple[int, ...]
    angles: tuple[float, ...]
    small_angles: tuple[float, ...]
    iterates: tuple[int, ...]


@dataclass(frozen=True)
class GradientAngles:
    """Between gradients, in degrees by depth, for the angles and the small angles between samples."""

    angles: dict[int, list[float]]
    small: dict[int, list[float]]


@dataclass(frozen=True)
class EmbeddingAngles:
    """Between embeddings, in degrees by layer."""

    angles: dict[int, list[float]]


def pairs(angles: Sequence[float]) -> torch.Tensor:
    """(angles, 2, 2): pairs of unit vectors at each of the angles (radians)."""
    t = torch.tensor(angles, dtype=torch.float64)
    first = torch.stack([torch.ones_like(t), torch.zeros_like(t)], -1)
    return torch.stack([first, torch.stack([t.cos(), t.sin()], -1)], 1)


def pair_angles(x: torch.Tensor, depth: int, activation: str) -> list[float]:
    """The gradient angle (radians) of each pair of a batch (pairs, 2, d)."""
    return [float(value) for value in ntk.gradient_angles(x, depth, activation)[:, 0, 1]]


def in_degrees(angles: Sequence[float]) -> list[float]:
    """Angles in degrees from angles in radians."""
    return [DEGREES * angle for angle in angles]


@dataclass(frozen=True)
class GradientCell(Cell[Settings, GradientAngles]):
    """Gradient angles of all depths."""

    activation: str

    KEY = "{activation}"

    def cost(self, settings: Settings) -> float:
        """All cells are quick."""
        return 1.0

    def compute(self, settings: Settings) -> GradientAngles:
        """The angles that `gatentk.ntk.gradient_angles` computes."""
        x, small = (pairs([a / DEGREES for a in angles]) for angles in (settings.angles, settings.small_angles))
        return GradientAngles(
            {depth: in_degrees(pair_angles(x, depth, self.activation)) for depth in settings.depths},
            {depth: in_degrees(pair_angles(small, depth, self.activation)) for depth in settings.depths},
        )


@dataclass(frozen=True)
class EmbeddingCell(Cell[Settings, EmbeddingAngles]):
    """Embedding angles of all layers."""

    KEY = "embedding"

    def cost(self, settings: Settings) -> float:
        """All cells are quick."""
        return 1.0

    def compute(self, settings: Settings) -> EmbeddingAngles:
        """The angles that `gatentk.ntk.embedding_angles` computes."""
        x = pairs([a / DEGREES for a in settings.angles])
        by_layer = {layer: ntk.embedding_angles(x, layer)[:, 0, 1].tolist() for layer in settings.iterates}
        return EmbeddingAngles({layer: in_degrees(angles) for layer, angles in by_layer.items()})


class Angles(Experiment[Settings]):
    """Gradient angle against input angle; the map g of embedding angles and its iterates."""

    name = "angles"
    title = "Angles between gradients grow with depth"
    source = "[S, Fig. 1, Fig. 4, Thm 4.1, 4.4, 4.5, Cor. 4.3, Prop. A.1, Thm A.2]"

    def settings(self, scale: Scale) -> Settings:
        """The same at every scale: all values are closed forms."""
        return Settings(
            depths=(1, 2, 3, 5, 10, 20, 50, 100),
            angles=tuple(torch.linspace(0.25, 180, 720, dtype=torch.float64).tolist()),
            small_angles=(1e-6, 1e-4, 1e-2, 0.1, 1.0),
            iterates=(1, 2, 5, 10, 50),
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """One for each activation and for the embedding angles."""
        return [GradientCell("relu"), GradientCell("grelu"), EmbeddingCell()]

    def findings(self, settings: Settings, results: Results) -> Findings:
        """The statements about angles, and the two figures."""
        relu, grelu, embedding = results[GradientCell("relu")], results[GradientCell("grelu")], results[EmbeddingCell()]
        claims = [
            _separation(settings, relu),
            _growth(settings, relu),
            _slope(settings, relu),
            *_collapse(settings, embedding),
        ]
        return Findings(
            claims,
            lambda: [_plot_gradients(settings, relu, grelu), _plot_embeddings(settings, embedding)],
            [_table(settings, relu, grelu)],
        )


def _separation(settings: Settings, relu: GradientAngles) -> Claim:
    below = [i for i, a in enumerate(settings.angles) if a < 60]
    holds = all(relu.angles[d][i] > settings.angles[i] for d in settings.depths for i in below)
    margin = min(relu.angles[d][i] / settings.angles[i] for d in settings.depths for i in below)
    return Claim(
        "[S, Fig. 1, Thm 4.5]",
        "The angle between gradients of a ReLU network is larger than that between the samples, for samples that are "
        "close; a linear network leaves it as it is.",
        f"Below 60 degrees the gradient angle is at least {number(margin)} times the input angle at every depth from "
        f"{settings.depths[0]} to {settings.depths[-1]}.",
        holds,
    )


def _growth(settings: Settings, relu: GradientAngles) -> Claim:
    below = [i for i, a in enumerate(settings.angles) if a < 60]
    steps = list(pairwise(settings.depths))
    holds = all(relu.angles[a][i] < relu.angles[b][i] for a, b in steps for i in below)
    index = settings.small_angles.index(1.0)
    first, last = (relu.small[d][index] for d in (settings.depths[0], settings.depths[-1]))
    return Claim(
        "[S, Thm 4.5]",
        "The deeper the network, the larger the gradient angle of close samples.",
        f"Samples 1 degree apart have gradients {number(first)} degrees apart at depth {settings.depths[0]} and "
        f"{number(last)} at depth {settings.depths[-1]}; below 60 degrees it "
        f"{'grows at every step' if holds else 'does not grow at every step'}.",
        holds,
    )


def _slope(settings: Settings, relu: GradientAngles) -> Claim:
    smallest = settings.small_angles[0] / DEGREES
    ratios = [
        2 * math.sin(relu.small[d][0] / DEGREES / 2) ** 2 / (d * smallest / (2 * math.pi)) for d in settings.depths
    ]
    worst = max(abs(r - 1) for r in ratios)
    return Claim(
        "[S, Thm 4.5]",
        "For small input angles theta, 1 - cos(phi) of the gradient angle phi is L theta / (2 pi) to first order (the "
        "proof's last line; the printed constant differs).",
        f"At theta = {given(settings.small_angles[0])} degrees the two differ by at most {number(worst, 2)} relative, "
        f"over depths {settings.depths[0]} to {settings.depths[-1]}.",
        worst < 0.01,
    )


def _collapse(settings: Settings, embedding: EmbeddingAngles) -> list[Claim]:
    angles, iterates = settings.angles, settings.iterates
    once = embedding.angles[1]
    rising = all(a < b for a, b in pairwise(once))
    below = all(g <= t for g, t in zip(once, angles, strict=True))
    last = embedding.angles[iterates[-1]]
    falling = all(
        embedding.angles[b][i] <= embedding.angles[a][i] for a, b in pairwise(iterates) for i in range(len(angles))
    )
    return [
        Claim(
            "[S, Prop. A.1]",
            "The map g of embedding angles is increasing and g(t) <= t.",
            f"On {len(angles)} angles up to 180 degrees g {'increases' if rising else 'does not always increase'} and "
            f"g(t) <= t {'everywhere' if below else 'does not hold everywhere'}; g(180 degrees) = {number(once[-1])} "
            "degrees.",
            rising and below,
        ),
        Claim(
            "[S, Thm A.2]",
            "Embeddings of all samples collapse to one direction with depth: the iterates of g tend to 0.",
            f"The largest angle falls from 180 degrees to {number(max(last))} after {iterates[-1]} layers, and "
            f"{'every angle falls' if falling else 'not every angle falls'} at each step. It does so like "
            "3 pi / L, not geometrically.",
            falling and max(last) < 180,
        ),
    ]


def _plot_gradients(settings: Settings, relu: GradientAngles, grelu: GradientAngles) -> Plot:
    x = settings.angles
    figure, both = figures.panels(
        [("ReLU", "infinite width, all weights trained"), ("GReLU", "infinite width, gates fixed")],
        [("Angle between samples", "Angle between gradients")] * 2,
    )
    for axes, computed in zip(both, (relu, grelu), strict=True):
        for index, depth in enumerate(settings.depths):
            shade = 0.25 + 0.75 * index / (len(settings.depths) - 1)
            axes.plot(x, computed.angles[depth], color=style.BLUE, alpha=shade, label=f"depth {depth}")
        axes.plot(x, x, color=style.ORANGE, linestyle=style.DASHED, label="linear")
        _degrees(axes)
        figures.legend(axes, ncols=2, loc="lower right")
    return Plot("gradient-angles", "Gradient angle against input angle by depth; linear networks dashed.", figure)


def _plot_embeddings(settings: Settings, embedding: EmbeddingAngles) -> Plot:
    x = settings.angles
    figure, (left,) = figures.panels(
        [("Embedding angles collapse", "g and its iterates")],
        [("Angle between samples", "Angle between embeddings")],
    )
    for index, depth in enumerate(settings.iterates):
        shade = 0.3 + 0.7 * index / (len(settings.iterates) - 1)
        left.plot(x, embedding.angles[depth], color=style.GREEN, alpha=shade, label=f"layer {depth}")
    left.plot(x, x, color=style.ORANGE, linestyle=style.DASHED, label="linear")
    _degrees(left)
    figures.legend(left, loc="upper left")
    return Plot("embedding-angles", "Angle between embeddings after some layers against input angle.", figure)


def _table(settings: Settings, relu: GradientAngles, grelu: GradientAngles) -> Table:
    rows: list[list[Any]] = []
    for depth in settings.depths:
        for i in range(1, len(settings.angles), 4):
            rows.append([depth, settings.angles[i], relu.angles[depth][i], grelu.angles[depth][i]])
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
