"""The instructions of the main loops: of every kernel by pipe, and of products beside their tensor cycles."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from sass.pipes import Core, core
from sass.reading import Kernel, built_module, read_kernels
from sass.resources import configurations
from sass.tiles import Tile

ARCHITECTURES = (80, 90, 100)
# Families that copy in one way only: a turn is all of their main loop.
WHOLE = ("block_matmul", "block_weight_gradient")


def product_tiles(extension: Any) -> dict[str, tuple[str, Tile]]:
    """Family and tile of each kernel of a matrix product, whose turns are known."""
    return {
        kernel: (family, Tile.of(entry))
        for family, entries in configurations(extension).items()
        for entry in entries
        if "arithmetic" in entry
        for kernel in entry["kernels"]
    }


def product_core(kernel: Kernel, family: str, tile: Tile) -> Core | None:
    """The main loop of a product."""
    return core(kernel, tile, whole_loop=family in WHOLE)


def lines() -> Iterator[str]:
    """Products as a table in Markdown, then a line for each kernel that multiplies."""
    tiles = product_tiles(importlib.import_module("gatentk._cuda"))
    kernels = read_kernels(built_module())
    cores = {
        (kernel.name, kernel.architecture): product_core(kernel, *tiles[kernel.name])
        if kernel.name in tiles
        else core(kernel)
        for kernel in kernels
    }
    yield from table(tiles, cores)
    yield ""
    head = f"{'kernel':44} {'sm':>4} {'slots':>6} {'tensor':>7} {'others':>7} {'+copies':>8} {'fp':>5} {'popc':>5}"
    yield f"{head}  pipes"
    yield from (line(found) for found in cores.values() if found)


def table(tiles: dict[str, tuple[str, Tile]], cores: dict[tuple[str, int], Core | None]) -> Iterator[str]:
    """Issue slots beside the tensor cycles, without and with copies."""
    yield "| kernel | " + " | ".join(f"sm_{architecture}" for architecture in ARCHITECTURES) + " |"
    yield "| --- " * (1 + len(ARCHITECTURES)) + "|"
    for name, (family, tile) in tiles.items():
        if tile.arithmetic == "strict":
            continue
        cells = [f"{family} {tile.name}{', input gradient' if name in tile.kernels[1:] else ''}"]
        for architecture in ARCHITECTURES:
            found = cores.get((name, architecture))
            cells.append(", ".join(f"{found.beside_tensor(copies):.0%}" for copies in (False, True)) if found else "-")
        yield "| " + " | ".join(cells) + " |"


def line(found: Core) -> str:
    """Of one kernel."""
    tensor = found.work.tensor_cycles(found.kernel.architecture)
    beside = [f"{found.beside_tensor(copies):.0%}" if tensor else "-" for copies in (False, True)]
    return (
        f"{found.kernel.name:44} {found.kernel.architecture:4} {found.work.slots():6.0f} {tensor or '-':>7} "
        f"{beside[0]:>7} {beside[1]:>8} {found.share('fp32', 'fp64', 'special'):5.0%} {found.share('special'):5.0%}  "
        + " ".join(f"{name}:{count}" for name, count in found.work.pipes.most_common())
    )
