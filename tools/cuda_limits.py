"""On which devices each configuration of the CUDA kernels starts, by the shared memory that its blocks ask for.

    python tools/cuda_limits.py        the table of docs/cuda.md

Reads a built module `gatentk._cuda`; no GPU is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

FAMILIES = ("block_matmul", "gram", "gate_gram", "infinite_ntk", "infinite_network", "ordered_linear", "pack_bits")

# Shared memory of a block in KB: sm_86, sm_89 and sm_120; sm_80; sm_90 and sm_100 (CUDA C++ Programming Guide,
# "Technical Specifications per Compute Capability"). A multiprocessor has 1 KB more; CUDA keeps 1 KB of every block.
LIMITS = (99, 163, 227)
RESERVED = 1


def table(extension: Any) -> Iterator[str]:
    """Lines of Markdown: configurations, what a block asks for, and the blocks that a multiprocessor has that for."""
    yield " | ".join(["| configuration", "KB", *(f"{limit} KB" for limit in LIMITS)]) + " |"
    yield "| --- " * (2 + len(LIMITS)) + "|"
    for family in FAMILIES:
        for entry in getattr(extension, f"{family}_configurations")():
            asked = entry["shared_bytes"] / 1024
            blocks = [int((limit + RESERVED) // (asked + RESERVED)) for limit in LIMITS]
            if asked:
                cells = [f"{family} {entry['name']}", f"{asked:.1f}", *(str(count or "-") for count in blocks)]
                yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print("\n".join(table(importlib.import_module("gatentk._cuda"))))
