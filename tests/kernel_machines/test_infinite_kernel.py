import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from cases.machines import samples, targets
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
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
