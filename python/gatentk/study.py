"""The main job: minimal gradient angles and condition numbers by depth, one resumable task at a time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from gatentk import data, nn, ntk
from gatentk.checks import check_choice, check_integer
from gatentk.errors import GateNTKError, RunError
from gatentk.runs import journal
from gatentk.runs.identity import array_digest
from gatentk.spectra import Spectrum, spectrum

ACTIVATIONS = ("relu", "linear")
DTYPES = {"float64": torch.float64, "float32": torch.float32}
JOURNAL = "records.jsonl"
FORMAT = 1  # of the journal; raised when a task would compute something else


class StudyError(RunError):
    """A study cannot start or go on as asked; the message says what to change."""


@dataclass(frozen=True)
class Config:
    """What to compute.

    Attributes:
        data, path, n, data_seed: the arguments of `gatentk.data.load`.
        drop_zero_rows, drop_duplicates: remove rows that have no angle, or equal an earlier row.
        depths: numbers of hidden layers, ascending.
        activations: some of "relu", "linear".
        width: of the finite networks; None leaves them out.
        infinite: whether to compute infinite width.
        seeds: number of finite networks a depth and activation, seeded 0 .. seeds - 1.
        subset: number of samples for finite width, drawn with `data_seed`; None means all. Infinite width is
            then computed on all samples and on the subset, so that the two widths can be compared.
        batch: size of random disjoint mini-batches, each with a kernel of its own; None means one kernel.
        dtype: "float64" or "float32", of the networks and kernels.
        certify: prove intervals for the extreme eigenvalues.
    """

    data: str
    path: str | None = None
    n: int | None = None
    data_seed: int = 0
    drop_zero_rows: bool = False
    drop_duplicates: bool = False
    depths: tuple[int, ...] = tuple(range(11))
    activations: tuple[str, ...] = ACTIVATIONS
    width: int | None = 512
    infinite: bool = True
    seeds: int = 5
    subset: int | None = None
    batch: int | None = None
    dtype: str = "float64"
    certify: bool = False

    def __post_init__(self) -> None:
        if not self.depths or list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths: expected different depths in ascending order, got {self.depths}")
        check_integer("depths", self.depths[0], 0)
        if not self.activations or len(set(self.activations)) != len(self.activations):
            raise ValueError(f"activation: expected different names, got {self.activations}")
        for activation in self.activations:
            check_choice("activation", activation, ACTIVATIONS)
        check_choice("dtype", self.dtype, tuple(DTYPES))
        if self.width is None and not self.infinite:
            raise ValueError("width: expected a finite width, inf, or both")
        check_integer("seeds", self.seeds, 1)
        for name, minimum in (("width", 1), ("subset", 2), ("batch", 2)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), minimum)


@dataclass(frozen=True, eq=False)
class Samples:
    """The rows a study works on, and what was found in them.

    Attributes:
        x: (n, d), in the dtype of the study.
        name: of the data set.
        duplicates: rows of x that equal an earlier row.
        dropped_zero_rows, dropped_duplicates: rows that were removed on request.
        digest: SHA-256 of x.
        subset: the rows for finite width; None if it uses all.
    """

    x: torch.Tensor
    name: str
    duplicates: int
    dropped_zero_rows: int
    dropped_duplicates: int
    digest: str
    subset: torch.Tensor | None

    def rows(self, which: str) -> torch.Tensor:
        """The samples that a task calls "all" or "subset"."""
        return self.x if which == "all" or self.subset is None else self.x[self.subset]


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
class Record:
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


FIELDS = tuple(field.name for field in fields(Record))


def prepare(config: Config) -> Samples:
    """Load the data and look for rows that have no angle or an angle of zero.

    Raises:
        DataError, TypeError, ValueError: as `gatentk.data.load`.
        StudyError: an all-zero row, or too few rows for what is asked.
    """
    dataset = data.load(config.data, n=config.n, seed=config.data_seed, path=config.path)
    x = dataset.x.to(DTYPES[config.dtype])
    x, zero_rows = _without_zero_rows(x, config.drop_zero_rows)
    first = _first_occurrences(x)
    duplicates, dropped = len(x) - len(first), 0
    if config.drop_duplicates:
        x, duplicates, dropped = x[first], 0, duplicates
    _check_sizes(config, len(x))
    subset = None
    if config.subset is not None and config.subset < len(x) and config.width is not None:
        order = np.random.default_rng((config.data_seed, 1)).permutation(len(x))
        subset = torch.from_numpy(order[: config.subset])
    return Samples(x, dataset.name, duplicates, zero_rows, dropped, array_digest(x.numpy()), subset)


def _without_zero_rows(x: torch.Tensor, drop: bool) -> tuple[torch.Tensor, int]:
    zero = ~(x != 0).any(dim=1)
    count = int(zero.sum())
    if count and not drop:
        first = int(torch.nonzero(zero)[0])
        others = f" and {count - 1} more" if count > 1 else ""
        raise StudyError(
            f"row {first}{others} (counted from 0) of the data is all zero, so its angle to other rows is "
            "undefined; drop_zero_rows=True leaves such rows out"
        )
    return x[~zero] if count else x, count


def _first_occurrences(x: torch.Tensor) -> torch.Tensor:
    """Indices of the rows that equal no earlier row."""
    seen: dict[bytes, int] = {}
    for index, row in enumerate((x + 0.0).numpy()):  # + 0.0 makes -0.0 equal to 0.0
        seen.setdefault(row.tobytes(), index)
    return torch.tensor(list(seen.values()))


def _check_sizes(config: Config, n: int) -> None:
    if n < 2:
        raise StudyError(f"an angle needs at least two samples, the data has {n}")
    if config.width is not None and config.subset is not None and config.subset > n:
        raise StudyError(f"subset={config.subset}: the data has {n} samples")
    smallest = n if config.subset is None or config.width is None else config.subset
    if config.batch is not None and config.batch > smallest:
        raise StudyError(f"batch={config.batch}: there are {smallest} samples to take mini-batches from")


def plan(config: Config, samples: Samples) -> list[Task]:
    """All tasks of a study, in the order in which they run."""
    finite_rows = "all" if samples.subset is None else "subset"
    infinite_rows = dict.fromkeys((finite_rows, "all")) if config.infinite else ()
    pairs = [(activation, depth) for depth in config.depths for activation in config.activations]
    tasks = [Task("infinite", *pair, rows) for rows in infinite_rows for pair in pairs]
    if config.width is not None:
        tasks += [Task("finite", *pair, finite_rows, seed) for pair in pairs for seed in range(config.seeds)]
    return tasks


def cost(config: Config, samples: Samples, task: Task) -> float:
    """Expected work of a task in multiples of one multiply-add of a matrix product."""
    n = float(len(samples.rows(task.rows)))
    size = n if config.batch is None else float(config.batch)
    layers = task.depth + 1
    width = 12.0 if config.width is None or task.kind == "infinite" else float(config.width)
    return n / size * (size**2 * (samples.x.shape[1] + 2 * layers * width + 50) + size**3 / 2)


def memory_needed(config: Config, samples: Samples) -> int:
    """Peak bytes of the kernels of a study: one depth at a time, never all of them."""
    itemsize = DTYPES[config.dtype].itemsize
    peak = 0.0
    for kind, rows in {(task.kind, task.rows) for task in plan(config, samples)}:
        n = len(samples.rows(rows))
        size = n if config.batch is None else config.batch
        if kind == "infinite":
            # All kernels of a depth, and what `spectrum` needs for one: 1.1 copies in float64.
            bytes_needed = n * size * itemsize + 1.1 * size * size * 8
        else:
            # K, cosines and angles, or K and a float64 copy; activations and derivatives of every layer.
            layers = 2 * config.depths[-1] + 1
            bytes_needed = size * size * (itemsize + 16) + size * layers * (config.width or 0) * itemsize
        peak = max(peak, bytes_needed)
    return int(peak)


def run(config: Config, samples: Samples, done: set[str] | None = None) -> Iterator[tuple[Task, list[Record]]]:
    """Compute the tasks whose keys are not in `done`, one after another."""
    solved: dict[str, Spectrum] = {}
    input_angles: dict[str, list[float]] = {}
    for task in plan(config, samples):
        if done and task.key in done:
            continue
        batches = _batches(config, samples.rows(task.rows))
        if task.kind == "finite":
            yield task, _finite(config, task, batches)
        else:
            yield task, _infinite(config, task, batches, solved, input_angles)


def _batches(config: Config, x: torch.Tensor) -> torch.Tensor:
    """(batches, size, d): all samples as one batch, or random disjoint mini-batches without a remainder."""
    if config.batch is None:
        return x.unsqueeze(0)
    order = np.random.default_rng((config.data_seed, 2)).permutation(len(x))
    count = len(x) // config.batch
    return x[torch.from_numpy(order[: count * config.batch]).view(count, config.batch)]


def _finite(config: Config, task: Task, batches: torch.Tensor) -> list[Record]:
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
    config: Config, task: Task, batches: torch.Tensor, solved: dict[str, Spectrum], input_angles: dict[str, list[float]]
) -> list[Record]:
    """At depth 0, and for linear networks at any depth, K = (L+1) G: the Gram matrix is solved once."""
    # A certificate holds for the kernel as stored, not for a multiple of another.
    reuse = (task.activation == "linear" or task.depth == 0) and not config.certify
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
    config: Config,
    task: Task,
    result: Spectrum,
    angles: list[float | None],
    samples: int,
    scale: int = 1,
) -> list[Record]:
    """One record a batch entry of `result`, eigenvalues multiplied by `scale`."""
    records = []
    for index, angle in enumerate(angles):
        resolved = bool(result.resolved[index])
        lmin_low, lmin_high = _interval(result.lmin_interval, index)
        lmax_low, lmax_high = _interval(result.lmax_interval, index)
        records.append(
            Record(
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


# Resuming


def fingerprint(config: Config, samples: Samples, version: str) -> dict[str, Any]:
    """All that results depend on: a journal with another fingerprint is not continued."""
    return {"format": FORMAT, "version": version, **asdict(config), "sha256": samples.digest}


class Journal(journal.Journal):
    """Finished tasks of one study in its output folder; the identity is the study's `fingerprint`.

    Attributes:
        done: keys of the finished tasks.
        records: what they computed.

    Raises:
        StudyError: the folder holds another study, or another process is writing to it.
    """

    file_name = JOURNAL
    kind = "study"
    error = StudyError

    def __init__(self, folder: Path, identity: dict[str, Any], restart: bool | None = False) -> None:
        self.records: list[Record] = []
        self.done: set[str] = set()
        super().__init__(folder, identity, restart)

    def take(self, entry: dict[str, Any]) -> None:
        """Remember a finished task."""
        self.done.add(entry["task"])
        self.records.extend(Record(**record) for record in entry["records"])

    def append(self, task: Task, records: list[Record]) -> None:
        """Add a finished task."""
        self.write({"task": task.key, "records": [asdict(record) for record in records]})
        self.done.add(task.key)
        self.records.extend(records)
