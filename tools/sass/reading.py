"""Compiled kernels as NVIDIA's programs show them: registers, spills, shared memory, instructions, basic blocks."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sysconfig
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# Shared memory that the driver keeps of every block, in bytes; from sm_90 on cuobjdump counts it as the kernel's.
RESERVED = 1024


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
    words = text.split(None, 2)
    return words[1 if words[0].startswith("@") else 0].rstrip(";")


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
    text = output([compiler, "--version"]) if compiler else ""
    found = re.search(r"release ([0-9.]+)", text)
    return found[1] if found else ""


def output(command: list[str], **options: Any) -> str:
    """What a program prints; one that has not ended after ten minutes hangs."""
    options |= {"stdout": subprocess.PIPE, "text": True, "timeout": 600, "check": True}
    return str(subprocess.run(command, **options).stdout)


def _dump(option: str, module: Path) -> str:
    program = cuobjdump()
    if program is None:
        raise FileNotFoundError("cuobjdump: not found; pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    return output([program, option, str(module)], env=os.environ | {"PATH": search_path()})


def _demangled(names: list[str]) -> dict[str, str]:
    text = output(["c++filt", *names])
    return {mangled: short_name(name) for mangled, name in zip(names, text.splitlines(), strict=True)}


def short_name(name: str) -> str:
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
    """All kernels of all architectures of a module or cubin, by name and architecture."""
    kernels = parse_kernels(*(_dump(option, module) for option in ("--dump-resource-usage", "-sass", "-elf")))
    names = _demangled(sorted({kernel.name for kernel in kernels}))
    for kernel in kernels:
        kernel.name = names[kernel.name]
    return sorted(kernels, key=lambda kernel: (kernel.name, kernel.architecture))


def parse_kernels(usage: str, sass: str, elf: str) -> list[Kernel]:
    """Kernels by their mangled names, from the three listings of cuobjdump."""
    kernels: dict[tuple[str, int], Kernel] = {}

    def at(name: str, architecture: int) -> Kernel:
        return kernels.setdefault((name, architecture), Kernel(name, architecture))

    # The listing of a cubin does not say for which architecture it is; that of its code does.
    named = re.search(r"code for sm_(\d+)", sass)
    architecture, name = int(named[1]) if named else 0, ""
    for line in usage.splitlines():
        if found := re.match(r"\s*arch = sm_(\d+)", line):
            architecture = int(found[1])
        elif found := re.match(r"\s*Function (\S+):", line):
            name = found[1]
        elif found := re.match(r"\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", line):
            kernel = at(name, architecture)
            kernel.registers, kernel.stack, kernel.shared = (int(value) for value in found.groups())
            kernel.shared -= RESERVED if architecture >= 90 else 0
    for line in sass.splitlines():
        if found := re.match(r"\s*code for sm_(\d+)", line):
            architecture = int(found[1])
        elif found := re.match(r"\s*Function : (\S+)", line):
            name = found[1]
        elif found := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line):
            at(name, architecture).instructions.append((int(found[1], 16), found[2]))
    # The largest block that a kernel may be started with, from its launch bounds.
    for line in elf.splitlines():
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
    return list(kernels.values())


def branch_target(text: str) -> int | None:
    """Where a branch may go, None of any other instruction."""
    found = re.search(r"(0x[0-9a-f]+)\s*$", text) if operation(text).startswith(("BRA", "BSSY")) else None
    return int(found[1], 16) if found else None


def basic_blocks(kernel: Kernel) -> list[list[tuple[int, str]]]:
    """Instructions between branches and their targets, in the order of the code."""
    targets = {branch_target(text) for _, text in kernel.instructions}
    blocks: list[list[tuple[int, str]]] = [[]]
    for address, text in kernel.instructions:
        if address in targets and blocks[-1]:
            blocks.append([])
        blocks[-1].append((address, text))
        if operation(text).startswith(("BRA", "EXIT", "BRX", "RET")):
            blocks.append([])
    return [block for block in blocks if block]
