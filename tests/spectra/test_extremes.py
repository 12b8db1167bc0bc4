"""Eigenvalues against closed forms and LAPACK, and what is noise."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from cases.matrices import (
    LARGE,
    SIZES,
    assert_agrees,
    orthogonal,
    orthogonal_to,
    starts,
    toeplitz,
    wishart,
    with_eigenvalues,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import gatentk as gt
from gatentk.spectra import extremes
from gatentk.spectra.extremes import DENSE_LIMIT


class TestEigenvalues:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [1, 2, 17, *SIZES])
    def test_agrees_with_lapack_on_both_sides_of_the_switch(self, n, dtype):
        K = wishart(n, dtype=dtype)
        result = gt.spectrum(K)
        assert result.method == ("lanczos" if n > DENSE_LIMIT else "eigvalsh")
        assert_agrees(result, K)

    @pytest.mark.parametrize("kappa", [1.5, 1e3, 1e6, 1e9, 1e12])
    @pytest.mark.parametrize("n", [40, LARGE])
    def test_recovers_prescribed_eigenvalues(self, n, kappa):
        result = gt.spectrum(with_eigenvalues(np.geomspace(1 / kappa, 1, n)))
        assert result.condition == pytest.approx(kappa, rel=max(1e-8, n * 2.3e-16 * kappa))

    @pytest.mark.parametrize("n", [1, 2, 30, LARGE])
    def test_identity_has_condition_one(self, n):
        result = gt.spectrum(torch.eye(n))
        assert (result.lmin, result.lmax, result.condition) == pytest.approx((1, 1, 1), rel=1e-12)
        assert result.condition >= 1

    def test_repeated_eigenvalues_end_in_an_invariant_subspace(self):
        K = torch.block_diag(*[torch.tensor([[2.0, 1.0], [1.0, 2.0]])] * (LARGE // 2))
        assert gt.spectrum(K).condition == pytest.approx(3, rel=1e-12)

    @pytest.mark.parametrize("at", [0, LARGE // 2, LARGE - 1])
    def test_finds_eigenvectors_with_a_single_entry(self, at):
        diagonal = torch.ones(LARGE, dtype=torch.float64)
        diagonal[at] = 1e-3
        assert gt.spectrum(torch.diag(diagonal)).lmin == pytest.approx(1e-3, rel=1e-9)
        diagonal[at] = 1e3
        assert gt.spectrum(torch.diag(diagonal)).lmax == pytest.approx(1e3, rel=1e-9)

    @pytest.mark.parametrize("distance", [1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3])
    def test_close_pairs_are_told_apart(self, distance):
        values = np.linspace(1, 2, LARGE)
        values[:2] = 0.5, 0.5 * (1 + distance)
        values[-2:] = 3 * (1 - distance), 3
        result = gt.spectrum(with_eigenvalues(values))
        assert (result.lmin, result.lmax) == pytest.approx((0.5, 3), rel=1e-8)

    @pytest.mark.parametrize("n", [50, LARGE])
    def test_spike_far_above_the_rest(self, n):
        K = np.ones((n, n)) * 1e3 + np.eye(n)
        result = gt.spectrum(torch.from_numpy(K))
        assert result.lmin == pytest.approx(1, rel=1e-8)
        assert result.lmax == pytest.approx(1e3 * n + 1, rel=1e-12)

    def test_crowded_ends_fall_back_to_all_eigenvalues(self):
        n = 4 * LARGE // 3
        with pytest.warns(RuntimeWarning, match="Lanczos did not converge"):
            result = gt.spectrum(toeplitz(n))
        assert result.method == "eigvalsh"
        expected = 2 - 2 * np.cos(np.pi * np.array([1, n]) / (n + 1))
        assert (result.lmin, result.lmax) == pytest.approx(expected, rel=1e-8)

    def test_falls_back_at_the_lower_end_alone(self, monkeypatch):
        K = wishart(LARGE)
        expected = gt.spectrum(K)
        calls = []

        def once(*args):
            calls.append(args)
            return largest(*args) if len(calls) == 1 else (None, args[1])

        largest = extremes.largest_eigenvalue
        monkeypatch.setattr(extremes, "largest_eigenvalue", once)
        with pytest.warns(RuntimeWarning, match="Lanczos did not converge"):
            result = gt.spectrum(K)
        assert len(calls) == 2
        assert (result.method, result.lmax) == ("eigvalsh", expected.lmax)
        assert result.lmin == pytest.approx(expected.lmin, rel=1e-9)

    @pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-30, 1e30, 1e200, 1e304])
    @pytest.mark.parametrize("n", [20, LARGE])
    def test_scale_changes_nothing_else(self, n, scale):
        K = wishart(n)
        result, reference = gt.spectrum(K * scale), gt.spectrum(K)
        assert result.condition == pytest.approx(reference.condition, rel=1e-7)
        assert result.lmax == pytest.approx(reference.lmax * scale, rel=1e-7)

    @settings(deadline=None, max_examples=40)
    @given(
        n=st.integers(1, 12),
        decades=st.floats(0, 8),
        exponent=st.integers(-60, 60),
        seed=st.integers(0, 2**16),
    )
    def test_any_small_matrix(self, n, decades, exponent, seed):
        K = with_eigenvalues(10.0**exponent * np.geomspace(10**-decades, 1, n), seed)
        assert_agrees(gt.spectrum(K), K)

    def test_same_result_twice_and_no_global_random_state(self):
        K = wishart(LARGE)
        np.random.seed(3)  # noqa: NPY002
        expected = np.random.random()  # noqa: NPY002
        np.random.seed(3)  # noqa: NPY002
        state = torch.get_rng_state()
        assert gt.spectrum(K).lmin == gt.spectrum(K).lmin
        assert torch.equal(state, torch.get_rng_state())
        assert np.random.random() == expected  # noqa: NPY002


class TestNoiseFloor:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [60, LARGE])
    def test_rank_deficient_kernel_is_unresolved(self, n, dtype):
        X = torch.randn(n, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        K = (X @ X.mT).to(dtype)
        result = gt.spectrum(K)
        assert (result.resolved, result.condition) == (False, math.inf)
        assert abs(result.lmin) < result.floor
        assert result.condition_bound == pytest.approx(1 / (n * torch.finfo(dtype).eps))
        with pytest.raises(gt.UnresolvedSpectrumError, match=r"K: lambda_min = .* noise floor"):
            gt.condition_number(K)

    @pytest.mark.parametrize("n", [100, LARGE])
    @pytest.mark.parametrize(("ratio", "resolved"), [(3, True), (0.3, False), (0, False), (-0.3, False)])
    def test_floor_decides(self, n, ratio, resolved):
        values = np.geomspace(1e-3, 1, n)
        values[0] = ratio * n * 2.0**-52
        result = gt.spectrum(with_eigenvalues(values))
        assert result.resolved is resolved
        assert result.lmin == pytest.approx(values[0], abs=0.3 * result.floor)

    @pytest.mark.parametrize("n", [100, LARGE])
    @pytest.mark.parametrize("smallest", [-3, -1e3, -1e9, -1e13])
    def test_clearly_negative_is_refused(self, n, smallest):
        values = np.geomspace(1e-3, 1, n)
        values[0] = smallest * n * 2.0**-52
        with pytest.raises(gt.SpectrumError, match=r"K: expected a positive semidefinite matrix"):
            gt.spectrum(with_eigenvalues(values))

    @pytest.mark.parametrize("n", [1, 5, LARGE])
    def test_negative_matrices_are_refused(self, n):
        with pytest.raises(gt.SpectrumError, match="positive semidefinite"):
            gt.spectrum(-torch.eye(n))
        if n > 1:
            with pytest.raises(gt.SpectrumError, match="positive semidefinite"):
                gt.spectrum(1 - torch.eye(n))

    def test_float32_floor_is_that_of_float32(self):
        K = with_eigenvalues(np.geomspace(1e-8, 1, 100))
        assert gt.spectrum(K).resolved is True
        assert gt.spectrum(K.float()).resolved is False

    @pytest.mark.parametrize("n", [1, 4, LARGE])
    @pytest.mark.parametrize("certify", [False, True])
    def test_zero_matrix_is_unresolved(self, n, certify):
        result = gt.spectrum(torch.zeros(n, n), certify=certify)
        assert (result.lmin, result.lmax, result.floor) == (0, 0, 0)
        assert (result.resolved, result.condition, result.condition_bound) == (False, math.inf, 1)
        assert result.lmin_interval == ((0, 0) if certify else None)
        with pytest.raises(gt.UnresolvedSpectrumError):
            gt.condition_number(torch.zeros(n, n))


class TestEigenvectorsAwayFromTheStart:
    """Eigenvectors of the ends of a spectrum that are orthogonal to whatever an iteration could begin with."""

    @pytest.mark.parametrize("certify", [False, True])
    @pytest.mark.parametrize("change", [-0.99999, -0.5, -1e-3, 1e-3, 4.0, 1e5])
    def test_one_eigenvalue_away_from_the_identity(self, change, certify):
        v = orthogonal_to(starts(LARGE))
        K = np.eye(LARGE) + change * np.outer(v, v)
        result = gt.spectrum((K + K.T) / 2, certify=certify)
        assert result.lmin == pytest.approx(min(1, 1 + change), rel=1e-8)
        assert result.lmax == pytest.approx(max(1, 1 + change), rel=1e-9)
        assert result.resolved is True
        if certify:
            assert np.isfinite([*result.lmin_interval, *result.lmax_interval]).all()

    @pytest.mark.parametrize("lowest", [1e-6, 0.4])
    def test_both_ends_of_a_spread_spectrum(self, lowest):
        first = orthogonal_to(starts(LARGE))
        last = orthogonal_to([*starts(LARGE), first], seed=5)
        rest = np.linspace(0.5, 1, LARGE - 2)
        Q = np.linalg.qr(np.column_stack([first, last, orthogonal(LARGE)[:, 2:]]))[0]
        K = (Q * np.array([lowest, 7.0, *rest])) @ Q.T
        assert_agrees(gt.spectrum((K + K.T) / 2), torch.from_numpy((K + K.T) / 2))

    def test_a_matrix_built_against_its_start_has_another_one(self):
        known, K = list(starts(LARGE)), np.eye(LARGE)
        for _ in range(3):
            known.append(extremes._start(np.ascontiguousarray(K / 2)))
            v = orthogonal_to(known)
            K = np.eye(LARGE) - 0.99999 * np.outer(v, v)
            K = (K + K.T) / 2
        assert gt.spectrum(K).lmin == pytest.approx(1e-5, rel=1e-8)

    @pytest.mark.parametrize("power", [-1000, -40, 900])
    def test_the_start_does_not_depend_on_the_scale(self, power):
        K = wishart(LARGE)
        expected, scaled = gt.spectrum(K), gt.spectrum(K * 2.0**power)
        assert scaled.condition == expected.condition
        assert scaled.lmin == expected.lmin * 2.0**power


@pytest.mark.parametrize("index", [0, LARGE - 1])
@pytest.mark.parametrize("change", [-0.99999, -1e-9, 0.3])
def test_an_end_of_equal_eigenvalues_is_found_by_tridiagonalisation(change, index):
    v = orthogonal_to(starts(LARGE))
    K = np.eye(LARGE) + change * np.outer(v, v)
    pair = extremes._tridiagonalised(torch.from_numpy(K), 0, np.empty_like(K), index)
    assert pair.value == pytest.approx(sorted([1, 1 + change])[bool(index)], rel=1e-9)
    np.testing.assert_allclose(K @ pair.vector, pair.value * pair.vector, atol=1e-13)


class TestEverySize:
    """The condition number of a matrix does not change with its scale, down to where entries lose their digits."""

    @staticmethod
    def assert_right_or_unresolved(result, stored, plain):
        """The stored matrix may differ from the scaled one by the rounding of subnormal entries: the floor knows."""
        values = np.linalg.eigvalsh(np.asarray(stored.double()) * 2.0**60 * 2.0**60)
        if result.resolved:
            assert result.condition == pytest.approx(plain.condition, rel=result.floor / result.lmin)
            assert result.lmin * 2.0**60 * 2.0**60 == pytest.approx(values[0], rel=1e-6)
        else:
            assert result.condition_bound <= plain.condition * 1.5
        assert result.condition_bound >= 1
        assert result.floor > 0

    @pytest.mark.parametrize("n", [30, LARGE])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_powers_of_two_change_nothing_in_normal_numbers(self, dtype, n):
        K = wishart(n, dtype=dtype)
        plain = gt.spectrum(K)
        for power in (-100, -60, 60, 110) if dtype == torch.float32 else (-900, -300, 500, 990):
            result = gt.spectrum(torch.from_numpy(np.ldexp(K.numpy(), power)))
            assert (result.condition, result.resolved) == (plain.condition, True)
            assert result.floor == plain.floor * 2.0**power

    @pytest.mark.parametrize("n", [30, LARGE])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("certify", [False, True])
    def test_subnormal_entries_give_no_condition_number_of_their_own(self, dtype, n, certify):
        K = wishart(n, dtype=dtype)
        plain = gt.spectrum(K)
        lowest = -149 if dtype == torch.float32 else -1074
        for power in range(lowest, lowest + 32, 1) if n < 100 else (lowest + 4, lowest + 20):
            stored = torch.from_numpy(np.ldexp(K.numpy(), power))
            if not stored.any():
                continue
            result = gt.spectrum(stored, certify=certify)
            self.assert_right_or_unresolved(result, stored, plain)
            if certify and result.resolved:
                low, high = result.lmin_interval
                assert low <= result.lmin <= high

    @pytest.mark.parametrize("size", [1e-310, 5e-324, 3e-308])
    def test_a_tiny_matrix_has_a_condition_bound(self, size):
        for shape in ((3, 3), (2, 3, 3), (LARGE, LARGE)):
            result = gt.spectrum(torch.full(shape, size, dtype=torch.float64))
            assert not np.asarray(result.resolved).any()
            bound = np.asarray(result.condition_bound)
            assert ((bound >= 1) & (bound <= 2**52)).all()
        identity = gt.spectrum(size * torch.eye(4, dtype=torch.float64))
        assert identity.condition_bound == 1

    @pytest.mark.parametrize("scale", [1.0, 1e-18, 1e-20, 3e-22, 1e-22, 2e-23])
    def test_float32_grams_of_small_samples(self, scale):
        X = torch.randn(40, 60, generator=torch.Generator().manual_seed(0)) * scale
        right = gt.spectrum(X.double() @ X.double().T).condition
        result = gt.spectrum(X @ X.T)
        if result.resolved:
            assert result.condition == pytest.approx(right, rel=max(1e-4, 0.2 * result.floor / result.lmin))
        assert result.resolved or scale < 1e-20
        assert result.condition_bound <= right * 1.01


@pytest.mark.slow
@pytest.mark.parametrize("certify", [False, True])
def test_memory_beyond_the_matrix_is_at_most_1_1_copies(certify):
    """Peak resident memory of a fresh process, after libraries and thread buffers are warm."""
    code = f"""
        import resource, torch, gatentk
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        n = 4000
        gatentk.spectrum(torch.eye(1500, dtype=torch.float64), certify={certify})
        K = torch.full((n, n), 0.5, dtype=torch.float64)
        K.diagonal().add_(torch.linspace(0.5, 1.5, n, dtype=torch.float64))
        before = peak()
        result = gatentk.spectrum(K, certify={certify})
        assert result.method == "lanczos"
        print((peak() - before) / (8 * n * n))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert float(run.stdout) <= 1.1
