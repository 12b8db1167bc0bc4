"""Kernels of networks of infinite and of finite width: their smallest angles and condition numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from gatentk.papers.frame.experiment import Cell, UserFile
from gatentk.study.config import StudyConfig
from gatentk.study.run import run_tasks
from gatentk.study.samples import StudySamples, prepare_study
from gatentk.study.summary import Point, summarise

COMPARED = ("relu", "linear")


@dataclass(frozen=True)
class Rows:
    """How many samples there are: for one kernel at infinite width, at finite width, and in mini-batches."""

    all: int
    subset: int
    batches: int

    def of(self, part: str) -> int:
        """The number of samples of a part, which is the name of a field."""
        rows: int = getattr(self, part)
        return rows


@dataclass(frozen=True)
class DataSet:
    """Where a data set comes from, its sizes, and how many samples each part of the experiment takes."""

    source: str
    path: UserFile | None
    n: int
    features: int
    batch: int
    rows: Rows


@dataclass(frozen=True)
class ByWidth:
    """ReLU networks of several widths on some samples of one data set."""

    set: str
    rows: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """Kernels of several data sets.

    Attributes:
        sets, missing: data sets, and what those need that are left out.
        depths: of the networks.
        width, seeds: of networks of finite width.
        by_width: those of several widths.
    """

    sets: Mapping[str, DataSet]
    missing: Mapping[str, str]
    depths: tuple[int, ...]
    width: int
    seeds: int
    by_width: ByWidth


@dataclass(frozen=True)
class Points:
    """Means over mini-batches and seeds by depth, and the values of every seed."""

    samples: int
    points: tuple[Point, ...]
    seeds: tuple[tuple[Point, ...], ...]


@lru_cache(maxsize=8)
def samples_of(source: str, path: str | None, n: int) -> StudySamples:
    """Random samples of a data set, without all-zero rows and repetitions, in random order."""
    return prepare_study(
        StudyConfig(source, path=path, n=n, drop_zero_rows=True, drop_duplicates=True, width=None, depths=(0,))
    )


@dataclass(frozen=True)
class Kernels:
    """One kind of network on samples of a data set.

    Attributes:
        chosen, rows, batch: the samples; `batch` is that of mini-batches.
        activation, depths, width, seeds: the networks; None is infinite width.
    """

    chosen: DataSet
    rows: int
    batch: int | None
    activation: str
    depths: tuple[int, ...]
    width: int | None
    seeds: int

    def cost(self) -> float:
        """Multiply-adds of kernels and spectra, and of drawing the weights and reading them."""
        rows = float(self.rows)
        size = rows if self.batch is None else float(self.batch)
        cost = 0.0
        for depth in self.depths:
            layers = (depth + 1) * (12 if self.width is None else 2 * self.width)
            kernel = size**2 * (self.chosen.features + layers + 50) + size**3 / 6
            weights = 0 if self.width is None else (2 * rows + 40 * rows / size + 20) * depth * self.width**2
            cost += (rows / size * kernel + weights) * (1 if self.width is None else self.seeds)
        return cost

    def compute(self) -> Points:
        """Points by depth, as `gatentk ntk` computes them."""
        whole = samples_of(self.chosen.source, self.chosen.path, self.chosen.n)
        samples = replace(whole, x=whole.x[: self.rows])
        config = StudyConfig(
            self.chosen.source,
            path=self.chosen.path,
            n=self.chosen.n,
            depths=self.depths,
            activations=(self.activation,),
            width=self.width,
            infinite=self.width is None,
            seeds=self.seeds,
            batch=self.batch,
        )
        records = [record for _, computed in run_tasks(config, samples) for record in computed]
        seeds = range(0 if self.width is None else self.seeds)
        return Points(
            samples=self.rows,
            points=summarise(config, samples, records)[0].points,
            seeds=tuple(summarise(config, samples, [r for r in records if r.seed == seed])[0].points for seed in seeds),
        )


class KernelCell(Cell[Settings, Points]):
    """One kind of network on some samples."""

    @abstractmethod
    def _kernels(self, settings: Settings) -> Kernels:
        """What is computed."""

    def cost(self, settings: Settings) -> float:
        """Multiply-adds."""
        return self._kernels(settings).cost()

    def compute(self, settings: Settings) -> Points:
        """Smallest angles and condition numbers."""
        return self._kernels(settings).compute()


@dataclass(frozen=True)
class DepthCell(KernelCell):
    """An activation on a part of a data set, at one depth with all seeds, or at several where they are quick.

    Attributes:
        name: of the data set.
        part: "all", "subset" or "batches" of it.
        kind: "infinite" or "finite" width.
        activation: of the networks.
        depth: the first.
        together: all of them.
    """

    name: str
    part: str
    kind: str
    activation: str
    depth: int
    together: tuple[int, ...]

    KEY = "{name} {part} {kind} {activation} depth {depth}"

    def _kernels(self, settings: Settings) -> Kernels:
        chosen = settings.sets[self.name]
        return Kernels(
            chosen,
            rows=chosen.rows.of(self.part),
            batch=chosen.batch if self.part == "batches" else None,
            activation=self.activation,
            depths=self.together,
            width=settings.width if self.kind == "finite" else None,
            seeds=settings.seeds,
        )


@dataclass(frozen=True)
class WidthCell(KernelCell):
    """ReLU networks of one depth and width; None stands for all depths, and for infinite width."""

    depth: int | None
    width: int | None

    @property
    def key(self) -> str:
        """The kind of network, with depth and width where the width is finite."""
        return "widths infinite" if self.width is None else f"widths depth {self.depth} width {self.width}"

    def _kernels(self, settings: Settings) -> Kernels:
        part = settings.by_width
        depths = part.depths if self.depth is None else (self.depth,)
        return Kernels(settings.sets[part.set], part.rows, None, "relu", depths, self.width, settings.seeds)


def depth_cells(settings: Settings, name: str) -> Iterator[DepthCell]:
    """Infinite width on all samples; finite and infinite width on some, in one kernel and in mini-batches."""
    depths = settings.depths
    alone = [(depth,) for depth in depths]
    for activation in COMPARED:
        # Linear networks of all depths share one spectrum.
        yield from _together(name, "all", "infinite", activation, [depths] if activation == "linear" else alone)
    for part in ("subset", "batches"):
        for activation in COMPARED:
            yield from _together(name, part, "infinite", activation, [depths])
            yield from _together(name, part, "finite", activation, alone)


def _together(
    name: str, part: str, kind: str, activation: str, chunks: Sequence[tuple[int, ...]]
) -> Iterator[DepthCell]:
    return (DepthCell(name, part, kind, activation, chunk[0], chunk) for chunk in chunks)


def width_cells(settings: Settings) -> Iterator[WidthCell]:
    """Infinite width, then each depth with each width."""
    part = settings.by_width
    yield WidthCell(None, None)
    yield from (WidthCell(depth, width) for depth in part.depths for width in part.widths)
