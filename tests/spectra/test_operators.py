"""Eigenvalues of what is known by its products, against those of matrices."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import gatentk as gt
from gatentk.spectra import operators
from gatentk.spectra.operators import is_operator


def with_eigenvalues(values, seed=0):
    generator = torch.Generator().manual_seed(seed)
    n = len(values)
    Q, _ = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    K = Q * torch.as_tensor(values, dtype=torch.float64) @ Q.T
    return (K + K.T) / 2


def hidden(K):
    """An operator of which only products are known."""
    array = K.numpy() if isinstance(K, torch.Tensor) else K
    return LinearOperator(array.shape, matvec=lambda v: array @ v, dtype=array.dtype)


DECAYING = np.concatenate([[100.0, 50.0, 50.0, 50.0, 20.0], np.linspace(5, 1, 695)])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_largest_eigenvalues_are_found_as_often_as_they_are_there(dtype):
    K = with_eigenvalues(DECAYING).to(dtype)
    s = gt.spectrum(hidden(K), top=5)
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    assert s.method == "lanczos"
    np.testing.assert_allclose(s.top, DECAYING[:5], rtol=tolerance)
    assert s.lmax == s.top[0]
    assert s.floor == pytest.approx(700 * torch.finfo(dtype).eps * 100, rel=1e-5)


def test_the_smallest_eigenvalue_is_a_bound_unless_asked_for():
    K = with_eigenvalues(DECAYING)
    s = gt.spectrum(hidden(K))
    assert (s.resolved, s.condition, s.top) == (False, math.inf, None)
    assert 1 - 1e-9 <= s.lmin < 100
    assert s.condition_bound == s.lmax / s.lmin <= 100 * (1 + 1e-9)
    s = gt.spectrum(hidden(K), smallest=True)
    assert s.resolved
    assert s.lmin == pytest.approx(1, rel=1e-6)
    assert s.condition == pytest.approx(100, rel=1e-6)


def test_the_condition_number_of_an_operator_needs_its_smallest_eigenvalue():
    assert gt.condition_number(hidden(with_eigenvalues(DECAYING))) == pytest.approx(100, rel=1e-6)
    values = np.concatenate([[1.0], np.full(300, 1e-3), np.zeros(300)])
    with pytest.raises(gt.UnresolvedSpectrumError, match=r"K: lambda_min = .* is not above the noise floor"):
        gt.condition_number(hidden(with_eigenvalues(values)))


def test_a_smallest_eigenvalue_that_was_not_found_is_no_noise(monkeypatch):
    search = operators.largest_eigenvalue
    monkeypatch.setattr(operators, "largest_eigenvalue", lambda *a: search(*a) if len(a) == 3 else (None, a[1]))
    with pytest.raises(gt.UnresolvedSpectrumError, match="K: Lanczos did not converge to lambda_min, which is at most"):
        gt.condition_number(hidden(with_eigenvalues(DECAYING)))


@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e-320])
@pytest.mark.filterwarnings("error")
def test_operators_of_any_size(scale):
    K = with_eigenvalues(np.linspace(0.5, 2, 100)).numpy() * scale
    s = gt.spectrum(hidden(K), top=1)
    assert s.top[0] == s.lmax == pytest.approx(2 * scale, rel=1e-9 if scale > 1e-310 else 1e-2)
    with pytest.raises(gt.SpectrumError, match="symmetric"):
        gt.spectrum(hidden(np.triu(K)))


def test_a_smallest_eigenvalue_in_the_noise_is_not_resolved():
    values = np.concatenate([[1.0], np.full(300, 1e-3), np.zeros(300)])
    s = gt.spectrum(hidden(with_eigenvalues(values)), smallest=True)
    assert not s.resolved
    assert s.condition == math.inf
    assert abs(s.lmin) <= s.floor


@pytest.mark.parametrize("n", [1, 3, 64])
def test_small_operators_are_matrices(n):
    K = with_eigenvalues(np.linspace(1, 2, n))
    s, expected = gt.spectrum(hidden(K), top=n), gt.spectrum(K, top=n)
    assert s.method == "eigvalsh"
    assert s.resolved
    assert s.lmin == pytest.approx(expected.lmin, rel=1e-12)
    assert s.lmax == pytest.approx(expected.lmax, rel=1e-12)
    np.testing.assert_allclose(s.top, expected.top.numpy(), rtol=1e-12)


def test_up_to_512_rows_the_smallest_comes_from_the_matrix():
    K = with_eigenvalues(np.linspace(1e-6, 1, 200))
    s = gt.spectrum(hidden(K), smallest=True)
    assert (s.method, s.resolved) == ("eigvalsh", True)
    assert s.lmin == pytest.approx(1e-6, rel=1e-8)


def test_eigenvalues_below_the_floor_are_not_given():
    values = np.zeros(600)
    values[:2] = 3, 2
    s = gt.spectrum(hidden(with_eigenvalues(values)), top=4)
    np.testing.assert_allclose(s.top[:2], [3, 2], rtol=1e-9)
    assert np.isnan(s.top[2:]).all()
    s = gt.spectrum(with_eigenvalues(values), top=4)
    np.testing.assert_allclose(s.top[:2].numpy(), [3, 2], rtol=1e-9)
    assert bool(s.top[2:].isnan().all())


def test_a_zero_operator():
    s = gt.spectrum(hidden(torch.zeros(600, 600, dtype=torch.float64)), top=2, smallest=True)
    assert (s.lmin, s.lmax, s.floor, s.resolved, s.condition_bound) == (0.0, 0.0, 0.0, False, 1.0)
    assert np.isnan(s.top).all()
    assert gt.spectrum(torch.zeros(3, 3), top=2).top.isnan().all()


def test_tops_of_matrices_and_batches():
    K = torch.stack([with_eigenvalues([3.0, 2.0, 1.0]), with_eigenvalues([6.0, 5.0, 0.5])])
    assert torch.allclose(gt.spectrum(K, top=2).top, torch.tensor([[3.0, 2.0], [6.0, 5.0]], dtype=torch.float64))
    assert isinstance(gt.spectrum(K[0].numpy(), top=1).top, np.ndarray)
    assert gt.spectrum(K[0]).top is None


@pytest.mark.parametrize("outputs", ["trace", "full", 1])
def test_kernels_of_networks_without_the_matrix(outputs):
    generator = torch.Generator().manual_seed(0)
    net = gt.nn.MLP(5, 60, 2, d_out=2, generator=generator, dtype=torch.float64)
    x = torch.randn(150, 5, generator=generator, dtype=torch.float64)
    K = gt.ntk.empirical(net, x, outputs=outputs)
    K = K.reshape(300, 300) if outputs == "full" else K
    s, expected = gt.spectrum(gt.ntk.operator(net, x, outputs), top=3), gt.spectrum(K, top=3)
    np.testing.assert_allclose(s.top, expected.top.numpy(), rtol=1e-8)
    assert s.lmin >= expected.lmin * (1 - 1e-8)


class Bare:
    """What has no matmat."""

    shape, dtype = (3, 3), np.float64

    def matvec(self, v):
        return np.diag([1.0, 2.0, 3.0]) @ v


def test_whatever_has_products_is_an_operator():
    assert gt.spectrum(Bare(), top=3).top.tolist() == [3.0, 2.0, 1.0]
    assert gt.spectrum(aslinearoperator(np.eye(3))).lmax == 1
    assert not is_operator(np.eye(2))
    assert not is_operator(torch.eye(2))


class Torch(Bare):
    """What has a dtype of torch."""

    dtype = torch.float64


class Short(Bare):
    """What gives other vectors than its shape says."""

    def matvec(self, v):
        return v[:2]


class Long(Short):
    """The same, of more rows than a matrix is made of."""

    shape = (100, 100)


def asymmetric(n):
    K = np.eye(n)
    K[0, 1] = 10.0
    return K


@pytest.mark.parametrize(
    ("error", "message", "K", "options"),
    [
        (gt.SpectrumError, "K: expected a symmetric operator", hidden(asymmetric(4)), {}),
        (gt.SpectrumError, "K: expected a symmetric operator", hidden(np.triu(np.ones((100, 100)))), {}),
        (gt.SpectrumError, "K: expected a positive semidefinite", hidden(-np.eye(4)), {}),
        (gt.SpectrumError, "K: expected a positive semidefinite", hidden(np.diag(np.linspace(-1, 2, 600))), {}),
        (gt.SpectrumError, "K: expected a positive semidefinite", hidden(-np.diag(np.linspace(0, 1, 600) ** 2)), {}),
        (ValueError, "K: expected products with 3 entries, as its shape says, got 2", Short(), {}),
        (ValueError, "K: expected products with 100 entries, as its shape says, got 2", Long(), {}),
        (TypeError, "K: expected an operator of numpy's dtype", Torch(), {}),
        (gt.SpectrumError, "K: expected finite", hidden(np.full((4, 4), np.nan)), {}),
        (gt.SpectrumError, "K: expected finite products", hidden(np.full((100, 100), np.nan)), {}),
        (ValueError, "K: expected a non-empty square operator", LinearOperator((2, 3), lambda v: v, dtype=float), {}),
        (TypeError, "expected an operator of numpy's dtype", LinearOperator((2, 2), lambda v: v, dtype=complex), {}),
        (
            TypeError,
            "K: expected an operator of numpy's dtype",
            LinearOperator((2, 2), lambda v: v, dtype=np.float16),
            {},
        ),
        (ValueError, "certify: expected False for an operator", hidden(np.eye(2)), {"certify": True}),
        (ValueError, "top: expected at most 2", hidden(np.eye(2)), {"top": 3}),
        (ValueError, "top: expected at most 2", np.eye(2), {"top": 3}),
        (ValueError, "top: expected an integer of at least 0", np.eye(2), {"top": -1}),
    ],
)
def test_bad_input_is_refused(error, message, K, options):
    with pytest.raises(error, match=message):
        gt.spectrum(K, **options)


def test_where_eigenvalues_crowd_that_is_said(monkeypatch):
    K, search, tried = hidden(with_eigenvalues(DECAYING)), operators.largest_eigenvalue, []

    def without_third(*arguments):
        tried.append(1)
        pair, other = search(*arguments)
        return (None if len(tried) == 3 else pair), other

    monkeypatch.setattr(operators, "largest_eigenvalue", without_third)
    with pytest.warns(RuntimeWarning, match="K: Lanczos did not converge to eigenvalue 3"):
        s = gt.spectrum(K, top=4)
    np.testing.assert_allclose(s.top[:2], [100, 50], rtol=1e-9)
    assert np.isnan(s.top[2:]).all()
    monkeypatch.setattr(operators, "largest_eigenvalue", lambda *arguments: (None, arguments[1]))
    with pytest.raises(gt.SpectrumError, match="K: Lanczos did not converge to its largest eigenvalue"):
        gt.spectrum(K)
