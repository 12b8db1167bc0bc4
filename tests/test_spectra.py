"""Eigenvalues against closed forms, LAPACK and mpmath; every refusal; the certificate's intervals."""

import math
import subprocess
import sys
import textwrap

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gatentk as gt
from gatentk import spectra

LARGE = spectra.DENSE_LIMIT + 88
SIZES = [spectra.DENSE_LIMIT - 1, spectra.DENSE_LIMIT, spectra.DENSE_LIMIT + 1, LARGE]


def orthogonal(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]


def with_eigenvalues(values, seed=0):
    """A symmetric float64 matrix with these eigenvalues, up to rounding."""
    Q = orthogonal(len(values), seed)
    K = (Q * np.asarray(values)) @ Q.T
    return torch.from_numpy((K + K.T) / 2)


def wishart(n, seed=0, dtype=torch.float64):
    X = torch.randn(n, 2 * n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    K = X @ X.mT / (2 * n)
    return ((K + K.mT) / 2).to(dtype)


def toeplitz(n):
    """tridiag(-1, 2, -1): eigenvalues 2 - 2 cos(k pi / (n + 1)), k = 1..n."""
    return torch.from_numpy(scipy.linalg.toeplitz([2.0, -1.0] + [0.0] * (n - 2)))


def hilbert(n):
    return torch.from_numpy(scipy.linalg.hilbert(n))


def exact_eigenvalues(K, digits=60):
    """Eigenvalues, ascending, of the matrix that the stored upper triangle defines."""
    n = len(K)
    with mpmath.workdps(digits):
        exact = mpmath.matrix(n, n)
        for i in range(n):
            for j in range(i, n):
                exact[i, j] = exact[j, i] = mpmath.mpf(float(K[i, j]))
        return sorted(mpmath.eigsy(exact, eigvals_only=True))


def assert_agrees(result, K):
    """The agreement that the contract promises between two correct solvers."""
    values = scipy.linalg.eigvalsh(np.asarray(K.double()))
    kappa = values[-1] / values[0]
    tolerance = max(1e-8, len(K) * torch.finfo(K.dtype).eps * kappa)
    assert result.resolved is True
    assert result.lmin == pytest.approx(values[0], rel=tolerance)
    assert result.lmax == pytest.approx(values[-1], rel=1e-8)
    assert result.condition == result.lmax / result.lmin == result.condition_bound
    assert result.floor == pytest.approx(len(K) * torch.finfo(K.dtype).eps * values[-1], rel=1e-8)


class TestEigenvalues:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("n", [1, 2, 17, *SIZES])
    def test_agrees_with_lapack_on_both_sides_of_the_switch(self, n, dtype):
        K = wishart(n, dtype=dtype)
        result = gt.spectrum(K)
        assert result.method == ("lanczos" if n > spectra.DENSE_LIMIT else "eigvalsh")
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

        largest = spectra._largest
        monkeypatch.setattr(spectra, "_largest", once)
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


class TestBadInput:
    @pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 0), (4, 0, 0), (0, 3, 3)])
    def test_shape(self, shape):
        with pytest.raises(ValueError, match=r"K: expected a non-empty square matrix .* got a tensor of shape"):
            gt.spectrum(torch.zeros(shape))

    @pytest.mark.parametrize(
        "K",
        [
            torch.ones(2, 2, dtype=torch.int64),
            torch.ones(2, 2, dtype=torch.float16),
            torch.ones(2, 2, dtype=torch.complex64),
            np.ones((2, 2), dtype=np.int32),
            torch.ones(2, 2).to_sparse(),
            [[1.0]],
            None,
        ],
    )
    def test_type(self, K):
        with pytest.raises(TypeError, match="K: expected"):
            gt.spectrum(K)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("n", [3, LARGE])
    def test_not_finite(self, n, value):
        K = torch.eye(n)
        K[n - 1, 1] = value
        with pytest.raises(gt.SpectrumError, match=rf"K: expected finite values, got .* index \({n - 1}, 1\)"):
            gt.spectrum(K)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize(
        ("n", "i", "j"), [(2, 1, 0), (3, 0, 2), (LARGE, LARGE - 1, 3), (LARGE, 3, 540), (LARGE, 598, 599)]
    )
    def test_not_symmetric(self, n, i, j, dtype):
        K = 4 * torch.eye(n, dtype=dtype)
        K[i, j] = 30 * torch.finfo(dtype).eps
        assert gt.spectrum(K).resolved is True
        K[i, j] = 40 * torch.finfo(dtype).eps
        with pytest.raises(gt.SpectrumError, match=rf"symmetric .* \({min(i, j)}, {max(i, j)}\) .* differ by"):
            gt.spectrum(K)

    def test_batch_names_the_matrix(self):
        K = torch.eye(4).repeat(2, 3, 1, 1)
        K[1, 2, 0, 1] = 1
        with pytest.raises(gt.SpectrumError, match=r"K\[1, 2\]: expected a symmetric"):
            gt.spectrum(K)
        K[1, 2] = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0]))
        with pytest.raises(gt.UnresolvedSpectrumError, match=r"K\[1, 2\]: lambda_min"):
            gt.condition_number(K)

    def test_overflowing_eigenvalue(self):
        with pytest.raises(gt.SpectrumError, match="range of float64"):
            gt.spectrum(torch.full((4, 4), 1e308, dtype=torch.float64))


class TestKindsOfInput:
    @pytest.mark.parametrize("n", [6, LARGE])
    def test_layouts_and_gradients_change_nothing(self, n):
        K = wishart(n)
        expected = gt.spectrum(K)
        padded = torch.full((2 * n, n + 3), math.nan, dtype=torch.float64)
        padded[::2, :n] = K
        for variant in (padded[::2, :n], K.mT, K.clone().requires_grad_(), K.flip(0).flip(0)):
            before = variant.detach().clone()
            result = gt.spectrum(variant, certify=variant.requires_grad)
            assert (result.lmin, result.lmax) == pytest.approx((expected.lmin, expected.lmax), rel=1e-9)
            assert torch.equal(variant.detach(), before)
        assert gt.spectrum(K.numpy()[::-1, ::-1]).lmin == pytest.approx(expected.lmin, rel=1e-9)

    def test_only_the_upper_triangle_counts(self):
        K = 4 * torch.eye(LARGE, dtype=torch.float64)
        K[5, 2] = 28 * 2.0**-52
        result = gt.spectrum(K, certify=True)
        assert (result.lmin, result.lmax) == (4, 4)
        assert result.lmin_interval[0] <= 4 <= result.lmin_interval[1]

    @pytest.mark.parametrize("certify", [False, True])
    def test_batch_equals_single_matrices(self, certify):
        K = torch.stack([wishart(20, seed) for seed in range(6)]).reshape(2, 3, 20, 20)
        K[1, 1] = 1.0
        result = gt.spectrum(K, certify=certify)
        assert result.lmin.dtype == torch.float64
        assert result.resolved.tolist() == [[True, True, True], [True, False, True]]
        for index in np.ndindex(2, 3):
            one = gt.spectrum(K[index], certify=certify)
            for field in ("lmin", "lmax", "condition", "floor", "resolved", "condition_bound"):
                assert getattr(result, field)[index].item() == getattr(one, field)
            for field in ("lmin_interval", "lmax_interval"):
                pair = getattr(result, field)
                assert getattr(one, field) == (tuple(end[index].item() for end in pair) if certify else None)

    def test_batch_of_large_matrices(self):
        K = torch.stack([torch.eye(LARGE), 2 * torch.eye(LARGE)])
        result = gt.spectrum(K)
        assert result.method == "lanczos"
        torch.testing.assert_close(result.lmax, torch.tensor([1.0, 2.0], dtype=torch.float64))
        torch.testing.assert_close(gt.condition_number(K), torch.ones(2, dtype=torch.float64))

    def test_numpy_in_numpy_out(self):
        K = np.stack([np.eye(3), np.diag([1.0, 2.0, 4.0])])
        K.setflags(write=False)
        result = gt.spectrum(K, certify=True)
        for value in (result.lmin, result.condition, result.resolved, result.condition_bound):
            assert isinstance(value, np.ndarray)
            assert value.shape == (2,)
        assert isinstance(result.lmax_interval[1], np.ndarray)
        assert gt.condition_number(K) == pytest.approx([1, 4])
        assert isinstance(gt.spectrum(K[0].astype(np.float32)).lmin, float)

    def test_condition_number_is_a_float(self):
        value = gt.condition_number(torch.diag(torch.tensor([1.0, 8.0])))
        assert isinstance(value, float)
        assert value == pytest.approx(8)

    def test_spectrum_is_frozen(self):
        with pytest.raises(AttributeError):
            gt.spectrum(torch.eye(2)).lmin = 3.0


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
    @pytest.mark.parametrize("n", [spectra.DENSE_LIMIT, LARGE])
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

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    @pytest.mark.parametrize("excess", [1e-14, 1e-9, 1e-3])
    def test_nothing_false_is_ever_proved(self, sign, excess):
        """Claims above the true smallest eigenvalue, by however little, fail."""
        n = 24
        K = with_eigenvalues(np.geomspace(1e-2, 1, n))
        exact = exact_eigenvalues(K)
        truth = float(exact[0] if sign > 0 else -exact[-1])
        work = (sign * K).numpy().copy()
        assert not spectra._is_at_least(work, truth + excess)

    def test_rayleigh_bounds_hold_for_any_vector(self):
        rng = np.random.default_rng(0)
        for n in (1, 3, 130):
            K = wishart(n)
            for x in (rng.standard_normal(n), np.ones(n), np.eye(n)[0]):
                low, high = spectra._rayleigh(K, 0, x)
                symmetric = np.triu(K) + np.triu(K, 1).T
                with mpmath.workdps(40):
                    y = [mpmath.fdot(map(float, row), map(float, x)) for row in symmetric]
                    quotient = mpmath.fdot(map(float, x), y) / mpmath.fdot(map(float, x), map(float, x))
                    assert low <= quotient <= high
                assert high - low < 1e-12


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
