"""The kernels of a study, one resumable task at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch

from gatentk import nn, ntk
from gatentk.activations import ACTIVATIONS
from gatentk.errors import GateNTKError, StudyError
from gatentk.ntk.memory import layerwise_memory, mlp_memory
from gatentk.spectra import Spectrum, spectrum
from gatentk.study.batches import batch_shape, drawn
from gatentk.study.config import StudyConfig
from gatentk.study.samples import DTYPES, StudySamples


class Task(NamedTuple):
    """One kernel, or the kernels of all mini-batches: the unit of work, of progress and of resuming."""

    kind: str
    activation: str
    depth: int
    rows: str
    seed: int | None = None

    @property
    def key(self) -> str:
        """A name that is unique in a study."""
        network = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.kind} {self.activation} depth {self.depth} {self.rows}{network}"


@dataclass(frozen=True)
class StudyRecord:
    """What is known of one kernel; one row of results.csv.

    Attributes:
        kind: "finite" or "infinite"; `width` and `seed` are None for infinite width.
        batch: index of the mini-batch, None without mini-batches.
        rows, samples: "all" or "subset", and the number of rows of the kernel.
        min_angle: smallest angle between two gradients in degrees; None where a gradient is zero.
        lmin, lmax, floor, resolved: as in `gatentk.spectrum`.
        condition: lmax / lmin, None where lmin is not resolved.
        condition_bound: what is known at least, lmax / max(floor, lmin).
        lmin_low .. lmax_high: proved intervals, None unless certified.
    """

    kind: str
    activation: str
    width: int | None
    depth: int
    seed: int | None
    batch: int | None
    rows: str
    samples: int
    min_angle: float | None
    lmin: float
    lmax: float
    floor: float
    resolved: bool
    condition: float | None
    condition_bound: float
    lmin_low: float | None = None
    lmin_high: float | None = None
    lmax_low: float | None = None
    lmax_high: float | None = None


FIELDS = tuple(field.name for field in fields(StudyRecord))


def plan(config: StudyConfig, samples: StudySamples) -> list[Task]:
    """All tasks of a study, in the order in which they run."""
    finite_rows = "all" if samples.subset is None else "subset"
    infinite_rows = dict.fromkeys((finite_rows, "all")) if config.infinite else ()
    pairs = [(activation, depth) for depth in config.depths for activation in config.activations]
    tasks = [Task("infinite", *pair, rows) for rows in infinite_rows for pair in pairs]
    if config.width is not None:
        tasks += [Task("finite", *pair, finite_rows, seed) for pair in pairs for seed in range(config.seeds)]
    return tasks


def cost(config: StudyConfig, samples: StudySamples, task: Task) -> float:
    """Expected work of a task in multiples of one multiply-add of a matrix product."""
    count, size = batch_shape(config, len(samples.rows(task.rows)))
    layers = task.depth + 1
    width = 12.0 if config.width is None or task.kind == "infinite" else float(config.width)
    return count * (size**2 * (samples.x.shape[1] + 2 * layers * width + 50) + size**3 / 2)


def study_memory(config: StudyConfig, samples: StudySamples) -> int:
    """Peak bytes of the kernels of a study: one depth at a time, never all of them."""
    itemsize = DTYPES[config.dtype].itemsize
    peak = 0.0
    for kind, rows in {(task.kind, task.rows) for task in plan(replace(config, seeds=1), samples)}:
        count, size = batch_shape(config, len(samples.rows(rows)))
        matrix = 8 * size * size
        if kind == "infinite" or config.width is None:
            # All kernels of a depth, and what `spectrum` needs for one: copies in float64.
            bytes_needed = count * size * size * itemsize + 1.6 * matrix
        else:
            width, depth = config.width, config.depths[-1]
            network = mlp_memory(samples.x.shape[1], width, depth, itemsize)
            # K, then its cosines and angles, or the copies of `spectrum`.
            after = size * size * itemsize + max(3 * size * size * itemsize, 1.6 * matrix)
            bytes_needed = network + max(layerwise_memory(size, width, depth, itemsize), after)
        peak = max(peak, bytes_needed)
    return int(peak)


def run_tasks(
    config: StudyConfig, samples: StudySamples, done: Collection[str] = ()
) -> Iterator[tuple[Task, list[StudyRecord]]]:
    """Compute the tasks whose keys are not in `done`, one after another."""
    solved: dict[str, Spectrum] = {}
    input_angles: dict[str, list[float]] = {}
    for task in plan(config, samples):
        if task.key in done:
            continue
        batches = drawn(config, samples.rows(task.rows))
        if task.kind == "finite":
            yield task, _finite(config, task, batches)
        else:
            yield task, _infinite(config, task, batches, solved, input_angles)


def _finite(config: StudyConfig, task: Task, batches: torch.Tensor) -> list[StudyRecord]:
    assert config.width is not None
    assert task.seed is not None
    net = nn.MLP(
        batches.shape[-1],
        config.width,
        task.depth,
        activation=task.activation,
        generator=torch.Generator().manual_seed(task.seed),
        dtype=DTYPES[config.dtype],
    )
    records = []
    for index, x in enumerate(batches):
        K = ntk.empirical(net, x)
        angles = [_min_angle_from_kernel(K)]
        result = _spectrum(task, K.unsqueeze(0), config.certify)
        record = _records(config, task, result, angles, len(x))[0]
        records.append(replace(record, batch=None if config.batch is None else index))
    return records


def _min_angle_from_kernel(K: torch.Tensor) -> float | None:
    """Smallest angle in degrees; None where a gradient is zero, because all neurons of a layer are off."""
    if not bool((K.diagonal() > 0).all()):
        return None
    angles = ntk.angles_from_kernel(K)
    angles.fill_diagonal_(math.inf)
    return math.degrees(float(angles.min()))


def _infinite(
    config: StudyConfig,
    task: Task,
    batches: torch.Tensor,
    solved: dict[str, Spectrum],
    input_angles: dict[str, list[float]],
) -> list[StudyRecord]:
    """At depth 0, and for linear networks at any depth, K = (L+1) G: the Gram matrix is solved once."""
    # A certificate holds for the kernel as stored, not for a multiple of another.
    proportional = ACTIVATIONS[task.activation].kernel is None or task.depth == 0
    reuse = proportional and not config.certify
    if reuse and task.rows in solved:
        result = solved[task.rows]
    else:
        depth = 0 if reuse else task.depth
        K = ntk.infinite(batches, depth=depth, activation=task.activation, dtype=DTYPES[config.dtype])
        result = _spectrum(task, K, config.certify)
        del K
    if reuse:
        solved[task.rows] = result
    if task.rows not in input_angles:
        input_angles[task.rows] = [ntk.min_angle(x.to(torch.float64), 0) for x in batches]
    angles: list[float | None] = [
        math.degrees(_min_gradient_angle(theta, task, x))
        for theta, x in zip(input_angles[task.rows], batches, strict=True)
    ]
    return _records(config, task, result, angles, batches.shape[1], task.depth + 1 if reuse else 1)


def _min_gradient_angle(theta: float, task: Task, x: torch.Tensor) -> float:
    """Smallest gradient angle of an infinitely wide network, given the smallest angle theta of the samples.

    Up to theta = pi/2 both belong to the same pair, since S_L of [S, Thm 4.4] is largest for the smallest angle:
    S_L(t) decreases on [0, pi/2], as both factors and the summand of its recursion do, and S_L(t) <= S_L(pi/2)
    for t >= pi/2, first for L = 1, where S_1 has no inner maximum, then by induction. So one pair is enough.
    """
    if theta > math.pi / 2:
        return ntk.min_angle(x.to(torch.float64), task.depth, task.activation)
    pair = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], dtype=torch.float64)
    return ntk.min_angle(pair, task.depth, task.activation)


def _spectrum(task: Task, K: torch.Tensor, certify: bool) -> Spectrum:
    try:
        with warnings.catch_warnings():
            # Slower but as accurate: no news to somebody who waits behind a progress bar.
            warnings.filterwarnings("ignore", "Lanczos did not converge", RuntimeWarning)
            return spectrum(K, certify=certify)
    except GateNTKError as error:
        raise StudyError(f"{task.key}: {error}") from error


def _records(
    config: StudyConfig,
    task: Task,
    result: Spectrum,
    angles: list[float | None],
    samples: int,
    scale: int = 1,
) -> list[StudyRecord]:
    """One record a batch entry of `result`, eigenvalues multiplied by `scale`."""
    records = []
    for index, angle in enumerate(angles):
        resolved = bool(result.resolved[index])
        lmin_low, lmin_high = _interval(result.lmin_interval, index)
        lmax_low, lmax_high = _interval(result.lmax_interval, index)
        records.append(
            StudyRecord(
                kind=task.kind,
                activation=task.activation,
                width=config.width if task.kind == "finite" else None,
                depth=task.depth,
                seed=task.seed,
                batch=None if config.batch is None else index,
                rows=task.rows,
                samples=samples,
                min_angle=angle,
                lmin=scale * float(result.lmin[index]),
                lmax=scale * float(result.lmax[index]),
                floor=scale * float(result.floor[index]),
                resolved=resolved,
                condition=float(result.condition[index]) if resolved else None,
                condition_bound=float(result.condition_bound[index]),
                lmin_low=lmin_low,
                lmin_high=lmin_high,
                lmax_low=lmax_low,
                lmax_high=lmax_high,
            )
        )
    return records


def _interval(ends: tuple[Any, Any] | None, index: int) -> tuple[float | None, float | None]:
    """One proved interval; None for an end that is not known."""
    if ends is None:
        return None, None
    low, high = (float(end[index]) for end in ends)
    return low if math.isfinite(low) else None, high if math.isfinite(high) else None
