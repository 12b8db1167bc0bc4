"""Other gates than those of [G]: deep or half-spaces, of the samples or of their differences from the mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gatentk import nn, ntk
from gatentk.gates import GateNetwork
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Plot, Table
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.papers.grelu_conditioning.cells import FiniteCell, InfiniteCell, Kernel, Settings, measured, steps_of
from gatentk.reporting import figures, style
from gatentk.reporting.text import number


class Gates(NamedTuple):
    """A kind of gates, and whether they see samples from their mean."""

    kind: str
    centred: bool

    def network(
        self, x: torch.Tensor, width: int = 1, depth: int = 0, block: int = 1, generator: torch.Generator | None = None
    ) -> GateNetwork:
        """The network that draws them; without sizes one that names them to kernels of infinite width."""
        center = x.mean(dim=0) if self.centred else None
        return GateNetwork(
            x.shape[1], width, depth, generator, x.dtype, block=block, kind=self.kind, center=center, device=x.device
        )


# In the order of figures and tables. The words are part of the keys of cells.
GATES = {
    "deep": Gates("deep", centred=False),
    "deep centred": Gates("deep", centred=True),
    "shallow": Gates("shallow", centred=False),
    "shallow centred": Gates("shallow", centred=True),
}
BEST = "shallow centred"
DEPTHS = (1, 2, 3, 5, 10, 20)
BLOCKS = (1, 16)  # of finite networks: neurons that share a gate, where that leaves so many gates
FEWEST_GATES = 16  # a layer: with fewer all may be off for a sample, whose gradient is then 0

COLOURS = dict(zip(GATES, (style.SKY, style.BLUE, style.YELLOW, style.GREEN), strict=True))


@dataclass(frozen=True)
class GateCell(Cell[Settings, Kernel]):
    """The kernel at infinite width, of all samples or of those some that finite networks have."""

    data: str
    gates: str
    depth: int
    some: bool = False

    @property
    def key(self) -> str:
        """The kernel, with what is compared with it."""
        return f"{self.data} grelu {self.gates} gates depth {self.depth}" + (" some" if self.some else "")

    def cost(self, settings: Settings) -> float:
        """Samples to the third power."""
        return float(settings.finite_samples if self.some else settings.samples[self.data]) ** 3

    def compute(self, settings: Settings) -> Kernel:
        """The kernel's numbers, with the steps of gradient descent on the labels."""
        x, targets = settings.rows(self.data)
        some = settings.finite_samples if self.some else None
        x, targets = x[:some], None if targets is None else targets[:some]
        gates = _named_by(GATES[self.gates], x)
        K = ntk.infinite(x, depth=self.depth, activation="grelu", gates=gates)
        angle = ntk.min_angle(x, self.depth, "grelu", gates=gates)
        return measured(K, angle, steps_of(K, targets, settings))


def _named_by(gates: Gates, x: torch.Tensor) -> str | GateNetwork:
    """The argument that names them: a network of one neuron would share its matrix if it were deep and not centred."""
    return gates.network(x) if gates.centred else gates.kind


@dataclass(frozen=True)
class FiniteGateCell(Cell[Settings, Kernel]):
    """The kernel of a network of finite width whose neurons share gates."""

    data: str
    gates: str
    block: int
    depth: int
    seed: int

    KEY = "{data} grelu {gates} gates of {block} depth {depth} seed {seed}"

    def cost(self, settings: Settings) -> float:
        """Passes through the weights."""
        return float(settings.finite_samples) * settings.width**2 * self.depth

    def compute(self, settings: Settings) -> Kernel:
        """Of the weights between C and B, as those of the other GReLU networks."""
        x = settings.rows(self.data)[0][: settings.finite_samples]
        generator = torch.Generator().manual_seed(self.seed)
        drawn = GATES[self.gates].network(x, settings.width, self.depth, self.block, generator)
        net = nn.GReLUNetwork(x.shape[1], settings.width, self.depth, gates=drawn, generator=generator, dtype=x.dtype)
        K = ntk.empirical(net, x)
        angles = ntk.angles_from_kernel(K)
        return measured(K, float(angles.fill_diagonal_(math.inf).min()), None)


def depths_of(settings: Settings) -> list[int]:
    """Depths at which kernels of all kinds are computed."""
    return [depth for depth in settings.depths if depth in DEPTHS]


def gate_cells(settings: Settings) -> Iterator[GateCell | FiniteGateCell]:
    """Kernels of all gates but those of [G], by data set and depth; finite ones by block and seed too."""
    for name in settings.samples:
        for depth in depths_of(settings):
            for gates in GATES:
                yield GateCell(name, gates, depth)
        for depth in settings.finite_depths:
            yield GateCell(name, BEST, depth, some=True)
            for block in _blocks(settings):
                for seed in range(settings.seeds):
                    yield FiniteGateCell(name, BEST, block, depth, seed)


def _blocks(settings: Settings) -> tuple[int, ...]:
    return tuple(block for block in BLOCKS if block == 1 or block * FEWEST_GATES <= settings.width)


def better_gates(settings: Settings, results: Results, name: str) -> Claim:
    """That shallow gates of centred samples are better conditioned than those of [G]."""
    depths = depths_of(settings)
    pairs = [(results[InfiniteCell(name, "grelu", d)], results[GateCell(name, BEST, d)]) for d in depths]
    holds = all(best.condition is not None and paper.condition_bound > best.condition for paper, best in pairs)
    unresolved = any(not kernel.resolved for pair in pairs for kernel in pair)
    shown = ", ".join(
        f"L = {d}: {paper.condition_text}; "
        + ", ".join(f"{gates} {results[GateCell(name, gates, d)].condition_text}" for gates in GATES)
        for d, (paper, _) in zip(depths, pairs, strict=True)
    )
    return Claim(
        "[G, Sec. 2]; other gates are new",
        f"The gates of [G] are not the best conditioned ones: on unit rows of {name} half-spaces of centred samples "
        "have the smaller condition number at every depth.",
        f"{pairs[0][0].samples:,} samples, gates of [G] and others: {shown}.",
        holds if holds or not unresolved else None,
    )


def faster_gates(settings: Settings, results: Results, name: str) -> Claim:
    """That gradient descent takes fewer steps with these gates."""
    depths = depths_of(settings)
    rows = [(d, results[InfiniteCell(name, "grelu", d)].steps, results[GateCell(name, BEST, d)].steps) for d in depths]
    known = [(d, paper, best) for d, paper, best in rows if paper is not None and best is not None]
    shown = ", ".join(f"L = {d}: {number(float(p))} and {number(float(b))}" for d, p, b in known)
    return Claim(
        "kernel regime; other gates are new",
        "With them gradient descent takes fewer steps.",
        f"{name}, as above, gates of [G] and {BEST}: {shown or 'more than can be counted'}.",
        all(best < paper for _, paper, best in known) if known else None,
    )


def shared_gates(settings: Settings, results: Results, name: str) -> Claim:
    """That they stay better conditioned where neurons share them."""
    seeds, blocks, depths = range(settings.seeds), _blocks(settings), settings.finite_depths
    paper = {
        d: geometric_mean([results[FiniteCell(name, "grelu", d, s)].condition_bound for s in seeds]) for d in depths
    }
    shared = {
        (b, d): geometric_mean([results[FiniteGateCell(name, BEST, b, d, s)].condition_bound for s in seeds])
        for b in blocks
        for d in depths
    }
    shown = ", ".join(
        f"L = {d}: {number(paper[d])}; " + " and ".join(number(shared[b, d]) for b in blocks) for d in depths
    )
    limits = ", ".join(results[GateCell(name, BEST, d, some=True)].condition_text for d in depths)
    undone = f", and {blocks[-1]} neurons to a gate do not undo it" if blocks[1:] else ""
    return Claim(
        "finite width; other gates are new",
        f"Networks of width {settings.width:,} show the same order{undone}.",
        f"{name}, {settings.finite_samples} samples, geometric means over {settings.seeds} seeds, gates of [G]; {BEST} "
        f"gates of {' and '.join(map(str, blocks))}: {shown}. At infinite width these samples have {limits}.",
        all(shared[b, d] < paper[d] for b in blocks for d in depths),
    )


def plots(settings: Settings, results: Results) -> list[Plot]:
    """Condition numbers by depth and gates."""
    shown, depths = [], depths_of(settings)
    for name in settings.samples:
        figure, (axes,) = figures.panels(
            [("Condition number by gates", f"{name}, unit rows, infinite width")], [("Depth", "λmax / λmin")]
        )
        lines = {"as in [G]": [results[InfiniteCell(name, "grelu", d)] for d in depths]}
        lines |= {gates: [results[GateCell(name, gates, d)] for d in depths] for gates in GATES}
        for label, kernels in lines.items():
            colour = COLOURS.get(label, style.ORANGE)
            known = [(d, k.condition) for d, k in zip(depths, kernels, strict=True) if k.condition is not None]
            if known:
                axes.plot(*zip(*known, strict=True), color=colour, label=label)
            unknown = [(d, k.condition_bound) for d, k in zip(depths, kernels, strict=True) if k.condition is None]
            figures.bounds(axes, [d for d, _ in unknown], [v for _, v in unknown], colour)
        figures.logarithmic(axes)
        figures.integers(axes)
        figures.legend(axes)
        caption = (
            f"Condition number of the GReLU kernel of {lines['as in [G]'][0].samples:,} samples of {name} by depth: "
            "with the gates of [G], with those of a deep network that has a first matrix of its own, and with "
            "half-spaces; of the samples as they are and of their differences from the mean."
        )
        shown.append(Plot(f"grelu-gates-{name}", caption, figure))
    return shown


def table(settings: Settings, results: Results) -> Table:
    """All kernels of these gates."""
    columns = [
        "data",
        "samples",
        "depth",
        "gates",
        "neurons to a gate",
        "seed",
        "min angle (deg)",
        "condition",
        "at least",
        "steps",
    ]
    rows = []
    for cell in gate_cells(settings):
        r = results[cell]
        finite = (cell.block, cell.seed) if isinstance(cell, FiniteGateCell) else (None, None)
        kernel = [cell.data, r.samples, cell.depth, cell.gates, *finite]
        rows.append([*kernel, r.min_angle, r.condition, r.condition_bound, r.steps])
    return Table("grelu-gates", "Kernels of other gates", columns, rows)
