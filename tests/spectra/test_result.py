"""What matrices come in, every refusal, and what comes out."""

import math

import numpy as np
import pytest
import torch
from cases.matrices import LARGE, wishart

import gatentk as gt


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
            1.0,
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
