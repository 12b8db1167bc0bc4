"""Targets of any shift and scale, against standardisation in exact fractions and a loop in plain torch."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from cases.training import of_data

from gatentk import train
from gatentk.errors import TrainingError
from gatentk.train import target_scale


def drawn(n=40, d=4):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, (x[:, 0] - x[:, 1]) + 0.1 * torch.randn(n, generator=generator, dtype=torch.float64)


OPTIONS = {"test_fraction": 0.25, "epochs": 6, "batch": 10, "trial_epochs": 2}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6, 1e100])
@pytest.mark.parametrize("shift", [0.0, -1e-6, 1.0, 1e6])
def test_mean_and_spread_are_those_of_exact_arithmetic(shift, scale):
    _, y = drawn()
    y = (y + shift) * scale
    found = target_scale(y.unsqueeze(1), torch.ones(40, 2), 8)
    exact = [Fraction(value) for value in y.tolist()]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact) / Fraction(scale) ** 2
    assert float(found.mean) == pytest.approx(float(mean), rel=1e-15, abs=1e-14 * scale)
    assert float(found.spread) == pytest.approx(math.sqrt(variance) * scale, rel=1e-9)
    learnt = found.learnt(y.unsqueeze(1))
    assert float(learnt.std(correction=0)) == pytest.approx(10 * math.sqrt(2 * 8), rel=1e-12)  # |x|^2 = d
    torch.testing.assert_close(found.given(learnt), y.unsqueeze(1), rtol=1e-12, atol=0)


def test_each_output_has_its_own_mean_and_spread():
    y = torch.tensor([[1.0, 1e6, 3.0], [3.0, 5e6, 3.0]], dtype=torch.float64)
    found = target_scale(y, torch.eye(2), 8)
    assert found.mean.tolist() == [2, 3e6, 3]
    assert found.spread.tolist() == [1, 2e6, 1]
    torch.testing.assert_close(found.learnt(y)[:, 0], found.learnt(y)[:, 1])
    assert found.learnt(y)[:, 2].tolist() == [0, 0]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("shift", [0.0, 1e-6, 1.0, 1e6])
def test_shift_and_scale_of_the_targets_give_the_same_training(monkeypatch, factor, shift):
    x, y = drawn()
    plain = train.fit(*of_data(monkeypatch, x, y, **OPTIONS))
    config, samples = of_data(monkeypatch, x, factor * (y + shift), **OPTIONS)
    run = train.fit(config, samples)
    for ours, theirs in zip(run.records, plain.records, strict=True):
        assert ours.rate == theirs.rate
        assert ours.train_loss == pytest.approx(theirs.train_loss * factor**2, rel=1e-7)
        assert ours.test_loss == pytest.approx(theirs.test_loss * factor**2, rel=1e-7)
    predictions = samples.predictions(run.network(samples.test.x)).detach()
    given = (factor * (y + shift))[train.split_rows(config, 40, "given")[1]].unsqueeze(1)
    assert float((predictions - given).square().mean() / 2) == pytest.approx(run.records[-1].test_loss, rel=1e-6)


def test_a_training_of_numbers_is_a_loop_in_plain_torch_on_standardised_targets(monkeypatch):
    x, y = drawn()
    y = 1e5 * y + 3e5
    options = {**OPTIONS, "normalize": "none", "schedule": "constant", "optimizer": "gd", "batch": None}
    config, samples = of_data(monkeypatch, x, y, **options)
    network = train.build(config, samples, 0)
    rows = train.split_rows(config, 40, "given")[0]
    inner = 10 * math.sqrt(2 * config.width * float(np.mean(np.sum(x[rows].numpy() ** 2, 1))) / 4)
    targets = (y[rows] - y[rows].mean()) / y[rows].std(correction=0) * inner
    run = train.fit(config, samples, rate=1e-4)
    for _ in range(6):
        loss = ((network(x[rows])[:, 0] - targets) ** 2).mean() / 2
        gradients = torch.autograd.grad(loss, list(network.weights))
        with torch.no_grad():
            for weight, gradient in zip(network.weights, gradients, strict=True):
                weight -= 1e-4 * gradient
    error = (network(x[rows]).detach()[:, 0] - targets) * y[rows].std(correction=0) / inner
    assert run.records[-1].train_loss == pytest.approx(float((error**2).mean() / 2), rel=1e-9)


@pytest.mark.parametrize("value", [0.0, 1e-300, 0.1, -1e6, 1e300])
def test_constant_targets_are_learnt_as_zero_and_predicted_as_they_are(monkeypatch, value):
    x, _ = drawn()
    config, samples = of_data(monkeypatch, x, torch.full((40,), value, dtype=torch.float64), **OPTIONS)
    assert not samples.train.targets.any()
    run = train.fit(config, samples)
    assert 0 < run.records[-1].train_loss < run.records[0].train_loss < 1
    assert samples.predictions(torch.zeros(1, 1, dtype=torch.float64)).item() == value


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_targets_whose_squares_are_no_numbers_are_refused(monkeypatch, factor):
    x, y = drawn()
    with pytest.raises(TrainingError, match=r"targets: a spread of .* has no square in float64"):
        of_data(monkeypatch, x, factor * y)


def test_targets_as_they_are_stay_so(monkeypatch):
    x, y = drawn()
    _, samples = of_data(monkeypatch, x, y, targets="none", **OPTIONS)
    assert samples.train.scale is None
    rows = train.split_rows(train.TrainingConfig("given", **OPTIONS), 40, "given")[0]
    assert torch.equal(samples.train.targets[:, 0], y[rows])
    outputs = torch.ones(2, 1)
    assert samples.predictions(outputs) is outputs
