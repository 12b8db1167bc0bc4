"""Compiles device code as plain C++ against the emulator: an object per source, kept until what it reads changes."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

ROOT = Path(__file__).resolve().parents[2]
EMULATION = ROOT / "tests" / "cuda_emulation"
PROGRAMS = EMULATION / "programs"
CACHE = ROOT / "build" / "cuda_emulation"
CUDA = ROOT / "csrc" / "cuda"
BIND = ROOT / "csrc" / "bind" / "cuda"
RUNTIME = sorted((EMULATION / "emulator").glob("*.cpp"))
CONTROL = PROGRAMS / "control.cpp"
PARALLEL_COMPILES = 2

FLAGS = [
    "-std=c++17",
    "-O1",  # gram.cu takes 1.4 s to compile, with -O2 2.0 s
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    # Sums and products fuse only where the device code says so.
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-DGATENTK_CUDA_EMULATION",
    # The runtime's variables of a thread are few: they fit into what the loader keeps for libraries that come late.
    *(["-ftls-model=initial-exec"] if platform.system() == "Linux" else []),
    *(f"-I{folder}" for folder in (EMULATION, ROOT / "csrc", ROOT / "csrc" / "include")),
]

# -Og: gram.cu takes 2.4 s to compile, with -O1 4.0 s.
SANITIZERS = {
    None: [],
    "address": ["-Og", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"],
    "thread": ["-fsanitize=thread"],
}


class CompileError(Exception):
    """The compiler's words, for the reader of a test report."""


def compiler():
    """Path of g++, or of what CXX names."""
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    if path is None:
        raise CompileError(f"the emulation of CUDA kernels needs a C++ compiler, and there is no {name}")
    return path


def machine_flags():
    """Fused multiply-adds as instructions rather than calls of the library, where the machine has them."""
    flags = Path("/proc/cpuinfo")
    has_fma = flags.exists() and re.search(r"^flags\s*:.*\bfma\b", flags.read_text(), re.MULTILINE) is not None
    return ["-mfma"] if has_fma and platform.machine() in ("x86_64", "AMD64") else []


def digest(*parts):
    """A short name for what the parts say."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:24]


def file_digest(path):
    """Digest of a file, or of its absence."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24] if path.exists() else "absent"


def run(command):
    """Runs a compiler; what it prints becomes an exception where it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if result.returncode != 0:
        raise CompileError(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")


@contextlib.contextmanager
def locked(name):
    """One build of a result at a time, for there may be two test runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def dependencies(text):
    """Files that a make rule names, without the target."""
    return text.replace("\\\n", " ").split(":", 1)[1].split()


def prune(results, keep=4):
    """Removes all but the newest; another test run may still be loading the one before."""
    for outdated in sorted(results, key=lambda path: path.stat().st_mtime)[:-keep]:
        if outdated.is_dir():
            shutil.rmtree(outdated)
        else:
            outdated.unlink()


def kept_object(record):
    """The object that a record speaks of, if nothing that it was made of has changed."""
    if not record.exists():
        return None
    known = json.loads(record.read_text())
    current = Path(known["object"])
    unchanged = all(file_digest(path) == seen for path, seen in known["files"].items())
    return current if unchanged and current.exists() else None


def object_file(source, flags):
    """The object of one source: the kept one if neither flags nor any file it includes have changed."""
    name = f"{source.stem}-{digest(source, compiler_version(), *flags)}"
    record = CACHE / f"{name}.json"
    with locked(name):
        kept = kept_object(record)
        if kept is not None:
            return kept
        aside, rule = CACHE / f"{name}.o.tmp", CACHE / f"{name}.d"
        start = time.time()
        run([compiler(), *flags, "-MMD", "-MF", rule, "-x", "c++", "-c", source, "-o", aside])
        files = {path: file_digest(ROOT / path) for path in dependencies(rule.read_text())}
        made = CACHE / f"{name}-{digest(*files.items())}.o"
        aside.replace(made)
        prune(CACHE.glob(f"{name}-*.o"))
        # A file that was edited meanwhile may not be what was compiled.
        if all((ROOT / path).stat().st_mtime < start for path in files):
            record_aside = CACHE / f"{name}.json.tmp"
            record_aside.write_text(json.dumps({"object": str(made), "files": files}))
            record_aside.replace(record)
        return made


def families():
    """Names of the kernel families, from the declarations of their registrations."""
    return re.findall(r"void register_(\w+)\(", (BIND / "register.hpp").read_text())


def emulated_module():
    """Path of the module `_cuda`, made of the sources that nvcc compiles for devices.

    GATENTK_EMULATED names the sources to build where not all are wanted, say
    "gram,ordered_linear"; families that are left out register nothing.
    """
    wanted = os.environ.get("GATENTK_EMULATED")
    names = None if wanted is None else wanted.split(",")

    def chosen(paths, prefix=""):
        return [path for path in sorted(paths) if names is None or path.stem.removeprefix(prefix) in names]

    bindings = chosen(BIND.glob("register_*.cpp"), "register_")
    there = {path.stem.removeprefix("register_") for path in bindings}
    missing = [family for family in families() if family not in there]
    if missing and names is None:
        raise CompileError(f"csrc/bind/cuda has no register_<family>.cpp for {', '.join(missing)}")
    sources = [
        CUDA / "device" / "device.cu",
        *chosen(CUDA.glob("[!d]*/*.cu")),
        *bindings,
        BIND / "module.cpp",
        *RUNTIME,
        CONTROL,
    ]
    if missing:
        sources.append(empty_registrations(missing))
    shared = ["-shared"] if platform.system() != "Darwin" else ["-bundle", "-undefined", "dynamic_lookup"]
    return link(f"_cuda{sysconfig.get_config_var('EXT_SUFFIX')}", sources, shared)


def instructions():
    """Path of a library whose functions run single instructions, for ctypes."""
    return link("instructions.so", [PROGRAMS / "instructions.cu", CONTROL, *RUNTIME], ["-shared"])


def tiles():
    """Path of a library whose functions multiply single tiles in shared memory, for ctypes."""
    return link("tiles.so", [PROGRAMS / "tiles.cu", CONTROL, *RUNTIME], ["-shared"])


def planted_bugs(sanitizer=None):
    """Path of the program that runs planted bugs, with "address" or "thread" under that sanitizer."""
    sources = [PROGRAMS / "planted_bugs.cu", PROGRAMS / "planted_bugs_main.cpp", *RUNTIME]
    return link(f"planted_bugs_{sanitizer or 'plain'}", sources, sanitizer=sanitizer)


def sanitizer_cases(sanitizer):
    """Path of the program that runs every family on small problems under a sanitizer."""
    sources = [*sorted(CUDA.glob("*/*.cu")), PROGRAMS / "sanitizer_cases.cpp", *RUNTIME]
    return link(f"sanitizer_cases_{sanitizer}", sources, sanitizer=sanitizer)


def empty_registrations(names):
    """A source that defines the registrations of families that are left out."""
    CACHE.mkdir(parents=True, exist_ok=True)
    source = CACHE / f"without_{'_'.join(names)}.cpp"
    calls = "".join(f"void register_{name}(pybind11::module_&) {{}}\n" for name in names)
    source.write_text(f'#include "bind/cuda/register.hpp"\nnamespace gatentk::bind::cuda {{\n{calls}}}\n')
    return source


def flags_of(source, sanitizer):
    """Compiler flags of one source."""
    flags = [*FLAGS, *machine_flags(), *SANITIZERS[sanitizer]]
    if source in RUNTIME:
        flags.append("-O2")  # every access to shared memory and every change of lanes goes through it
    if source.is_relative_to(BIND) or source.is_relative_to(CACHE):
        flags += [f"-isystem{pybind11.get_include()}", f"-isystem{sysconfig.get_path('include')}"]
    return flags


def link(name, sources, link_flags=(), sanitizer=None):
    """Compiles and links; the path of the result changes whenever its contents do."""
    link_flags = [*link_flags, *SANITIZERS[sanitizer], "-pthread"]
    with ThreadPoolExecutor(PARALLEL_COMPILES) as pool:
        objects = list(pool.map(lambda source: object_file(source, flags_of(source, sanitizer)), sources))
    stem = name.split(".")[0]
    folder = CACHE / f"{stem}-{digest(*objects, *link_flags)}"
    made = folder / name
    with locked(stem):
        if not made.exists():
            folder.mkdir(exist_ok=True)
            aside = folder / f"{name}.tmp"
            run([compiler(), *objects, *link_flags, "-o", aside])
            aside.replace(made)
            prune(CACHE.glob(f"{stem}-*/"))
    return made


@functools.cache
def compiler_version():
    """What the compiler says of itself."""
    return subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
