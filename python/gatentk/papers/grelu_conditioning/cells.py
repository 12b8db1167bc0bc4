"""Kernels of the two kinds of network on unit rows, and what is known of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch

from gatentk import data, nn, ntk, scaling
from gatentk.data.rows import first_occurrences
from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Cell, UserFile
from gatentk.papers.kernel_descent import KernelDescent
from gatentk.reporting.text import number
from gatentk.spectra import spectrum

COMPARED = ("relu", "grelu")


@lru_cache(maxsize=2)
def unit_rows(name: str, n: int, seed: int, path: str | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Samples of norm 1, different from each other, and centred targets (n, outputs) of mean square 1 if they have any.

    Args:
        name, path: of a data set; features that the user calls `librispeech` are an NPY file.
        n: number of samples, or all if there are fewer.
        seed: of the choice.
    """
    source = datasets.source(name, path)
    available = n if path is None else min(n, len(data.load(source, path=path).x))
    dataset = data.load(source, n=available, seed=seed, path=path)
    kept = dataset.x.any(dim=1)
    x = dataset.x[kept]
    x = scaling.unit_rows(x)
    first = first_occurrences(x)
    x = x[first]
    if dataset.y is None:
        return x, None
    y = dataset.y[kept][first]
    targets = y.double().unsqueeze(1) if y.is_floating_point() else torch.nn.functional.one_hot(y).double()
    targets = scaling.in_range(targets, dim=0)
    targets = targets - targets.mean(dim=0)
    return x, targets / targets.square().mean().sqrt()


@dataclass(frozen=True)
class Limit:
    """Kernels of very deep networks.

    Attributes:
        data, n: the samples.
        depths: of the networks.
    """

    data: str
    n: int
    depths: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """Kernels of several data sets.

    Attributes:
        samples: how many, by data set, at most.
        paths: of the user's files, by data set.
        missing: what the data sets need that are left out.
        depths: at infinite width.
        width: of finite networks.
        finite_samples, finite_depths, seeds: of finite networks.
        target: loss, relative to that at the start, that gradient descent on the kernel has to reach.
        limit: of depth.
    """

    samples: Mapping[str, int]
    paths: Mapping[str, UserFile]
    missing: Mapping[str, str]
    depths: tuple[int, ...]
    width: int
    finite_samples: int
    finite_depths: tuple[int, ...]
    seeds: int
    target: float
    limit: Limit

    def rows(self, name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Samples and targets of a data set."""
        return unit_rows(name, self.samples[name], 0, self.paths.get(name))


@dataclass(frozen=True)
class LimitCondition:
    """Condition number, None where it is not resolved."""

    samples: int
    condition: float | None


@dataclass(frozen=True)
class LimitCell(Cell[Settings, LimitCondition]):
    """The kernel of a very deep network."""

    activation: str
    depth: int

    KEY = "limit {activation} depth {depth}"

    def cost(self, settings: Settings) -> float:
        """Samples to the third power, and the layers of the kernel."""
        return float(settings.limit.n) ** 2 * (self.depth + settings.limit.n)

    def compute(self, settings: Settings) -> LimitCondition:
        """Its condition number."""
        x, _ = unit_rows(settings.limit.data, settings.limit.n, 0)
        s = spectrum(ntk.infinite(x, depth=self.depth, activation=self.activation))
        return LimitCondition(len(x), float(s.condition) if bool(s.resolved) else None)


@dataclass(frozen=True)
class Kernel:
    """Spectrum, minimal angle in degrees, and steps of gradient descent of one kernel.

    Attributes:
        condition: None where it is not resolved; it is at least `condition_bound`.
        steps: until the loss is the target; None without targets, and for finite networks.
    """

    samples: int
    min_angle: float
    lmin: float
    lmax: float
    resolved: bool
    condition: float | None
    condition_bound: float
    steps: float | None

    @property
    def condition_text(self) -> str:
        """The condition number or its bound."""
        return f"at least {number(self.condition_bound)}" if self.condition is None else number(self.condition)


def measured(K: torch.Tensor, angle: float, steps: float | None) -> Kernel:
    """A kernel with its minimal angle in radians."""
    s = spectrum(K)
    return Kernel(
        samples=len(K),
        min_angle=math.degrees(angle),
        lmin=float(s.lmin),
        lmax=float(s.lmax),
        resolved=bool(s.resolved),
        condition=float(s.condition) if bool(s.resolved) else None,
        condition_bound=float(s.condition_bound),
        steps=steps,
    )


def steps_of(K: torch.Tensor, targets: torch.Tensor | None, settings: Settings) -> float | None:
    """Steps of gradient descent to the labels on a kernel, if there are labels."""
    return None if targets is None else KernelDescent(K, targets).steps_to(settings.target)


@dataclass(frozen=True)
class InfiniteCell(Cell[Settings, Kernel]):
    """The kernel at infinite width, of all samples or of those some that finite networks have."""

    data: str
    activation: str
    depth: int
    some: bool = False

    @property
    def key(self) -> str:
        """The kernel, with what is compared with it."""
        return f"{self.data} {self.activation} depth {self.depth}" + (" some" if self.some else "")

    def cost(self, settings: Settings) -> float:
        """Samples to the third power."""
        return float(settings.finite_samples if self.some else settings.samples[self.data]) ** 3

    def compute(self, settings: Settings) -> Kernel:
        """The kernel's numbers, with the steps of gradient descent on the labels."""
        x, targets = settings.rows(self.data)
        some = settings.finite_samples if self.some else None
        x, targets = x[:some], None if targets is None else targets[:some]
        K = ntk.infinite(x, depth=self.depth, activation=self.activation)
        angle = ntk.min_angle(x, self.depth, self.activation)
        return measured(K, angle, steps_of(K, targets, settings))


@dataclass(frozen=True)
class FiniteCell(Cell[Settings, Kernel]):
    """The kernel of a network of finite width."""

    data: str
    activation: str
    depth: int
    seed: int

    KEY = "{data} {activation} depth {depth} seed {seed}"

    def cost(self, settings: Settings) -> float:
        """Passes through the weights."""
        return float(settings.finite_samples) * settings.width**2 * self.depth

    def compute(self, settings: Settings) -> Kernel:
        """All weights of a ReLU network are trained, those between C and B of a GReLU network."""
        x = settings.rows(self.data)[0][: settings.finite_samples]
        model = nn.GReLUNetwork if self.activation == "grelu" else nn.MLP
        generator = torch.Generator().manual_seed(self.seed)
        net = model(x.shape[1], settings.width, self.depth, generator=generator, dtype=torch.float64)
        K = ntk.empirical(net, x)
        angles = ntk.angles_from_kernel(K)
        return measured(K, float(angles.fill_diagonal_(math.inf).min()), None)


def kernel_cells(settings: Settings) -> Iterator[InfiniteCell | FiniteCell]:
    """One for each data set, activation and depth; finite networks by seed too."""
    for name in settings.samples:
        for depth in settings.depths:
            for activation in COMPARED:
                yield InfiniteCell(name, activation, depth)
        for depth in settings.finite_depths:
            for activation in COMPARED:
                yield InfiniteCell(name, activation, depth, some=True)
                for seed in range(settings.seeds):
                    yield FiniteCell(name, activation, depth, seed)
