"""The pipes of a multiprocessor, and what the turns of a kernel's main loop take of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from sass.reading import Kernel, basic_blocks, branch_target, operation
from sass.tiles import Tile

# Cycles for which one warp instruction keeps its pipe busy, in one of the four parts of a multiprocessor. Ordinary
# arithmetic: CUDA C++ Programming Guide, "Throughput of Native Arithmetic Instructions" (lanes per cycle and
# multiprocessor).
#
# mma.sync: tensor16 is m16n8k16 of bfloat16, tensor32 m16n8k8 of TF32, tensor64 m8n8k4 of doubles. On sm_80 all reach
# the dense peak of the data sheet (312, 156 and 19.5 TFLOP/s by 108 multiprocessors and 1.41 GHz). On sm_90 the peak, 4
# cycles, is wgmma's: mma.sync was measured at 62.9% of it (arXiv:2402.13499, H100 PCIe, average of the shapes), 63 to
# 65% by others, which is 6.25 cycles; ptxas 13.0 itself places independent ones 6 cycles apart. For the rest no rate is
# published, and the distances are ptxas's: 16 cycles of m8n8k4 on sm_90 and sm_100, half of the peak of m16n8k16, and 8
# of the others on sm_100. On sm_80 these distances are 8 (the peak) and 10 (less than the peak allows: a lower bound).
SM_80: dict[str, float] = {
    "tensor16": 8,
    "tensor32": 8,
    "tensor64": 16,
    "bit": 8,
    "fp32": 2,
    "fp64": 4,
    "integer": 2,
    "special": 8,
}
SM_100 = SM_80 | {"fp32": 1, "fp64": 2}
PIPE_CYCLES: dict[int, dict[str, float]] = {
    80: SM_80,
    90: SM_100 | {"tensor16": 6.25, "tensor32": 6.25},
    100: SM_100,
}
PIPES = [
    ("warpgroup", r"HGMMA\."),
    ("tensor32", r"HMMA\.1688\.F32\.TF32"),
    ("tensor16", r"HMMA\.16816"),
    ("tensor64", r"DMMA"),
    ("bit", r"BMMA"),
    ("fp32", r"(FFMA|FADD|FMUL)"),
    ("fp64", r"D(FMA|ADD|MUL|SETP|MNMX)"),
    ("special", r"(MUFU|POPC|F2F(\.|$)|I2F|F2I|FLO|BREV)"),
    ("shared", r"(LDS|STS|LDSM|SHFL|ATOMS|LDGSTS)"),
    ("memory", r"(LD|ST|LDG|STG|LDL|STL|LDC|RED|ATOM)(\.|$)"),
    ("control", r"(BRA|BSSY|BSYNC|EXIT|BAR|NOP|DEPBAR|LDGDEPBAR|WARPSYNC|YIELD|CALL|RET|MEMBAR|UTMA|SYNCS|VOTE|VOTEU)"),
]
TENSOR = ("warpgroup", "tensor32", "tensor16", "tensor64", "bit")
PRODUCTS = (*TENSOR, "fp32", "fp64", "special")
WARPGROUP_RATE = 1024  # operations of bfloat16 a cycle and part of a multiprocessor of sm_90, at the peak

# Cycles for which the shared memory of a multiprocessor serves one warp instruction: 128 bytes a cycle. Four parts
# share it, so that each waits four times as long.
SHARED_BYTES = [
    (r"LDSM\.16\.\w*88\.4", 512),
    (r"LDSM\.16\.\w*88\.2", 256),
    (r"(LDS|STS|LDGSTS)\S*\.128", 512),
    (r"(LDS|STS|LDGSTS)\S*\.64", 256),
    (r"(LDSM|LDS|STS|LDGSTS|ATOMS|SHFL)", 128),
]


def pipe(text: str) -> str:
    """The pipe that an instruction occupies; what matches nothing runs on the integer units."""
    return _pipe(operation(text))


@cache
def _pipe(name: str) -> str:
    return next((found for found, pattern in PIPES if re.match(pattern, name)), "integer")


def warpgroup_cycles(text: str) -> float:
    """Cycles of the tensor pipe of each part for a product of four warps, m64 n k of its name; 0 of others."""
    return _warpgroup_cycles(operation(text))


@cache
def _warpgroup_cycles(name: str) -> float:
    found = re.match(r"HGMMA\.64x(\d+)x(\d+)\.", name)
    rate = WARPGROUP_RATE / (2 if ".TF32" in name else 1)
    return 2 * 16 * int(found[1]) * int(found[2]) / rate if found else 0


def shared_cycles(text: str) -> float:
    """Cycles of shared memory for one instruction of each of the four parts; bank conflicts are not seen."""
    return _shared_cycles(operation(text))


@cache
def _shared_cycles(name: str) -> float:
    moved = next((moved for pattern, moved in SHARED_BYTES if re.match(pattern, name)), 0)
    return 4 * moved / 128


# A warp of a block product reads the gates of 32 blocks at once, of at least 32 neurons and so 16 turns of 64.
REFILL_TURNS = 16


@dataclass
class Work:
    """Instructions by pipe, and cycles of what has no fixed time an instruction."""

    pipes: Counter[str] = field(default_factory=Counter)
    warpgroup: float = 0
    shared: float = 0

    @classmethod
    def of(cls, lines: list[str]) -> Work:
        """What lines of SASS take when each is executed once."""
        return cls(Counter(map(pipe, lines)), sum(map(warpgroup_cycles, lines)), sum(map(shared_cycles, lines)))

    def __add__(self, other: Work) -> Work:
        return Work(self.pipes + other.pipes, self.warpgroup + other.warpgroup, self.shared + other.shared)

    def times(self, count: float) -> Work:
        """The same, `count` times."""
        scaled = Counter({name: count * value for name, value in self.pipes.items()})
        return Work(scaled, count * self.warpgroup, count * self.shared)

    def slots(self) -> float:
        """Issue slots: one for each instruction."""
        return self.pipes.total()

    def others(self) -> float:
        """Issue slots of all that is no product on tensor cores."""
        return self.slots() - sum(self.pipes[name] for name in TENSOR)

    def tensor_cycles(self, architecture: int) -> float:
        """Cycles for which one warp's instructions keep the tensor pipe busy."""
        cycles = PIPE_CYCLES[architecture]
        return self.warpgroup + sum(cycles[name] * self.pipes[name] for name in TENSOR if name != "warpgroup")

    def cycles(self, architecture: int) -> dict[str, float]:
        """Cycles of each pipe of a part of a multiprocessor for one warp."""
        rates = PIPE_CYCLES[architecture]
        return {
            "tensor": self.tensor_cycles(architecture),
            "FFMA": self.pipes["fp32"] * rates["fp32"],
            "integer": self.pipes["integer"] * rates["integer"],
            "shared": self.shared,
            "issue": self.slots(),
        }


@dataclass
class Core:
    """The straight code that multiplies, and what a turn of the main loop runs besides.

    Attributes:
        work: its instructions, run once.
        repeats: how often a turn runs it; loops inside a tile are not unrolled in all kernels.
        copies: what else a turn runs: the copies of the next tiles.
    """

    kernel: Kernel
    work: Work
    copies: Work
    repeats: float = 1

    @property
    def turn(self) -> Work:
        """A turn of the main loop with its copies."""
        return self.work.times(self.repeats) + self.copies

    def beside_tensor(self, copies: bool) -> float:
        """Issue slots of all other instructions over the tensor pipe's cycles, with copies or not."""
        work = self.turn if copies else self.work
        return work.others() / work.tensor_cycles(self.kernel.architecture)

    def share(self, *names: str) -> float:
        """Part of the core's issue slots that goes to these pipes."""
        return sum(self.work.pipes[name] for name in names) / self.work.slots()


def core(kernel: Kernel, tile: Tile | None = None, whole_loop: bool = False) -> Core | None:
    """The basic block with the most products, on tensor cores if there are any; None if no block has sixteen.

    Of several the one in a loop: the first turn may stand before it once more.

    Args:
        tile: says how many products a turn makes, and so how often it runs the block. By default once.
        whole_loop: a turn runs all of the main loop. By default the two longest blocks that copy are added, because a
            turn takes one for each factor, chosen by how it is stored.
    """
    blocks = basic_blocks(kernel)
    works = [Work.of([text for _, text in block]) for block in blocks]

    found_loops = list(loops(kernel))

    def rank(index: int) -> list[float]:
        pipes = works[index].pipes
        tensor = works[index].warpgroup or sum(pipes[name] for name in TENSOR)
        first, last = blocks[index][0][0], blocks[index][-1][0]
        repeated = any(begin <= first and last <= end for begin, end in found_loops)
        return [tensor, repeated, sum(pipes[name] for name in PRODUCTS)]

    best = max(range(len(blocks)), key=rank)
    work = works[best]
    if not work.warpgroup and sum(work.pipes[name] for name in PRODUCTS) < 16:
        return None
    if whole_loop:
        begin, end = main_loop(kernel, blocks[best])
        inside = [i for i, block in enumerate(blocks) if begin <= block[0][0] <= end]
        refill = refilled([blocks[i] for i in inside])
        copies = Work()
        for i in inside:
            flush = tile.flush_turns if tile and flushes(blocks[i]) else 1
            seldom = REFILL_TURNS if refill[0] < blocks[i][0][0] < refill[1] else 1
            copies += works[i].times(1 / max(flush, seldom)) if i != best else Work()
    else:
        found = sorted((works[i] for i in copying(blocks) if i != best), key=Work.slots, reverse=True)
        copies = sum(found[:2], start=Work())
    made = sum(work.pipes[name] for name in TENSOR) or work.pipes["fp32"]
    return Core(kernel, work, copies, tile.products / made if tile else 1)


def flushes(block: list[tuple[int, str]]) -> bool:
    """Whether a block adds sums to those in shared memory."""
    names = Counter(operation(text).split(".")[0] for _, text in block)
    return names["FADD"] + names["DADD"] >= 8 and not names["LDGSTS"] and not names["HMMA"] and not names["DMMA"]


def refilled(blocks: list[list[tuple[int, str]]]) -> tuple[int, int]:
    """Addresses of a branch and its target around the loads of gates; (0, 0) if a loop has none.

    Loads from global memory to registers are those of gates: what is multiplied comes by copies to shared memory. Of
    the branches that leave them out, and neither copies nor products, that is the last one to the farthest target.
    """
    found = (0, 0)
    for source, text in (line for block in blocks for line in block):
        target = branch_target(text) if operation(text).startswith("BRA") else None
        if target is None or target < source:
            continue
        left_out = [operation(t).split(".")[0] for block in blocks for address, t in block if source < address < target]
        if "LDG" in left_out and not {"LDGSTS", "HMMA", "DMMA"} & {*left_out} and target >= found[1]:
            found = source, target
    return found


def copying(blocks: list[list[tuple[int, str]]]) -> list[int]:
    """Indices of the blocks that start copies to shared memory."""
    counts = [sum(operation(text).startswith("LDGSTS") for _, text in block) for block in blocks]
    return [i for i, count in enumerate(counts) if count >= 4]


def loops(kernel: Kernel) -> Iterator[tuple[int, int]]:
    """First and last address of every loop: of branches back."""
    for address, text in kernel.instructions:
        target = branch_target(text) if operation(text).startswith("BRA") else None
        if target is not None and target <= address:
            yield target, address


def main_loop(kernel: Kernel, block: list[tuple[int, str]]) -> tuple[int, int]:
    """First and last address of the smallest loop around a block that starts copies; of the block if there is none."""
    first, last = block[0][0], block[-1][0]
    best = first, last
    starts = {address for address, text in kernel.instructions if re.match(r"(LDGSTS|UBLKCP|UTMALDG)", operation(text))}
    for begin, end in loops(kernel):
        if not begin <= first <= last <= end or not any(begin <= start <= end for start in starts):
            continue
        if best == (first, last) or end - begin < best[1] - best[0]:
            best = begin, end
    return best
