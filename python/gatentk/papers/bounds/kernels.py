"""[S, Prop. 2.2, Thm 5.1, 5.2]: what the kernel at infinite width has to do with pairs of samples and with depth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from gatentk import data, ntk
from gatentk.papers.bounds.problem import SMALL
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.frame.findings import Claim, Table
from gatentk.reporting.text import number
from gatentk.scaling import unit_rows
from gatentk.spectra import spectrum

GRAM, COMPONENT = "gram", "component"


@dataclass(frozen=True)
class KernelNumbers:
    """What is known of one kernel.

    Attributes:
        condition: None where it is not resolved.
        lmin: smallest eigenvalue.
        pair_bound: the bound of [S, Prop. 2.2] on it, for the closest pair of samples.
    """

    condition: float | None
    lmin: float
    pair_bound: float


def pair_bound(K: Tensor) -> float:
    """The least of 2 a^2 b^2 (1 - cos phi) / (a^2 + b^2) over pairs, a and b the norms of their gradients."""
    squares = K.diagonal()
    product, total = squares.outer(squares), squares.unsqueeze(0) + squares.unsqueeze(1)
    bound = 2 * (product - product.sqrt() * K) / total
    bound.fill_diagonal_(math.inf)
    return float(bound.min())


@dataclass(frozen=True)
class Kernels(Cell[Settings, dict[str, KernelNumbers]]):
    """All kernels of some samples: the Gram matrix, that of the first layer at depth 1, and full ones by depth."""

    name: str
    n: int
    d: int | None

    @property
    def samples(self) -> str:
        """Which, in words."""
        return f"{self.name} {self.n}" + (f" x {self.d}" if self.d else "")

    @property
    def key(self) -> str:
        """The samples, with the sizes that are given."""
        return f"kernels {self.samples}"

    def cost(self, settings: Settings) -> float:
        """Two seconds."""
        return 20 * SMALL

    def rows(self) -> Tensor:
        """Gaussian rows, or unit rows of a data set."""
        if self.name == "gaussian":
            generator = torch.Generator().manual_seed(0)
            return torch.randn(self.n, self.d or self.n, generator=generator, dtype=torch.float64)
        return unit_rows(data.load(self.name, n=self.n).x)

    def compute(self, settings: Settings) -> dict[str, KernelNumbers]:
        """Numbers by the name of the kernel."""
        x = self.rows()
        kernels = {
            GRAM: ntk.infinite(x, depth=0),
            COMPONENT: ntk.infinite(x, depth=1, components=True)[0],
            **{_full(depth): ntk.infinite(x, depth=depth) for depth in settings.kernels.depths},
        }
        return {name: _numbers(K) for name, K in kernels.items()}


def _numbers(K: Tensor) -> KernelNumbers:
    s = spectrum(K)
    return KernelNumbers(float(s.condition) if s.resolved else None, float(s.lmin), pair_bound(K))


def _full(depth: int) -> str:
    return f"depth {depth}"


def cells(settings: Settings) -> Iterator[Kernels]:
    """A cell for each data set."""
    return (Kernels(*entry) for entry in settings.kernels.data)


def proposition_2_2(settings: Settings, results: Results) -> list[Claim]:
    """That every pair of samples bounds the smallest eigenvalue."""
    every = [kernel for cell in cells(settings) for kernel in results[cell].values()]
    slack = min(kernel.pair_bound / kernel.lmin for kernel in every if kernel.lmin > 0)
    return [
        Claim(
            "[S, Prop. 2.2]",
            "The smallest eigenvalue is at most 2 a^2 b^2 (1 - cos phi)/(a^2 + b^2) for any two samples, a and b the "
            "norms of their gradients.",
            f"For {len(every)} kernels the bound of the closest pair is at least {number(slack)} times the smallest "
            "eigenvalue.",
            slack >= 1 - 1e-6,
        )
    ]


def theorem_5_1(settings: Settings, results: Results) -> list[Claim]:
    """That a hidden layer improves the Gram matrix: as stated, and for all weights."""
    known = {}
    for cell in cells(settings):
        gram, component, full = (results[cell][name].condition for name in (GRAM, COMPONENT, _full(1)))
        if gram is not None and component is not None and full is not None:
            known[cell.samples] = (gram, component, full)
    shown = ", ".join(f"{number(a)} to {number(b)} ({samples})" for samples, (a, b, _) in known.items())
    full_shown = ", ".join(f"{number(a)} and {number(c)} ({samples})" for samples, (a, _, c) in known.items())
    return [
        Claim(
            "[S, Thm 5.1]",
            "At depth 1, with only the first layer trained, the condition number is below that of the Gram matrix.",
            f"From {shown}.",
            all(b < a for a, b, _ in known.values()),
        ),
        Claim(
            "[S, Thm 5.1] for all weights",
            "The same of the kernel of all weights at depth 1. (The theorem does not say so, but is easily read so.)",
            f"Gram matrix and full kernel: {full_shown}.",
            all(c < a for a, _, c in known.values()),
        ),
    ]


def theorem_5_2(settings: Settings, results: Results) -> list[Claim]:
    """That the condition number falls with depth, which is stated for two samples: for more of them."""
    depths, rising = settings.kernels.depths, {}
    for cell in cells(settings):
        conditions = [results[cell][_full(depth)].condition for depth in depths]
        known = [value for value in conditions if value is not None]
        if len(known) == len(conditions) and any(a <= b for a, b in pairwise(known)):
            rising[cell.samples] = ", ".join(map(number, known))
    shown = "; ".join(f"{samples}: {values}" for samples, values in rising.items())
    return [
        Claim(
            "[S, Thm 5.2] for more samples",
            "The condition number falls with depth for data in general. (The theorem is for two close samples.)",
            f"Depths {', '.join(map(str, depths))}: {shown or 'it falls for all data sets'}.",
            not rising,
        )
    ]


def table(settings: Settings, results: Results) -> Table:
    """All kernels."""
    rows = [
        [cell.samples, name, kernel.condition, kernel.lmin, kernel.pair_bound]
        for cell in cells(settings)
        for name, kernel in results[cell].items()
    ]
    return Table(
        "bounds-kernels",
        "Kernels at infinite width, and Prop. 2.2 for the closest pair",
        ["data", "kernel", "condition", "lambda_min", "bound"],
        rows,
    )
