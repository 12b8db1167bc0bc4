"""Steps, trials and scores of tiny networks."""

import math

import pytest
import torch
from cases.experiments import settings_of

from gatentk.papers.blocks import EXPERIMENT, learning
from gatentk.papers.blocks.learning import Learner, Score, Trial, best_rate
from gatentk.papers.blocks.settings import Network
from gatentk.train.trainable import copied_weights


@pytest.fixture
def settings(small):
    return settings_of(EXPERIMENT, small)


def test_a_step_is_that_of_adam(settings):
    task, network = settings.tasks["digits"], Network("centred", 32, 16)
    start = learning.begin(task, network, 2, 0)
    before, rows = copied_weights(start.network), torch.arange(8)
    part = start.train.take(rows)
    loss = torch.nn.functional.cross_entropy(start.network(part.x, gates=part.gates), part.targets)
    gradients = torch.autograd.grad(loss, list(start.network.weights))
    taken = Learner(task, start.network, start.train, 1e-2, 0).step(rows)
    assert float(taken) == pytest.approx(float(loss.detach()), rel=1e-5)
    for weight, old, gradient in zip(start.network.weights, before, gradients, strict=True):
        clear = gradient.abs() > 1e-5  # where the first step of Adam is the rate in either direction
        torch.testing.assert_close((weight - old)[clear], -1e-2 * gradient.sign()[clear], rtol=1e-2, atol=0)


def test_all_networks_have_the_same_mini_batches(settings):
    task = settings.tasks["digits"]
    orders = []
    for network in (Network("relu", 24), Network("deep", 32, 16)):
        start = learning.begin(task, network, 2, 1)
        orders.append(torch.cat(list(Learner(task, start.network, start.train, 1e-3, 1).batches())))
    assert torch.equal(*orders)
    assert torch.equal(orders[0].sort().values, torch.arange(48))


def test_dense_networks_are_computed_densely(settings):
    start = learning.begin(settings.tasks["digits"], Network("relu", 24), 2, 0)
    assert start.network.method == "dense"
    assert start.train.gates is None


def test_scores_are_of_all_samples(settings):
    task = settings.tasks["digits"]
    start = learning.begin(task, Network("relu", 24), 2, 0)
    found = learning.score(task, start.network, start.test, None)
    outputs = start.network(start.test.x).detach()
    right = outputs.argmax(dim=1) == start.test.classes
    assert found.loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, start.test.targets)), rel=1e-5)
    assert found.accuracy == pytest.approx(float(right.double().mean()))
    assert found.wrong == torch.nonzero(~right).flatten().tolist()


def test_numbers_are_scored_by_the_unexplained_share_of_their_variance(settings):
    task = settings.tasks["friedman"]
    start = learning.begin(task, Network("relu", 24), 2, 0)
    variance = learning.target_variance(start)
    targets = start.train.targets.double()
    assert variance == pytest.approx(float(targets.var(correction=0)))
    errors = (start.network(start.train.x).detach().double() - targets).square()
    found = learning.score(task, start.network, start.train, variance)
    assert found.loss == pytest.approx(float(errors.mean()) / variance, rel=1e-5)
    assert found.accuracy is None


def test_trials_hold_samples_back_and_leave_the_network_as_it_was(settings):
    task = settings.tasks["digits"]
    start = learning.begin(task, Network("centred", 32, 16), 2, 0)
    before = copied_weights(start.network)
    tried = learning.trials(task, Network("centred", 32, 16), start)
    assert [trial.rate for trial in tried] == [factor / 32 for factor in task.factors]
    assert all(torch.equal(a, b) for a, b in zip(before, start.network.weights, strict=True))
    assert len(tried[0].validation.wrong) <= round(0.2 * 48)


def test_the_best_rate_is_that_of_the_best_accuracy_then_of_the_smallest_loss():
    def trial(rate, loss, accuracy):
        return Trial(rate, None if loss is None else Score(loss, accuracy, []))

    assert best_rate([trial(0.1, 1.0, 0.5), trial(0.2, 2.0, 0.6), trial(0.3, None, None)]) == 0.2
    assert best_rate([trial(0.1, 1.0, 0.6), trial(0.2, 2.0, 0.6)]) == 0.1
    assert best_rate([trial(0.1, 1.0, None), trial(0.2, 0.5, None)]) == 0.2
    assert best_rate([trial(0.2, None, None), trial(0.1, None, None)]) == 0.1


def test_a_training_that_diverges_ends_there(settings):
    task = settings.tasks["friedman"]
    start = learning.begin(task, Network("shallow", 32, 16), 2, 0)
    curve = learning.curve(task, start, 1e25)
    assert curve.diverged
    assert all(math.isfinite(score.loss) for score in (*curve.train, *curve.test))
    assert len(curve.train) == len(curve.test) <= task.epochs


def test_steps_of_networks_of_a_width_move_no_weight(settings, monkeypatch):
    """They share weights, whose number is that of one network a width."""
    seen = []
    step = Learner.step
    monkeypatch.setattr(Learner, "step", lambda self, rows: seen.append(self) or step(self, rows))
    task = settings.tasks["digits"]
    timed = learning.step_seconds(settings, task)
    assert list(timed) == [network.name for network in task.networks]
    assert all(len(times.steps) == settings.rounds and min(times.steps) > 0 for times in timed.values())
    assert len(seen) == len(task.networks) * (settings.rounds + 1)
    assert seen[: len(task.networks)] == seen[len(task.networks) : 2 * len(task.networks)]  # in turns
    weights = {id(weight) for learner in seen for weight in learner.network.weights}
    assert len(weights) == 2 * len({network.width for network in task.networks})
    fresh = learning.begin(task, task.networks[0], 2, 0)
    assert all(torch.equal(a, b) for a, b in zip(seen[0].network.weights, fresh.network.weights, strict=True))
