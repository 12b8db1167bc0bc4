"""Trials of depths: what is compared, and in which order."""

import math

import numpy as np
import pytest
import torch
from cases.machines import samples
from sklearn.metrics import r2_score

from gatentk.kernel_machines.networks import WideNetwork
from gatentk.kernel_machines.trials import Columns, Trial, best_pair, determination, tried

X = torch.from_numpy(samples(20))
Y = X.sum(dim=1, keepdim=True).sin()


def trial(scores, relative, depth=1):
    return Trial(depth, scores, relative, relative, 1.0, 0.1, 1.0, 1e-15)


def test_scores_then_errors_then_the_order_decide():
    assert best_pair([trial((0.1, 0.2), (1.0, 1.0)), trial((0.2, 0.1), (0.5, 0.1))]) == (1, 0)
    assert best_pair([trial((0.2, 0.2), (1e-30, 0.0)), trial((0.2, math.nan), (0.0, 0.0))]) == (0, 0)
    assert best_pair([trial((math.nan,), (math.nan,))]) is None
    assert best_pair([]) is None


def test_what_differs_by_rounding_is_equal():
    assert best_pair([trial((-3.0, -3.0 + 1e-15), (1.0, 1.0)), trial((-3.0 + 2e-14,), (1.0,))]) == (0, 0)
    assert best_pair([trial((0.5, 0.5), (1.0, 1.0 - 1e-15))]) == (0, 0)
    assert best_pair([trial((0.5, 0.5), (1.0, 1.0 - 1e-9))]) == (0, 1)
    assert best_pair([trial((0.5, 0.5 + 1e-9), (1.0, 1.0))]) == (0, 1)


def test_two_samples_are_predicted_from_each_other_whatever_the_ridge():
    ridges = [10.0, 1.0, 0.1, 1e-3]
    columns = Columns(Y[:2], with_intercept=True)
    found = [one for one, _ in tried(WideNetwork(), X[:2], columns, [1, 2, 3], ridges, determination)]
    assert best_pair(found) == (0, 0)
    assert found[0].scores[0] == pytest.approx(-3)


def test_ridges_that_are_no_numbers_are_left_out_and_refused_if_all_are():
    columns = Columns(Y, with_intercept=True)
    (one, _), *_ = tried(WideNetwork(), X, columns, [1], [1e308, 1.0], determination)
    assert [math.isnan(score) for score in one.scores] == [True, False]
    with pytest.raises(ValueError, match="ridges: expected a ridge that in units of the kernel's mean diagonal"):
        next(tried(WideNetwork(), X, columns, [1], [1e308], determination))


def test_residuals_are_those_of_the_best_ridge_and_pairs_below_the_floor_are_left_out():
    ridges = [1.0, 1e-2, 0.0]
    doubled = torch.cat([X, X[:1]])
    columns = Columns(torch.cat([Y, -Y[:1]]), with_intercept=True)
    found = list(tried(WideNetwork(), doubled, columns, [1, 2], ridges, determination))
    assert [one.depth for one, _ in found] == [1, 2]
    for one, residuals in found:
        assert math.isnan(one.scores[2])
        assert one.lmin <= one.floor
        assert determination(residuals, columns.scaled) == one.scores[one.best()]
        assert one.relative[0] * float(columns.size) ** 2 == pytest.approx(one.errors[0])
    (one, residuals), *_ = tried(WideNetwork(), doubled, columns, [1], [0.0], determination)
    assert one.best() is None
    assert not residuals.any()


@pytest.mark.parametrize("with_intercept", [True, False])
def test_columns_are_of_size_one(with_intercept):
    given = torch.tensor([[1e6, 5.0], [3e6, 5.0]], dtype=torch.float64)
    columns = Columns(given, with_intercept)
    assert columns.scaled.abs().amax(dim=0).tolist() == [1, 0 if with_intercept else 1]
    middle = given - columns.scaled * columns.size
    assert bool((middle == middle[0]).all())


def test_determination_is_r2():
    targets, predictions = np.random.default_rng(0).normal(size=(2, 9, 3))
    found = determination(torch.from_numpy(targets - predictions), torch.from_numpy(targets))
    assert found == pytest.approx(r2_score(targets, predictions), rel=1e-12)


def test_samples_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="X: expected samples that are not all zero"):
        list(tried(WideNetwork(), 0 * X, Columns(Y, True), [1], [0.1], determination))
