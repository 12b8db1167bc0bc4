"""The command `gatentk bench`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gatentk.cli import options

if TYPE_CHECKING:
    from gatentk.bench.case import Case
    from gatentk.bench.run import Clock, Measurement

BUSY = 0.5  # load average above which another program is probably at work


@click.command()
@click.option(
    "--peers",
    type=options.Place(path_type=Path),
    metavar="PYTHON",
    help="Interpreter of an environment with neural-tangents, to measure against it too.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where to measure: on a CUDA device every float32 product in each arithmetic, against cuBLAS.",
)
@click.option("-k", "--cases", multiple=True, metavar="TEXT", help="Only cases whose name contains TEXT; repeatable.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Pairs of evaluations.")
@click.option("--quick", is_flag=True, help="Small shapes: shows that everything runs, says nothing about speed.")
@click.option(
    "--out", type=options.Place(dir_okay=False, path_type=Path), metavar="FILE.json", help="Write all numbers."
)
def bench(peers: Path | None, device: str, cases: tuple[str, ...], repeats: int, quick: bool, out: Path | None) -> None:
    """Measure the package beside what one would use instead, on this machine.

    Each case alternates our side and the peer's, after one warm-up each, and shows medians and ranges, the ratio,
    operations per second and their share of the machine's measured peak, on a CUDA device bytes per second. Close
    other programs before.

    \b
    The environment of --peers is made by
      python -m venv nt
      nt/bin/pip install neural-tangents==0.6.5 jax==0.4.28 jaxlib==0.4.28 tf2jax==0.3.5 "numpy<2" "scipy<1.13"
      gatentk bench --peers nt/bin/python
    with jax and jaxlib 0.4.20 instead, its structured derivatives work too. Python 3.10 or 3.11.
    Where they do not, rows of finite width say so: their peer is then a much slower one, or none.
    """  # noqa: D301 (click reads \b: keep these lines apart)
    from gatentk.bench import results, run

    if device == "cuda":
        chosen, clock = _on_cuda(cases, peers)
    else:
        chosen, clock = run.select(cases), run.PROCESSOR
    if out is not None:
        _check_writable(out)
    if peers is not None:
        run.check_peer(peers)
    if quick:
        chosen = [case.small() for case in chosen]
    load = _load()
    measurements: list[Measurement] = []
    try:
        for measurement in run.measure_all(chosen, repeats, peers, _announce, clock):
            measurements.append(measurement)
            click.echo(results.line(measurement), err=True)
    finally:  # an interrupted run shows what it has
        _show(measurements)
    if out is not None:
        results.write(out, measurements, load)
        click.echo(f"Wrote {out}")


def _on_cuda(patterns: Sequence[str], peers: Path | None) -> tuple[list[Case], Clock]:
    """The table of a CUDA device and its clock, if there is a device."""
    from gatentk.bench import cuda, run

    if peers is not None:
        raise click.UsageError("--peers is measured on the processor; leave out --device cuda")
    chosen = run.select(patterns, cuda.CUDA_CASES)
    cuda.check()
    return chosen, cuda.CudaClock()


def _load() -> float | None:
    """Load average of the last minute, with a warning if others are at work; None where there is none."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > BUSY:
        click.echo(f"Warning: the load average is {load:.1f}; times are worth little beside other programs.", err=True)
    return load


def _announce(case: Case) -> None:
    click.echo(f"{case.name}: running", err=True)


def _show(measurements: Sequence[Measurement]) -> None:
    from rich.console import Console

    from gatentk.bench import results

    if not measurements:
        return
    console = Console()
    if not console.is_terminal:
        console.width = 120
    console.print(results.table(measurements))
    for note in results.notes(measurements):
        console.print(note, markup=False, highlight=False)


def _check_writable(out: Path) -> None:
    """Fail before the measurement, not after it."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise click.BadParameter(
            f"cannot write to the folder of {out}: {error.strerror}", param_hint="--out"
        ) from error
