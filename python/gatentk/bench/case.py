"""A row of the table of what is measured, and the random data of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import torch
from torch import Tensor

from gatentk.bench.process import Request


@dataclass(frozen=True)
class Shape:
    """Sizes of a case; 0 for those it does not have.

    `n` counts the samples of one evaluation; `depth` hidden layers, for Gram matrices terms, for networks with a fixed
    first and last layer the layers between.
    """

    n: int
    d: int = 0
    width: int = 0
    depth: int = 0

    def __str__(self) -> str:
        names = {"n": "n", "d": "d", "width": "m", "depth": "L"}
        return " ".join(f"{names[f.name]}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name))


@dataclass(frozen=True)
class Work:
    """What an evaluation takes.

    Attributes:
        dense: floating-point operations of the dense computation.
        performed: those that our side performs.
        moved: bytes of its arguments and results, which is what has to be read and written at least; 0 if not counted.
    """

    dense: float
    performed: float
    moved: float = 0


Evaluation = Callable[[], Tensor]


@dataclass(frozen=True)
class Job:
    """A case with its data.

    Attributes:
        ours: one evaluation by this package.
        peers: ways to do the same here; the fastest is the peer. Empty if the peer is another process.
        request: what to ask of neural-tangents.
        work: operations of one evaluation.
        comparable: the part of our result that the peer computes too; None where the two do different things.
        peer_comparable: the part of the peer's result that we compute too.
        notes: what a reader has to know of the results.
    """

    ours: Evaluation
    work: Work
    peers: Mapping[str, Evaluation] = field(default_factory=dict)
    request: Request | None = None
    comparable: Callable[[Tensor], Tensor] | None = lambda result: result
    peer_comparable: Callable[[Tensor], Tensor] = lambda result: result
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        name, family: of the case and of the kernel family it exercises.
        ours, peer: what the two sides do, in words.
        shape, quick: sizes for reports, and small ones for tests and smoke runs.
        dtype: of data and results.
        prepare: makes the data.
        at_least, aim: ratios asked for, None where nothing was.
        better: "higher" for a ratio peer / ours (a speed-up), "lower" for ours / peer (an overhead): there
            `at_least` and `aim` are upper bounds.
        most_repeats: a cap where the fastest implementation of a peer cannot be run and the next takes very long.
        packages: those that do the peer's work, if it runs here.
        device: where the data lie.
    """

    name: str
    family: str
    ours: str
    peer: str
    shape: Shape
    quick: Shape
    dtype: torch.dtype
    prepare: Callable[[Case], Job]
    at_least: float | None = None
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    most_repeats: int | None = None
    packages: tuple[str, ...] = ("torch",)
    device: str = "cpu"

    def small(self) -> Case:
        """The same at its small shape, where speed means nothing and nothing is asked of it."""
        return replace(self, shape=self.quick, at_least=None, aim=None, most_repeats=None)


def gaussian(case: Case, *size: int, seed: int = 0) -> Tensor:
    """The same numbers on every device."""
    values = torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=_drawn(case.dtype))
    return values.to(case.device, case.dtype)


def _drawn(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def random_mask(case: Case, share: float, *size: int, seed: int = 0) -> Tensor:
    """A random mask."""
    return (torch.rand(*size, generator=torch.Generator().manual_seed(seed)) < share).to(case.device)


def gaussian_samples(case: Case) -> Tensor:
    """As many as the case has, standard normal."""
    return gaussian(case, case.shape.n, case.shape.d)


def tensor(value: object) -> Tensor:
    """The value, known to be a tensor where its function also takes arrays."""
    assert isinstance(value, Tensor)
    return value
