"""Tiles of the matrix products: what a turn of their main loop has to multiply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SIZES = {"strict": 4, "tf32x3": 4, "tf32": 4, "bf16": 2, "f64": 8}  # bytes of an element
TURN_BYTES = 128  # of a row of a tile that one turn of the main loop takes
# Multiply-adds of an instruction of a warp, and how many of them a product takes.
INSTRUCTIONS = {
    "strict": (32, 1),
    "tf32x3": (16 * 8 * 8, 3),
    "tf32": (16 * 8 * 8, 1),
    "bf16": (16 * 8 * 16, 1),
    "f64": (8 * 8 * 4, 1),
}


# Elements along the sum after which sums are added to a second set in shared memory (tile/shape.cuh); others never.
FLUSHED = {"strict": 128, "tf32x3": 512, "f64": 128}


@dataclass(frozen=True)
class Tile:
    """A configuration of a family of products."""

    name: str
    arithmetic: str
    rows: int
    columns: int
    threads: int
    kernels: tuple[str, ...]

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Tile:
        """A row of one of the module's `..._configurations()`."""
        names = entry["name"], entry["arithmetic"]
        return cls(*names, entry["tile_rows"], entry["tile_columns"], entry["threads"], tuple(entry["kernels"]))

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return SIZES[self.arithmetic]

    @property
    def depth(self) -> int:
        """Elements along the sum in a turn of the main loop."""
        return TURN_BYTES // self.size

    @property
    def products(self) -> float:
        """Instructions that multiply, of one warp in a turn."""
        made, passes = INSTRUCTIONS[self.arithmetic]
        return passes * self.rows * self.columns * self.depth / (self.threads / 32) / made

    @property
    def flush_turns(self) -> int:
        """Turns between two additions to the second set of sums."""
        return FLUSHED.get(self.arithmetic, self.depth) // self.depth

    @property
    def quarter(self) -> float:
        """Warps of a block on each of the four parts of a multiprocessor."""
        return self.threads / 32 / 4
