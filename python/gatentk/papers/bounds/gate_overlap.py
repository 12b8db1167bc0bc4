"""[G, Lemma 4, Thm 6]: neurons that two samples share, and the kernel entries that fall with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from gatentk import ntk, ops
from gatentk.gates import GateNetwork
from gatentk.papers.bounds.problem import SMALL, ackley
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Plot
from gatentk.papers.frame.statistics import exponent
from gatentk.reporting import figures, style
from gatentk.reporting.text import number

SHARE = 1 / 3  # of [G, Lemma 4]
LAYER_DECAY = 5 / 6  # of [G, Thm 6]


@dataclass(frozen=True)
class OverlapNumbers:
    """Shares of the neurons of a layer that two samples have in common.

    Attributes:
        mean, largest: over pairs of samples, by layer.
        expected: (1 - theta_k/pi) / 2, the mean over pairs by layer.
        product, expected_product: of twice the share over layers 1..k, the mean over pairs by k.
    """

    mean: list[float]
    largest: list[float]
    expected: list[float]
    product: list[float]
    expected_product: list[float]


@dataclass(frozen=True)
class Overlap(Cell[Settings, OverlapNumbers]):
    """The neurons that samples share in one gate network."""

    KEY = "gates seed {seed}"

    seed: int

    def cost(self, settings: Settings) -> float:
        """The work of drawing its weights."""
        return SMALL + 50 * settings.gates.depth * settings.gates.width**2

    def compute(self, settings: Settings) -> OverlapNumbers:
        """The shares for Ackley data, whose samples are almost orthogonal."""
        part = settings.gates
        x, _ = ackley(part.samples)
        generator = torch.Generator().manual_seed(self.seed)
        table = GateNetwork(x.shape[1], part.width, part.depth, generator, torch.float32).table(x)
        above = torch.triu_indices(len(x), len(x), 1)
        pairs = tuple(above)
        shares = torch.stack([ops.gate_gram(bits)[pairs].double() for bits in table.bits]) / part.width
        angles = torch.stack([ntk.embedding_angles(x, k)[pairs] for k in range(part.depth + 1)])
        expected = (1 - angles / math.pi) / 2
        return OverlapNumbers(
            mean=shares.mean(dim=1).tolist(),
            largest=shares.max(dim=1).values.tolist(),
            expected=expected.mean(dim=1).tolist(),
            # Layer 0 is left out: C stays in the kernel's cos(theta_1).
            product=(2 * shares[1:]).cumprod(dim=0).mean(dim=1).tolist(),
            expected_product=(2 * expected[1:]).cumprod(dim=0).mean(dim=1).tolist(),
        )


@dataclass(frozen=True)
class DecayNumbers:
    """The product of 1 - theta_s/pi over layers 1..k, by k."""

    product: list[float]


@dataclass(frozen=True)
class Decay(Cell[Settings, DecayNumbers]):
    """The kernel's decay for two orthogonal samples, exact at infinite width."""

    KEY = "decay"

    def cost(self, settings: Settings) -> float:
        """Tenths of a second."""
        return SMALL

    def compute(self, settings: Settings) -> DecayNumbers:
        """The product from the angles of their embeddings."""
        x = torch.eye(2, dtype=torch.float64)
        layers = range(1, settings.decay.depth + 1)
        factors = [1 - float(ntk.embedding_angles(x, k)[0, 1]) / math.pi for k in layers]
        return DecayNumbers(torch.tensor(factors, dtype=torch.float64).cumprod(0).tolist())


def cells(settings: Settings) -> Iterator[Overlap | Decay]:
    """Gate networks by seed, and the limit."""
    yield from map(Overlap, range(settings.gates.seeds))
    yield Decay()


def _overlaps(settings: Settings, results: Results) -> list[OverlapNumbers]:
    return [results[Overlap(seed)] for seed in range(settings.gates.seeds)]


def claims(settings: Settings, results: Results) -> list[Claim]:
    """The bound on the share and what it is, and the decay of the kernel."""
    return [*_lemma_4(settings, results), _theorem_6(results)]


def _lemma_4(settings: Settings, results: Results) -> list[Claim]:
    part, overlaps = settings.gates, _overlaps(settings, results)
    layers = range(part.depth + 1)
    mean = [fmean(r.mean[k] for r in overlaps) for k in layers]
    largest = [max(r.largest[k] for r in overlaps) for k in layers]
    holding = [k for k in layers if mean[k] <= SHARE]
    everywhere = [k for k in layers if largest[k] <= SHARE]
    off = max(abs(a - b) for a, b in zip(mean, overlaps[0].expected, strict=True))
    early = min(2, part.depth)
    return [
        Claim(
            "[G, Lemma 4]",
            "Two samples share at most a third of the neurons of a layer: |I_i and I_j| <= m/3.",
            f"n = {part.samples} almost orthogonal samples, width {part.width}: the mean share is {number(mean[0])} in "
            f"layer 0, {number(mean[early])} in layer {early} and {number(mean[-1])} in layer {part.depth}; it is at "
            f"most 1/3 in {len(holding)} of {len(layers)} layers, and the share of every pair is in {len(everywhere)}; "
            f"the largest in layer 0 is {number(largest[0])}.",
            len(everywhere) == len(layers),
        ),
        Claim(
            "[G, Lemma 4] corrected",
            "The share is (1 - theta_k/pi)/2, and grows to 1/2 with depth.",
            f"Measured and expected means differ by at most {number(off, 2)} over layers 0 to {part.depth}, and the "
            f"share in the last layer is {number(mean[-1])}.",
            off < 0.05 and mean[-1] > mean[0],
        ),
    ]


def _theorem_6(results: Results) -> Claim:
    product = results[Decay()].product
    above = next((k for k, value in enumerate(product, 1) if value > LAYER_DECAY**k), None)
    half = len(product) // 2
    slope = exponent(range(half, len(product) + 1), product[half - 1 :])
    return Claim(
        "[G, Thm 6]",
        "Off-diagonal entries of the kernel fall with depth like (5/6)^k.",
        f"For orthogonal samples, exactly: the product of 1 - theta_s/pi over k layers is "
        f"{number(product[min(4, len(product) - 1)])} at k = 5, (5/6)^5 being {number(LAYER_DECAY**5)}, and "
        f"{number(product[-1])} at k = {len(product)}, where (5/6)^k is {number(LAYER_DECAY ** len(product))}; "
        + (f"it is above from k = {above} on" if above else "it stays below")
        + f". It is a power law, k^{slope:.2f} in the second half (k^-3 in the limit).",
        above is None,
    )


def plot(settings: Settings, results: Results) -> Plot:
    """Shares and products by layer, measured and expected, with both bounds."""
    part, overlaps = settings.gates, _overlaps(settings, results)
    layers = list(range(part.depth + 1))
    figure, (share, product) = figures.panels(
        [
            ("Neurons two samples share", f"mean over pairs of {part.samples} samples, width {part.width}"),
            ("Product of 1 − θ/π", "what off-diagonal entries are multiplied by"),
        ],
        [("Layer k", "share of the layer"), ("Layer k", "product over layers 1..k")],
    )
    share.plot(layers, overlaps[0].expected, color=style.BLUE, label="(1 − θ/π)/2")
    share.axhline(SHARE, color=style.ORANGE, linestyle=style.DASHED, linewidth=1, label="1/3, [G, Lemma 4]")
    exact = results[Decay()].product
    every = range(1, len(exact) + 1)
    product.plot(every, exact, color=style.BLUE, label="exact, orthogonal samples")
    decay = [LAYER_DECAY**k for k in every]
    product.plot(every, decay, color=style.ORANGE, linestyle=style.DASHED, label="(5/6)ᵏ, [G, Thm 6]")
    for index, r in enumerate(overlaps):
        label = "measured" if index == 0 else None
        share.plot(layers, r.mean, ".", color=style.GREEN, markersize=3, label=label)
        product.plot(layers[1:], r.product, ".", color=style.GREEN, markersize=3, label=label)
    share.set_ylim(0, 0.55)
    figures.logarithmic(product)
    figures.legend(share, loc="lower right")
    figures.legend(product, loc="lower left")
    for axis in (share, product):
        figures.integers(axis)
    caption = (
        "Share of neurons that are on for both of two samples, by layer, and the product that the kernel's "
        "off-diagonal entries fall with: a power of the depth and not (5/6)^k."
    )
    return Plot("bounds-gates", caption, figure)
