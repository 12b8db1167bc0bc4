"""Extreme eigenvalues and condition numbers of positive semidefinite kernels, with proofs on request."""

from gatentk.spectra.result import Spectrum, condition_number, spectrum

__all__ = ["Spectrum", "condition_number", "spectrum"]
