"""What is measured on a CUDA device: rows of the table of cases in every arithmetic, timed by events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch

from gatentk import ops
from gatentk.bench.case import Case, Evaluation, Job
from gatentk.bench.cases import CASES, blocks
from gatentk.errors import GateNTKError
from gatentk.ops import cuda as cuda_ops

HEAD_START = 2_000_000  # clock cycles, about a millisecond: the device has all of an evaluation before it begins
FLUSHED = 256 << 20  # bytes, several times the largest second-level cache

# Names of `ops.CUDA_PRECISIONS` for our side, and what the peer's products are then made with.
PEER_ARITHMETIC = {"strict": "float32", "tf32x3": "float32", "tf32": "tf32"}


class CudaUnavailableError(GateNTKError):
    """There is no CUDA device to measure on, or no kernels for one."""


def check() -> None:
    """Refuse to begin where nothing can be measured.

    Raises:
        CudaUnavailableError: torch finds no device.
        CudaMissingError: gatentk was built without CUDA kernels.
    """
    if not torch.cuda.is_available():
        reason = "is built without CUDA" if torch.version.cuda is None else "finds no CUDA device"
        raise CudaUnavailableError(f"device: nothing to measure on, torch {torch.__version__} {reason}")
    cuda_ops.compiled()


class CudaClock:
    """Time between two events on the device, from cold caches."""

    def __init__(self) -> None:
        self._memory = torch.empty(FLUSHED, dtype=torch.uint8, device="cuda")

    def seconds(self, run: Evaluation) -> float:
        """Evaluate once; what the host needs to start the kernels is hidden where nothing waits for the device."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        self._memory.zero_()
        torch.cuda._sleep(HEAD_START)  # type: ignore[no-untyped-call]
        start.record()
        run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    def peak(self, case: Case) -> float:
        """Not measured: cuBLAS is the yardstick here."""
        return 0.0


@contextmanager
def arithmetic(precision: str) -> Iterator[None]:
    """Products of float32 numbers as `precision` says on our side, and of the same kind in torch."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = PEER_ARITHMETIC[precision] == "tf32"
    ops.select_cuda_precision(precision)
    try:
        yield
    finally:
        ops.select_cuda_precision("auto")
        matmul.allow_tf32 = before


_BLOCK_PRODUCTS = ("block-forward", "block-input-grad", "block-weight-grad")


def _in(precision: str, run: Evaluation) -> Evaluation:
    def evaluate() -> torch.Tensor:
        with arithmetic(precision):
            return run()

    return evaluate


def _prepare_in(case: Case, prepare: Callable[[Case], Job], precision: str) -> Job:
    """The job with both sides in one arithmetic."""
    job = prepare(case)
    peers = {name: _in(precision, peer) for name, peer in job.peers.items()}
    return replace(job, ours=_in(precision, job.ours), peers=peers)


def _rows(case: Case) -> Iterator[Case]:
    """One row for each arithmetic in which a case has something to show."""
    ours = case.ours.partition(", plans ")[0]  # which a device does not need
    case = replace(case, ours=ours, device="cuda", at_least=None, aim=None, most_repeats=None)
    if case.name in OTHER_PEERS:
        yield replace(case, peer=OTHER_PEERS[case.name])
    elif case.family == "gate_gram":
        for precision in ("tf32x3", "tf32"):
            yield _in_arithmetic(case, precision, PEER_ARITHMETIC[precision])
    elif case.dtype != torch.float32:
        yield case
    else:
        for precision in ops.CUDA_PRECISIONS:
            # Kernels for blocks have no strict products.
            if case.family != "block_matmul" or precision != "strict":
                yield _in_arithmetic(case, precision, precision)
        if case.name.startswith(("masked-linear", *_BLOCK_PRODUCTS)):
            yield replace(case, name=case.name.replace("f32", "bf16"), dtype=torch.bfloat16)


def _in_arithmetic(case: Case, precision: str, suffix: str) -> Case:
    return replace(
        case,
        name=f"{case.name}-{suffix}",
        peer=f"{case.peer}, cuBLAS {PEER_ARITHMETIC[precision]}",
        prepare=partial(_prepare_in, prepare=case.prepare, precision=precision),
    )


# Cases whose peer on the CPU is another one.
OTHER_PEERS = {
    "infinite-f64": "torch, arc cosines",
    "infinite-f32": "torch, arc cosines",
    "infinite-biases-f64": "torch, arc cosines",
    "infinite-pixels-f64": "torch, arc cosines",
    "sweep-f64": "our single depth L, and filling the output",
    "pack-bits": "torch, shifts and sums",
    "gate-rows-f32": "torch.where of the mask",
}
LEFT_OUT = (
    "empirical-f64",  # neural-tangents; their layerwise twin stays
    "empirical-2000-f64",
    "spectrum-f64",  # computed on the CPU
    *(case.name for case in CASES if case.family == "machines"),
    "relu-inference-exact-f32",  # a device does not look for zeros
    "relu-inference-low-rank-f32",
    "plan-building",  # nor need plans
    "masked-linear-overhead",  # times of the host
    "block-plan-building",
    "block-inference-one-sample-g64-f32",  # reads no fewer weights there
    "block-inference-one-sample-g32-f32",
    *(case.name for case in CASES if case.name.startswith(_BLOCK_PRODUCTS)),  # too small to fill a device
    *(case.name for case in CASES if case.name.startswith("skip-zeros")),
    *(case.name for case in CASES if "gradient" in case.name or "backward" in case.name),  # operations of torch
)
CUDA_CASES = tuple(
    row for case in (*(case for case in CASES if case.name not in LEFT_OUT), *blocks.ON_A_DEVICE) for row in _rows(case)
)
