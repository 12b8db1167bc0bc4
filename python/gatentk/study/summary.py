"""Means over mini-batches and seeds: the points of the plots and the cells of the tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatentk.study.config import StudyConfig
    from gatentk.study.run import StudyRecord
    from gatentk.study.samples import StudySamples


@dataclass(frozen=True)
class Point:
    """One depth of a series: means over mini-batches, then over seeds, and the range over seeds.

    Angles are in degrees and averaged arithmetically, None where a gradient is zero. Condition numbers are
    averaged geometrically. Where a kernel is not resolved its lower bound enters instead, so that the mean is
    a lower bound too, which `resolved` = False says.
    """

    depth: int
    angle: float | None
    angle_low: float | None
    angle_high: float | None
    condition: float
    condition_low: float
    condition_high: float
    resolved: bool
    kernels: int
    unresolved: int


@dataclass(frozen=True)
class Series:
    """One line of the plots: a kind of network on one set of samples, by depth."""

    kind: str
    activation: str
    rows: str
    label: str
    points: tuple[Point, ...]


def summarise(config: StudyConfig, samples: StudySamples, records: Sequence[StudyRecord]) -> list[Series]:
    """Group records into series, infinite width on all samples first, ReLU before linear."""
    groups = [("infinite", "all"), ("infinite", "subset"), ("finite", "all"), ("finite", "subset")]
    series = []
    for kind, rows in groups:
        for activation in config.activations:
            chosen = [r for r in records if (r.kind, r.rows, r.activation) == (kind, rows, activation)]
            if chosen:
                points = tuple(_point([r for r in chosen if r.depth == depth]) for depth in config.depths)
                label = _label(config, kind, len(samples.rows(rows)))
                series.append(Series(kind, activation, rows, label, points))
    return series


def _label(config: StudyConfig, kind: str, n: int) -> str:
    width = "infinite width" if kind == "infinite" else f"width {config.width:,}"
    return f"{width}, {n:,} samples"


def _point(records: list[StudyRecord]) -> Point:
    """Summarise all records of one series and depth."""
    seeds = sorted({-1 if r.seed is None else r.seed for r in records})
    networks = [[r for r in records if r.seed in (None, seed)] for seed in seeds]
    conditions = [statistics.geometric_mean(r.condition_bound for r in network) for network in networks]
    angles = [angle for network in networks if (angle := _mean(r.min_angle for r in network)) is not None]
    unresolved = sum(not r.resolved for r in records)
    return Point(
        depth=records[0].depth,
        angle=_mean(angles),
        angle_low=min(angles, default=None),
        angle_high=max(angles, default=None),
        condition=statistics.geometric_mean(conditions),
        condition_low=min(conditions),
        condition_high=max(conditions),
        resolved=unresolved == 0,
        kernels=len(records),
        unresolved=unresolved,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None
