"""Measurement: two sides in strict alternation, on the processor beside its peak in the same minutes."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from gatentk import ops
from gatentk._version import __version__
from gatentk.bench.case import Case, Evaluation, Job, Work
from gatentk.bench.cases import CASES
from gatentk.bench.process import FASTER, SCRIPT, PeerError, PeerProcess, Request
from gatentk.errors import DataError

PAUSE = 0.02  # s before each evaluation: OpenMP threads of the side before spin for some ms after their last task
ENOUGH = 5  # repeats of a result that may be reported


@dataclass(frozen=True)
class Measurement:
    """What came out of a case.

    Attributes:
        case, work: as in the table.
        ours, peer: seconds of each evaluation, pairwise; `peer` is empty without one.
        peer_name: which of the peer's variants was the fastest.
        versions: of the packages that do the peer's work.
        difference: max|ours - peer| / max|peer| of the warm-up's results, None without a peer, or where it does
            something else.
        peak: fused multiply-adds of the machine in operations/s, measured before and after the case; 0 without.
        notes: what a reader has to know.
        missing: the peer's implementations that could not be run; the ratio is then to a slower one.
    """

    case: Case
    work: Work
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    peer_name: str
    versions: dict[str, str]
    difference: float | None
    peak: float
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()

    @property
    def ratios(self) -> tuple[float, ...]:
        """Of each pair, in the direction of the case."""
        return tuple(self._ratio(a, b) for a, b in zip(self.ours, self.peer, strict=False))

    @property
    def ratio(self) -> float | None:
        """Ratio of the medians; None without a peer."""
        return self._ratio(median(self.ours), median(self.peer)) if self.peer else None

    def _ratio(self, ours: float, peer: float) -> float:
        return peer / ours if self.case.better == "higher" else ours / peer

    @property
    def dense_rate(self) -> float:
        """Dense-equivalent operations/s: those of the dense computation in our time."""
        return self.work.dense / median(self.ours)

    @property
    def rate(self) -> float:
        """Operations/s that our side really performed."""
        return self.work.performed / median(self.ours)

    @property
    def bandwidth(self) -> float:
        """Bytes/s of arguments and results."""
        return self.work.moved / median(self.ours)

    @property
    def share(self) -> float | None:
        """Of the machine's peak; None where there are no floating-point operations."""
        return self.rate / self.peak if self.peak and self.rate else None

    @property
    def verdict(self) -> str:
        """One of "aim", "at least" and "short"; empty where nothing is asked or the peer did not run as it should."""
        ratio, asked, aim = self.ratio, self.case.at_least, self.case.aim
        if ratio is None or asked is None or aim is None or self.missing:
            return ""
        sign = 1 if self.case.better == "higher" else -1
        if sign * ratio >= sign * aim:
            return "aim"
        return "at least" if sign * ratio >= sign * asked else "short"


class Clock(Protocol):
    """How evaluations are timed where they run."""

    def seconds(self, run: Evaluation) -> float:
        """Evaluate once."""

    def peak(self, case: Case) -> float:
        """Operations/s that the case could reach; 0 where that is not measured."""


class ProcessorClock:
    """Time by the wall, beside the peak of fused multiply-adds."""

    def seconds(self, run: Evaluation) -> float:
        """Evaluate once, when the threads of the side before are at rest."""
        time.sleep(PAUSE)
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    def peak(self, case: Case) -> float:
        """Measured now."""
        return ops.fma_peak(case.dtype) if case.dtype.is_floating_point else 0.0


PROCESSOR = ProcessorClock()


@dataclass(frozen=True)
class Peer:
    """The other side of a case, warmed up."""

    name: str
    seconds: Callable[[], float]
    result: Callable[[], Tensor]
    versions: dict[str, str]
    missing: tuple[str, ...] = ()


def select(patterns: Sequence[str], cases: Sequence[Case] = CASES) -> list[Case]:
    """Cases whose name contains one of the patterns; all without a pattern.

    Raises:
        ValueError: a pattern fits no case.
    """
    for pattern in patterns:
        if not any(pattern in case.name for case in cases):
            names = ", ".join(case.name for case in cases)
            raise ValueError(f"cases: expected part of one of {names}, got {pattern!r}")
    return [case for case in cases if not patterns or any(pattern in case.name for pattern in patterns)]


def check_peer(python: str | Path, script: Path = SCRIPT) -> None:
    """Let the peer compute something tiny, so that a wrong environment shows before minutes of measurement.

    Raises:
        PeerError: with what is wrong.
    """
    with PeerProcess(python, Request("infinite", {"x": torch.eye(3)}, 1), 1, script):
        pass


def measure_all(
    cases: Iterable[Case],
    repeats: int,
    python: str | Path | None = None,
    progress: Callable[[Case], None] = lambda case: None,
    clock: Clock = PROCESSOR,
) -> Iterator[Measurement]:
    """Measure one case after another; `progress` hears of each before it begins.

    Warns:
        UserWarning: a case is left out because its data set is not installed.
    """
    for case in cases:
        progress(case)
        try:
            measurement = measure(case, repeats, python, clock=clock)
        except DataError as error:
            warnings.warn(f"{case.name}: left out; {error}", UserWarning, stacklevel=2)
        else:
            yield measurement


def measure(
    case: Case, repeats: int, python: str | Path | None = None, script: Path = SCRIPT, clock: Clock = PROCESSOR
) -> Measurement:
    """Measure one case.

    Args:
        case: a row of the table.
        repeats: pairs of evaluations.
        python: interpreter of the peer of cases that have it in another process; without it, or where it fails,
            our side is measured alone.
        script: what that interpreter runs.
        clock: of the device of the case.

    Raises:
        DataError: the data set of the case is not installed.
    """
    job = case.prepare(case)
    notes = [f"{repeats} repeats: too few to report, take {ENOUGH}"] if repeats < ENOUGH else []
    notes.extend(job.notes)
    if job.request is None:
        return _alternate(case, job, _fastest(case, job, clock), clock, repeats, notes)
    if python is None:
        # A note of the file of results, whose readers have the command.
        absent = "no peer: --peers names the interpreter of an environment with neural-tangents"
        return _alternate(case, job, None, clock, repeats, [*notes, absent])
    try:
        with PeerProcess(python, job.request, torch.get_num_threads(), script) as process:
            peer = Peer(process.name, process.seconds, process.result, process.versions, tuple(process.failed))
            if process.failed:
                repeats, notes = _capped(case, repeats, [*notes, *_missing(process)])
            return _alternate(case, job, peer, clock, repeats, notes)
    except PeerError as error:
        return _alternate(case, job, None, clock, repeats, [*notes, str(error)])


def _missing(process: PeerProcess) -> list[str]:
    """What a reader has to know of implementations of the peer that would be faster."""
    return [
        f"peers: its {name}, faster where they run, could not be run ({reason}), so the ratio is to {process.name} "
        f"alone; {FASTER}"
        for name, reason in process.failed.items()
    ]


def _capped(case: Case, repeats: int, notes: list[str]) -> tuple[int, list[str]]:
    """Repeats and notes where the peer's fastest implementation does not run."""
    if case.most_repeats is None or repeats <= case.most_repeats:
        return repeats, notes
    return case.most_repeats, [f"{case.most_repeats} repeats only: an evaluation of the peer takes very long"]


def _alternate(case: Case, job: Job, peer: Peer | None, clock: Clock, count: int, notes: list[str]) -> Measurement:
    ours: list[float] = []
    theirs: list[float] = []
    difference = _warm_up(job, peer)
    before = clock.peak(case)
    for _ in range(count):
        ours.append(clock.seconds(job.ours))
        if peer is not None:
            theirs.append(peer.seconds())
    return Measurement(
        case=case,
        work=job.work,
        ours=tuple(ours),
        peer=tuple(theirs),
        peer_name="" if peer is None else peer.name,
        versions={} if peer is None else peer.versions,
        missing=() if peer is None else peer.missing,
        difference=difference,
        peak=(before + clock.peak(case)) / 2,
        notes=tuple(notes),
    )


def _fastest(case: Case, job: Job, clock: Clock) -> Peer:
    """The quickest of one evaluation each, after one that warms torch up."""
    names = list(job.peers)
    if len(names) > 1:
        job.peers[names[0]]()
        names.sort(key=lambda name: clock.seconds(job.peers[name]))
    run = job.peers[names[0]]
    loaded = {"torch": torch.__version__, "numpy": np.__version__, "gatentk": __version__}
    versions = {name: loaded[name] if name in loaded else version(name) for name in case.packages}
    return Peer(names[0], lambda: clock.seconds(run), run, versions)


def _warm_up(job: Job, peer: Peer | None) -> float | None:
    """Evaluate both sides once and compare what they compute."""
    ours = job.ours()
    if peer is None:
        return None
    theirs = peer.result()
    if job.comparable is None:
        return None
    return relative_difference(job.comparable(ours), job.peer_comparable(theirs))


def relative_difference(ours: Tensor, peer: Tensor) -> float:
    """max|ours - peer| / max|peer|, for eigenvalues (vectors) relative to each; inf if the shapes differ."""
    if ours.shape != peer.shape:
        return math.inf
    if ours.dim() == 1:
        return float(((ours - peer).abs() / peer.abs()).max())
    worst = scale = 0.0
    for i in range(0, len(ours), 512):  # without an n x n temporary
        a, b = ours[i : i + 512].double(), peer[i : i + 512].double()
        worst, scale = max(worst, float((a - b).abs().max())), max(scale, float(b.abs().max()))
    return worst / scale if scale else worst
