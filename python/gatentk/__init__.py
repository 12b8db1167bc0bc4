"""Gated ReLU networks that skip, and neural tangent kernels with condition numbers one can trust.

Docstrings cite the two papers that it rests on: [S] is Liu and Hui, *ReLU soothes the NTK condition number and
accelerates optimization for wide neural networks* (arXiv 2305.08813), [G] is Noy, Xu, Aflalo, Zelnik-Manor and Jin, *A
Convergence Theory Towards Practical Over-parameterized Deep Neural Networks* (arXiv 2101.04243).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gatentk._version import __version__ as __version__
from gatentk.errors import (
    DataError,
    GateNTKError,
    GateTableError,
    SpectrumError,
    UnresolvedSpectrumError,
    UnsupportedModuleError,
)

if TYPE_CHECKING:
    from gatentk import convert, data, fit, gates, kernel_machines, nn, ntk, ops, reference, study, train
    from gatentk.kernel_machines import kernel
    from gatentk.spectra import Spectrum, condition_number, spectrum

__all__ = [
    "DataError",
    "GateNTKError",
    "GateTableError",
    "Spectrum",
    "SpectrumError",
    "UnresolvedSpectrumError",
    "UnsupportedModuleError",
    "condition_number",
    "convert",
    "data",
    "fit",
    "gates",
    "kernel",
    "kernel_machines",
    "nn",
    "ntk",
    "ops",
    "reference",
    "spectrum",
    "study",
    "train",
]

# Loaded at first use: the command line answers --help without waiting for torch.
_MODULES = ("convert", "data", "fit", "gates", "kernel_machines", "nn", "ntk", "ops", "reference", "study", "train")
_NAMES = {
    "Spectrum": "spectra",
    "condition_number": "spectra",
    "kernel": "kernel_machines",
    "spectrum": "spectra",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"gatentk.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"gatentk.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'gatentk' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
