"""Devices of the predictions, and what cuBLAS reaches on them."""

from __future__ import annotations

from dataclasses import dataclass

# Of the data sheet's memory bandwidth, what a copy reaches: 3.0 of 3.35 TB/s on an H100 (docs/cuda.md).
COPIED = 0.9
# Seconds of a launch, the first loads and the last tiles. With them cuBLAS is within a quarter of what an H100 took for
# nine products of 512 x 3072 x 3072 to 1024 x 2048 x 2048 in bfloat16, TF32 and float32 (docs/cuda.md), mostly below.
START = 5e-6
# Tiles that cuBLAS has, and their speed: it takes those that leave the fewest multiprocessors idle in the last round.
CUBLAS_TILES = {(128, 128): 1.0, (128, 64): 0.9}


@dataclass(frozen=True)
class Device:
    """A card under load.

    Attributes:
        clock: cycles a second, `memory` and `l2`: bytes a second.
        cublas: operations a second of large products, by dtype and torch's precision.
    """

    name: str
    architecture: int
    multiprocessors: int
    clock: float
    memory: float
    l2: float
    cublas: dict[str, float]

    def cublas_seconds(self, rows: int, columns: int, k: int, arithmetic: str) -> float:
        """A dense product."""
        speed = max(
            reached * self.used(-(-rows // down) * -(-columns // across))
            for (down, across), reached in CUBLAS_TILES.items()
        )
        return START + 2 * rows * columns * k / self.cublas[arithmetic] / speed

    def used(self, blocks: int) -> float:
        """Part of the multiprocessors' time that blocks take when each takes one at a time."""
        return blocks / self.multiprocessors / -(-blocks // self.multiprocessors)

    def mask_seconds(self, elements: int, size: int) -> float:
        """Reads and writes all elements: gates applied in place."""
        return 2 * elements * size / (COPIED * self.memory)


# Multiprocessors, clocks and memory are of the data sheets. Second-level cache: te42kyfo/gpu-benches, gpu-l2-cache,
# reads of sets that fit there but in no first-level cache: A100 80 GB 5.4 TB/s; H200, the chip of the H100, 9.7 TB/s at
# 1.98 GHz, which is 9.0 at this clock (H100 PCIe, 114 multiprocessors: 6.9). These are 35 to 37 bytes a cycle and
# multiprocessor on all three. The TF32 prototypes of block gates drew about 9 TB/s from it on an H100.
#
# cuBLAS: H100 as measured here (docs/cuda.md; published are 730 to 800, 404 to 418, 46 to 51 TFLOP/s), A100 the upper
# end of what is published for large products (250 to 270, 125 to 135, 18 to 19 TFLOP/s; float64 peaks at 19.5), so that
# ratios to it are rather too low.
A100 = Device(
    "A100", 80, 108, 1.41e9, 2.04e12, 5.4e12, {"bf16": 270e12, "tf32": 135e12, "float32": 19e12, "f64": 19e12}
)
H100 = Device(
    "H100", 90, 132, 1.83e9, 3.35e12, 9.0e12, {"bf16": 801e12, "tf32": 418e12, "float32": 51e12, "f64": 61e12}
)
DEVICES = (A100, H100)
