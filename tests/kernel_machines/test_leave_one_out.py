import mpmath
import numpy as np
import pytest
import torch
from cases.machines import dense_fit, kernel, samples, targets, tensor

from gatentk.kernel_machines.leave_one_out import left_out, tridiagonal

RIDGES = [1e-3, 0.1, 30.0]


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_the_form_is_the_matrix(n):
    K = kernel(samples(n))
    form = tridiagonal(tensor(K))
    T = torch.diag(form.diagonal) + torch.diag(form.beside, 1) + torch.diag(form.beside, -1)
    Q = form.columns.T
    np.testing.assert_allclose(Q @ T @ Q.T, K, rtol=0, atol=1e-13 * abs(K).max())
    np.testing.assert_allclose(Q.T @ Q, np.eye(n), rtol=0, atol=1e-13)
    values = np.linalg.eigvalsh(K)
    assert [form.lmin, form.lmax] == pytest.approx([values[0], values[-1]], abs=1e-13 * values[-1])
    assert form.floor(1.0) == pytest.approx(n * 2.0**-52 * (values[-1] + 1))


@pytest.mark.parametrize("with_intercept", [True, False])
@pytest.mark.parametrize("n", [2, 3, 25])
def test_residuals_are_those_of_fits_to_all_others(n, with_intercept):
    x = samples(n)
    K, y = kernel(x), targets(x, 3)
    residuals = left_out(tridiagonal(tensor(K)), RIDGES, tensor(y), with_intercept)
    assert residuals.shape == (3, n, 3)
    for ridge, residual in zip(RIDGES, residuals, strict=True):
        for i in range(n):
            others = np.arange(n) != i
            weights, intercept = dense_fit(K[np.ix_(others, others)], ridge, y[others], with_intercept)
            np.testing.assert_allclose(y[i] - K[i, others] @ weights - intercept, residual[i], rtol=0, atol=1e-10)


def test_near_the_noise_floor_as_many_digits_are_right_as_there_can_be():
    x = samples(12, 2)
    x[6:] = x[:6] * (1 + 1e-5) + 1e-5
    K, y = kernel(x), targets(x, 1)
    form = tridiagonal(tensor(K))
    found = left_out(form, [0.0], tensor(y), True)[0, :, 0].numpy()
    with mpmath.workdps(50):
        inverse = mpmath.inverse(mpmath.matrix(K.tolist()))
        solved = inverse * mpmath.matrix(y.tolist())
        ones = inverse * mpmath.matrix([1] * 12)
        mean, total = sum(solved), sum(ones)
        exact = [(solved[i] - ones[i] * mean / total) / (inverse[i, i] - ones[i] ** 2 / total) for i in range(12)]
    loss = form.floor(0.0) / form.lmin
    assert loss < 0.01
    np.testing.assert_allclose(found, np.array([float(e) for e in exact]), atol=10 * loss * abs(y).max())
