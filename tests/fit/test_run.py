"""The work of a fit is that of the estimators of kernel_machines."""

import numpy as np
import pytest
from cases.fits import finished, given, record, small, waves

from gatentk.errors import FitError
from gatentk.fit.run import best_fit, check_network, columns_of, costs, fit_memory, try_depths
from gatentk.kernel_machines import NTKClassifierCV, NTKRegressorCV

OPTIONS = {"kernel": "nngp", "activation": "erf", "w_std": 1.5, "b_std": 0.3}


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["ntk", "nngp"])
def test_numbers_are_predicted_as_by_the_estimator(monkeypatch, options):
    config, samples = given(monkeypatch, {"train": waves(), "test": waves(9, seed=1)}, test="test", **options)
    found = finished(config, samples)
    machine = NTKRegressorCV(depths=config.depths, ridges=config.ridges, **options)
    machine.fit(samples.x.numpy(), samples.y.numpy())
    assert (found.outcome.depth, found.outcome.ridge) == (machine.depth_, machine.ridge_)
    np.testing.assert_array_equal([r.scores for r in found.records], machine.loo_scores_)
    np.testing.assert_array_equal([r.errors for r in found.records], machine.loo_errors_)
    np.testing.assert_allclose(found.left_out, machine.loo_predictions_, rtol=1e-12)
    means, deviations = machine.predict(samples.test_x.numpy(), return_std=True)
    np.testing.assert_allclose(found.predicted, means, rtol=1e-12)
    np.testing.assert_allclose(found.outcome.deviations, deviations, rtol=1e-9)
    assert found.test_score == pytest.approx(machine.score(samples.test_x.numpy(), samples.test_y.numpy()), rel=1e-12)
    assert found.outcome.condition == pytest.approx(machine.spectrum_.condition, rel=1e-9)


@pytest.mark.parametrize("count", [2, 10])
def test_classes_are_predicted_as_by_the_estimator(monkeypatch, count):
    x, y = waves(50)
    numbers = np.digitize(y, np.quantile(y, np.linspace(0, 1, count + 1)[1:-1]))
    config, samples = given(monkeypatch, {"train": (x, numbers)}, normalize="standard")
    found = finished(config, samples)
    machine = NTKClassifierCV(depths=config.depths, ridges=config.ridges).fit(samples.x.numpy(), samples.y.numpy())
    np.testing.assert_array_equal([r.scores for r in found.records], machine.loo_scores_)
    np.testing.assert_array_equal(found.left_out, machine.loo_predictions_)
    np.testing.assert_array_equal(found.predicted, machine.predict(samples.test_x.numpy()))
    assert found.test_score == machine.score(samples.test_x.numpy(), samples.test_y.numpy())
    assert columns_of(samples).shape == (40, 1 if count == 2 else count)


def test_what_no_network_has_is_named_by_its_argument(monkeypatch):
    for options, name in (({"depths": (0,), "activation": "grelu"}, "depths"), ({"slope": 0.5}, "slope")):
        with pytest.raises(ValueError, match=f"^{name}: expected"):
            check_network(*given(monkeypatch, {"train": waves()}, **options))


def test_only_depths_that_are_missing_are_tried(monkeypatch):
    config, samples = given(monkeypatch, {"train": waves()})
    whole = list(try_depths(config, samples, ()))
    assert list(try_depths(config, samples, {1})) == whole[1:]
    assert list(try_depths(config, samples, {1, 3})) == []


def test_no_pair_above_the_noise_floor_is_an_error_of_the_ridges():
    config = small(ridges=(1e-18, 0.0))
    with pytest.raises(
        FitError, match=r"^ridges: the kernel has eigenvalues below its noise floor .* at all depths and ridges"
    ):
        best_fit(config, None, [record(scores=(None, None)), record(depth=3, scores=(None, None))])


def test_work_and_memory_grow_with_samples(monkeypatch):
    few, many = (given(monkeypatch, {"train": waves(n)}) for n in (100, 200))
    assert fit_memory(*many) > 3 * fit_memory(*few)
    assert sum(costs(*many).values()) > 4 * sum(costs(*few).values())
    assert list(costs(*few)) == ["depth 1", "depth 3", "best fit"]
