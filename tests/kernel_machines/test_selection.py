import warnings

import numpy as np
import pytest
from cases.machines import kernel, samples, targets
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gatentk.errors import NoiseFloorWarning, UnresolvedSpectrumError
from gatentk.kernel_machines import NTKClassifier, NTKClassifierCV, NTKRegressor, NTKRegressorCV
from gatentk.runs import memory

N = 24
X, Z = samples(N), samples(5, seed=1)
Y = targets(X, 2)
LABELS = np.array(["a", "b", "c"])[np.digitize(Y[:, 0], np.quantile(Y[:, 0], [0.3, 0.6]))]
DEPTHS, RIDGES = [1, 3], [1.0, 0.1, 1e-3]
MACHINES = [NTKRegressorCV, NTKClassifierCV]


@parametrize_with_checks([NTKRegressorCV(depths=(1, 2)), NTKClassifierCV(depths=(1, 2))])
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API:sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def refits(machine, y, depth, ridge):
    """What fits to all others predict, each with as much added to its diagonal as a fit to all has."""
    added = ridge * kernel(X, depth=depth).diagonal().mean()
    predictions = []
    for i in range(N):
        others = np.arange(N) != i
        relative = added / kernel(X[others], depth=depth).diagonal().mean()
        one = clone(machine).set_params(depth=depth, ridge=relative).fit(X[others], y[others])
        predictions.append(one.predict(X[[i]])[0])
    return np.array(predictions)


@pytest.mark.parametrize("with_intercept", [True, False])
def test_scores_of_regression_are_those_of_refits(with_intercept):
    chooses = NTKRegressorCV(depths=DEPTHS, ridges=RIDGES, fit_intercept=with_intercept).fit(X, Y)
    plain = NTKRegressor(fit_intercept=with_intercept)
    for row, depth in enumerate(DEPTHS):
        for column, ridge in enumerate(RIDGES):
            predictions = refits(plain, Y, depth, ridge)
            assert chooses.loo_errors_[row, column] == pytest.approx(np.mean((predictions - Y) ** 2), rel=1e-9)
            assert chooses.loo_scores_[row, column] == pytest.approx(r2_score(Y, predictions), abs=1e-9)
    best = np.unravel_index(chooses.loo_scores_.argmax(), chooses.loo_scores_.shape)
    assert (chooses.depth_, chooses.ridge_) == (DEPTHS[best[0]], RIDGES[best[1]])
    assert chooses.best_score_ == chooses.loo_scores_.max()
    np.testing.assert_allclose(chooses.loo_predictions_, refits(plain, Y, chooses.depth_, chooses.ridge_), atol=1e-9)
    chosen = plain.set_params(depth=chooses.depth_, ridge=chooses.ridge_).fit(X, Y)
    for ours, theirs in zip(chooses.predict(Z, True), chosen.predict(Z, True), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("y", [LABELS, LABELS == "a"], ids=["three", "two"])
def test_scores_of_classification_are_those_of_refits(y):
    chooses = NTKClassifierCV(depths=DEPTHS, ridges=RIDGES).fit(X, y)
    for row, depth in enumerate(DEPTHS):
        for column, ridge in enumerate(RIDGES):
            predictions = refits(NTKClassifier(), y, depth, ridge)
            assert chooses.loo_scores_[row, column] == np.mean(predictions == y)
    assert chooses.best_score_ == chooses.loo_scores_.max() == np.mean(chooses.loo_predictions_ == y)
    chosen = NTKClassifier(depth=chooses.depth_, ridge=chooses.ridge_).fit(X, y)
    np.testing.assert_array_equal(chooses.decision_function(Z), chosen.decision_function(Z))
    tied = chooses.loo_errors_[chooses.loo_scores_ == chooses.best_score_]
    row, column = DEPTHS.index(chooses.depth_), RIDGES.index(chooses.ridge_)
    assert chooses.loo_errors_[row, column] == tied.min()


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_size_of_targets_does_not_matter(size):
    one, other = NTKRegressorCV(depths=DEPTHS).fit(X, Y), NTKRegressorCV(depths=DEPTHS).fit(X, size * Y)
    assert (one.depth_, one.ridge_) == (other.depth_, other.ridge_)
    np.testing.assert_allclose(other.loo_scores_, one.loo_scores_, rtol=1e-9)
    np.testing.assert_allclose(other.loo_errors_, size**2 * one.loo_errors_, rtol=1e-9)
    np.testing.assert_allclose(other.predict(Z), size * one.predict(Z), rtol=1e-9)


def test_constant_targets_take_the_simplest_machine():
    machine = NTKRegressorCV(depths=[3, 2], ridges=[0.1, 1.0]).fit(X, np.full(N, 0.1))
    assert (machine.depth_, machine.ridge_, machine.best_score_) == (2, 1.0, 1.0)
    assert set(machine.predict(Z)) == {0.1}
    assert set(machine.loo_predictions_) == {0.1}


def test_ridges_below_the_noise_floor_are_left_out_and_said_where_it_matters():
    x, y = np.r_[X, X], np.r_[Y, Y]  # left out, each has its copy: the less ridge the better
    with pytest.warns(NoiseFloorWarning, match="the best ridge, .* is the smallest of those .* 2 smaller one"):
        machine = NTKRegressorCV(depths=[2], ridges=[1e-1, 1e-8, 1e-20, 0.0]).fit(x, y)
    np.testing.assert_array_equal(np.isnan(machine.loo_scores_), [[False, False, True, True]])
    assert machine.ridge_ == 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        noise = np.random.default_rng(0).normal(size=2 * N)
        assert NTKRegressorCV(depths=[2], ridges=[100.0, 1e-8, 0.0]).fit(x, noise).ridge_ == 100
    with pytest.raises(UnresolvedSpectrumError, match="ridges: the kernel has eigenvalues below its noise floor"):
        NTKRegressorCV(depths=[2], ridges=[0.0]).fit(x, y)


def test_duplicates_with_other_labels_choose_a_ridge():
    x, y = np.r_[X, X], np.r_[Y[:, 0], Y[::-1, 0]]
    machine = NTKRegressorCV(depths=[1, 2]).fit(x, y)
    assert machine.ridge_ >= 0.1
    np.testing.assert_allclose(machine.predict(x[:N]), machine.predict(x[N:]), rtol=1e-12)


def test_in_a_pipeline_and_a_search():
    machine = make_pipeline(StandardScaler(), NTKRegressorCV(depths=[1, 2]))
    search = GridSearchCV(machine, {"ntkregressorcv__kernel": ["ntk", "nngp"]}, cv=2, error_score="raise")
    assert search.fit(X, Y).best_params_["ntkregressorcv__kernel"] in ("ntk", "nngp")


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ridges": [1.0, -1.0]}, ValueError, "ridges: expected a finite number of at least 0, got -1"),
        ({"ridges": [np.nan]}, ValueError, "ridges: expected a finite number of at least 0, got nan"),
        ({"ridges": []}, ValueError, "ridges: expected at least one"),
        ({"ridges": 1.0}, TypeError, "ridges: expected numbers, got 1.0"),
        ({"ridges": ["1"]}, TypeError, "ridges: expected a number, got '1'"),
        ({"depths": []}, ValueError, "depths: expected at least one"),
        ({"depths": 3}, TypeError, "depths: expected numbers of hidden layers, got 3"),
        ({"depths": [1.5]}, TypeError, "depths: expected an integer"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept: expected True or False"),
        ({"activation": "sine"}, ValueError, "activation: expected one of"),
    ],
)
def test_bad_parameters_are_refused(kind, changes, error, message):
    with pytest.raises(error, match=message):
        kind(**changes).fit(X, LABELS == "a")


def test_one_sample_cannot_be_left_out():
    with pytest.raises(ValueError, match="X: expected at least 2 samples to leave one out, got n_samples=1"):
        NTKRegressorCV().fit(X[:1], [1.0])
    assert NTKRegressorCV(depths=[1]).fit(X[:2], [1.0, 2.0]).loo_predictions_.tolist() == pytest.approx([2, 1])


def test_kernels_that_do_not_fit_into_memory_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * len(X) ** 2 * 4)
    with pytest.raises(MemoryError, match=r"X: leaving out each of .* samples needs about .*; take fewer samples"):
        NTKRegressorCV().fit(X, Y)


def test_samples_that_are_all_zero_leave_nothing_to_choose():
    with pytest.raises(ValueError, match="X: expected samples that are not all zero"):
        NTKRegressorCV().fit(np.zeros((5, 3)), Y[:5])


def test_masked_values_and_one_class_are_refused():
    with pytest.raises(ValueError, match=r"X: .* values are masked"):
        NTKRegressorCV().fit(np.ma.masked_greater(X, 2), Y)
    with pytest.raises(ValueError, match="y: expected samples of at least two classes"):
        NTKClassifierCV().fit(X, np.zeros(N))
