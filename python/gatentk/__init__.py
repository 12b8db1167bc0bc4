"""Gated ReLU networks that skip, and neural tangent kernels with condition numbers one can trust."""

import torch  # noqa: F401  (first: its OpenMP runtime is the one the compiled core must bind to)

from gatentk import data
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
    "spectrum",
]
