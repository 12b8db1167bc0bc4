import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from cases.machines import samples, targets
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import gatentk as gt

X, Z = samples(30), samples(9, seed=1)
Y = targets(X)
K, K_TEST = gt.ntk.infinite(X, depth=2), gt.ntk.infinite(Z, X, depth=2)


@pytest.fixture
def k():
    return gt.kernel(depth=2)


def test_matrices_rows_lists_frames_and_tensors(k):
    np.testing.assert_array_equal(k(X), K)
    np.testing.assert_array_equal(k(Z, X), K_TEST)
    assert k(Z[0], X[1]) == pytest.approx(K_TEST[0, 1], rel=1e-15)
    assert k(X[3]) == pytest.approx(K[3, 3], rel=1e-15)
    np.testing.assert_array_equal(k(X.tolist(), pd.DataFrame(X)), k(X, X))
    assert isinstance(k(torch.from_numpy(X)), torch.Tensor)
    np.testing.assert_allclose(k.diag(X), K.diagonal(), rtol=1e-15)


def test_batches_of_samples_have_a_diagonal_each(k):
    batches = X[:24].reshape(4, 6, -1)
    expected = np.diagonal(k(batches), axis1=-2, axis2=-1)
    np.testing.assert_allclose(k.diag(batches), expected, rtol=1e-15)


def test_gradients_by_tensors_are_those_of_ntk():
    x, z = (torch.from_numpy(side).requires_grad_() for side in (X, Z))
    k = gt.kernel(depth=2, w_std=1.5, b_std=0.3)
    for left, right in ((x, None), (x, z)):
        found = torch.autograd.grad(k(left, right).square().sum(), [s for s in (left, right) if s is not None])
        K = gt.ntk.infinite(left, right, depth=2, w_std=1.5, b_std=0.3)
        expected = torch.autograd.grad(K.square().sum(), [s for s in (left, right) if s is not None])
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert torch.equal(k(X, z), k(x, z))
    assert k(x[0], x[1]) == k(X[0], X[1])
    torch.testing.assert_close(torch.autograd.grad(k.diag(x).sum(), x)[0], torch.autograd.grad(k(x).trace(), x)[0])
    (of_units,) = torch.autograd.grad(gt.kernel(normalize=True)(x).sum(), x)
    torch.testing.assert_close((of_units * x).sum(1), torch.zeros(30, dtype=torch.float64), rtol=0, atol=1e-10)


def test_scikit_learn_calls_it_once_for_all_pairs(k, monkeypatch):
    calls = []
    sweep = gt.ntk.infinite_sweep
    monkeypatch.setattr(gt.ntk, "infinite_sweep", lambda *args, **kwargs: calls.append(1) or sweep(*args, **kwargs))
    np.testing.assert_array_equal(pairwise_kernels(Z, X, metric=k), K_TEST)
    assert len(calls) == 1


def test_kernel_ridge_predicts_as_with_the_matrix(k):
    ours = KernelRidge(kernel=k, alpha=0.1).fit(X, Y).predict(Z)
    matrix = KernelRidge(kernel="precomputed", alpha=0.1).fit(K, Y).predict(K_TEST)
    np.testing.assert_allclose(ours, matrix, rtol=1e-12)


def test_support_vectors_are_those_of_the_matrix(k):
    labels = np.where(np.quantile(Y, 0.5) < Y, "high", "low")
    ours = SVC(kernel=k).fit(X, labels)
    matrix = SVC(kernel="precomputed").fit(K, labels)
    np.testing.assert_array_equal(ours.support_, matrix.support_)
    np.testing.assert_allclose(ours.decision_function(Z), matrix.decision_function(K_TEST), rtol=1e-10)


def test_a_search_chooses_its_depth(k):
    search = GridSearchCV(SVC(kernel=k), {"kernel__depth": [1, 3], "C": [1, 10]}, cv=3)
    search.fit(X, Y > 3)
    assert search.best_params_["kernel__depth"] in (1, 3)
    assert k.depth == 2


@pytest.mark.parametrize("optimizer", ["fmin_l_bfgs_b", None])
def test_gaussian_processes_have_the_posterior_of_the_matrix(k, optimizer):
    process = GaussianProcessRegressor(k, alpha=1e-2, optimizer=optimizer).fit(X, Y)
    means, deviations = process.predict(Z, return_std=True)
    solved = np.linalg.solve(K + 1e-2 * np.eye(len(K)), np.c_[Y, K_TEST.T])
    np.testing.assert_allclose(means, K_TEST @ solved[:, 0], rtol=1e-9)
    variances = gt.kernel(depth=2).diag(Z) - np.sum(K_TEST * solved[:, 1:].T, axis=1)
    np.testing.assert_allclose(deviations, np.sqrt(variances), rtol=1e-7)


@pytest.mark.filterwarnings("ignore:.*close to the specified:UserWarning")
def test_it_stands_in_sums_and_products(k):
    process = GaussianProcessRegressor(ConstantKernel(2.0) * k + WhiteKernel(0.1)).fit(X, Y)
    K_fitted, rows = process.kernel_(X), process.kernel_(Z, X)
    np.testing.assert_allclose(process.predict(Z), rows @ np.linalg.solve(K_fitted, Y), rtol=1e-6)
    assert process.kernel_.theta.shape == (2,)
    assert GaussianProcessClassifier(k).fit(X, Y > 3).score(X, Y > 3) > 0.6


def test_as_an_object_of_scikit_learn(k):
    copy = clone(k.set_params(depth=3))
    assert copy == k
    assert copy is not k
    assert copy != gt.kernel(depth=2)
    assert copy.get_params()["depth"] == 3
    assert not copy.is_stationary()
    assert copy.hyperparameters == []
    assert copy.theta.shape == (0,)
    assert copy.clone_with_theta(copy.theta) == copy
    matrix, gradient = copy(X, eval_gradient=True)
    assert gradient.shape == (30, 30, 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(copy))(X), matrix)
    assert eval(repr(copy), {"InfiniteKernel": gt.kernel_machines.InfiniteKernel}) == copy


def test_integers_are_numbers(k):
    whole = np.rint(3 * X).astype(int)
    np.testing.assert_array_equal(k(whole), k(whole.astype(float)))
    np.testing.assert_array_equal(k.diag(whole), k.diag(whole.astype(float)))
    assert GaussianProcessRegressor(k, alpha=0.1).fit(whole, Y).predict(whole).shape == (30,)
    with pytest.raises(ValueError, match="values are masked"):
        k(np.ma.masked_greater(whole, 3))


def test_a_single_sample_has_no_diagonal(k):
    with pytest.raises(
        ValueError, match=r"X: expected shape \(\.\.\., n, d\), one row a sample, got an array of shape"
    ):
        k.diag(X[0])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X, X[0]), r"Y: expected 2 dimension\(s\) as X"),
        ((X, Z[:, :2]), "expected 4 features"),
        ((X[:0],), "at least one sample"),
        ((np.where(X > 1, np.nan, X),), "expected finite values"),
        ((X, Z, True), "eval_gradient: expected False where Y is given"),
    ],
)
def test_bad_samples_are_refused(k, args, message):
    with pytest.raises(ValueError, match=message):
        k(*args)


def differences(function, theta, step=1e-5):
    """Central differences of a function of logarithms, along a last axis."""
    steps = step * np.eye(len(theta))
    return np.stack([(function(theta + each) - function(theta - each)) / (2 * step) for each in steps], axis=-1)


LEARNT = {
    "ntk": {"w_std": 1.5, "b_std": 0.3},
    "nngp": {"kernel": "nngp", "w_std": 1.1, "b_std": 0.9},
    "without a hidden layer": {"depth": 0, "w_std": 1.5, "b_std": 0.3},
    "normalised": {"w_std": 1.5, "b_std": 0.3, "normalize": True},
    "linear": {"activation": "linear", "w_std": 1.5, "b_std": 0.3},
    "leaky relu": {"activation": "leaky_relu", "slope": 0.2, "w_std": 1.5, "b_std": 0.3},
    "abs": {"activation": "abs", "w_std": 1.2, "b_std": 0.3},
    "erf": {"activation": "erf", "w_std": 1.5, "b_std": 0.3},
    "gelu of the last layer": {"activation": "gelu", "kernel": "nngp", "w_std": 1.5, "b_std": 0.3},
    "weights alone": {"w_std": 1.5},
    "biases alone": {"b_std": 0.3},
    "fixed weights": {"w_std": 1.5, "b_std": 0.3, "w_std_bounds": "fixed"},
}


@pytest.mark.parametrize("options", LEARNT.values(), ids=LEARNT)
def test_gradients_are_limits_of_differences(options):
    k = gt.kernel(**{"depth": 2, **options})
    K, gradient = k(X, eval_gradient=True)
    np.testing.assert_allclose(K, k(X), rtol=1e-13)
    expected = differences(lambda theta: k.clone_with_theta(theta)(X), k.theta)
    assert gradient.shape == expected.shape == (30, 30, k.n_dims)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    of_tensors = k(torch.from_numpy(X), eval_gradient=True)
    assert all(torch.equal(one, torch.from_numpy(other)) for one, other in zip(of_tensors, (K, gradient), strict=True))


def test_hyperparameters_are_deviations_that_are_given():
    k = gt.kernel(w_std=1.5, b_std=0.3, b_std_bounds=(0.1, 10))
    assert [one.name for one in k.hyperparameters] == ["b_std", "w_std"]
    np.testing.assert_allclose(k.theta, np.log([0.3, 1.5]))
    np.testing.assert_allclose(k.bounds, np.log([[0.1, 10], [1e-2, 1e2]]))
    moved = k.clone_with_theta(np.log([0.5, 2.0]))
    assert (moved.b_std, moved.w_std) == pytest.approx((0.5, 2.0))
    assert k.b_std == 0.3
    assert eval(repr(moved), {"InfiniteKernel": gt.kernel_machines.InfiniteKernel}) == moved
    assert gt.kernel(w_std=1.5) != gt.kernel(w_std=1.5, w_std_bounds="fixed")
    assert clone(k) == k
    assert clone(k).b_std_bounds == (0.1, 10)


@pytest.mark.parametrize(
    ("options", "names", "fixed"),
    [
        ({}, [], []),
        ({"w_std": 1.5}, ["w_std"], [False]),
        ({"b_std": 0.5}, ["b_std"], [False]),
        ({"w_std": 1.5, "b_std": 0}, ["b_std", "w_std"], [True, False]),
        ({"w_std": 1.5, "b_std": 0.5, "w_std_bounds": "fixed"}, ["b_std", "w_std"], [False, True]),
        ({"w_std_bounds": (0.1, 1.0), "b_std_bounds": "fixed"}, [], []),
    ],
)
@pytest.mark.filterwarnings("ignore:.*close to the specified:UserWarning")
def test_what_is_left_out_zero_or_fixed_stays(options, names, fixed):
    k = gt.kernel(**options)
    assert [one.name for one in k.hyperparameters] == names
    assert [one.fixed for one in k.hyperparameters] == fixed
    fitted = GaussianProcessRegressor(k, alpha=0.1, normalize_y=True).fit(X, Y).kernel_
    for name in ("w_std", "b_std"):
        free = name in names and not fixed[names.index(name)]
        assert (getattr(fitted, name) != getattr(k, name)) == free


@pytest.mark.parametrize("options", [{"w_std": 1.5, "b_std": 0.3}, {"w_std": 1.2, "b_std": 0.3, "activation": "erf"}])
def test_gradients_of_the_marginal_likelihood_are_limits_of_differences(options):
    k = ConstantKernel(0.5) * gt.kernel(depth=2, **options) + RBF(2.0) + WhiteKernel(0.1)
    labels = np.quantile(Y, 0.5) < Y
    for machine in (GaussianProcessRegressor(k, optimizer=None), GaussianProcessClassifier(k, optimizer=None)):
        machine.fit(X, Y if isinstance(machine, GaussianProcessRegressor) else labels)
        theta = k.theta
        assert theta.shape == (5,)
        value, gradient = machine.log_marginal_likelihood(theta, eval_gradient=True)
        assert value == pytest.approx(machine.log_marginal_likelihood(theta), rel=1e-12)
        expected = differences(machine.log_marginal_likelihood, theta)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


def drawn(w_std, b_std, n=60, outputs=60, noise=0.1):
    """Functions drawn from the process of a network, at some samples, with noise."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, 2))
    K = gt.kernel(depth=2, w_std=w_std, b_std=b_std)(x) + noise**2 * np.eye(n)
    return x, np.linalg.cholesky(K) @ generator.normal(size=(n, outputs))


def test_regression_finds_the_deviations_that_functions_were_drawn_with():
    x, y = drawn(w_std=1.2, b_std=0.8)
    start = gt.kernel(depth=2, w_std=2.0, b_std=0.1) + WhiteKernel(1.0)
    process = GaussianProcessRegressor(start).fit(x, y)
    found = process.kernel_.k1
    assert (found.w_std, found.b_std) == pytest.approx((1.2, 0.8), rel=0.15)
    assert process.kernel_.k2.noise_level == pytest.approx(0.01, rel=0.2)
    gradient = process.log_marginal_likelihood(process.kernel_.theta, eval_gradient=True)[1]
    before = process.log_marginal_likelihood(start.theta, eval_gradient=True)[1]
    assert np.abs(gradient).max() < 1e-3 * np.abs(before).max()


def test_classification_fits_them():
    x = samples(60, 2)
    labels = np.where(np.linalg.norm(x, axis=1) > 1.1, "far", "near")  # which takes biases
    k = ConstantKernel(1.0) * gt.kernel(depth=2, w_std=1.5, b_std=0.1, w_std_bounds="fixed")
    process = GaussianProcessClassifier(k).fit(x, labels)
    assert process.log_marginal_likelihood_value_ > process.log_marginal_likelihood(k.theta) + 10
    assert process.kernel_.k2.b_std > 0.5
    assert process.kernel_.k2.w_std == 1.5


def test_a_search_knows_deviations_and_bounds():
    grid = {"kernel__b_std": [0.1, 1.0], "kernel__w_std_bounds": ["fixed"], "kernel__b_std_bounds": ["fixed"]}
    k = gt.kernel(w_std=1.5)
    search = GridSearchCV(GaussianProcessRegressor(k, alpha=0.1), grid, cv=3).fit(X, Y)
    fitted = search.best_estimator_.kernel_
    assert fitted == k.set_params(
        **{name.removeprefix("kernel__"): value for name, value in search.best_params_.items()}
    )


@pytest.mark.parametrize("bounds", ["free", (1, 0.1), (0, 1), (-1, 1), (1, np.inf), (np.nan, 1), 1.0, None, (1, 2, 3)])
def test_bounds_that_are_none_are_refused(bounds):
    k = gt.kernel(w_std=1.5, w_std_bounds=bounds)
    with pytest.raises(
        ValueError, match="w_std_bounds: expected 'fixed' or two positive numbers, the smaller one first"
    ):
        GaussianProcessRegressor(k).fit(X, Y)


@pytest.mark.parametrize(
    ("options", "error"), [({"w_std": 0}, ValueError), ({"b_std": -0.1}, ValueError), ({"b_std": "0.1"}, TypeError)]
)
def test_deviations_that_are_none_are_refused(options, error):
    with pytest.raises(error, match=f"{next(iter(options))}: expected a number"):
        GaussianProcessRegressor(gt.kernel(**options)).fit(X, Y)


@pytest.mark.parametrize("depth", [1.5, "2", -1])
def test_depths_that_are_none_are_refused(depth):
    k = gt.kernel(depth=depth, w_std=1.5)
    for call in (lambda: k(X, eval_gradient=True), lambda: k(X, Z), lambda: k(X[0]), lambda: k.diag(X)):
        with pytest.raises((TypeError, ValueError), match=r"^depth: expected an integer"):
            call()


def test_a_single_sample_has_no_gradient(k):
    with pytest.raises(ValueError, match="eval_gradient: expected False for a single sample"):
        k(X[0], eval_gradient=True)
