import math
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cases.machines import dense_fit, kernel, samples, targets
from scipy.sparse import coo_matrix
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gatentk import ntk
from gatentk.errors import MissingExtraError, NoiseFloorWarning
from gatentk.kernel_machines import NTKClassifier, NTKRegressor, NTKRegressorCV, networks, solving, training
from gatentk.runs import memory
from gatentk.spectra import spectrum

X, Z = samples(40), samples(9, seed=1)
Y = targets(X)
LABELS = np.array(["high", "low", "middle"])[np.digitize(Y, np.quantile(Y, [0.3, 0.6]))]
MACHINES = [NTKRegressor, NTKClassifier]
NOISY = {"w_std": 1.5, "b_std": 0.3}


@parametrize_with_checks([NTKRegressor(), NTKClassifier()])
@pytest.mark.filterwarnings("ignore:.*SCIPY_ARRAY_API:sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("with_intercept", [True, False])
def test_predictions_are_those_of_dense_algebra(with_intercept):
    machine = NTKRegressor(depth=2, ridge=0.01, fit_intercept=with_intercept).fit(X, Y)
    K = kernel(X)
    ridge = 0.01 * K.diagonal().mean()
    weights, intercept = dense_fit(K, ridge, Y, with_intercept)
    np.testing.assert_allclose(machine.predict(Z), kernel(Z, X) @ weights + intercept, rtol=1e-10)
    assert machine.added_ridge_ == pytest.approx(ridge)
    values = np.linalg.eigvalsh(K + ridge * np.eye(len(K)))
    assert machine.spectrum_.condition == pytest.approx(values[-1] / values[0], rel=1e-9)
    assert machine.noise_floor_ == pytest.approx(40 * 2.0**-52 * values[-1], rel=1e-9)


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_without_ridge_and_intercept_it_is_the_end_of_training(kind):
    machine = NTKRegressor(kernel=kind, ridge=0.0, fit_intercept=False).fit(X, Y)
    K, rows = (ntk.infinite(x, X, 3, kernel=kind) for x in (X, Z))
    np.testing.assert_allclose(machine.predict(Z), training(K, Y, math.inf, K_test=rows).mean, rtol=1e-9)


def test_columns_of_targets_are_fitted_each_alone():
    both = NTKRegressor(depth=1).fit(X, np.c_[Y, -2 * Y])
    one = NTKRegressor(depth=1).fit(X, Y)
    means, deviations = both.predict(Z, return_std=True)
    expected, deviation = one.predict(Z, return_std=True)
    np.testing.assert_allclose(means, np.c_[expected, -2 * expected], rtol=1e-10)
    np.testing.assert_allclose(deviations, np.c_[deviation, 2 * deviation], rtol=1e-10)
    assert NTKRegressor().fit(X, Y[:, None]).predict(Z).shape == (9, 1)


def test_deviations_cover_functions_that_the_process_draws():
    """Targets drawn from the process itself, at samples that are fitted and at others."""
    x = samples(150, seed=3)
    generator = np.random.default_rng(4)
    K = kernel(x)
    f = 5 + 2 * np.linalg.cholesky(K) @ generator.normal(size=(len(x), 60))
    ridge = 0.01
    noise = 2 * np.sqrt(ridge * K[:100, :100].diagonal().mean()) * generator.normal(size=(100, 60))
    machine = NTKRegressor(depth=2, ridge=ridge).fit(x[:100], f[:100] + noise)
    means, deviations = machine.predict(x[100:], return_std=True)
    errors = (means - f[100:]) / deviations
    assert np.mean(errors**2) == pytest.approx(1, abs=0.1)
    assert machine._fit.scale.mean() == pytest.approx(2, abs=0.05)


def test_blocks_of_new_samples_are_predicted_as_all_at_once(monkeypatch):
    machine = NTKRegressor(depth=1).fit(X, Y)
    whole = machine.predict(Z, return_std=True)
    monkeypatch.setattr(networks, "AT_ONCE", 4 * len(X))
    for parts, values in zip(machine.predict(Z, return_std=True), whole, strict=True):
        np.testing.assert_allclose(parts, values, rtol=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel": "nngp"},
        {"activation": "linear"},
        {"activation": "grelu"},
        {"w_std": 1.5, "b_std": 0.5},
        {"activation": "leaky_relu", "slope": 0.3},
        {"activation": "erf", "b_std": 0.5, "kernel": "nngp"},
    ],
)
def test_networks_of_all_kinds_are_taken(changes):
    machine = NTKRegressor(depth=2, ridge=0.01, fit_intercept=False, **changes).fit(X, Y)
    K, rows = (ntk.infinite(x, X, 2, **changes) for x in (X, Z))
    weights, _ = dense_fit(K, machine.added_ridge_, Y, False)
    np.testing.assert_allclose(machine.predict(Z), rows @ weights, rtol=1e-8)


def test_biases_learn_what_is_not_homogeneous():
    x, x_test = samples(200, 3), samples(100, 3, seed=1)
    y, y_test = np.sin(x).sum(axis=1), np.sin(x_test).sum(axis=1)
    plain = NTKRegressor().fit(x, y).score(x_test, y_test)
    assert NTKRegressor(w_std=1.5, b_std=1.0).fit(x, y).score(x_test, y_test) > max(0.93, plain)


def test_classes_are_those_of_the_largest_output():
    machine = NTKClassifier(depth=2).fit(X, LABELS)
    assert machine.classes_.tolist() == ["high", "low", "middle"]
    columns = np.where(LABELS[:, None] == machine.classes_, 1.0, -1.0)
    outputs = NTKRegressor(depth=2).fit(X, columns).predict(Z)
    np.testing.assert_allclose(machine.decision_function(Z), outputs, rtol=1e-10)
    np.testing.assert_array_equal(machine.predict(Z), machine.classes_[outputs.argmax(axis=1)])


def test_two_classes_have_one_output():
    machine = NTKClassifier(depth=2).fit(X, Y > 3)
    outputs = machine.decision_function(Z)
    assert outputs.shape == (9,)
    np.testing.assert_array_equal(machine.predict(Z), outputs > 0)


FORMS = {
    "lists": lambda values: values.tolist(),
    "tensors": lambda values: torch.from_numpy(values) if values.dtype.kind != "U" else values,
    "tensors with gradients": lambda values: (
        torch.tensor(values, requires_grad=True) if values.dtype == float else values
    ),
    "lists of tensors": lambda values: [*torch.tensor(values, requires_grad=True)] if values.dtype == float else values,
    "frames": lambda values: pd.DataFrame(values, columns=[*"abcd"]) if values.ndim == 2 else pd.Series(values),
    "float32": lambda values: values.astype(np.float32).astype(float) if values.dtype.kind == "f" else values,
    "a mask of nothing": lambda values: np.ma.masked_array(values, False) if values.dtype.kind == "f" else values,
}


@pytest.mark.parametrize("form", FORMS)
def test_samples_of_all_kinds_are_taken(form):
    like = FORMS[form]
    tolerance = 1e-4 if form == "float32" else 1e-12
    machine = NTKRegressor().fit(like(X), like(Y))
    np.testing.assert_allclose(machine.predict(like(Z)), NTKRegressor().fit(X, Y).predict(Z), rtol=tolerance)
    classifier = NTKClassifier().fit(like(X), like(LABELS))
    np.testing.assert_array_equal(classifier.predict(like(Z)), NTKClassifier().fit(X, LABELS).predict(Z))
    assert hasattr(machine, "feature_names_in_") == (form == "frames")


def test_half_precision_is_taken():
    half = torch.from_numpy(X).bfloat16()
    expected = NTKRegressor().fit(half.double(), Y).predict(half.double())
    np.testing.assert_array_equal(NTKRegressor().fit(half, Y).predict(half), expected)


def test_integers_are_numbers():
    whole = np.rint(3 * X).astype(int)
    machine = NTKRegressor(depth=1).fit(whole, np.arange(40))
    np.testing.assert_allclose(
        machine.predict(whole), NTKRegressor(depth=1).fit(3.0 * whole, range(40)).predict(3 * whole)
    )


def test_pipelines_and_searches():
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), NTKClassifier())
    search = GridSearchCV(pipeline, {"ntkclassifier__depth": [1, 3], "ntkclassifier__ridge": [1e-3, 1e-2]}, cv=3)
    assert search.fit(x, y).best_score_ > 0.93
    assert cross_val_score(make_pipeline(StandardScaler(), NTKRegressor(ridge=0.1)), x[:, :3], x[:, 3], cv=3).min() > -3


def test_parameters_that_are_set_after_a_fit_are_those_of_the_next():
    machine = NTKRegressor(depth=2).fit(X, Y)
    expected = machine.predict(Z)
    np.testing.assert_array_equal(machine.set_params(depth=5, kernel="nngp", normalize=True).predict(Z), expected)
    assert abs(machine.fit(X, Y).predict(Z) - expected).max() > 1e-3


@pytest.mark.parametrize("kind", [NTKRegressor, lambda **values: NTKRegressorCV(depths=[3], ridges=[1e-3], **values)])
def test_deviations_that_ask_for_gradients_are_numbers(kind):
    tensors = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in NOISY.items()}
    machine = kind(**tensors).fit(X, Y)
    np.testing.assert_array_equal(machine.predict(Z), kind(**NOISY).fit(X, Y).predict(Z))
    assert machine.get_params()["w_std"] is tensors["w_std"]


def test_a_kernel_that_does_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 30_000)
    with pytest.raises(MemoryError, match=r"X: a kernel of 40 samples needs about .*; take fewer samples"):
        NTKRegressor().fit(X, Y)


@pytest.mark.parametrize("kind", MACHINES)
def test_a_machine_comes_back_from_a_file(kind):
    machine = kind().fit(X, Y > 3)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(machine)).predict(Z), machine.predict(Z))


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_size_of_targets_does_not_matter(size):
    one, other = NTKRegressor().fit(X, Y), NTKRegressor().fit(X, size * Y)
    for value, scaled in zip(one.predict(Z, True), other.predict(Z, True), strict=True):
        np.testing.assert_allclose(scaled, size * value, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-100, 1e-3, 1e9, 1e100])
def test_the_size_of_samples_does_not_matter(size):
    one, other = NTKRegressor().fit(X, Y), NTKRegressor().fit(size * X, Y)
    for value, scaled in zip(one.predict(Z, True), other.predict(size * Z, True), strict=True):
        np.testing.assert_allclose(scaled, value, rtol=1e-9)


def test_constant_targets_are_predicted_to_the_bit():
    machine = NTKRegressor().fit(X, np.full(40, 0.1))
    means, deviations = machine.predict(Z, return_std=True)
    assert set(means) == {0.1}
    assert set(deviations) == {0.0}


def test_one_sample_is_predicted_everywhere():
    means, deviations = NTKRegressor().fit(X[:1], [2.5]).predict(Z, return_std=True)
    assert set(means) == {2.5}
    assert set(deviations) == {0.0}


# Samples that a kernel cannot tell apart, by the number of the first of them.
SINGULAR = {
    "some twice": (np.r_[X, X[:3]], np.r_[0:40, 0:3]),
    "all five times": (np.tile(X[:8], (5, 1)), np.tile(np.arange(8), 5)),
    "nearly twice": (np.r_[X[:20], X[:20] * (1 + 1e-14)], np.tile(np.arange(20), 2)),
    "of another size": (np.r_[X[:20], 3 * X[:5]], np.r_[0:20, 0:5]),
    "of zeros": (np.r_[X[:20], np.zeros((3, 4))], np.r_[0:20, 20, 20, 20]),
    "all equal": (np.tile(X[:1], (6, 1)), np.zeros(6, int)),
}


@pytest.mark.parametrize("depth", [1, 4])
@pytest.mark.parametrize("kind", SINGULAR)
def test_samples_that_cannot_be_told_apart_share_what_their_targets_have(kind, depth):
    x, groups = SINGULAR[kind]
    y = np.random.default_rng(5).normal(size=len(x)) + 3
    means = np.bincount(groups, y) / np.bincount(groups)
    normalize = kind == "of another size"
    lost = len(x) - len(means) + (kind == "of zeros")
    with pytest.warns(NoiseFloorWarning, match=f"{lost} of {len(x)} eigenvalues"):
        machine = NTKRegressor(depth=depth, ridge=0, normalize=normalize).fit(x, y)
    assert not machine.spectrum_.resolved
    np.testing.assert_allclose(machine.predict(x), means[groups], atol=1e-7)
    assert np.isfinite(machine.predict(Z, return_std=True)).all()
    regular = NTKRegressor(depth=depth, ridge=1e-9, normalize=normalize).fit(x, y)
    assert regular.spectrum_.resolved
    np.testing.assert_allclose(regular.predict(x), means[groups], atol=1e-4)


def test_a_kernel_below_its_floor_is_said_to_be():
    close = np.r_[X, X * (1 + 1e-13)]
    with pytest.warns(NoiseFloorWarning, match="choose a larger ridge"):
        machine = NTKClassifier(ridge=0).fit(close, np.r_[LABELS, LABELS])
    assert (machine.predict(X) == LABELS).all()
    assert machine.spectrum_.lmin <= machine.noise_floor_


@pytest.mark.parametrize("machine", [NTKRegressor(ridge=0), NTKRegressorCV(depths=[1], ridges=[1e-12])])
def test_a_warning_names_the_line_of_the_fit(machine, monkeypatch):
    monkeypatch.setattr(solving, "spectrum", lambda K: replace(spectrum(K), resolved=False))
    with pytest.warns(NoiseFloorWarning) as caught:
        machine.fit(X, Y)
    assert [Path(warning.filename).name for warning in caught] == ["test_estimators.py"]


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ridge": -1e-3}, ValueError, "ridge: expected a finite number of at least 0, got -0.001"),
        ({"ridge": np.nan}, ValueError, "ridge: expected a finite number of at least 0, got nan"),
        ({"ridge": "1"}, TypeError, "ridge: expected a number, got '1'"),
        ({"ridge": 1e308}, ValueError, "ridge: expected a ridge that in units of the kernel's mean diagonal"),
        ({"depth": -1}, ValueError, "depth: expected an integer of at least 0"),
        ({"depth": 1.5}, TypeError, "depth: expected an integer"),
        ({"activation": "sine"}, ValueError, "activation: expected one of"),
        ({"kernel": "rbf"}, ValueError, "kernel: expected one of"),
        ({"normalize": 1}, TypeError, "normalize: expected True or False"),
        ({"fit_intercept": None}, TypeError, "fit_intercept: expected True or False"),
    ],
)
def test_bad_parameters_are_refused(kind, changes, error, message):
    with pytest.raises(error, match=message):
        kind(**changes).fit(X, Y > 3)


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ma.masked_greater(X, 2), Y > 3, "X: .* values are masked"),
        (X, np.ma.masked_greater(Y, 3) > 0, "y: .* values are masked"),
        (np.where(X > 2, np.nan, X), Y > 3, "X contains NaN"),
        (X, (Y > 3)[:-1], "inconsistent numbers of samples"),
        (X[:0], Y[:0] > 3, "0 sample"),
        (X[0], Y[:4] > 3, "2D array"),
    ],
)
def test_bad_samples_are_refused(kind, x, y, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(x, y)


DAYS = np.datetime64("2020-01-01") + np.arange(40).astype("m8[D]")


@pytest.mark.parametrize(
    "times",
    [DAYS, DAYS - DAYS[0], pd.Series(DAYS), pd.Series(DAYS).dt.tz_localize("UTC")],
    ids=["days", "spans", "series", "zone"],
)
def test_times_are_no_numbers(times):
    table = pd.DataFrame({"a": times, "b": times}) if isinstance(times, pd.Series) else np.stack([times, times], axis=1)
    for machine in (NTKRegressor(), NTKClassifier(), NTKRegressorCV()):
        with pytest.raises(TypeError, match=r"X: expected numbers, got (datetime|timedelta)64.*say in which unit"):
            machine.fit(table, Y > 3)
    with pytest.raises(TypeError, match="X: expected numbers, got"):
        NTKRegressor().fit(X[:, :2], Y).predict(table)
    with pytest.raises(TypeError, match="y: expected numbers, got"):
        NTKRegressor().fit(X, times)


def test_dates_may_be_classes():
    days = DAYS[np.arange(40) % 2]
    assert set(NTKClassifier().fit(X, days).predict(Z)) <= set(days)


@pytest.mark.parametrize("machine", [NTKRegressor(ridge=0), NTKRegressorCV(ridges=[0.0])])
def test_fits_that_leave_the_range_of_float64_are_refused(machine):
    with pytest.raises(ValueError, match="y: the weights of a fit to such targets leave the range of float64"):
        machine.fit(1e-3 * X, np.where(X[:, 0] > 0, 1.7e308, 0))
    with pytest.raises(ValueError, match="X: outputs leave the range of float64; rescale the targets of the fit"):
        machine.fit(X, 1e305 * X[:, 0]).predict(1e10 * Z)


def test_targets_that_are_no_classes_are_refused():
    with pytest.raises(ValueError, match="y: expected samples of at least two classes, got one class, 'a'"):
        NTKClassifier().fit(X[:2], ["a", "a"])
    with pytest.raises(ValueError, match="continuous"):
        NTKClassifier().fit(X, Y)
    with pytest.raises(TypeError, match="y: expected labels that sort, got some of int and str"):
        NTKClassifier().fit(X[:2], np.array(["a", 1], dtype=object))
    with pytest.raises(TypeError, match="bytes"):
        NTKClassifier().fit(X[:2], [b"a", b"b"])
    with pytest.raises(TypeError, match=r"y: expected a dense array, got a coo_matrix of scipy; use y.toarray\(\)"):
        NTKRegressor().fit(X, coo_matrix(Y[:, None]))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        NTKRegressor().fit(X, np.where(Y > 3, np.nan, Y))


@pytest.mark.parametrize("kind", MACHINES)
def test_a_machine_predicts_after_a_fit_and_for_as_many_features(kind):
    with pytest.raises(NotFittedError):
        kind().predict(Z)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* is expecting 4"):
        kind().fit(X, Y > 3).predict(Z[:, :3])
    with pytest.raises(ValueError, match="values are masked"):
        kind().fit(X, Y > 3).predict(np.ma.masked_greater(Z, 1))


@pytest.mark.parametrize("module", ["estimators", "infinite_kernel"])
def test_without_scikit_learn_it_says_what_to_install(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.setitem(sys.modules, "sklearn.gaussian_process.kernels", None)
    monkeypatch.delitem(sys.modules, f"gatentk.kernel_machines.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r'needs scikit-learn; install it by: pip install "gatentk\[sklearn\]"'):
        __import__(f"gatentk.kernel_machines.{module}")
