"""The prototypes of block gates as Triton compiles them: the same figures as of the kernels, without a GPU."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sass.blocks import Case
from sass.devices import DEVICES, Device
from sass.pipes import WARPGROUP_RATE, Work, core
from sass.reading import Kernel, read_kernels
from sass.tiles import INSTRUCTIONS, Tile

TYPES = {"bf16": "bf16", "tf32": "fp32", "tf32x3": "fp32"}  # Triton's names
# Best tiles of tools/block_gates_triton.py on an H100, and the ratio of cuBLAS with torch.where to them, n = 8192 and
# m = 4096, blocks of 128: kind, arithmetic, rows, columns, inner, stages, warps, ratio.
MEASURED = [
    ("forward", "bf16", 128, 128, 64, 3, 4, 1.73),
    ("forward", "tf32", 128, 128, 32, 3, 8, 1.73),
    ("forward", "tf32x3", 128, 128, 32, 3, 8, 3.10),
    ("weight gradient", "bf16", 128, 128, 64, 4, 8, 1.68),
]


@dataclass(frozen=True)
class Prototype:
    """A tile of one of the prototypes."""

    kind: str
    arithmetic: str
    rows: int
    columns: int
    inner: int
    stages: int
    warps: int
    measured: float

    def signature(self) -> dict[str, str]:
        """Types of the arguments by their names."""
        pointer = "*" + TYPES[self.arithmetic]
        sizes = ("n", "K", "m") if self.kind == "forward" else ("n", "blocks", "m")
        factors = ("X", "W", "OUT") if self.kind == "forward" else ("D", "X", "OUT")
        lists = dict.fromkeys(("ROWS", "COUNTS"), "*i32")
        constants = dict.fromkeys(("G", "BM", "BN", "BK", "PRECISION"), "constexpr")
        return dict.fromkeys(factors, pointer) | lists | dict.fromkeys(sizes, "i32") | constants

    def constants(self) -> dict[str, Any]:
        """What is compiled in."""
        precision = "tf32" if self.arithmetic == "bf16" else self.arithmetic
        return {"G": 128, "BM": self.rows, "BN": self.columns, "BK": self.inner, "PRECISION": precision}

    def as_tile(self) -> Tile:
        """As one of our configurations: the same reads of factors a multiply-add."""
        name = f"{self.rows} x {self.columns} x {self.inner}, {self.stages} stages"
        return Tile(name, self.arithmetic, self.rows, self.columns, 32 * self.warps, ())


def installed() -> bool:
    """Whether Triton is there; nothing else of these tools wants it."""
    return importlib.util.find_spec("triton") is not None


def compile_prototype(prototype: Prototype, architecture: int, folder: Path) -> tuple[Kernel, int]:
    """The kernel, and the shared memory in bytes that its launch asks for."""
    triton = importlib.import_module("triton")
    compiler, target = importlib.import_module("triton.compiler"), importlib.import_module("triton.backends.compiler")
    source = importlib.import_module("block_gates_triton")
    function = source.forward if prototype.kind == "forward" else source.weight_gradient
    signature, constants = prototype.signature(), prototype.constants()
    # Pointers and sizes are multiples of 16, as Triton finds them to be at a launch.
    given = [i for i, kind in enumerate(signature.values()) if kind != "constexpr"]
    attributes = {(i,): [["tt.divisibility", 16]] for i in given}
    compiled = triton.compile(
        compiler.ASTSource(fn=function, signature=signature, constexprs=constants, attrs=attributes),
        target=target.GPUTarget("cuda", architecture, 32),
        options={"num_warps": prototype.warps, "num_stages": prototype.stages},
    )
    cubin = folder / f"{prototype.kind[0]}_{prototype.arithmetic}_{architecture}.cubin"
    cubin.write_bytes(compiled.asm["cubin"])
    (kernel,) = read_kernels(cubin)
    return kernel, compiled.metadata.shared


def multiply_adds(work: Work, arithmetic: str) -> float:
    """Those of one warp on tensor cores, several to a product where the arithmetic takes so many."""
    made, _ = INSTRUCTIONS[arithmetic]
    rate = WARPGROUP_RATE if arithmetic == "bf16" else WARPGROUP_RATE / 2
    return work.warpgroup * rate / 2 + made * (work.pipes["tensor16"] + work.pipes["tensor32"])


def row(prototype: Prototype, device: Device, folder: Path) -> list[str]:
    """Cells of the table."""
    kernel, shared = compile_prototype(prototype, device.architecture, folder)
    found = core(kernel, whole_loop=True)
    assert found is not None, kernel.name
    tile = prototype.as_tile()
    # A pass of Triton's loop may take more or less along the sum than a turn of ours.
    passes = INSTRUCTIONS[prototype.arithmetic][1]
    ours = tile.rows * tile.columns * tile.depth / prototype.warps * passes
    cycles = found.turn.times(ours / multiply_adds(found.turn, prototype.arithmetic)).cycles(device.architecture)
    case = Case(prototype.kind, prototype.arithmetic, 8192, 4096, 128)
    seconds, limit = case.seconds(device, tile, cycles)
    # torch.where takes twice the time of gates applied in place (docs/cuda.md).
    masked = 0 if prototype.kind == "weight gradient" else device.mask_seconds(case.n * case.m, tile.size)
    ratio = (case.peer_seconds(device) + masked) / seconds
    return [
        f"{prototype.kind} {prototype.arithmetic}",
        device.name,
        tile.name,
        f"{kernel.registers}, {kernel.spills}, {shared / 1024:.0f}",
        f"{found.turn.others() / found.turn.tensor_cycles(device.architecture):.0%}",
        limit,
        f"{1e3 * seconds:.3f}",
        f"{ratio:.2f}",
        f"{prototype.measured:.2f}" if device.name == "H100" else "",
    ]


def lines() -> Iterator[str]:
    """The table in Markdown."""
    head = "| prototype | device | tile | registers, spills, KB | others | limit | predicted ms | ratio | measured |"
    yield head
    yield "| --- " * (head.count("|") - 1) + "|"
    with tempfile.TemporaryDirectory() as folder:
        for prototype in (Prototype(*figures) for figures in MEASURED):
            for device in DEVICES:
                yield "| " + " | ".join(row(prototype, device, Path(folder))) + " |"
