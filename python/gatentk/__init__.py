"""Gated ReLU networks that skip, and neural tangent kernels with condition numbers one can trust."""

# torch comes first: its OpenMP runtime is the one that the compiled core must bind to.
import torch  # noqa: F401

from gatentk import data, nn, ntk, ops
from gatentk.errors import (
    DataError,
    GateNTKError,
    SpectrumError,
    UnresolvedSpectrumError,
    UnsupportedModuleError,
)
from gatentk.spectra import Spectrum, condition_number, spectrum

__version__ = "0.1.0"
__all__ = [
    "DataError",
    "GateNTKError",
    "Spectrum",
    "SpectrumError",
    "UnresolvedSpectrumError",
    "UnsupportedModuleError",
    "condition_number",
    "data",
    "nn",
    "ntk",
    "ops",
    "spectrum",
]
