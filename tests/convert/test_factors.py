"""Factors of a matrix on samples, against the singular values of their product."""

import pytest
import torch

from gatentk.convert.factors import fit_factors


@pytest.mark.parametrize(("m", "d", "n", "rank"), [(20, 30, 50, 4), (40, 10, 15, 4), (40, 10, 60, 30), (6, 50, 3, 5)])
def test_they_lose_what_the_best_of_their_rank_lose(m, d, n, rank, generator):
    psi = torch.randn(m, d, generator=generator, dtype=torch.float64)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    u, v, energy = fit_factors(psi, z, rank)
    assert (u.shape, v.shape) == ((m, rank), (rank, d))
    values = z @ psi.T
    sigma = torch.linalg.svdvals(values).square()
    lost, scale = float(sigma[rank:].sum()), float(sigma.sum())
    assert float((values - z @ v.T @ u.T).square().sum()) == pytest.approx(lost, rel=1e-8, abs=1e-7 * scale)
    assert energy == pytest.approx(1 - lost / scale, rel=1e-8)
