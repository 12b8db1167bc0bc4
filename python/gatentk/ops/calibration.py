"""How long ways that skip take in times of a dense product: measured once on a processor, and stored.

The figures lie in the folder `gatentk` of the user's cache (XDG_CACHE_HOME, else ~/.cache), a file for each processor,
instruction set, number of threads and version of torch. Processes that start together measure one after the other and
then all read the same file; where the folder cannot be used, a process keeps its own. Where other programs disturb the
measurement, `TYPICAL` holds for a day. GATENTK_CALIBRATION in the environment names another file, which is written if
it is not there, or is "off": then nothing is measured and `TYPICAL` holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatentk import _core
from gatentk._version import __version__
from gatentk.ops.bits import pack_bits, transpose_bits
from gatentk.ops.cpu_products import block_product, dense_product, neuron_product
from gatentk.ops.layouts import MaskedProduct, units
from gatentk.runs.files import write_atomically
from gatentk.runs.lock import FolderBusyError, FolderLock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

VARIABLE = "GATENTK_CALIBRATION"

KINDS = ("forward", "input_gradient", "weight_gradient")
DTYPES = {torch.float32: "float32", torch.float64: "float64"}

# Samples and blocks that are measured, at two densities: half of the gates, and all.
SAMPLES = (1, 4, 16, 64, 256, 1024)
BLOCKS = (8, 16, 64)
WAYS = ("neurons", "neurons of blocks", *(f"blocks of {block}" for block in BLOCKS))

# Times in those of the dense product, by way: for each of SAMPLES at half of the gates and at all.
Ratios = dict[str, list[list[float]]]

# Widths for SAMPLES: the weight of a single sample comes from memory, as it does where the product takes long enough.
_WIDTHS = {torch.float32: (4096, 3072, 2048, 2048, 1024, 768), torch.float64: (3072, 2304, 1536, 1536, 768, 512)}

# Measured on two cores of a Zen 5, the larger of AVX2 and AVX-512: for what cannot be measured, as where other programs
# never pause.
TYPICAL: dict[str, Ratios] = {
    "forward": {
        "neurons": [[0.3, 0.5], [0.9, 0.95], [0.7, 0.85], [0.65, 0.9], [0.65, 0.95], [0.75, 1.05]],
        "neurons of blocks": [[0.3, 0.55], [1.1, 1.1], [1.0, 1.05], [0.95, 1.1], [0.9, 1.1], [1.05, 1.2]],
        "blocks of 8": [[0.4, 0.45], [1.3, 1.5], [1.2, 1.5], [1.0, 1.6], [0.9, 1.7], [1.0, 1.8]],
        "blocks of 16": [[0.2, 0.45], [0.65, 0.7], [0.6, 0.85], [0.55, 0.9], [0.45, 0.95], [0.5, 1.0]],
        "blocks of 64": [[0.2, 0.45], [0.45, 0.7], [0.4, 0.7], [0.35, 0.8], [0.3, 0.9], [0.3, 0.95]],
    },
    "input_gradient": {
        "neurons": [[0.35, 0.7], [0.9, 1.0], [0.75, 0.9], [0.7, 0.95], [0.7, 0.95], [0.75, 1.05]],
        "neurons of blocks": [[0.4, 0.75], [1.0, 1.05], [1.0, 1.1], [0.95, 1.1], [0.9, 1.1], [1.05, 1.25]],
        "blocks of 8": [[0.35, 0.7], [1.0, 1.1], [1.0, 1.3], [0.95, 1.5], [0.9, 1.7], [1.0, 1.8]],
        "blocks of 16": [[0.35, 0.7], [0.5, 0.6], [0.5, 0.7], [0.5, 0.9], [0.45, 0.95], [0.55, 1.0]],
        "blocks of 64": [[0.35, 0.7], [0.4, 0.65], [0.4, 0.65], [0.35, 0.8], [0.3, 0.9], [0.3, 0.9]],
    },
    "weight_gradient": {
        "neurons": [[0.7, 0.9], [0.5, 0.5], [0.8, 0.8], [0.85, 1.1], [0.7, 0.95], [0.75, 1.05]],
        "neurons of blocks": [[0.8, 0.95], [0.5, 0.5], [0.8, 0.85], [0.9, 1.15], [0.75, 1.05], [0.85, 1.2]],
        "blocks of 8": [[0.5, 0.95], [0.5, 0.5], [0.5, 0.75], [1.1, 1.6], [0.8, 1.45], [0.9, 1.45]],
        "blocks of 16": [[0.5, 0.9], [0.5, 0.5], [0.45, 0.75], [0.65, 1.05], [0.5, 0.95], [0.55, 1.1]],
        "blocks of 64": [[0.5, 0.9], [0.5, 0.5], [0.45, 0.75], [0.45, 0.95], [0.3, 0.9], [0.4, 1.0]],
    },
}

_FORMAT = 2
_SECONDS = 0.6  # after which no further pass begins
_PASSES = 3  # at least: the first turn of a way finds new memory and sleeping threads
_PATIENCE = 2  # times as long for ways that were disturbed in each of their passes
_DAY = 86400.0
_WAIT = 10.0  # seconds for another process that measures

_known: dict[tuple[str, int, int, str], Ratios] = {}
_forgotten = 0
_lock = threading.RLock()


def ratios(kind: str, dtype: torch.dtype) -> Ratios:
    """Ratios of one of `KINDS`, measured at the first call on a processor.

    Raises:
        ValueError: the file that GATENTK_CALIBRATION names holds no calibration.
    """
    key = (*place(), entry(kind, dtype))
    found = _known.get(key)
    if found is None:
        with _lock:
            found = _known.get(key)
            if found is None:
                found = _known[key] = _ratios(kind, dtype)
    return found


def place() -> tuple[str, int, int]:
    """What ratios depend on in a process: instruction set, threads, and how often `forget` was called."""
    return _core.isa(), torch.get_num_threads(), _forgotten


def forget() -> None:
    """Look at the environment and the file again."""
    global _forgotten
    _forgotten += 1
    _known.clear()


def entry(kind: str, dtype: torch.dtype) -> str:
    """Name of a product in a file."""
    return f"{DTYPES[dtype]} {kind}"


def _ratios(kind: str, dtype: torch.dtype) -> Ratios:
    chosen = os.environ.get(VARIABLE, "")
    if chosen == "off":
        return TYPICAL[kind]
    name, path = entry(kind, dtype), Path(chosen) if chosen else default_path()
    if path is None:
        return measure(kind, dtype) or TYPICAL[kind]
    stored, _ = read(path, bool(chosen))
    if name in stored:
        return stored[name]
    with _alone(path) as held:
        # Another process may have measured meanwhile.
        stored, until = read(path, bool(chosen))
        if name not in stored:
            made = measure(kind, dtype)
            if made is None:
                until[name] = time.time() + _DAY
            stored[name] = made or TYPICAL[kind]
            if held:
                with suppress(OSError):
                    write_atomically(path, content(stored, until))
    return stored[name]


def default_path() -> Path | None:
    """The file of this processor in the user's cache; None where there is no home."""
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:
        return None
    if not Path(cache).is_absolute():
        return None
    digest = hashlib.sha256(json.dumps(subject(), sort_keys=True).encode()).hexdigest()
    return Path(cache) / "gatentk" / f"calibration-{digest[:16]}.json"


def subject() -> dict[str, object]:
    """What was measured: a file of something else does not count."""
    return {
        "format": _FORMAT,
        "gatentk": __version__,
        "torch": torch.__version__,
        "processor": processor(),
        "isa": _core.isa(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    """Its name as the operating system has it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """While no other process measures for the folder of a file; False where it cannot be had."""
    lock = _taken(path.parent)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.close()


def _taken(folder: Path) -> FolderLock | None:
    end = time.monotonic() + _WAIT
    while True:
        try:
            return FolderLock(folder)
        except FolderBusyError:
            if time.monotonic() > end:
                return None
            time.sleep(0.02)
        except OSError:
            return None


# Files


def content(stored: dict[str, Ratios], until: dict[str, float]) -> bytes:
    """A file of products, with the time until which those hold that could not be measured."""
    return (json.dumps({"subject": subject(), "until": until, "ratios": stored}, indent=1) + "\n").encode()


def read(path: Path, named: bool = False) -> tuple[dict[str, Ratios], dict[str, float]]:
    """What a file holds, as `content` takes it; nothing if it cannot be read.

    Args:
        path: the file.
        named: whether the user named it: it then counts whatever it was measured on, and is an error if it is damaged.

    Raises:
        ValueError: a named file that is no calibration.
    """
    try:
        text = path.read_bytes()
    except OSError:
        return {}, {}
    try:
        found = json.loads(text)
        if named or found["subject"] == subject():
            until = {name: float(end) for name, end in found["until"].items() if float(end) > time.time()}
            late = set(found["until"]) - set(until)
            return {name: _checked(found["ratios"][name]) for name in found["ratios"] if name not in late}, until
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if named:
            raise ValueError(
                f"{VARIABLE}: expected a file of a calibration, or one that is not there yet, got {path}: {error!r}"
            ) from error
    return {}, {}


def _checked(found: Any) -> Ratios:
    table = {way: [[float(ratio) for ratio in row] for row in found[way]] for way in WAYS}
    for rows in table.values():
        if [len(row) for row in rows] != [2] * len(SAMPLES) or not all(0 < r < 1e6 for row in rows for r in row):
            raise ValueError("expected two positive ratios for each number of samples")
    return table


# Measurement


def measure(kind: str, dtype: torch.dtype) -> Ratios | None:
    """Ratios of this processor, in about two thirds of a second on two cores; None if other programs disturb too much.

    Ways take turns with the dense product, and the fastest of their turns count in which no thread was interrupted.
    """
    found = []
    with torch.inference_mode(False), torch.no_grad():
        for n, width in zip(SAMPLES, _widths(kind, dtype), strict=True):
            row = _measured(kind, dtype, n, width)
            if row is None:
                return None
            found.append(row)
    return {way: [row[way] for row in found] for way in WAYS}


def _widths(kind: str, dtype: torch.dtype) -> tuple[int, ...]:
    widths = _WIDTHS[dtype]
    # The gradient of a weight of 64 MB would measure how long the system takes to find the memory for it.
    return tuple(min(width, widths[2]) for width in widths) if kind == "weight_gradient" else widths


def _measured(kind: str, dtype: torch.dtype, n: int, width: int) -> dict[str, list[float]] | None:
    runs = dict(_runs(kind, dtype, n, width))
    turns: dict[tuple[str, int], list[tuple[bool, float]]] = {name: [] for name in runs}
    waiting, seconds, begin, passes = list(runs), _SECONDS / len(SAMPLES), time.perf_counter(), 0
    while waiting:
        for name in waiting:
            turns[name].append(_turn(runs[name]))
        passes, passed = passes + 1, time.perf_counter() - begin
        if passes < _PASSES:
            continue
        if passed > _PATIENCE * seconds:
            break
        if passed > seconds:
            waiting = [name for name in runs if all(disturbed for disturbed, _ in turns[name])]
    best = {name: min((t for disturbed, t in taken if not disturbed), default=None) for name, taken in turns.items()}
    known = {name: seconds for name, seconds in best.items() if seconds is not None}
    if len(known) < len(best):
        return None
    # Half of the gates cannot take longer than all.
    return {
        way: [min(known[way, 0], known[way, 1]) / known["dense", 0], known[way, 1] / known["dense", 0]] for way in WAYS
    }


def _turn(run: Callable[[], Tensor]) -> tuple[bool, float]:
    """Whether a thread had to make way for another program meanwhile, and seconds."""
    before, start = _interruptions(), time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    return _interruptions() != before, seconds


def _interruptions() -> int:
    """How often a thread of this process lost its processor against its will; 0 where the system does not tell."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _runs(kind: str, dtype: torch.dtype, n: int, width: int) -> Iterator[tuple[tuple[str, int], Callable[[], Tensor]]]:
    """The dense product and the ways that skip, with half of the gates on and all."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.full((width, width), 0.5, dtype=dtype, device="cpu")
    rows = torch.full((2, n, width), 0.5, dtype=dtype, device="cpu")
    for block in (1, *BLOCKS):
        for which, density in enumerate((0.5, 2.0)):
            masks = (torch.rand(n, units(width, block), generator=generator, device="cpu") < density for _ in range(2))
            gates = [[pack_bits(mask)] for mask in masks]
            if block > 1:
                gates = [[bits, transpose_bits(bits, units(width, block))] for (bits,) in gates]
            p = _product(kind, rows, weight, gates, block)
            if block > 1:
                yield (f"blocks of {block}", which), lambda p=p: block_product(p)  # type: ignore[misc]
                if block == BLOCKS[0]:
                    yield ("neurons of blocks", which), lambda p=p: neuron_product(p)  # type: ignore[misc]
                continue
            if not which:
                yield ("dense", 0), lambda p=p: dense_product(p)  # type: ignore[misc]
            yield ("neurons", which), lambda p=p: neuron_product(p)  # type: ignore[misc]


def _product(kind: str, rows: Tensor, weight: Tensor, gates: list[list[Tensor]], block: int) -> MaskedProduct:
    (a, b), (left, right) = rows, gates
    if kind == "weight_gradient":
        return MaskedProduct(a, b, True, False, left, right, [], 0, (block, block, 1))
    return MaskedProduct(a, weight, False, kind == "forward", left, [], right, 0, (block, 1, block))
