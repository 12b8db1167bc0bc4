import numpy as np
import pytest
import torch
from cases.training import N, small

from gatentk import ntk, train
from gatentk.train import TrainingError, learning_rates


@pytest.mark.parametrize(("optimizer", "model"), [("gd", "grelu"), ("sgd", "relu")])
def test_automatic_rates_follow_the_largest_eigenvalue_of_the_kernel(optimizer, model):
    config = small(optimizer=optimizer, model=model, rates=())
    samples = train.prepare_training(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    kernel = ntk.empirical(start.network, samples.train.x, outputs="full").reshape(N * 10, N * 10)
    largest = float(torch.linalg.eigvalsh(kernel)[-1]) / N
    rates = train.candidate_rates(config, start)
    assert rates == pytest.approx([factor / largest for factor in (0.05, 0.15, 0.5, 1.5)], rel=0.05)
    assert rates == tuple(float(f"{rate:.1e}") for rate in rates)


def test_automatic_rates_of_adam_follow_the_width():
    config = small(optimizer="adam", rates=())
    samples = train.prepare_training(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    assert train.candidate_rates(config, start) == pytest.approx([0.03 / 16, 0.1 / 16, 0.3 / 16, 1 / 16], rel=0.05)


def test_the_rate_with_the_smallest_loss_after_the_trials_is_taken():
    candidates = (1e-5, 0.02, 1e9)
    config = small(rates=candidates, trial_epochs=2, switch=1)
    samples = train.prepare_training(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    before = [weight.detach().clone() for weight in start.network.weights]
    seen = []
    rate, trials = train.choose_rate(config, start, candidates, seen.append)
    expected = [train.fit(small(epochs=2), samples, rate=r).records[-1].train_loss for r in candidates[:2]]
    assert [trial.train_loss for trial in trials] == [*expected, None]
    assert rate == 0.02 == candidates[int(np.argmin(expected))]
    assert all(torch.equal(w, b) for w, b in zip(start.network.weights, before, strict=True))
    assert [record.epoch for record in seen][:4] == [1, 2, 1, 2]
    with pytest.raises(TrainingError, match=r"diverged for every learning rate \(1e\+09, 1e\+10\)"):
        train.choose_rate(config, start, (1e9, 1e10))


def test_a_single_rate_needs_no_trial(monkeypatch):
    monkeypatch.setattr(learning_rates, "Descent", None)
    assert train.choose_rate(small(), None, (0.5,)) == (0.5, [])


@pytest.mark.parametrize("rates", [(20.0, 50.0), (20.0, 1e12)])
def test_a_rate_whose_loss_grows_is_never_taken(rates):
    # The loss stays finite, and is larger than at the start.
    config = small(rates=rates, trial_epochs=1, optimizer="gd")
    samples = train.prepare_training(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    with pytest.raises(TrainingError, match="the loss grew or diverged for every learning rate"):
        train.choose_rate(config, start, rates)
    rate, trials = train.choose_rate(config, start, (*rates, 1e-9))
    assert rate == 1e-9
    assert [trial.grew for trial in trials if trial.rate == 20.0] == [True]


def test_smaller_rates_are_tried_where_no_automatic_one_helps():
    config = small(rates=(), trial_epochs=1, optimizer="gd")
    samples = train.prepare_training(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    rate, trials = train.choose_rate(config, start, (20.0, 50.0))
    assert [trial.rate for trial in trials] == [20.0, 50.0, 2.0]
    assert rate == 2.0
    assert not trials[-1].grew
    with pytest.raises(TrainingError, match=r"\(1e\+09, 1e\+10, 1e\+08, 1e\+07, 1e\+06\)"):
        train.choose_rate(config, start, (1e9, 1e10))


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
@pytest.mark.parametrize("rate", [20.0, 50.0])
def test_a_given_rate_whose_loss_grows_is_warned_of_once(tmp_path, schedule, rate):
    config = small(rates=(rate,), optimizer="gd", schedule=schedule, epochs=2)
    samples = train.prepare_training(config)
    with pytest.warns(UserWarning, match="the train loss grew") as caught:
        train.fit(config, samples)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="the train loss grew") as caught:
        train.run_all(config, samples, tmp_path)
    assert len(caught) == 1
