"""ReLU against GReLU kernels by depth: minimal angle, condition number, and the training speed that follows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch

from gatentk import data, nn, ntk, scaling
from gatentk.activations import LABELS
from gatentk.data.rows import first_occurrences
from gatentk.papers.frame import datasets
from gatentk.papers.frame.colours import COLOURS
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.papers.kernel_descent import KernelDescent
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.spectra import spectrum

SUMMARY = "ReLU against GReLU kernels"
PLACE = 110

COMPARED = ("relu", "grelu")
# Train loss that gradient descent on the kernel has to reach, relative to that at the start.
TARGET = 0.01
CLOSE = 0.02  # relative, to a limit
SPEED = 3e9  # of the cells' cost, samples to the third power, in a second

# At the published size, beside those of the default: data sets, those that the user brings, how many samples of each.
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
        x = x[:some]
        K = ntk.infinite(x, depth=self.depth, activation=self.activation)
        angle = ntk.min_angle(x, self.depth, self.activation)
        steps = None if targets is None else KernelDescent(K, targets[:some]).steps_to(settings.target)
        return measured(K, angle, steps)


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


class GreluConditioning(Experiment[Settings]):
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
        names = {(datasets.cifar10(scale) if name == "cifar10" else name): name in BROUGHT for name in PUBLISHED}
        # The words are settings, which a journal keeps: as they are, or the folders of earlier runs are refused.
        brought = {name: f"the user's files, by --path {name}=PATH" for name, is_brought in names.items() if is_brought}
        there, missing = datasets.present(
            names if scale.full else (),
            scale,
            lambda name, path: unit_rows(name, MANY, 0, datasets.setting(path)),
            brought,
        )
        return Settings(
            samples=sizes | dict.fromkeys(there, MANY),
            paths={name: UserFile(scale.paths[name]) for name in there if name in scale.paths},
            missing=missing,
            depths=(*range(1, 11), *([20] if scale.full else [])),
            width=2048 if scale.full else 1024,
            finite_samples=200,
            finite_depths=(1, 2, 3, 5),
            seeds=5 if scale.full else 3,
            target=TARGET,
            limit=Limit("synthetic", n=500, depths=(1, 10, 100, 1000, 10_000)),
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """One for each data set, activation and depth; finite networks by seed too."""
        limits = [LimitCell(activation, depth) for depth in settings.limit.depths for activation in COMPARED]
        return [*limits, *_kernel_cells(settings)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The kernel, its eigenvectors and what LAPACK needs for them; all cells."""
        largest = max(settings.samples.values())
        return 5 * 8 * largest**2, sum(cell.cost(settings) for cell in self.cells(settings)) / SPEED

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Comparisons by data set."""
        claims: list[Claim] = [_limit(settings, results)]
        for name in settings.samples:
            claims += [
                _condition(settings, results, name),
                _speed(settings, results, name),
                _finite(settings, results, name),
            ]
        remarks = datasets.left_out(settings.missing)
        return Findings(claims, lambda: _plots(settings, results), [_table(settings, results)], remarks)


def _kernel_cells(settings: Settings) -> Iterator[InfiniteCell | FiniteCell]:
    for name in settings.samples:
        for depth in settings.depths:
            for activation in COMPARED:
                yield InfiniteCell(name, activation, depth)
        for depth in settings.finite_depths:
            for activation in COMPARED:
                yield InfiniteCell(name, activation, depth, some=True)
                for seed in range(settings.seeds):
                    yield FiniteCell(name, activation, depth, seed)


def _condition(settings: Settings, results: Results, name: str) -> Claim:
    depths = settings.depths
    pairs = [[results[InfiniteCell(name, a, d)] for a in COMPARED] for d in depths]
    unresolved = any(not r.resolved for pair in pairs for r in pair)
    holds = all(grelu.condition is not None and relu.condition_bound > grelu.condition for relu, grelu in pairs)
    shown = ", ".join(
        f"L = {d}: {relu.condition_text} and {grelu.condition_text}"
        for d, (relu, grelu) in zip(depths, pairs, strict=True)
    )
    return Claim(
        "infinite width",
        f"On unit rows of {name} the condition number of GReLU's kernel is below that of ReLU's at every depth.",
        f"{pairs[0][0].samples:,} samples, ReLU and GReLU: {shown}.",
        holds if not unresolved or holds else None,
    )


def _limit(settings: Settings, results: Results) -> Claim:
    limit = settings.limit
    conditions = {a: [results[LimitCell(a, depth)].condition for depth in limit.depths] for a in COMPARED}
    known = {a: [value for value in values if value is not None] for a, values in conditions.items()}
    limits = {"relu": (results[LimitCell("relu", limit.depths[0])].samples + 3) / 3, "grelu": 1.0}
    is_known = known == conditions
    holds = is_known and all(
        abs(values[-1] / limits[a] - 1) <= CLOSE and all(p > q for p, q in pairwise(values))
        for a, values in known.items()
    )
    shown = "; ".join(
        f"{LABELS[a]} {', '.join('unresolved' if v is None else number(v) for v in values)} (limit {number(limits[a])})"
        for a, values in conditions.items()
    )
    return Claim(
        "[S, Sec. 7] corrected; new for GReLU",
        "With depth the condition number on unit rows tends to (n + 3)/3 for ReLU (not to 1, as [S] remarks) and to 1 "
        "for GReLU.",
        f"{limit.n} samples of {limit.data}, L = {', '.join(f'{depth:,}' for depth in limit.depths)}: {shown}.",
        holds if is_known else None,
    )


def _speed(settings: Settings, results: Results, name: str) -> Claim:
    rows = [(d, *(results[InfiniteCell(name, a, d)].steps for a in COMPARED)) for d in settings.depths]
    known = [(d, relu, grelu) for d, relu, grelu in rows if relu is not None and grelu is not None]
    holds = all(grelu < relu for _, relu, grelu in known) if known else None
    shown = ", ".join(f"L = {d}: {number(float(r))} and {number(float(g))}" for d, r, g in known)
    return Claim(
        "kernel regime",
        "A better condition number means fewer steps of gradient descent.",
        f"{name}: steps of size 1/lambda_max until the square loss of the labels is {settings.target:.0%} of that at "
        f"the start, ReLU and GReLU: {shown or 'more than can be counted'}.",
        holds,
    )


def _finite(settings: Settings, results: Results, name: str) -> Claim:
    means = {
        (a, d): geometric_mean([results[FiniteCell(name, a, d, s)].condition_bound for s in range(settings.seeds)])
        for a in COMPARED
        for d in settings.finite_depths
    }
    holds = all(means["grelu", d] < means["relu", d] for d in settings.finite_depths)
    shown = ", ".join(
        f"L = {d}: {number(means['relu', d])} and {number(means['grelu', d])}" for d in settings.finite_depths
    )
    limits = ", ".join(
        " and ".join(results[InfiniteCell(name, a, d, some=True)].condition_text for a in COMPARED)
        for d in settings.finite_depths
    )
    return Claim(
        "finite width",
        f"Networks of width {settings.width:,} show the same order.",
        f"{name}, {settings.finite_samples} samples, geometric means over {settings.seeds} seeds, ReLU and GReLU: "
        f"{shown}. At infinite width these samples have {limits}.",
        holds,
    )


def _plots(settings: Settings, results: Results) -> list[Plot]:
    shown = []
    for name in settings.samples:
        n = results[InfiniteCell(name, "relu", settings.depths[0])].samples
        figure, (angle, condition, speed) = figures.panels(
            [
                ("Smallest gradient angle", f"{name}, unit rows, infinite width"),
                ("Condition number", f"solid: all samples; dashed and dots: {settings.finite_samples}"),
                ("Steps of gradient descent", f"until the loss is {settings.target:.0%} of its start"),
            ],
            [("Depth", "degrees"), ("Depth", "λmax / λmin"), ("Depth", "steps")],
        )
        for activation in COMPARED:
            _lines(settings, results, name, activation, (angle, condition, speed))
        for axes in (condition, speed):
            figures.logarithmic(axes)
        angle.set_ylim(bottom=0)
        for axes in (angle, condition, speed):
            figures.integers(axes)
        figures.legend(angle)
        caption = (
            f"Kernels of {n:,} samples of {name}: smallest angle between gradients, condition number and steps of "
            f"gradient descent by depth. Dashed: {settings.finite_samples} of the samples, infinite width; dots: the "
            f"same samples, width {settings.width:,}."
        )
        shown.append(Plot(f"grelu-{name}", caption, figure))
    return shown


def _lines(settings: Settings, results: Results, name: str, activation: str, axes: Any) -> None:
    angle, condition, speed = axes
    colour, label, depths = COLOURS[activation], LABELS[activation], settings.depths
    cells = [results[InfiniteCell(name, activation, d)] for d in depths]
    angle.plot(depths, [c.min_angle for c in cells], color=colour, label=label)
    known = [(d, c.condition) for d, c in zip(depths, cells, strict=True) if c.resolved]
    if known:
        condition.plot(*zip(*known, strict=True), color=colour, label=label)
    unknown = [(d, c.condition_bound) for d, c in zip(depths, cells, strict=True) if not c.resolved]
    figures.bounds(condition, [d for d, _ in unknown], [v for _, v in unknown], colour)
    some = [results[InfiniteCell(name, activation, d, some=True)].condition_bound for d in settings.finite_depths]
    condition.plot(settings.finite_depths, some, color=colour, linestyle=style.DASHED, linewidth=1)
    for depth in settings.finite_depths:
        values = [results[FiniteCell(name, activation, depth, s)].condition_bound for s in range(settings.seeds)]
        condition.plot([depth] * len(values), values, ".", color=colour, markersize=4)
    steps = [(d, c.steps) for d, c in zip(depths, cells, strict=True) if c.steps is not None]
    if steps:
        speed.plot(*zip(*steps, strict=True), color=colour, label=label)


def _table(settings: Settings, results: Results) -> Table:
    columns = ["data", "samples", "depth", "network", "seed", "min angle (deg)", "condition", "at least", "steps"]
    rows = []
    for cell in _kernel_cells(settings):
        r, seed = results[cell], cell.seed if isinstance(cell, FiniteCell) else None
        kernel = [cell.data, r.samples, cell.depth, LABELS[cell.activation], seed]
        rows.append([*kernel, r.min_angle, r.condition, r.condition_bound, r.steps])
    return Table("grelu-conditioning", "All kernels", columns, rows)


EXPERIMENT = GreluConditioning()
