import numpy as np
import pytest
from cases.matrices import LARGE, toeplitz, with_eigenvalues

from gatentk.spectra.lanczos import largest_eigenvalue


def start(n=LARGE):
    return np.random.default_rng(0).standard_normal(n)


def test_the_pair_belongs_to_the_matrix_and_is_within_its_error():
    values = np.linspace(1, 2, LARGE)
    K = with_eigenvalues(values).numpy()
    pair, other = largest_eigenvalue(lambda v: K @ v, start(), lambda theta: 1e-9 * theta)
    assert pair.error <= 2e-9
    assert abs(pair.value - 2) <= pair.error + 1e-13
    assert np.linalg.norm(pair.vector) == pytest.approx(1, abs=1e-12)
    assert np.linalg.norm(K @ pair.vector - pair.value * pair.vector) <= 2 * pair.error + 1e-13
    assert 1 <= other @ K @ other / (other @ other) < 1.5


def test_an_invariant_subspace_ends_the_search():
    pair, _ = largest_eigenvalue(lambda v: 3 * v, start(), lambda theta: 1e-9 * theta)
    assert pair.value == pytest.approx(3, rel=1e-14)


def test_crowded_eigenvalues_give_no_pair_and_the_start():
    K, v = toeplitz(4 * LARGE // 3).numpy(), start(4 * LARGE // 3)
    pair, other = largest_eigenvalue(lambda v: K @ v, v, lambda theta: 1e-9 * theta)
    assert pair is None
    assert other is v
