"""Whether a run fits into the memory of this machine, asked before it starts."""

from __future__ import annotations

from pathlib import Path


def available_memory() -> int | None:
    """Bytes that can be had: free memory, or what is left of a container's limit; None if unknown."""
    free = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            free.append(int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(free, default=None)


def check_memory(needed: int, what: str = "this", remedy: str = "") -> None:
    """Compare an estimate with the memory that is free; nothing happens where that is unknown.

    Args:
        needed: bytes at the peak.
        what: needs them.
        remedy: what to change if there are too few; arguments are written `name=`.

    Raises:
        MemoryError: there are too few.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise MemoryError(
            f"{what} needs about {needed / 1e9:,.1f} GB of memory and {available / 1e9:,.1f} GB are free"
            + (f"; {remedy}" if remedy else "")
        )
