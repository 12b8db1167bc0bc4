"""What the compiler made of the CUDA kernels: registers, spills, occupancy, and the instructions of their loops.

    python tools/cuda_static.py resources [--write]     table of kernels and architectures, docs/cuda-resources.csv
    python tools/cuda_static.py cores                   instructions of the main loops, by pipe
    python tools/cuda_static.py roofline                predicted times of products on an A100 and an H100

All read a built module `gatentk._cuda` with NVIDIA's cuobjdump (PyPI: nvidia-cuda-cuobjdump); no GPU is needed.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "cuda-resources.csv"
COLUMNS = ["kernel", "sm", "threads", "registers", "stack", "spills", "shared", "blocks"]

# Cycles for which one warp instruction keeps its pipe busy, in one of the four parts of a multiprocessor. Ordinary
# arithmetic: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions" (lanes per cycle and
# multiprocessor). Tensor cores: dense peak of the data sheet by multiprocessors and boost clock; sm_100 runs mma.sync,
# for which no rate is published: that of sm_90 is assumed.
PIPE_CYCLES = {
    80: {"tensor16": 8, "tensor32": 8, "tensor64": 16, "bit": 8, "fp32": 2, "fp64": 4, "integer": 2, "special": 8},
    90: {"tensor16": 4, "tensor32": 4, "tensor64": 8, "bit": 8, "fp32": 1, "fp64": 2, "integer": 2, "special": 8},
    100: {"tensor16": 4, "tensor32": 4, "tensor64": 8, "bit": 8, "fp32": 1, "fp64": 2, "integer": 2, "special": 8},
}
PIPES = [
    ("tensor32", r"HMMA\.1688\.F32\.TF32"),
    ("tensor16", r"HMMA\.16816"),
    ("tensor64", r"DMMA"),
    ("bit", r"BMMA"),
    ("fp32", r"(FFMA|FADD|FMUL)"),
    ("fp64", r"D(FMA|ADD|MUL|SETP|MNMX)"),
    ("special", r"(MUFU|POPC|F2F|I2F|F2I|FLO|BREV)"),
    ("shared", r"(LDS|STS|LDSM|SHFL|ATOMS|LDGSTS)"),
    ("memory", r"(LD|ST|LDG|STG|LDL|STL|LDC|RED|ATOM)(\.|$)"),
    ("control", r"(BRA|BSSY|BSYNC|EXIT|BAR|NOP|DEPBAR|LDGDEPBAR|WARPSYNC|YIELD|CALL|RET|MEMBAR|UTMA|SYNCS|VOTE|VOTEU)"),
]
TENSOR = ("tensor32", "tensor16", "tensor64", "bit")


@dataclass
class Kernel:
    """One kernel of one architecture as compiled."""

    name: str
    architecture: int
    registers: int = 0
    stack: int = 0
    shared: int = 0
    threads: int = 0
    instructions: list[tuple[int, str]] = field(default_factory=list)  # (address, text)

    @property
    def spills(self) -> int:
        """Instructions that move registers to and from local memory."""
        return sum(bool(re.match(r"(LDL|STL)", operation(text))) for _, text in self.instructions)


def operation(text: str) -> str:
    """The operation of a line of SASS, without its predicate."""
    return re.sub(r"^@!?U?P\w+\s+", "", text).split()[0].rstrip(";")


def pipe(text: str) -> str:
    """The pipe that an instruction occupies; what matches nothing runs on the integer units."""
    name = operation(text)
    return next((found for found, pattern in PIPES if re.match(pattern, name)), "integer")


def search_path() -> str:
    """Folders to look for NVIDIA's programs in: where their packages install them, then the PATH."""
    folders = sorted(str(folder) for folder in Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin"))
    return os.pathsep.join([*folders, os.environ.get("PATH", "")])


def cuobjdump() -> str | None:
    """Path of the program, None if it or the disassembler that it calls is missing."""
    return shutil.which("cuobjdump", path=search_path()) if shutil.which("nvdisasm", path=search_path()) else None


def built_module() -> Path:
    """The compiled module of the installed package."""
    return Path(str(importlib.import_module("gatentk._cuda").__file__))


def toolkit() -> str:
    """Version of nvcc, such as "13.0"; other versions allocate other registers. Empty if there is none."""
    compiler = shutil.which("nvcc")
    text = _output([compiler, "--version"]) if compiler else ""
    found = re.search(r"release ([0-9.]+)", text)
    return found[1] if found else ""


def _output(command: list[str], **options: Any) -> str:
    """What a program prints; one that has not ended after ten minutes hangs."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600, **options).stdout


def _dump(option: str, module: Path) -> str:
    program = cuobjdump()
    if program is None:
        raise FileNotFoundError("cuobjdump: not found; pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    environment = os.environ | {"PATH": search_path()}
    command = [program, option, str(module)]
    return _output(command, env=environment)


def _demangled(names: list[str]) -> dict[str, str]:
    text = _output(["c++filt", *names])
    return {mangled: _short(name) for mangled, name in zip(names, text.splitlines(), strict=True)}


def _short(name: str) -> str:
    """Kernel and template arguments: no return type, namespaces or parameters."""
    name = re.sub(r"\((?:anonymous namespace|[\w: ]+)\)::|\(gatentk[^()<>]*\)|gatentk::|cuda::", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            return name[:i]
    return name


@cache
def read_kernels(module: Path) -> list[Kernel]:
    """All kernels of all architectures of a module, by name and architecture."""
    kernels: dict[tuple[str, int], Kernel] = {}

    def at(name: str, architecture: int) -> Kernel:
        return kernels.setdefault((name, architecture), Kernel(name, architecture))

    architecture, name = 0, ""
    for line in _dump("--dump-resource-usage", module).splitlines():
        if found := re.match(r"\s*arch = sm_(\d+)", line):
            architecture = int(found[1])
        elif found := re.match(r"\s*Function (\S+):", line):
            name = found[1]
        elif found := re.match(r"\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", line):
            kernel = at(name, architecture)
            kernel.registers, kernel.stack, kernel.shared = (int(value) for value in found.groups())
            kernel.shared -= RESERVED if architecture >= 90 else 0
    for line in _dump("-sass", module).splitlines():
        if found := re.match(r"\s*code for sm_(\d+)", line):
            architecture = int(found[1])
        elif found := re.match(r"\s*Function : (\S+)", line):
            name = found[1]
        elif found := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line):
            at(name, architecture).instructions.append((int(found[1], 16), found[2]))
    # The largest block that a kernel may be started with, from its launch bounds.
    for line in _dump("-elf", module).splitlines():
        if found := re.match(r"\s*code for sm_(\d+)|\s*arch = sm_(\d+)", line):
            architecture = int(found[1] or found[2])
        elif found := re.match(r"\.nv\.info\.(\S+)", line.strip()):
            name = found[1]
        elif "EIATTR_MAX_THREADS" in line:
            name = name + "\n"  # the value follows
        elif name.endswith("\n") and (found := re.search(r"Value:\s+0x([0-9a-f]+)", line)):
            name = name[:-1]
            if (name, architecture) in kernels:
                kernels[name, architecture].threads = int(found[1], 16)
    names = _demangled(sorted({kernel.name for kernel in kernels.values()}))
    for kernel in kernels.values():
        kernel.name = names[kernel.name]
    return sorted(kernels.values(), key=lambda kernel: (kernel.name, kernel.architecture))


def basic_blocks(kernel: Kernel) -> list[list[str]]:
    """Instructions between branches and their targets, in the order of the code."""
    targets = set()
    for _, text in kernel.instructions:
        if operation(text).startswith(("BRA", "BSSY")) and (found := re.search(r"(0x[0-9a-f]+)\s*$", text)):
            targets.add(int(found[1], 16))
    blocks: list[list[str]] = [[]]
    for address, text in kernel.instructions:
        if address in targets and blocks[-1]:
            blocks.append([])
        blocks[-1].append(text)
        if operation(text).startswith(("BRA", "EXIT", "BRX", "RET")):
            blocks.append([])
    return [block for block in blocks if block]


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
# Shared memory that the driver keeps of every block, in bytes; from sm_90 on cuobjdump counts it as the kernel's.
RESERVED = 1024
# Shared memory of a block (at most, with opt-in) and of a multiprocessor, in bytes.
SHARED_LIMITS = {80: (166912, 167936), 90: (232448, 233472), 100: (232448, 233472)}


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
        _output(["g++", "-std=c++17", "-w", f"-I{include}", str(source), "-o", str(program)])
        result = _output([str(program)], input=lines)
    return [int(line) for line in result.split()]


def dynamic_shared() -> dict[str, int]:
    """Dynamic shared memory in bytes of the kernels whose configurations ask for some, by the kernel's name."""
    core = importlib.import_module("gatentk._cuda")
    families = ["masked_matmul", "gram", "infinite_ntk", "gate_gram", "ordered_linear", "pack_bits"]
    listed = [getattr(core, f"{family}_configurations")() for family in families]
    return {kernel: entry["shared_bytes"] for entries in listed for entry in entries for kernel in entry["kernels"]}


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


@dataclass
class Core:
    """The straight code that multiplies, of one turn of a kernel's main loop: its instructions by pipe.

    Attributes:
        copies: the blocks that copy tiles to shared memory, the largest first; a turn runs one for each factor, chosen
            by how it is stored and masked.
    """

    kernel: Kernel
    pipes: Counter[str]
    copies: list[Counter[str]]

    @property
    def slots(self) -> int:
        """Issue slots: one for each instruction."""
        return self.pipes.total()

    @property
    def turn(self) -> Counter[str]:
        """Instructions of a turn with the two largest copies."""
        return sum(self.copies[:2], start=self.pipes)

    @property
    def tensor_cycles(self) -> int:
        """Cycles for which one warp's instructions keep the tensor pipe busy."""
        cycles = PIPE_CYCLES[self.kernel.architecture]
        return sum(cycles[name] * self.pipes[name] for name in TENSOR)

    def beside_tensor(self, copies: bool) -> float:
        """Issue slots of all other instructions over the tensor pipe's cycles, with the two largest copies or not."""
        others = (self.turn if copies else self.pipes).total() - sum(self.pipes[name] for name in TENSOR)
        return others / self.tensor_cycles

    def share(self, *names: str) -> float:
        """Part of the issue slots that goes to these pipes."""
        return sum(self.pipes[name] for name in names) / self.slots


PRODUCTS = (*TENSOR, "fp32", "fp64", "special")


def core(kernel: Kernel) -> Core | None:
    """The basic block with the most products, on tensor cores if there are any; None if no block has sixteen."""
    counts = [Counter(pipe(text) for text in block) for block in basic_blocks(kernel)]
    best = max(counts, key=lambda pipes: [sum(pipes[name] for name in names) for names in (TENSOR, PRODUCTS)])
    if sum(best[name] for name in PRODUCTS) < 16:
        return None
    copies = [
        pipes
        for pipes, block in zip(counts, basic_blocks(kernel), strict=True)
        if sum(operation(text).startswith("LDGSTS") for text in block) >= 4
    ]
    return Core(kernel, best, sorted(copies, key=Counter.total, reverse=True))


def _print_cores() -> None:
    print(
        f"{'kernel':44} {'sm':>4} {'slots':>6} {'tensor':>7} {'others':>7} {'+copies':>8} {'fp':>5} {'popc':>5}  pipes"
    )
    for kernel in read_kernels(built_module()):
        found = core(kernel)
        if found is None:
            continue
        tensor = bool(found.tensor_cycles)
        beside = [f"{found.beside_tensor(copies):.0%}" if tensor else "-" for copies in (False, True)]
        print(
            f"{kernel.name:44} {kernel.architecture:4} {found.slots:6} {found.tensor_cycles or '-':>7} {beside[0]:>7} "
            f"{beside[1]:>8} {found.share('fp32', 'fp64', 'special'):5.0%} {found.share('special'):5.0%}  "
            + " ".join(f"{name}:{count}" for name, count in found.pipes.most_common())
        )


# Devices of the prediction: architecture, multiprocessors, clock under load and memory bandwidth, of the data sheets.
DEVICES = {"A100": (80, 108, 1.41e9, 2.04e12), "H100": (90, 132, 1.83e9, 3.35e12)}

# Products of the benchmark: name, family, arithmetic, bytes of an element, rows, columns, k, terms, triangle only.
PRODUCT_CASES = [
    (f"masked_linear {n} x {m} x {m}, {arithmetic}", "masked_matmul", arithmetic, size, n, m, m, 1, False)
    for n, m in ((512, 3072), (512, 4096), (1024, 2048))
    for arithmetic, size in (("strict", 4), ("tf32x3", 4), ("tf32", 4), ("bf16", 2))
] + [
    ("masked_linear 512 x 2048 x 2048, f64", "masked_matmul", "f64", 8, 512, 2048, 2048, 1, False),
    *(
        (f"gram_ntk n = 8000, 4 terms of width 512, {arithmetic}", "gram", arithmetic, 4, 8000, 8000, 512, 4, True)
        for arithmetic in ("strict", "tf32x3", "tf32")
    ),
    ("gram_ntk n = 5000, 4 terms of width 512, f64", "gram", "f64", 8, 5000, 5000, 512, 4, True),
]
TURN_BYTES = 128  # of a row of a tile that one turn of the main loop takes


def predictions() -> list[list[str]]:
    """Rows of the roofline table: work, device, configuration, FLOPs, bytes, intensity, limit, milliseconds."""
    extension = importlib.import_module("gatentk._cuda")
    cores = {(k.name, k.architecture): core(k) for k in read_kernels(built_module())}
    rows = []
    for name, family, arithmetic, size, m, n, k, terms, triangle in PRODUCT_CASES:
        for device, (architecture, multiprocessors, clock, bandwidth) in DEVICES.items():
            shape = (m, n, True) if family == "gram" else (m, n)
            known = (architecture, multiprocessors, SHARED_LIMITS[architecture][0], 0)
            index = getattr(extension, f"choose_{family}")(arithmetic, known, *shape)
            tile = getattr(extension, f"{family}_configurations")()[index]
            found = cores[tile["kernels"][0], architecture]
            assert found is not None
            turns = -(-k // (TURN_BYTES // size)) * (2 * terms if family == "gram" else 1)
            down, across = -(-m // tile["tile_rows"]), -(-n // tile["tile_columns"])
            blocks = down * (down + 1) // 2 if triangle else down * across
            # Blocks that the busiest multiprocessor computes share its four parts evenly.
            warps = -(-blocks // multiprocessors) * tile["threads"] / 32 / 4
            cycles = {pipe: count * warps * turns for pipe, count in turn_cycles(found).items()}
            bytes_moved = size * (2 * terms * m * k + m * n) if triangle else size * (m * k + n * k + m * n)
            limits = {pipe: count / clock for pipe, count in cycles.items()} | {"memory": bytes_moved / bandwidth}
            limit = max(limits, key=lambda pipe: limits[pipe])
            flops = (2 * terms if family == "gram" else 1) * 2 * m * n * k / (2 if triangle else 1)
            work = f"{flops / 1e9:.1f}", f"{bytes_moved / 1e6:.0f}", f"{flops / bytes_moved:.0f}"
            rows.append([name, device, tile["name"], *work, limit, f"{1e3 * limits[limit]:.3f}"])
    return rows


def turn_cycles(core: Core) -> dict[str, float]:
    """Cycles of each pipe of a part of a multiprocessor for one warp and one turn, copies of both factors included."""
    cycles = PIPE_CYCLES[core.kernel.architecture]
    return {
        "tensor": core.tensor_cycles,
        "FFMA": core.turn["fp32"] * cycles["fp32"],
        "integer": core.turn["integer"] * cycles["integer"],
        "issue": core.turn.total(),
    }


def _print_predictions() -> None:
    print("| work | device | tile | GFLOP | MB | FLOP/byte | limit | predicted ms | measured |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in predictions():
        print("| " + " | ".join([*row, ""]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    resources = commands.add_parser("resources", help="registers, spills, shared memory and occupancy")
    resources.add_argument("--write", action="store_true", help=f"write {TABLE.relative_to(ROOT)}")
    commands.add_parser("cores", help="instructions of the main loops, by pipe")
    commands.add_parser("roofline", help="predicted times of the benchmark's products on two devices")
    arguments = parser.parse_args()
    if arguments.command == "cores":
        _print_cores()
    elif arguments.command == "roofline":
        _print_predictions()
    elif arguments.write:
        aside = TABLE.with_suffix(".tmp")
        aside.write_text(resource_table())
        aside.replace(TABLE)
    else:
        print(resource_table(), end="")


if __name__ == "__main__":
    main()
