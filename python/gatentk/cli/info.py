"""The command `gatentk info`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from gatentk.cli.console import open_console


@click.command()
def info() -> None:
    """Version, processor, instruction sets, threads, CUDA kernels and the versions of what gatentk builds on."""
    from rich.table import Table

    from gatentk import ops
    from gatentk.ops import cuda
    from gatentk.reporting.environment import environment

    facts = environment()
    in_use = facts.pop("instruction_set")
    rows = {name: str(value) for name, value in facts.items()}
    rows["instruction set"] = f"{in_use} (available: {', '.join(ops.available_isas())})"
    rows["compiled with"] = "OpenMP" if ops.openmp() else "one thread only"
    runtimes = openmp_runtimes()
    rows["OpenMP runtimes"] = ", ".join(runtimes) if runtimes else "none found"
    rows["CUDA"] = cuda.description()
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console = open_console()
    console.print(table)
    if len(runtimes) > 1:
        console.print(
            f"Warning: {len(runtimes)} OpenMP runtimes are loaded, expected one; they compete for the processor.",
            style="yellow",
        )


def openmp_runtimes(maps: Path = Path("/proc/self/maps")) -> Sequence[str]:
    """OpenMP libraries mapped into this process; empty where the system does not tell."""
    try:
        lines = maps.read_text().splitlines()
    except OSError:
        return []
    paths = {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}
    return sorted(path for path in paths if re.match(r"lib(g|i|)omp\d*[-.]", Path(path).name))
