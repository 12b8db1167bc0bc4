"""[S, Thm 4.5, 5.2]: two close samples, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch

from gatentk import ntk
from gatentk.papers.bounds.problem import SMALL
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim
from gatentk.reporting.text import given, number


@dataclass(frozen=True)
class PairNumbers:
    """Condition number and 1 - cos phi by depth, phi the angle between the gradients."""

    condition: list[float]
    gap: list[float]


@dataclass(frozen=True)
class Pair(Cell[Settings, PairNumbers]):
    """Two unit rows at an angle in degrees."""

    KEY = "pair {angle:g} degrees"

    angle: float

    def cost(self, settings: Settings) -> float:
        """Tenths of a second."""
        return SMALL

    def compute(self, settings: Settings) -> PairNumbers:
        """Numbers from the angles themselves: kappa = (1 + cos phi) / (1 - cos phi) = cot^2(phi / 2)."""
        theta = math.radians(self.angle)
        x = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], dtype=torch.float64)
        phis = [float(ntk.gradient_angles(x, depth)[0, 1]) for depth in settings.pair.depths]
        return PairNumbers(
            condition=[1 / math.tan(phi / 2) ** 2 for phi in phis], gap=[2 * math.sin(p / 2) ** 2 for p in phis]
        )


def cells(settings: Settings) -> Iterator[Pair]:
    """A cell for each angle."""
    return map(Pair, settings.pair.angles)


def theorem_4_5(settings: Settings, results: Results) -> list[Claim]:
    """The angle of the gradients of close samples."""
    part = settings.pair
    smallest = min(part.angles)
    theta, gaps = math.radians(smallest), results[Pair(smallest)].gap
    ratios = [gap / (depth * theta / (2 * math.pi)) for depth, gap in zip(part.depths, gaps, strict=True) if depth]
    return [
        Claim(
            "[S, Thm 4.5] corrected",
            "1 - cos phi = L theta / (2 pi) for close samples, phi the angle of their gradients.",
            f"At {given(smallest)} degrees the quotient of both sides is {number(min(ratios), 4)} to "
            f"{number(max(ratios), 4)}.",
            all(abs(ratio - 1) < 0.02 for ratio in ratios),
        )
    ]


def theorem_5_2(settings: Settings, results: Results) -> list[Claim]:
    """That the condition number falls with depth."""
    depths = settings.pair.depths
    conditions = {cell.angle: results[cell].condition for cell in cells(settings)}
    shown = "; ".join(f"{given(angle)} degrees: {number(v[0])} to {number(v[-1])}" for angle, v in conditions.items())
    return [
        Claim(
            "[S, Thm 5.2]",
            "For two close samples the condition number falls with every layer.",
            f"From depth {depths[0]} to {depths[-1]}: {shown}.",
            all(a > b for values in conditions.values() for a, b in pairwise(values)),
        )
    ]
