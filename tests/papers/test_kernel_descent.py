"""What a constant kernel predicts, against gradient descent that is carried out."""

import math

import pytest
import torch

from gatentk.papers.kernel_descent import KernelDescent, promised_loss, promised_steps


def descend(K, error, steps):
    """Losses of gradient descent with step 1/lambda_max, relative to the first."""
    rate, losses = 1 / float(torch.linalg.eigvalsh(K)[-1]), []
    for _ in range(steps + 1):
        losses.append(float(error.square().sum()))
        error = error - rate * K @ error
    return [loss / losses[0] for loss in losses]


@pytest.fixture(params=[(), (1,), (2,)], ids=["vector", "column", "two outputs"])
def problem(generator, request):
    X = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    return X @ X.T, torch.randn(6, *request.param, generator=generator, dtype=torch.float64)


def test_losses_are_those_of_gradient_descent(problem):
    assert KernelDescent(*problem).losses(40) == pytest.approx(descend(*problem, 40), rel=1e-10)


def test_extreme_eigenvalues(problem):
    values, descent = torch.linalg.eigvalsh(problem[0]), KernelDescent(*problem)
    assert (descent.lmin, descent.lmax) == pytest.approx((float(values[0]), float(values[-1])))


@pytest.mark.parametrize("target", [0.5, 0.01, 1e-3])
def test_steps_are_counted_as_gradient_descent_takes_them(problem, target):
    count = next(t for t, loss in enumerate(descend(*problem, 10_000)) if loss <= target)
    assert KernelDescent(*problem).steps_to(target) == count


def test_there_is_a_limit_to_the_steps(problem):
    count = KernelDescent(*problem).steps_to(1e-3)
    assert count > 2
    assert KernelDescent(*problem).steps_to(1e-3, count) == count
    assert KernelDescent(*problem).steps_to(1e-3, count - 1) is None


def test_a_singular_kernel_never_gets_there():
    singular = torch.diag(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert KernelDescent(singular, torch.ones(2, 1, dtype=torch.float64)).steps_to(0.01) is None


def test_steps_of_an_ill_conditioned_kernel_are_counted_up_to_a_millionth():
    K = torch.diag(torch.tensor([1e-10, 1.0], dtype=torch.float64))
    steps = KernelDescent(K, torch.ones(2, dtype=torch.float64)).steps_to(0.01)
    assert steps == pytest.approx(math.log(0.02) / (2 * math.log1p(-1e-10)), rel=2e-6)


def test_no_loss_is_above_what_the_condition_number_promises(problem):
    descent = KernelDescent(*problem)
    share = descent.lmin / descent.lmax
    losses = descent.losses(50)
    assert all(loss <= promised_loss(share, t) * (1 + 1e-12) for t, loss in enumerate(losses))
    steps = promised_steps(share, 0.1)
    assert promised_loss(share, steps) <= 0.1 < promised_loss(share, steps - 1)
    assert descent.steps_to(0.1) <= steps
