"""Proved intervals hold the eigenvalues, in as many digits as it takes to tell."""

import mpmath
import numpy as np
import pytest
import torch
from cases.matrices import (
    LARGE,
    exact_eigenvalues,
    hilbert,
    orthogonal_to,
    starts,
    toeplitz,
    wishart,
    with_eigenvalues,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import gatentk as gt
from gatentk.spectra import certificates, extremes
from gatentk.spectra.extremes import DENSE_LIMIT


class TestCertificate:
    @staticmethod
    def assert_contains(result, exact):
        low, high = result.lmin_interval
        assert mpmath.mpf(low) <= exact[0] <= mpmath.mpf(high)
        assert low <= result.lmin <= high
        low, high = result.lmax_interval
        assert mpmath.mpf(low) <= exact[-1] <= mpmath.mpf(high)
        assert low <= result.lmax <= high

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", range(1, 14))
    def test_hilbert(self, n, dtype):
        K = hilbert(n).to(dtype)
        exact = exact_eigenvalues(K)
        if exact[0] < -n * torch.finfo(dtype).eps * exact[-1]:
            pytest.skip("indefinite once rounded")
        result = gt.spectrum(K, certify=True)
        self.assert_contains(result, exact)
        assert result.lmin_interval[1] - result.lmin_interval[0] < 20 * n * 2.0**-52 * result.lmax
        assert result.lmax_interval[1] - result.lmax_interval[0] < 20 * n * 2.0**-52 * result.lmax

    @settings(deadline=None, max_examples=25)
    @given(
        n=st.integers(1, 8),
        decades=st.floats(0, 17),
        exponent=st.sampled_from([-300, -90, 0, 90, 300]),
        seed=st.integers(0, 2**16),
    )
    def test_random_down_to_singular(self, n, decades, exponent, seed):
        K = with_eigenvalues(10.0**exponent * np.geomspace(10**-decades, 1, n), seed)
        self.assert_contains(gt.spectrum(K, certify=True), exact_eigenvalues(K))

    def test_singular_integer_matrix(self):
        X = np.random.default_rng(0).integers(-3, 4, (9, 4)).astype(float)
        result = gt.spectrum(X @ X.T, certify=True)
        assert result.resolved is False
        assert result.lmin_interval[0] <= 0 <= result.lmin_interval[1]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [DENSE_LIMIT, LARGE])
    def test_large_closed_form(self, n, dtype):
        # c I + Q Q^T / 8 with integer entries: eigenvalues c and c + n_c / 8, exactly representable
        groups = torch.arange(n) % 7
        K = (3 * torch.eye(n) + (groups[:, None] == groups) / 8).to(dtype)
        largest = 3 + int(torch.bincount(groups).max()) / 8
        result = gt.spectrum(K, certify=True)
        assert result.lmin_interval[0] <= 3 <= result.lmin_interval[1]
        assert result.lmax_interval[0] <= largest <= result.lmax_interval[1]
        assert result.lmin_interval == pytest.approx((3, 3), rel=1e-9)
        assert result.lmax_interval == pytest.approx((largest, largest), rel=1e-9)

    def test_after_the_fallback(self):
        n = 4 * LARGE // 3
        with pytest.warns(RuntimeWarning, match="Lanczos did not converge"):
            result = gt.spectrum(toeplitz(n), certify=True)
        with mpmath.workdps(40):
            exact = [2 - 2 * mpmath.cos(mpmath.pi * k / (n + 1)) for k in (1, n)]
            self.assert_contains(result, exact)

    @pytest.mark.parametrize("change", [-0.99999, -0.2, 0.3, 1e4])
    def test_an_eigenvalue_that_was_missed_shows_and_is_found(self, change, monkeypatch):
        start = starts(LARGE)[0]
        v = orthogonal_to(starts(LARGE))
        K = torch.from_numpy(np.eye(LARGE) + change * np.outer(v, v))
        K = (K + K.T) / 2
        monkeypatch.setattr(extremes, "_start", lambda work: start)
        missed = gt.spectrum(K)
        assert (missed.lmin, missed.lmax) == pytest.approx((1, 1))  # what a bad start leads to
        with pytest.warns(RuntimeWarning, match="Lanczos missed an eigenvalue, as the certificate shows: a full"):
            result = gt.spectrum(K, certify=True)
        assert result.method == "eigvalsh"
        assert (result.lmin, result.lmax) == pytest.approx((min(1, 1 + change), max(1, 1 + change)), rel=1e-8)
        assert result.condition == result.lmax / result.lmin
        assert result.lmin_interval == pytest.approx((result.lmin, result.lmin), rel=1e-6, abs=1e-9)
        assert result.lmax_interval == pytest.approx((result.lmax, result.lmax), rel=1e-6)

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    @pytest.mark.parametrize("excess", [1e-14, 1e-9, 1e-3])
    def test_nothing_false_is_ever_proved(self, sign, excess):
        """Claims above the true smallest eigenvalue, by however little, fail."""
        n = 24
        K = with_eigenvalues(np.geomspace(1e-2, 1, n))
        exact = exact_eigenvalues(K)
        truth = float(exact[0] if sign > 0 else -exact[-1])
        work = (sign * K).numpy().copy()
        assert not certificates._is_at_least(work, truth + excess)

    def test_rayleigh_bounds_hold_for_any_vector(self):
        rng = np.random.default_rng(0)
        for n in (1, 3, 130):
            K = wishart(n)
            for x in (rng.standard_normal(n), np.ones(n), np.eye(n)[0]):
                low, high = certificates._rayleigh(K, 0, x)
                symmetric = np.triu(K) + np.triu(K, 1).T
                with mpmath.workdps(40):
                    y = [mpmath.fdot(map(float, row), map(float, x)) for row in symmetric]
                    quotient = mpmath.fdot(map(float, x), y) / mpmath.fdot(map(float, x), map(float, x))
                    assert low <= quotient <= high
                assert high - low < 1e-12
