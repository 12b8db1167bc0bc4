"""Prototypes in Triton of products with gates that blocks of neurons share, beside cuBLAS.

`python tools/block_gates_triton.py` needs a CUDA device, torch and Triton 3.6 or newer. It prints a line a case:
milliseconds (median of nine, cold second-level cache), the ratio of cuBLAS to it, and the error against float64.
docs/cuda.md has what an H100 gave.

Shapes: x (n, m) inputs, d (n, m) gradients of the outputs, w (m, m); gates (n, m / g) bool, drawn at 50%.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

SHAPES = [(8192, 4096), (2048, 4096), (8192, 8192)]
SCANNED = 512  # samples that a list maker looks at together; divides every n
BF16, F32 = torch.bfloat16, torch.float32


@triton.jit
def list_rows(GATES, ROWS, COUNTS, n, CHUNK: tl.constexpr):
    """For each block the rows that are on, then those that are off; GATES and ROWS are (blocks, n)."""
    block = tl.program_id(0)
    total = 0
    for start in range(0, n, CHUNK):
        total += tl.sum(tl.load(GATES + block * n + start + tl.arange(0, CHUNK)).to(tl.int32), 0)
    tl.store(COUNTS + block, total)
    next_on = 0
    next_off = total
    for start in range(0, n, CHUNK):
        row = start + tl.arange(0, CHUNK)
        on = tl.load(GATES + block * n + row).to(tl.int32)
        off = 1 - on
        place = tl.where(on > 0, next_on + tl.cumsum(on, 0) - on, next_off + tl.cumsum(off, 0) - off)
        tl.store(ROWS + block * n + place, row)
        next_on += tl.sum(on, 0)
        next_off += tl.sum(off, 0)


@triton.jit
def list_pairs(GATES_IN, GATES_OUT, ROWS, COUNTS, n, blocks, CHUNK: tl.constexpr):
    """For each pair of blocks (out, in) the samples that are on in both. ROWS: int32 (blocks, blocks, n)."""
    out_block = tl.program_id(0)
    in_block = tl.program_id(1)
    rows = ROWS + (out_block * blocks + in_block).to(tl.int64) * n
    total = 0
    for start in range(0, n, CHUNK):
        row = start + tl.arange(0, CHUNK)
        on = (tl.load(GATES_IN + in_block * n + row) & tl.load(GATES_OUT + out_block * n + row)).to(tl.int32)
        tl.store(rows + total + tl.cumsum(on, 0) - on, row, mask=on > 0)
        total += tl.sum(on, 0)
    tl.store(COUNTS + out_block * blocks + in_block, total)


@triton.jit
def forward(
    X, W, OUT, ROWS, COUNTS, n, K, m,
    G: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """OUT[i, block] = X[i] @ W[block].T where the block is on for i, zeros elsewhere."""
    columns = tl.program_id(0)
    place = tl.program_id(1) * BM
    block = columns // (G // BN)
    count = tl.load(COUNTS + block)
    listed = place + tl.arange(0, BM)
    row = tl.load(ROWS + block * n + listed, mask=listed < n, other=0)
    column = columns * BN + tl.arange(0, BN)
    out = OUT + row[:, None].to(tl.int64) * m + column[None, :]
    inside = (listed < n)[:, None]
    if place >= count:
        tl.store(out, tl.zeros((BM, BN), dtype=OUT.dtype.element_ty), mask=inside)
        return
    k = tl.arange(0, BK)
    x = X + row[:, None].to(tl.int64) * K + k[None, :]
    w = W + column[None, :].to(tl.int64) * K + k[:, None]
    sums = tl.zeros((BM, BN), dtype=tl.float32)
    for _ in range(0, K, BK):
        sums = tl.dot(tl.load(x), tl.load(w), sums, input_precision=PRECISION)
        x += BK
        w += BK
    tl.store(out, tl.where((listed < count)[:, None], sums, 0.0).to(OUT.dtype.element_ty), mask=inside)


@triton.jit
def weight_gradient(
    D, X, OUT, ROWS, COUNTS, n, blocks, m,
    G: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """OUT[out block, in block] = D.T @ X over the samples that are on in both; a quarter of the dense arithmetic."""
    in_tile = tl.program_id(0)
    out_tile = tl.program_id(1)
    pair = (out_tile * BM // G) * blocks + in_tile * BN // G
    count = tl.load(COUNTS + pair)
    rows = ROWS + pair.to(tl.int64) * n
    out_column = out_tile * BM + tl.arange(0, BM)
    in_column = in_tile * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    sums = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, count, BK):
        on = start + k < count
        row = tl.load(rows + start + k, mask=on, other=0).to(tl.int64)
        d = tl.load(D + row[:, None] * m + out_column[None, :], mask=on[:, None], other=0.0)
        x = tl.load(X + row[:, None] * m + in_column[None, :], mask=on[:, None], other=0.0)
        sums = tl.dot(tl.trans(d), x, sums, input_precision=PRECISION)
    tl.store(OUT + out_column[:, None].to(tl.int64) * m + in_column[None, :], sums.to(OUT.dtype.element_ty))


class Tile(NamedTuple):
    """A tile and how its loop is pipelined."""

    rows: int
    columns: int
    inner: int
    stages: int
    warps: int


def tiles(kind: str, g: int, dtype: torch.dtype) -> list[Tile]:
    """Those worth a try; wider ones than a block do not fit, and the best of each kind on an H100 is among them."""
    if kind == "forward" and dtype == BF16:
        wide = {64: [Tile(256, 64, 64, 4, 8)], 128: [], 256: [Tile(128, 256, 64, 3, 8)]}[g]
        return wide + ([Tile(128, 128, 64, 3, 4), Tile(256, 128, 64, 3, 8)] if g >= 128 else [])
    if kind == "forward":
        return [Tile(128, 64, 32, 4, 4), Tile(256, 64, 32, 3, 8)] if g == 64 else [Tile(128, 128, 32, 3, 8)]
    if g == 64:
        return [Tile(64, 64, 64, 5, 4)] if dtype == BF16 else [Tile(64, 64, 32, 4, 4)]
    return [Tile(128, 128, 64, 4, 8)] if dtype == BF16 else [Tile(128, 128, 32, 3, 8)]


# dtype, how Triton multiplies, and whether cuBLAS may use TF32 beside it
PRODUCTS = [
    (BF16, "tf32", True),
    (F32, "tf32", True),
    (F32, "bf16x3", True),
    (F32, "tf32x3", False),
    (F32, "bf16x6", False),
]


class Gates:
    """Gates of the inputs and outputs of one layer, with their lists."""

    def __init__(self, n: int, m: int, g: int) -> None:
        self.n, self.m, self.g, self.blocks = n, m, g, m // g
        self.inputs, self.outputs = (torch.rand(n, self.blocks, device="cuda") < 0.5 for _ in range(2))
        self.by_block = [gate.T.contiguous().to(torch.uint8) for gate in (self.inputs, self.outputs)]
        self.rows, self.row_counts = self.listed_rows()
        self.pairs, self.pair_counts = self.listed_pairs()

    def listed_rows(self) -> tuple[Tensor, Tensor]:
        """Rows that are on by output block."""
        rows = torch.empty(self.blocks, self.n, dtype=torch.int32, device="cuda")
        counts = torch.empty(self.blocks, dtype=torch.int32, device="cuda")
        list_rows[(self.blocks,)](self.by_block[1], rows, counts, self.n, CHUNK=SCANNED)
        return rows, counts

    def listed_pairs(self) -> tuple[Tensor, Tensor]:
        """Samples that are on in both blocks of a pair."""
        rows = torch.empty(self.blocks, self.blocks, self.n, dtype=torch.int32, device="cuda")
        counts = torch.empty(self.blocks, self.blocks, dtype=torch.int32, device="cuda")
        list_pairs[(self.blocks, self.blocks)](*self.by_block, rows, counts, self.n, self.blocks, CHUNK=SCANNED)
        return rows, counts

    def run(self, kind: str, left: Tensor, right: Tensor, out: Tensor, tile: Tile, precision: str) -> None:
        """One launch; forward takes (x, w), the weight gradient (d, x)."""
        options = {"G": self.g, "BM": tile.rows, "BN": tile.columns, "BK": tile.inner, "PRECISION": precision}
        options |= {"num_stages": tile.stages, "num_warps": tile.warps}
        if kind == "forward":
            grid = self.m // tile.columns, triton.cdiv(self.n, tile.rows)
            forward[grid](left, right, out, self.rows, self.row_counts, self.n, left.shape[1], self.m, **options)
        else:
            grid = self.m // tile.columns, self.m // tile.rows
            lists = self.pairs, self.pair_counts
            weight_gradient[grid](left, right, out, *lists, self.n, self.blocks, self.m, **options)


def milliseconds(run: Callable[[], object], repeats: int = 9) -> float:
    """Median by events from a cold second-level cache, after two evaluations that are not counted."""
    flushed = torch.empty(128 << 20, dtype=torch.uint8, device="cuda")
    times = []
    for _ in range(repeats + 2):
        flushed.zero_()
        torch.cuda._sleep(500_000)  # the device has all of the launch before it begins
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times[2:])


def measure(n: int, m: int, g: int) -> Iterator[str]:
    """Lines of one shape and block size."""
    gates = Gates(n, m, g)
    where = f"n={n} m={m} g={g}"
    rows, pairs = milliseconds(gates.listed_rows), milliseconds(gates.listed_pairs)
    yield f"{where} lists of rows {rows:.4f} ms, of pairs {pairs:.4f} ms"
    in_mask, out_mask = (gate.repeat_interleave(g, 1) for gate in (gates.inputs, gates.outputs))
    for dtype, precision, tf32 in PRODUCTS:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        x, d = (torch.randn(n, m, device="cuda", dtype=dtype) * mask for mask in (in_mask, out_mask))
        w = torch.randn(m, m, device="cuda", dtype=dtype)
        for kind, left, right, dense in (
            ("forward", x, w, lambda x=x, w=w: torch.where(out_mask, x @ w.T, 0)),
            ("weight gradient", d, x, lambda x=x, d=d: d.T @ x),
        ):
            exact = (
                torch.where(out_mask, x.double() @ w.double().T, 0) if kind == "forward" else d.double().T @ x.double()
            )
            cublas = milliseconds(dense)
            for tile in tiles(kind, g, dtype):
                out = torch.full_like(exact, torch.nan, dtype=dtype)
                gates.run(kind, left, right, out, tile, precision)
                error = float((out.double() - exact).norm() / exact.norm())
                ours = milliseconds(lambda: gates.run(kind, left, right, out, tile, precision))  # noqa: B023 (called here)
                arithmetic = f"{str(dtype).removeprefix('torch.')} {precision}"
                yield (
                    f"{where} {kind} {arithmetic} {tuple(tile)}: {ours:.4f} ms, cuBLAS {cublas:.4f} ms, "
                    f"ratio {cublas / ours:.2f}, error {error:.1e}"
                )
            del exact


if __name__ == "__main__":
    print(torch.cuda.get_device_name(), "torch", torch.__version__, "triton", triton.__version__)
    for size in SHAPES:
        for block in (64, 128, 256):
            for line in measure(*size, block):
                print(line, flush=True)
