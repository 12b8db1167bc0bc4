"""[S, Thm 3.1, 4.4]: the norm of the gradient, whose printed formula lacks a square."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from gatentk import ntk
from gatentk.nn import MLP
from gatentk.papers.bounds.problem import SMALL
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim
from gatentk.reporting.text import given, number


@dataclass(frozen=True)
class NormNumbers:
    """Mean of |grad f(x)|^2 over networks, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class Norm(Cell[Settings, NormNumbers]):
    """Networks of finite width at one sample."""

    KEY = "norms {activation} depth {depth}"

    activation: str
    depth: int

    def cost(self, settings: Settings) -> float:
        """Less than a second."""
        return 3 * SMALL

    def compute(self, settings: Settings) -> NormNumbers:
        """The mean over seeds, and its error."""
        part = settings.norms
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, part.inputs, generator=generator, dtype=torch.float64)
        x *= part.norm / x.norm()
        squares = [float(ntk.empirical(self._network(settings, seed), x)[0, 0]) for seed in range(part.seeds)]
        mean = fmean(squares)
        error = math.sqrt(sum((s - mean) ** 2 for s in squares) / (len(squares) - 1) / len(squares))
        return NormNumbers(mean, error)

    def _network(self, settings: Settings, seed: int) -> MLP:
        generator, part = torch.Generator().manual_seed(seed), settings.norms
        return MLP(
            part.inputs,
            part.width,
            self.depth,
            activation=self.activation,
            generator=generator,
            dtype=torch.float64,
        )


def cells(settings: Settings) -> Iterator[Norm]:
    """A cell for each activation and depth."""
    for activation in ("linear", "relu"):
        for depth in settings.norms.depths:
            yield Norm(activation, depth)


def claims(settings: Settings, results: Results) -> list[Claim]:
    """The formula with the square, and as printed."""
    part = settings.norms
    measured = [(cell, results[cell]) for cell in cells(settings)]
    square, plain = part.norm**2, part.norm
    off = max(abs(r.mean - (cell.depth + 1) * square) / r.error for cell, r in measured)
    off_plain = max(abs(r.mean - (cell.depth + 1) * plain) / r.error for cell, r in measured)
    shown = ", ".join(
        f"{number(r.mean / (cell.depth + 1))} ({cell.activation}, L = {cell.depth})" for cell, r in measured
    )
    return [
        Claim(
            "[S, Thm 3.1, 4.4] corrected",
            "|grad f(x)|^2 = (L + 1) |x|^2 in the mean over networks.",
            f"|x| = {given(plain)}, width {part.width}, {part.seeds} seeds: |grad f|^2 / (L + 1) is {shown}; at most "
            f"{number(off, 2)} standard errors from |x|^2 = {given(square)}.",
            off < 4.5,
        ),
        Claim(
            "[S, Thm 3.1, 4.4] as printed",
            "|grad f(x)| = (L + 1) |x|, the norms not squared.",
            f"Read as the square of the gradient against |x| = {given(plain)}: {number(off_plain, 2)} standard errors "
            "off. It is a misprint.",
            off_plain < 4.5,
        ),
    ]
