"""[G, Thm 5]: the eigenvalues of G^T G and F F^T, the products of layers before and behind a weight matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gatentk.papers.bounds.problem import SMALL, ackley, network
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Plot
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.train import quantities

LOWEST, HIGHEST = 1 / 12, 27 / 4  # in units of m / d
SIDES = ("G", "F")


@dataclass(frozen=True)
class SpanNumbers:
    """Smallest and largest eigenvalue over samples by layer, in units of m / d."""

    G: list[list[float]]
    F: list[list[float]]


@dataclass(frozen=True)
class Spans(Cell[Settings, SpanNumbers]):
    """The eigenvalues of one network at its start."""

    KEY = "spectra width {width} seed {seed}"

    width: int
    seed: int

    def cost(self, settings: Settings) -> float:
        """The work of the products."""
        part = settings.spectra
        return SMALL + part.measured * part.depth * self.width**2 * part.samples

    def compute(self, settings: Settings) -> SpanNumbers:
        """d is the number of inputs for G and that of outputs for F."""
        part = settings.spectra
        x, _ = ackley(part.samples)
        net = network(part.samples, self.width, part.depth, self.seed, part.outputs)
        few = x[: part.measured]
        spans = quantities.extreme_eigenvalues(net, few, net.gate_table(few))
        units = {"G": self.width / x.shape[1], "F": self.width / part.outputs}
        return SpanNumbers(
            **{side: [[low / unit, high / unit] for low, high in spans[side]] for side, unit in units.items()}
        )


def cells(settings: Settings) -> Iterator[Spans]:
    """A cell for each width and seed."""
    for width in settings.spectra.widths:
        for seed in range(settings.spectra.seeds):
            yield Spans(width, seed)


def _span(settings: Settings, results: Results, width: int, side: str) -> tuple[float, float]:
    """Smallest and largest eigenvalue over layers and seeds."""
    networks = [results[Spans(width, seed)] for seed in range(settings.spectra.seeds)]
    pairs = [pair for spans in networks for pair in (spans.G if side == "G" else spans.F)]
    return min(low for low, _ in pairs), max(high for _, high in pairs)


def claims(settings: Settings, results: Results) -> list[Claim]:
    """That all eigenvalues are in the range, in wide networks."""
    part = settings.spectra

    def inside(width: int) -> bool:
        spans = [_span(settings, results, width, side) for side in SIDES]
        return all(low >= LOWEST and high <= HIGHEST for low, high in spans)

    wide = [w for w in part.widths if all(inside(v) for v in part.widths if v >= w)]
    low, high = _span(settings, results, part.widths[-1], "G")
    return [
        Claim(
            "[G, Thm 5]",
            "In wide networks all eigenvalues of G^T G and F F^T lie in [m/(12 d), 27 m/(4 d)] at the start.",
            f"d_x = {2 * part.samples}, d_y = {part.outputs}, L = {part.depth}, {part.seeds} seeds: "
            + (f"true from width {wide[0]} on" if wide else "not true at any of the widths")
            + f"; at width {part.widths[-1]} those of G^T G lie in [{number(low)}, {number(high)}] m/d.",
            bool(wide),
        )
    ]


def plot(settings: Settings, results: Results) -> Plot:
    """The span by width, for both products."""
    widths = settings.spectra.widths
    figure, axes = figures.panels(
        [("Eigenvalues of GᵀG", "over layers and seeds"), ("Eigenvalues of FFᵀ", "over layers and seeds")],
        [("Width m", "in units of m / d")] * 2,
    )
    for axis, side, colour in zip(axes, SIDES, (style.BLUE, style.ORANGE), strict=True):
        lows, highs = zip(*(_span(settings, results, w, side) for w in widths), strict=True)
        axis.fill_between(widths, lows, highs, color=colour, alpha=0.25, linewidth=0)
        for ends in (lows, highs):
            axis.plot(widths, ends, color=colour, marker="o", markersize=3)
        for level in (LOWEST, HIGHEST):
            axis.axhline(level, color=style.GREEN, linestyle=style.DASHED, linewidth=1)
        axis.set_xscale("log", base=2)
        figures.logarithmic(axis)
        axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")
    caption = "Extreme eigenvalues at the start by width; dashed: the range of [G, Thm 5], 1/12 to 27/4."
    return Plot("bounds-eigenvalues", caption, figure)
