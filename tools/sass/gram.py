"""Predicted times of Gram matrices: the pipe of the busiest multiprocessor that takes longest, cache or memory."""

from __future__ import annotations

import importlib

from sass.devices import DEVICES
from sass.pipes import core
from sass.reading import built_module, read_kernels
from sass.resources import SHARED_LIMITS
from sass.tiles import SIZES, TURN_BYTES, Tile

# Arithmetic, samples, width and terms; of the result one triangle.
CASES = [*((arithmetic, 8000, 512, 4) for arithmetic in ("strict", "tf32x3", "tf32")), ("f64", 5000, 512, 4)]
# What an H100 took, in milliseconds.
MEASURED = {"strict": 5.928, "tf32x3": 3.884, "tf32": 2.385, "f64": 3.671}


def predictions() -> list[list[str]]:
    """Rows of the table: work, device, configuration, FLOPs, bytes, intensity, limit, milliseconds, measured ones."""
    extension = importlib.import_module("gatentk._cuda")
    kernels = {(kernel.name, kernel.architecture): kernel for kernel in read_kernels(built_module())}
    rows = []
    for arithmetic, n, width, terms in CASES:
        for device in DEVICES:
            known = (device.architecture, device.multiprocessors, SHARED_LIMITS[device.architecture][0], 0)
            index = extension.choose_gram(arithmetic, known, n, n, True)
            tile = Tile.of(extension.gram_configurations()[index])
            found = core(kernels[tile.kernels[0], device.architecture], tile)
            assert found is not None
            turns = -(-width // tile.depth) * 2 * terms
            down = -(-n // tile.rows)
            # Blocks that the busiest multiprocessor computes share its four parts evenly.
            blocks = down * (down + 1) // 2
            warps = -(-blocks // device.multiprocessors) * tile.quarter
            cycles = found.turn.cycles(device.architecture)
            moved = SIZES[arithmetic] * (2 * terms * n * width + n * n)
            limits = {pipe: count * warps * turns / device.clock for pipe, count in cycles.items()}
            limits["memory"] = moved / device.memory
            limits["L2"] = blocks * turns * (tile.rows + tile.columns) * TURN_BYTES / device.l2
            limit = max(limits, key=lambda pipe: limits[pipe])
            flops = 2 * terms * n * n * width
            work = f"gram_ntk n = {n}, {terms} terms of width {width}, {arithmetic}"
            figures = f"{flops / 1e9:.1f}", f"{moved / 1e6:.0f}", f"{flops / moved:.0f}"
            measured = f"{MEASURED[arithmetic]:.3f}" if device.name == "H100" else ""
            rows.append([work, device.name, tile.name, *figures, limit, f"{1e3 * limits[limit]:.3f}", measured])
    return rows


def lines() -> list[str]:
    """The table in Markdown."""
    head = "| work | device | tile | GFLOP | MB | FLOP/byte | limit | predicted ms | measured |"
    return [head, "| --- " * 9 + "|", *("| " + " | ".join(row) + " |" for row in predictions())]
