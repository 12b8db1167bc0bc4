from dataclasses import replace

import pytest
import torch
from cases.training import DEPTH, WIDTH, N, of_data, plain_loss, plain_training, small

from gatentk import convert, data, nn, train
from gatentk.train import Linearisation, TrainingConfig


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
@pytest.mark.parametrize("optimizer", ["sgd", "gd", "adam"])
@pytest.mark.parametrize("model", ["grelu", "relu"])
def test_training_is_that_of_a_loop_in_plain_torch(model, optimizer, loss):
    config = small(model=model, optimizer=optimizer, loss=loss, rates=(0.01,))
    run = train.fit(config, seed=3)
    weights, train_loss, accuracy = plain_training(config, seed=3)
    for weight, expected in zip(run.network.weights, weights, strict=True):
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-9, atol=1e-11)
    last = run.records[-1]
    assert (last.epoch, last.model, last.rate, last.diverged) == (4, model, 0.01, False)
    assert last.train_loss == pytest.approx(train_loss, rel=1e-9)
    assert last.train_accuracy == pytest.approx(accuracy)
    assert [record.epoch for record in run.records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["sgd", "gd", "adam"])
@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_a_given_rate_and_a_constant_schedule_are_a_loop_to_the_bit(loss, optimizer, dtype):
    config = small(optimizer=optimizer, loss=loss, rates=(0.003,), dtype=dtype, epochs=7, schedule="constant")
    dataset, floats = data.load("digits", n=N), getattr(torch, dtype)
    x, classes = (dataset.x / dataset.x.norm(dim=1, keepdim=True)).to(floats), dataset.y
    network = nn.GReLUNetwork(64, WIDTH, DEPTH, 10, generator=torch.Generator().manual_seed(0), dtype=floats)
    table, order = network.gate_table(x), torch.Generator().manual_seed(2**32)
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    steps = kind(network.weights, lr=0.003)

    def summed(rows):
        outputs = network(x[rows], gates=table[rows])
        if loss == "square":
            return (outputs - torch.nn.functional.one_hot(classes[rows], 10).to(floats)).square().sum() / 2
        return torch.nn.functional.cross_entropy(outputs, classes[rows], reduction="sum")

    for _ in range(7):
        batches = [torch.arange(N)] if optimizer == "gd" else torch.randperm(N, generator=order).split(16)
        for rows in batches:
            steps.zero_grad()
            (summed(rows) / len(rows)).backward()
            steps.step()
    run = train.fit(config)
    for ours, theirs in zip(run.network.weights, network.weights, strict=True):
        assert torch.equal(ours, theirs)
    assert run.records[-1].train_loss == float(summed(torch.arange(N)).detach()) / N


def test_the_callback_sees_every_record():
    seen = []
    run = train.fit(small(rates=(0.01, 0.02), trial_epochs=1), callback=seen.append)
    assert seen == run.records


def test_test_loss_and_accuracy_are_those_of_the_test_samples():
    config = small(test_fraction=0.4, loss="cross-entropy")
    samples = train.prepare_training(config)
    run = train.fit(config, samples)
    outputs = run.network(samples.test.x).detach()
    classes = samples.test.classes
    last = run.records[-1]
    assert last.test_loss == pytest.approx(float(plain_loss(outputs, classes, "cross-entropy")), rel=1e-10)
    assert last.test_accuracy == pytest.approx(float((outputs.argmax(1) == classes).double().mean()))
    assert len(samples.test) == 16


def test_a_run_that_diverges_ends_with_a_record_that_says_so():
    with pytest.warns(UserWarning, match=r"seed 0: the train loss grew, .* the learning rate 1e\+12 is too large"):
        run = train.fit(small(rates=(1e12,), epochs=50, test_fraction=0.2, diagnostics=("tau",)))
    last = run.records[-1]
    assert last.diverged
    assert 0 < last.epoch < 50
    assert (last.train_loss, last.train_accuracy, last.test_loss, last.diagnostics) == (None, None, None, {})
    assert not any(record.diverged for record in run.records[:-1])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_the_switch_keeps_the_train_loss_and_goes_on_as_relu(dtype, tolerance):
    options = {"test_fraction": 0.2, "diagnostics": ("tau", "drift")}
    config = small(width=100, switch=2, switch_ridge=0.0, optimizer="gd", dtype=dtype, **options)
    run = train.fit(config)
    assert [record.model for record in run.records] == ["grelu", "grelu", "grelu", "relu", "relu"]
    assert [record.switch is not None for record in run.records] == [False, False, True, False, False]
    at = run.records[2]
    assert at.switch["train_loss_before"] == at.train_loss
    assert at.switch["train_loss_after"] == pytest.approx(at.train_loss, rel=tolerance)
    assert at.switch["test_loss_before"] == at.test_loss
    assert [layer["rank"] for layer in at.switch["report"]["layers"]] == [32, 32]
    assert not run.network.last_relu
    assert run.records[4].train_loss < at.switch["train_loss_after"]
    # Measured from the network that is trained now, and not across the switch.
    assert 0 < run.records[3].diagnostics["tau"] < at.switch["report"]["layers"][0]["change"]
    growth = at.rate / at.switch["rate"]
    assert 0 < run.records[3].diagnostics["drift"] < (growth - 1) / 2


def test_the_rate_after_a_switch_follows_the_kernel_unless_it_is_given():
    run = train.fit(small(width=100, switch=2, switch_ridge=0.0, optimizer="gd"))
    samples = train.prepare_training(small())
    whole = train.fit(small(width=100, epochs=2, optimizer="gd"), samples)
    before = Linearisation(whole.network, samples.train.x).largest_eigenvalue()
    network, _ = convert.grelu_to_relu(whole.network, samples.train.x)
    after = Linearisation(network, samples.train.x).largest_eigenvalue()
    assert after > before
    assert [record.rate for record in run.records[:3]] == [0.05] * 3
    assert run.records[3].rate == run.records[2].switch["rate"] == pytest.approx(0.05 * before / after, rel=0.05)
    given = train.fit(small(width=100, switch=2, optimizer="gd", switch_rate=1e-4))
    assert given.records[3].rate == given.optimizer.param_groups[0]["lr"] == 1e-4


def test_a_switch_with_more_samples_than_neurons_warns_and_reports_the_jump():
    with pytest.warns(UserWarning, match="least squares fit"):
        run = train.fit(small(switch=2, switch_ridge=0.0))
    switch = run.records[2].switch
    assert max(layer["residual"] for layer in switch["report"]["layers"]) > 1e-3
    assert switch["train_loss_after"] != pytest.approx(switch["train_loss_before"], rel=1e-3)


def test_gradient_descent_reaches_zero_loss_on_a_tiny_problem(monkeypatch):
    # [G], Thm 1: width n^2 L for n samples and depth L.
    generator = torch.Generator().manual_seed(0)
    n, d, depth = 20, 40, 1
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(n, generator=generator, dtype=torch.float64)
    config, samples = of_data(
        monkeypatch, x, y, width=n**2 * depth, depth=depth, optimizer="gd", epochs=60, trial_epochs=10
    )
    run = train.fit(config, samples)
    assert run.records[-1].train_loss < 1e-6
    assert run.records[0].train_loss > 1e-2


@pytest.mark.slow
def test_a_grelu_network_reaches_near_zero_loss_on_mnist():
    config = TrainingConfig(data="mnist", width=1024, depth=4, optimizer="adam", epochs=16)
    run = train.fit(config, rate=3e-4)
    assert min(record.train_loss for record in run.records) < 2e-3 * run.records[0].train_loss
    assert run.records[-1].train_accuracy == 1


def test_a_ridge_in_the_switch_keeps_what_was_learnt():
    options = {"data": "digits", "n": 600, "width": 512, "depth": 3, "test_fraction": 0.25, "optimizer": "adam"}
    config = TrainingConfig(**options, loss="cross-entropy", rates=(5e-4,), epochs=16, switch=8)
    samples = train.prepare_training(config)
    records = train.fit(config, samples).records
    at, last = records[8], records[-1]
    assert at.train_accuracy > 0.99
    assert last.train_accuracy >= at.train_accuracy
    assert last.test_accuracy >= at.test_accuracy - 0.03
    assert at.switch["test_loss_after"] < 2 * at.test_loss
    with pytest.warns(UserWarning, match="samples are not fitted exactly"):
        exact = train.fit(replace(config, switch_ridge=0.0), samples).records
    assert exact[8].switch["test_loss_after"] > 10 * at.test_loss
