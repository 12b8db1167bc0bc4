"""The table of resources: registers, spills, shared memory and resident blocks of every kernel."""

from __future__ import annotations

import csv
import importlib
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sass.reading import Kernel, built_module, output, read_kernels, toolkit

COLUMNS = ["kernel", "sm", "threads", "registers", "stack", "spills", "shared", "blocks"]
LISTED = "_configurations"  # how the functions of the module end that list a family's configurations

# Shared memory of a block (at most, with opt-in) and of a multiprocessor, in bytes.
SHARED_LIMITS = {80: (166912, 167936), 90: (232448, 233472), 100: (232448, 233472)}

OCCUPANCY = r"""
#include <cstddef>
#include <cstdio>
#include <algorithm>
#include <climits>
#include <cstring>
#include <cuda_occupancy.h>
int main() {
  int major, threads, registers;
  size_t fixed, dynamic, per_block, per_sm;
  while (std::scanf("%d %d %d %zu %zu %zu %zu", &major, &threads, &registers, &fixed, &dynamic, &per_block,
                    &per_sm) == 7) {
    cudaOccDeviceProp device;
    device.computeMajor = major, device.computeMinor = 0;
    device.maxThreadsPerBlock = 1024, device.maxThreadsPerMultiprocessor = 2048;
    device.regsPerBlock = 65536, device.regsPerMultiprocessor = 65536, device.warpSize = 32;
    device.sharedMemPerBlock = 49152, device.sharedMemPerBlockOptin = per_block;
    device.sharedMemPerMultiprocessor = per_sm, device.numSms = 1, device.reservedSharedMemPerBlock = 1024;
    cudaOccFuncAttributes kernel;
    kernel.maxThreadsPerBlock = threads, kernel.numRegs = registers, kernel.sharedSizeBytes = fixed;
    kernel.partitionedGCConfig = PARTITIONED_GC_OFF, kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
    kernel.maxDynamicSharedSizeBytes = per_block - fixed, kernel.numBlockBarriers = 1;
    cudaOccDeviceState state;
    state.cacheConfig = CACHE_PREFER_SHARED;
    cudaOccResult result;
    const int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic);
    std::printf("%d\n", error ? -error : result.activeBlocksPerMultiprocessor);
  }
}
"""


def blocks_per_multiprocessor(kernels: list[Kernel], dynamic: list[int]) -> list[int]:
    """Blocks that a multiprocessor holds at once, by the toolkit's cuda_occupancy.h."""
    compiler = Path(shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc").resolve()
    folders = [compiler.parents[1] / "include", Path("/usr/local/cuda/include"), Path("/usr/include")]
    include = next((folder for folder in folders if (folder / "cuda_occupancy.h").exists()), None)
    if include is None:
        raise FileNotFoundError("cuda_occupancy.h: not found beside nvcc")
    lines = "".join(
        f"{k.architecture // 10} {k.threads} {k.registers} {k.shared} {d} "
        f"{SHARED_LIMITS[k.architecture][0]} {SHARED_LIMITS[k.architecture][1]}\n"
        for k, d in zip(kernels, dynamic, strict=True)
    )
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "occupancy.cpp", Path(folder) / "occupancy"
        source.write_text(OCCUPANCY)
        output(["g++", "-std=c++17", "-w", f"-I{include}", str(source), "-o", str(program)])
        result = output([str(program)], input=lines)
    return [int(line) for line in result.split()]


def dynamic_shared() -> dict[str, int]:
    """Dynamic shared memory in bytes of the kernels whose configurations ask for some, by the kernel's name."""
    listed = configurations(importlib.import_module("gatentk._cuda")).values()
    return {kernel: entry["shared_bytes"] for entries in listed for entry in entries for kernel in entry["kernels"]}


def configurations(extension: Any) -> dict[str, list[dict[str, Any]]]:
    """Configurations of every family that a module has, by its name."""
    names = [name for name in dir(extension) if name.endswith(LISTED)]
    return {name.removesuffix(LISTED): getattr(extension, name)() for name in names}


def resource_table() -> str:
    """The table as CSV: one line for each kernel and architecture."""
    kernels = read_kernels(built_module())
    asked = dynamic_shared()
    dynamic = [asked.get(kernel.name, 0) for kernel in kernels]
    out = io.StringIO()
    out.write(f"# nvcc {toolkit()}\n")
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    for kernel, shared, blocks in zip(kernels, dynamic, blocks_per_multiprocessor(kernels, dynamic), strict=True):
        compiled = kernel.registers, kernel.stack, kernel.spills
        table.writerow((kernel.name, kernel.architecture, kernel.threads, *compiled, shared, blocks))
    return out.getvalue()
