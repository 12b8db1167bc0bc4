"""The kernels of the CPU: which instruction set they are for, with which threads, how fast they could be."""

from __future__ import annotations

import torch

from gatentk import _core
from gatentk.checks import check_dtype

_core.isa()  # a wrong name in GATENTK_ISA is an error at import, not at some kernel


def isa() -> str:
    """Name of the instruction set whose kernels are in use: "avx512", "avx2" or "portable"."""
    return _core.isa()


def available_isas() -> list[str]:
    """Instruction sets this build has and this processor runs, best first; "wide" only serves tests.

    >>> "portable" in available_isas()
    True
    """
    return _core.available_isas()


def select_isa(name: str) -> None:
    """Use the kernels of another instruction set in the whole process; ValueError if it is not available."""
    _core.select_isa(name)


def openmp() -> bool:
    """Whether the compiled core was built with threads."""
    return _core.openmp


def fma_peak(dtype: torch.dtype | str) -> float:
    """Measured peak of fused multiply-adds in operations per second, with torch's number of threads.

    Raises:
        TypeError: another dtype than float32 and float64.
    """
    measure = _core.fma_peak_f32 if check_dtype(dtype) == torch.float32 else _core.fma_peak_f64
    return measure(torch.get_num_threads())
