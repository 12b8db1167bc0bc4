"""Where method "auto" of masked products loses to torch: F.linear and the same masks, and both gradients.

    python tools/measure_paths.py                                  the whole grid, an hour on two cores
    python tools/measure_paths.py --widths 1024 --batches 64 512   a part of it
    GATENTK_ISA=avx2 python tools/measure_paths.py                 with the kernels of another instruction set

The process starts again with settings of glibc by which memory is never given back: what a product takes of new memory
differs from call to call otherwise, by more than all else. Prints a line for each product that takes torch at least a
millisecond and in which "auto" is slower than 1 / 0.95 times that, with the times of all ways, and at the end how many
were measured. Ways take turns, and the fastest turn of each counts; a loser is measured again with more turns before it
is printed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gatentk import ops
from gatentk.ops import calibration
from gatentk.ops.cpu_products import PATHS, has_block_kernel
from gatentk.ops.layouts import MaskedProduct, units
from gatentk.ops.masked import multiply

LOSS, SHORTEST = 0.95, 1e-3
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(1 << 28)}


def arguments() -> argparse.Namespace:
    """The grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64, 256, 1024])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.05, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 8, 16, 32, 64])
    parser.add_argument("--kinds", nargs="+", default=list(calibration.KINDS), choices=calibration.KINDS)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="print every product")
    return parser.parse_args()


def layers(n: int, width: int, density: float, block: int) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Gates of the two sides, with the plans that a table has, and masks of their neurons."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        mask = torch.rand(n, units(width, block), generator=generator) < density
        layer = ops.GateLayer(ops.pack_bits(mask), width, block)
        yield [layer.bits, *layer.plans], mask.repeat_interleave(block, 1)[:, :width]


def product(
    kind: str, dtype: torch.dtype, n: int, width: int, density: float, block: int
) -> tuple[MaskedProduct, Callable[[], Tensor]]:
    """A product of method "auto", and the same in torch."""
    (inside, mask_in), (outside, mask_out) = layers(n, width, density, block)
    z, grad, weight = (torch.randn(rows, width, dtype=dtype) for rows in (n, n, width))
    on_in, on_out = mask_in.to(dtype), mask_out.to(dtype)
    if kind == "forward":
        masked = MaskedProduct(z, weight, False, True, inside, [], outside, 0, (block, 1, block))
        return masked, lambda: torch.nn.functional.linear(z * on_in, weight) * on_out
    if kind == "input_gradient":
        masked = MaskedProduct(grad, weight, False, False, outside, [], inside, 0, (block, 1, block))
        return masked, lambda: ((grad * on_out) @ weight) * on_in
    masked = MaskedProduct(grad, z, True, False, outside, inside, [], 0, (block, block, 1))
    return masked, lambda: (grad * on_out).T @ (z * on_in)


def fastest(runs: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Seconds of the fastest of the turns that runs take."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(turns):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    """Measure, print the losers."""
    options = arguments()
    if not KEEPS_MEMORY.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **KEEPS_MEMORY})
    start = time.perf_counter()
    for kind, dtype in itertools.product(options.kinds, options.dtypes):
        calibration.ratios(kind, getattr(torch, dtype))
    print(
        f"{ops.isa()}, {torch.get_num_threads()} threads, calibration {time.perf_counter() - start:.2f} s", flush=True
    )
    measured = lost = 0
    grid = options.dtypes, options.kinds, options.widths, options.batches, options.densities, options.blocks
    for dtype, kind, width, n, density, block in itertools.product(*grid):
        masked, dense = product(kind, getattr(torch, dtype), n, width, density, block)
        if fastest({"torch": dense}, 2)["torch"] < SHORTEST:
            continue
        auto = {"torch": dense, "auto": lambda p=masked: multiply(p)}
        measured += 1
        best = fastest(auto, options.turns)
        loses = best["torch"] < LOSS * best["auto"]
        if loses:
            best = {name: min(t, best[name]) for name, t in fastest(auto, 4 * options.turns).items()}
            loses = best["torch"] < LOSS * best["auto"]
        loses = loses and best["torch"] >= SHORTEST
        lost += loses
        if loses or options.all:
            ways = [name for name in PATHS if name != "blocks" or has_block_kernel(masked)]
            best |= fastest({name: lambda p=masked, run=PATHS[name]: run(p) for name in ways}, options.turns)
            ratios = ", ".join(f"{name} {best['torch'] / best[name]:.2f}" for name in ("auto", *ways))
            sizes = f"{kind} {dtype} ({n}, {width}) density {density} block {block}"
            print(f"{sizes}: torch {1e3 * best['torch']:.2f} ms; {ratios}", flush=True)
    print(f"{lost} of {measured} products are slower than 1 / {LOSS} times torch")


if __name__ == "__main__":
    main()
