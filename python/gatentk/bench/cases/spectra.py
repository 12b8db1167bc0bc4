"""Extreme eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

from gatentk import ntk
from gatentk.bench.case import Case, Job, Shape, Work, gaussian_samples, tensor
from gatentk.spectra import spectrum


def _spectrum(case: Case) -> Job:
    """Ours counts its Cholesky factorisation alone, the peer the reduction to tridiagonal form."""
    n = case.shape.n
    kernel = tensor(ntk.infinite(gaussian_samples(case), depth=case.shape.depth, dtype=case.dtype))

    def ours() -> Tensor:
        result = spectrum(kernel)
        return torch.tensor([result.lmin, result.lmax], dtype=torch.float64)

    return Job(
        ours=ours,
        work=Work(4 / 3 * n**3, n**3 / 3),
        peers={"eigvalsh": lambda: torch.linalg.eigvalsh(kernel)[[0, -1]].double()},
    )


CASES = (
    Case(
        name="spectrum-f64",
        family="spectra",
        ours="spectrum, smallest and largest eigenvalue of an infinite-width kernel",
        peer="torch.linalg.eigvalsh, which computes all eigenvalues",
        shape=Shape(n=4000, d=5, depth=3),
        quick=Shape(n=540, d=5, depth=3),
        dtype=torch.float64,
        prepare=_spectrum,
        at_least=3,
        aim=5,
    ),
)
