import math

import numpy as np
import pytest
import torch
from cases.matrices import wishart

from gatentk.spectra.triangles import cholesky, diagonal_of, fill


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 64, 130])
def test_the_upper_triangle_is_scaled_by_a_power_of_two(n, dtype):
    K, work = wishart(n, dtype=dtype), np.empty((n, n))
    fill(K, 3, work, -1.0)
    assert np.array_equal(np.triu(work), np.triu(-K.double().numpy() / 8))


def test_the_diagonal_is_a_view():
    work = np.zeros((3, 3))
    diagonal_of(work)[:] = 1, 2, 3
    assert np.array_equal(work, np.diag([1.0, 2, 3]))


def test_a_definite_matrix_has_a_factor():
    K = wishart(90).numpy()
    work = np.triu(K)
    assert cholesky(work)
    factor = np.triu(work)
    np.testing.assert_allclose(factor.T @ factor, K, rtol=0, atol=1e-13)


@pytest.mark.parametrize("spoil", [-1e-9, math.nan, math.inf])
def test_others_have_none(spoil):
    work = np.eye(5)
    work[3, 3] = spoil
    assert not cholesky(work)
    work = np.eye(5)
    work[1, 4] = 1 + 1e-9 if math.isfinite(spoil) else spoil
    assert not cholesky(work)
