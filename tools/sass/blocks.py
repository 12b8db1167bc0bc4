"""Predicted times of products with gates of blocks of neurons, beside cuBLAS and a mask."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sass.devices import COPIED, DEVICES, START, Device
from sass.loops import product_core
from sass.pipes import Core
from sass.reading import Kernel, built_module, read_kernels
from sass.resources import SHARED_LIMITS
from sass.tiles import TURN_BYTES, Tile

# Of the limit that the pipes set, what a kernel is assumed to reach. An H100 reached 0.92 and 0.94 in Gram matrices of
# float32 by multiply-adds and of float64, 0.69 by tf32x3 with two warps a scheduler and no fragments loaded ahead, 0.48
# by tf32 with one; cuBLAS reaches 0.87 by mma.sync on an A100 (270 of 312 TFLOP/s). Block products have two warps a
# scheduler and load ahead: between 0.69 and 0.87. A ratio of 1.2 at 0.75 is 1.1 at 0.69.
REACHED = 0.75
WORTH = 1.2  # ratio to cuBLAS from which the block kernels are to be taken
DENSITY = 0.5  # of gates that are on, drawn for each unit and sample

SAMPLES = (8192, 2048, 512)
WIDTH = 4096
BLOCKS = (32, 64, 128, 256)
ARITHMETIC = ("bf16", "tf32", "tf32x3", "f64")
PEER = {"bf16": "bf16", "tf32": "tf32", "tf32x3": "float32", "f64": "f64"}  # cuBLAS of what torch would call the same
KINDS = ("forward", "input gradient", "weight gradient")

# Ratios that are to be reached for n = 8192, m = 4096 and blocks of 128, by device.
ASKED = {
    ("forward", "bf16"): {"A100": 1.5, "H100": 1.2},
    ("forward", "tf32"): {"A100": 1.5, "H100": 1.2},
    ("forward", "tf32x3"): {"A100": 3.0, "H100": 2.0},
    ("weight gradient", "bf16"): {"A100": 2.0, "H100": 1.5},
}


@dataclass(frozen=True)
class Case:
    """A product of one layer: n samples, m inputs and outputs, both gated by blocks of g neurons."""

    kind: str
    arithmetic: str
    n: int
    m: int
    g: int

    def peer_seconds(self, device: Device) -> float:
        """CuBLAS, and gates applied to its result; the factors, and so the weight gradient, need no mask."""
        rows, k = (self.m, self.n) if self.kind == "weight gradient" else (self.n, self.m)
        dense = device.cublas_seconds(rows, self.m, k, PEER[self.arithmetic])
        size = {"bf16": 2, "f64": 8}.get(self.arithmetic, 4)
        return dense if self.kind == "weight gradient" else dense + device.mask_seconds(self.n * self.m, size)

    def tiles(self, tile: Tile) -> float:
        """Output tiles that multiply, each in one unit; a unit's rows that are on end anywhere in a tile."""
        units = -(-self.m // self.g)
        across = units * -(-self.g // tile.columns)
        if self.kind == "weight gradient":
            return units * -(-self.g // tile.rows) * across
        return across * (self.n * DENSITY / tile.rows + 0.5)

    def turns(self, tile: Tile) -> float:
        """Turns of the main loop of one output tile."""
        if self.kind == "weight gradient":
            return self.n * DENSITY**2 / tile.depth + 0.5
        return -(-self.m // tile.depth)

    def l2_bytes(self, tile: Tile, left: float) -> float:
        """What the tiles read, of the left factor only a part."""
        return self.tiles(tile) * self.turns(tile) * TURN_BYTES * (left * tile.rows + tile.columns)

    def memory_bytes(self, size: int) -> float:
        """Both factors and the result, once."""
        return size * (2 * self.n * self.m + self.m * self.m)

    def seconds(self, device: Device, tile: Tile, cycles: dict[str, float], left: float = 1) -> tuple[float, str]:
        """The time, and what limits it.

        Args:
            cycles: of each pipe for one warp and turn.
            left: part of the left factor's tiles that is read.
        """
        blocks = self.tiles(tile)
        # Blocks of the busiest multiprocessor: half a round more than the mean, as the number of tiles is random.
        share = 1 if blocks <= device.multiprocessors else blocks / device.multiprocessors + 0.5
        warps = share * tile.quarter * self.turns(tile)
        limits = {pipe: count * warps / device.clock for pipe, count in cycles.items()}
        limits["L2"] = self.l2_bytes(tile, left) / device.l2
        limits["memory"] = self.memory_bytes(tile.size) / (COPIED * device.memory)
        limit = max(limits, key=lambda pipe: limits[pipe])
        return START + limits[limit] / REACHED, limit


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a case on a device."""

    case: Case
    device: Device
    tile: Tile
    limit: str
    seconds: float
    core: Core

    @property
    def ratio(self) -> float:
        """Time of cuBLAS and a mask over this."""
        return self.case.peer_seconds(self.device) / self.seconds


class Kernels:
    """The kernels of a built module, and what it would choose among them."""

    def __init__(self) -> None:
        self.module: Any = importlib.import_module("gatentk._cuda")
        self.compiled = {(kernel.name, kernel.architecture): kernel for kernel in read_kernels(built_module())}
        self.cores: dict[tuple[str, int], Core] = {}

    def family(self, kind: str) -> str:
        """Of a kind of product."""
        return "block_weight_gradient" if kind == "weight gradient" else "block_matmul"

    def tiles(self, kind: str) -> list[Tile]:
        """Configurations of a kind of product."""
        entries = getattr(self.module, f"{self.family(kind)}_configurations")()
        return [Tile.of(entry) for entry in entries if "arithmetic" in entry]

    def chosen(self, case: Case, device: Device) -> Tile:
        """The configuration that the library takes."""
        known = device.architecture, device.multiprocessors, SHARED_LIMITS[device.architecture][0], 0
        choose: Callable[..., int] = getattr(self.module, f"choose_{self.family(case.kind)}")
        shape = (case.n, case.m, case.g) if case.kind != "weight gradient" else (case.m, case.g) * 2
        return self.tiles(case.kind)[choose(case.arithmetic, known, *shape)]

    def core(self, kind: str, tile: Tile, architecture: int) -> Core:
        """The main loop of a configuration; the input gradient has a kernel of its own where its name is there."""
        name = tile.kernels[1 if kind == "input gradient" and len(tile.kernels) > 1 else 0]
        if (name, architecture) not in self.cores:
            kernel: Kernel = self.compiled[name, architecture]
            found = product_core(kernel, self.family(kind), tile)
            if found is None:
                raise ValueError(f"{name}: no products in its code for sm_{architecture}")
            self.cores[name, architecture] = found
        return self.cores[name, architecture]

    def predict(self, case: Case, device: Device) -> Prediction:
        """The library's choice."""
        tile = self.chosen(case, device)
        found = self.core(case.kind, tile, device.architecture)
        # Of rows no chunk is read whose gate is off.
        left = 1 if case.kind == "weight gradient" else DENSITY
        seconds, limit = case.seconds(device, tile, found.turn.cycles(device.architecture), left)
        return Prediction(case, device, tile, limit, seconds, found)


def details(kernels: Kernels) -> Iterator[str]:
    """Markdown: what limits the products of 8192 samples and blocks of 128, with what was asked of them in bold."""
    yield "| product | device | tile | others, with copies | limit | predicted ms | cuBLAS + mask | ratio | asked |"
    yield "| --- " * 9 + "|"
    for kind in KINDS:
        for arithmetic in ARITHMETIC:
            for device in DEVICES:
                case = Case(kind, arithmetic, SAMPLES[0], WIDTH, 128)
                found = kernels.predict(case, device)
                asked = ASKED.get((kind, arithmetic), {}).get(device.name)
                ratio = f"{found.ratio:.2f}"
                cells = [
                    f"{kind} {arithmetic}",
                    device.name,
                    found.tile.name,
                    f"{found.core.beside_tensor(copies=False):.0%}, **{found.core.beside_tensor(copies=True):.0%}**",
                    found.limit,
                    f"{1e3 * found.seconds:.3f}",
                    f"{1e3 * case.peer_seconds(device):.3f}",
                    f"**{ratio}**" if asked else ratio,
                    f"{asked:.1f}" if asked else "",
                ]
                yield "| " + " | ".join(cells) + " |"


def ratios(kernels: Kernels) -> Iterator[str]:
    """Markdown: ratios to cuBLAS and a mask by shape, for blocks of 32, 64, 128 and 256."""
    yield " | ".join(["| product", "device", *(f"{n} x {WIDTH}" for n in SAMPLES)]) + " |"
    yield "| --- " * (2 + len(SAMPLES)) + "|"
    for kind in KINDS:
        for arithmetic in ARITHMETIC:
            for device in DEVICES:
                cells = [f"{kind} {arithmetic}", device.name]
                for n in SAMPLES:
                    cases = [Case(kind, arithmetic, n, WIDTH, g) for g in BLOCKS]
                    cells.append(" / ".join(f"{kernels.predict(case, device).ratio:.2f}" for case in cases))
                yield "| " + " | ".join(cells) + " |"


def fewest_samples(kernels: Kernels, device: Device, kind: str, arithmetic: str, g: int) -> int | None:
    """From how many samples on, a power of two up to 8192, the ratio is and stays worth it."""
    worth = None
    for n in (8192, 4096, 2048, 1024, 512, 256, 128):
        if kernels.predict(Case(kind, arithmetic, n, WIDTH, g), device).ratio < WORTH:
            break
        worth = n
    return worth


def thresholds(kernels: Kernels) -> Iterator[str]:
    """Markdown: from how many samples on the block kernels are worth it, for blocks of 32, 64, 128 and 256."""
    yield " | ".join(["| product", *(device.name for device in DEVICES)]) + " |"
    yield "| --- " * (1 + len(DEVICES)) + "|"
    for kind in KINDS:
        for arithmetic in ARITHMETIC:
            cells = [f"{kind} {arithmetic}"]
            for device in DEVICES:
                found = [fewest_samples(kernels, device, kind, arithmetic, g) for g in BLOCKS]
                cells.append(" / ".join(str(n or "-") for n in found))
            yield "| " + " | ".join(cells) + " |"
