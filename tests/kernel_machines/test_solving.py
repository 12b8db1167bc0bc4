import warnings

import numpy as np
import pytest
import torch
from cases.machines import dense_fit, kernel, samples, targets, tensor

from gatentk.errors import NoiseFloorWarning
from gatentk.kernel_machines.solving import KernelFit, midrange, relative_ridge

X, Z = samples(40), samples(6, seed=3)
Y = targets(X, 2)
K, ROWS = kernel(X), kernel(Z, X)
DIAGONAL = np.array([kernel(row[None])[0, 0] for row in Z])


def fitted(K, ridge=0.1, y=Y, with_intercept=True):
    return KernelFit(tensor(K), ridge, tensor(y), with_intercept)


@pytest.mark.parametrize("with_intercept", [True, False])
@pytest.mark.parametrize("ridge", [0.0, 0.1, 1e6])
def test_the_fit_meets_the_conditions_for_a_smallest_value(ridge, with_intercept):
    fit = fitted(K, ridge, with_intercept=with_intercept)
    weights, intercept = dense_fit(K, ridge, Y, with_intercept)
    np.testing.assert_allclose(fit.weights, weights, rtol=0, atol=1e-9 * abs(weights).max())
    np.testing.assert_allclose(fit.intercept, intercept if with_intercept else [0, 0], rtol=1e-9)


@pytest.mark.parametrize("with_intercept", [True, False])
def test_the_variance_is_that_of_the_process(with_intercept):
    """With an unknown mean: the limit of a kernel with a large constant added."""
    ridge = 0.1
    constant = 1e5 if with_intercept else 0.0
    solved = np.linalg.solve(K + constant + ridge * np.eye(len(K)), (ROWS + constant).T)
    expected = DIAGONAL + constant - np.sum((ROWS + constant) * solved.T, axis=1)
    variance = fitted(K, ridge, with_intercept=with_intercept).variance(tensor(ROWS), tensor(DIAGONAL))
    np.testing.assert_allclose(variance, expected, rtol=1e-4 if with_intercept else 1e-10)


def test_the_scale_makes_the_targets_likeliest():
    ridge, y = 0.1, Y[:, :1]
    fit = fitted(K, ridge, y, with_intercept=False)
    noisy = K + ridge * np.eye(len(K))

    def log_likelihood(variance):
        _, log = np.linalg.slogdet(variance * noisy)
        return -(log + (y.T @ np.linalg.solve(variance * noisy, y))[0, 0]) / 2

    best = float(fit.scale) ** 2
    assert log_likelihood(best) > max(log_likelihood(0.99 * best), log_likelihood(1.01 * best))


@pytest.mark.parametrize("size", [1e-150, 1e-6, 1e6, 1e150])
def test_targets_of_any_size_have_the_same_fit_but_for_it(size):
    one, other = fitted(K), fitted(K, y=size * Y)
    for name in ("weights", "intercept", "scale"):
        np.testing.assert_allclose(getattr(other, name).numpy() / size, getattr(one, name), rtol=1e-9)


def test_a_kernel_below_its_floor_fits_what_it_resolves_and_says_so():
    x = np.r_[X, X[:5]]  # each of five samples twice, with other targets
    y = np.r_[Y, 1 - Y[:5]]
    with pytest.warns(NoiseFloorWarning, match="5 of 45 eigenvalues .* are not above the noise floor"):
        fit = fitted(kernel(x), 0.0, y)
    assert not fit.spectrum.resolved
    predictions = tensor(kernel(X, x)) @ fit.weights + fit.intercept
    expected = Y.copy()
    expected[:5] = 0.5
    np.testing.assert_allclose(predictions, expected, atol=1e-8)


def test_a_linear_kernel_of_few_features_is_ordinary_least_squares():
    with pytest.warns(NoiseFloorWarning, match="36 of 40"):
        fit = fitted(X @ X.T, 0.0)
    design = np.c_[X, np.ones(len(X))]
    expected = np.linalg.lstsq(design, Y, rcond=None)[0]
    np.testing.assert_allclose(fit.intercept, expected[-1], atol=1e-10)
    np.testing.assert_allclose(X.T @ fit.weights.numpy(), expected[:-1], atol=1e-10)
    assert bool(fit.scale.isfinite().all())
    assert float(fit.variance(tensor(Z @ X.T), tensor((Z**2).sum(axis=1))).max()) < 1e-10


def test_a_kernel_of_zeros_predicts_the_mean():
    with pytest.warns(NoiseFloorWarning, match="the kernel of these samples is 0, and only an intercept"):
        fit = fitted(np.zeros((40, 40)), 0.0)
    np.testing.assert_allclose(fit.intercept, Y.mean(axis=0), rtol=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(fitted(np.zeros((40, 40)), 1.0).intercept, Y.mean(axis=0), rtol=1e-12)


def test_constant_targets_are_met_to_the_bit():
    fit = fitted(K, y=np.full((40, 1), 0.1))
    assert fit.intercept.tolist() == [0.1]
    assert float(fit.weights.abs().max()) == 0
    assert fit.scale.tolist() == [0.0]
    assert midrange(torch.tensor([[1.7e308], [1.7e308]], dtype=torch.float64)).tolist() == [1.7e308]


@pytest.mark.parametrize("value", [-1e-9, np.nan, np.inf, 10**400])
def test_ridges_are_numbers_from_zero_on(value):
    with pytest.raises(ValueError, match="ridge: expected a finite number of at least 0, got"):
        relative_ridge("ridge", value)


@pytest.mark.parametrize("value", [None, "1", True, [1.0]])
def test_ridges_are_numbers(value):
    with pytest.raises(TypeError, match="ridge: expected a number, got"):
        relative_ridge("ridge", value)


def test_numbers_of_all_kinds_are_ridges():
    assert [relative_ridge("ridge", v) for v in (1, np.float32(0.5), np.int64(2))] == [1.0, 0.5, 2.0]
