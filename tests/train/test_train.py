import json
import math
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import data, gates, ntk, train
from gatentk.errors import DataError
from gatentk.train import Config, Log, Record, TrainingError, Trial, diagnostics

N, WIDTH, DEPTH = 40, 16, 2  # with samples of all ten digits


@pytest.fixture(autouse=True)
def one_thread():
    """Products this small only get slower by more threads, on a busy machine a hundred times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes):
    """Forty digits and a tiny network: a few milliseconds an epoch."""
    options = {
        "data": "digits",
        "n": N,
        "width": WIDTH,
        "depth": DEPTH,
        "epochs": 4,
        "batch": 16,
        "rates": (0.05,),
        "dtype": "float64",
        **changes,
    }
    if options.get("optimizer") == "gd":
        options["batch"] = None
    return Config(**options)


def of_data(monkeypatch, x, y, **options):
    """A configuration and its samples for given data."""
    dataset = SimpleNamespace(x=torch.as_tensor(x, dtype=torch.float64), y=y, name="given")
    monkeypatch.setattr(data, "load", lambda *_, **__: dataset)
    config = Config(data="given", **{"width": WIDTH, "depth": DEPTH, "dtype": "float64", **options})
    return config, train.prepare(config)


# An independent loop in plain torch


def drawn(d, width, depth, outputs, seed, model):
    """C, B, W_1 .. W_L and Psi_1 .. Psi_L in the order in which a seed gives them."""
    generator = torch.Generator().manual_seed(seed)

    def normal(rows, columns, fan):
        return torch.randn(rows, columns, generator=generator, dtype=torch.float64) * math.sqrt(2 / fan)

    C, B = normal(width, d, d), normal(outputs, width, outputs)
    W = [normal(width, width, width) for _ in range(depth)]
    Psi = [normal(width, width, width) for _ in range(depth)] if model == "grelu" else []
    return C, B, W, Psi


def plain_outputs(x, C, B, W, Psi, model):
    if model == "relu":
        h = x @ C.T
        for weight in W:
            h = torch.relu(h) @ weight.T
        return torch.relu(h) @ B.T
    z = torch.relu(x @ C.T)
    t = (z > 0) * (x @ C.T)
    for weight, psi in zip(W, Psi, strict=True):
        z = torch.relu(z @ psi.T)
        t = (z > 0) * (t @ weight.T)
    return t @ B.T


def plain_loss(outputs, classes, loss):
    if loss == "square":
        return 0.5 * ((outputs - torch.eye(10, dtype=torch.float64)[classes]) ** 2).sum(dim=1).mean()
    return -torch.log_softmax(outputs, dim=1)[torch.arange(len(classes)), classes].mean()


def plain_training(config, seed):
    """Weights and train loss after all epochs, every update written out."""
    dataset = data.load("digits", n=N)
    x, classes = dataset.x / dataset.x.norm(dim=1, keepdim=True), dataset.y
    C, B, W, Psi = drawn(64, WIDTH, DEPTH, 10, seed, config.model)
    order = torch.Generator().manual_seed(2**32 + seed)
    rate = config.rates[0]
    m, v, step = [0.0] * DEPTH, [0.0] * DEPTH, 0
    for _ in range(config.epochs):
        rows_of_epoch = torch.arange(N) if config.optimizer == "gd" else torch.randperm(N, generator=order)
        for rows in rows_of_epoch.split(config.batch or N):
            W = [weight.detach().requires_grad_() for weight in W]
            loss = plain_loss(plain_outputs(x[rows], C, B, W, Psi, config.model), classes[rows], config.loss)
            gradients = torch.autograd.grad(loss, W)
            step += 1
            for k, g in enumerate(gradients):
                if config.optimizer == "adam":
                    m[k], v[k] = 0.9 * m[k] + 0.1 * g, 0.999 * v[k] + 0.001 * g**2
                    g = (m[k] / (1 - 0.9**step)) / (torch.sqrt(v[k] / (1 - 0.999**step)) + 1e-8)
                W[k] = W[k].detach() - rate * g
    outputs = plain_outputs(x, C, B, W, Psi, config.model)
    accuracy = (outputs.argmax(1) == classes).double().mean()
    return W, float(plain_loss(outputs, classes, config.loss)), float(accuracy)


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


def test_both_models_start_from_the_same_weights():
    samples = train.prepare(small())
    gated, plain = (train.build(small(model=model), samples, seed=7) for model in ("grelu", "relu"))
    C, B, W, _ = drawn(64, WIDTH, DEPTH, 10, 7, "relu")
    for network in (gated, plain):
        torch.testing.assert_close(network.input_weight, C, rtol=1e-14, atol=0)
        torch.testing.assert_close(network.output_weight, B, rtol=1e-14, atol=0)
        for weight, expected in zip(network.weights, W, strict=True):
            torch.testing.assert_close(weight.detach(), expected, rtol=1e-14, atol=0)
    assert torch.equal(gated.weights[1], plain.weights[1])
    assert not torch.equal(train.build(small(), samples, seed=8).weights[0], gated.weights[0])


@pytest.mark.parametrize("optimizer", ["gd", "sgd"])
def test_large_steps_are_added_up_block_by_block(monkeypatch, optimizer):
    config = small(optimizer=optimizer, batch=None if optimizer == "gd" else 20)
    whole = train.fit(config)
    monkeypatch.setattr(train, "BLOCK_ROWS", 7)
    parts = train.fit(config)
    assert parts.records[-1].train_loss == pytest.approx(whole.records[-1].train_loss, rel=1e-10)
    torch.testing.assert_close(parts.network.weights[0], whole.network.weights[0], rtol=1e-9, atol=1e-12)


def test_gates_are_computed_once_and_looked_up(monkeypatch):
    calls = []
    compute = gates.GateNetwork.table
    monkeypatch.setattr(gates.GateNetwork, "table", lambda *args: calls.append(1) or compute(*args))
    monkeypatch.setattr(gates.GateNetwork, "gates", None)
    train.fit(small(test_fraction=0.2, diagnostics=("patterns", "dead")))
    assert len(calls) == 2


def test_the_callback_sees_every_record():
    seen = []
    run = train.fit(small(rates=(0.01, 0.02), trial_epochs=1), callback=seen.append)
    assert seen == run.records


# Data


def test_every_sample_gets_norm_one_and_zero_rows_stay(monkeypatch):
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.arange(6) % 2
    x[4] = 0
    _, samples = of_data(monkeypatch, x, y)
    norms = samples.train.x.norm(dim=1)
    assert norms.tolist() == pytest.approx([1, 1, 1, 1, 0, 1])
    assert samples.zero_rows == 1


def test_standardised_features_have_mean_0_and_variance_1_on_the_train_samples(monkeypatch):
    x = 3 + 2 * torch.randn(40, 4, dtype=torch.float64)
    x[:, 2] = 7
    _, samples = of_data(monkeypatch, x, torch.arange(40) % 2, normalize="standard", test_fraction=0.25)
    means, variances = samples.train.x.mean(0), samples.train.x.var(0, correction=0)
    torch.testing.assert_close(means, torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(variances, torch.tensor([1.0, 1, 0, 1], dtype=torch.float64))
    assert not torch.allclose(samples.test.x.mean(0), torch.zeros(4, dtype=torch.float64))


@pytest.mark.parametrize("loss", ["square", "cross-entropy"])
def test_classes_become_outputs_in_ascending_order(monkeypatch, loss):
    x, y = torch.randn(5, 3), torch.tensor([9, -2, 4, 9, 4])
    _, samples = of_data(monkeypatch, x, y, loss=loss, normalize="none")
    assert (samples.classes, samples.outputs) == ((-2, 4, 9), 3)
    assert samples.train.classes.tolist() == [2, 0, 1, 2, 1]
    expected = [2, 0, 1, 2, 1] if loss == "cross-entropy" else np.eye(3)[[2, 0, 1, 2, 1]].tolist()
    assert samples.train.targets.tolist() == expected
    torch.testing.assert_close(samples.train.x, x.double())


def test_real_targets_are_one_output(monkeypatch):
    config, samples = of_data(monkeypatch, torch.randn(5, 3), torch.randn(5, dtype=torch.float64), epochs=1)
    assert (samples.classes, samples.outputs, samples.train.targets.shape) == (None, 1, (5, 1))
    record = train.fit(config, samples, rate=0.01).records[-1]
    assert record.train_accuracy is None
    assert record.train_loss > 0


def test_the_split_uses_every_sample_once(monkeypatch):
    x, y = torch.arange(1, 21.0).view(20, 1), torch.arange(20) % 2
    options = {"test_fraction": 0.3, "normalize": "none"}
    _, first = of_data(monkeypatch, x, y, **options)
    both = torch.cat([first.train.x, first.test.x]).flatten()
    assert (len(first.train), len(first.test)) == (14, 6)
    assert sorted(both.tolist()) == x.flatten().tolist()
    assert first.test.classes.tolist() == [(int(v) - 1) % 2 for v in first.test.x]
    _, again = of_data(monkeypatch, x, y, **options)
    _, other = of_data(monkeypatch, x, y, data_seed=1, **options)
    assert torch.equal(first.test.x, again.test.x)
    assert not torch.equal(first.test.x, other.test.x)


def test_test_loss_and_accuracy_are_those_of_the_test_samples():
    config = small(test_fraction=0.4, loss="cross-entropy")
    samples = train.prepare(config)
    run = train.fit(config, samples)
    outputs = run.network(samples.test.x).detach()
    classes = samples.test.classes
    last = run.records[-1]
    assert last.test_loss == pytest.approx(float(plain_loss(outputs, classes, "cross-entropy")), rel=1e-10)
    assert last.test_accuracy == pytest.approx(float((outputs.argmax(1) == classes).double().mean()))
    assert len(samples.test) == 16


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (None, {}, "given has no labels to learn.*label, target or y"),
        (torch.zeros(5, dtype=torch.int64), {}, "at least two classes, all labels are 0"),
        (torch.rand(5), {"loss": "cross-entropy"}, "real targets, and cross-entropy needs classes"),
        (torch.arange(5), {"test_fraction": 0.05}, "test_fraction=0.05: given has 5 samples, 0 would be tests"),
        (torch.arange(5), {"test_fraction": 0.99}, "5 would be tests"),
    ],
)
def test_data_without_anything_to_learn_is_refused(monkeypatch, y, options, message):
    with pytest.raises(TrainingError, match=message):
        of_data(monkeypatch, torch.randn(5, 3), y, **options)


def test_numbers_that_are_no_classes_are_recognised(monkeypatch):
    monkeypatch.setattr(train, "CLASS_LIMIT", 4)
    with pytest.raises(TrainingError, match="5 different labels; name the column target"):
        of_data(monkeypatch, torch.randn(5, 3), torch.arange(5))


def test_errors_of_the_data_come_through():
    with pytest.raises(DataError, match="no/such"):
        train.prepare(Config(data="csv:/no/such/file.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "tanh"}, "model: expected one of 'grelu', 'relu', got 'tanh'"),
        ({"optimizer": "lbfgs"}, "optimizer: expected one of"),
        ({"loss": "hinge"}, "loss: expected one of"),
        ({"normalize": "l1"}, "normalize: expected one of"),
        ({"dtype": "float16"}, "dtype: expected one of"),
        ({"width": 0}, "width: expected an integer of at least 1"),
        ({"epochs": 0}, "epochs: expected an integer of at least 1"),
        ({"rates": (0.1, -1.0)}, "rates: expected different positive"),
        ({"rates": (0.1, 0.1)}, "rates: expected different positive"),
        ({"rates": (math.nan,)}, "rates: expected different positive"),
        ({"test_fraction": 1.0}, "test_fraction: expected a share"),
        ({"diagnostics": ("tau", "entropy")}, "diagnostics: expected one of 'tau', .*'entropy'"),
        ({"optimizer": "gd", "batch": 5}, "batch: full-batch gradient descent"),
        ({"batch": 0}, "batch: expected an integer of at least 1"),
        ({"switch": 5, "model": "relu"}, "switch: only a GReLU network"),
        ({"switch": 50}, "switch: expected an epoch before the last, 50, got 50"),
        ({"switch_rate": 0.1}, "switch_rate: expected none without a switch"),
        ({"switch": 5, "switch_rate": 0.0}, "switch_rate: expected a positive learning rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Config(data="digits", **options)


# Learning rates


@pytest.mark.parametrize(("optimizer", "model"), [("gd", "grelu"), ("sgd", "relu")])
def test_automatic_rates_follow_the_largest_eigenvalue_of_the_kernel(optimizer, model):
    config = small(optimizer=optimizer, model=model, rates=())
    samples = train.prepare(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    kernel = ntk.empirical(start.network, samples.train.x, outputs="full").reshape(N * 10, N * 10)
    largest = float(torch.linalg.eigvalsh(kernel)[-1]) / N
    rates = train.rates(config, start)
    assert rates == pytest.approx([factor / largest for factor in (0.05, 0.15, 0.5, 1.5)], rel=0.05)
    assert rates == tuple(float(f"{rate:.1e}") for rate in rates)


def test_automatic_rates_of_adam_follow_the_width():
    config = small(optimizer="adam", rates=())
    samples = train.prepare(config)
    start = train.begin(config, samples, 0, train.build(config, samples, 0))
    assert train.rates(config, start) == pytest.approx([0.03 / 16, 0.1 / 16, 0.3 / 16, 1 / 16], rel=0.05)


def test_the_rate_with_the_smallest_loss_after_the_trials_is_taken():
    candidates = (1e-5, 0.02, 1e9)
    config = small(rates=candidates, trial_epochs=2, switch=1)
    samples = train.prepare(config)
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
    monkeypatch.setattr(train, "Run", None)
    assert train.choose_rate(small(), None, (0.5,)) == (0.5, [])


def test_a_run_that_diverges_ends_with_a_record_that_says_so():
    run = train.fit(small(rates=(1e12,), epochs=50, test_fraction=0.2, diagnostics=("tau",)))
    last = run.records[-1]
    assert last.diverged
    assert 0 < last.epoch < 50
    assert (last.train_loss, last.train_accuracy, last.test_loss, last.diagnostics) == (None, None, None, {})
    assert not any(record.diverged for record in run.records[:-1])


# The switch


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
def test_the_switch_keeps_the_train_loss_and_goes_on_as_relu(dtype, tolerance):
    config = small(width=100, switch=2, optimizer="gd", dtype=dtype, test_fraction=0.2, diagnostics=("tau", "drift"))
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
    run = train.fit(small(width=100, switch=2, optimizer="gd"))
    samples = train.prepare(small())
    whole = train.fit(small(width=100, epochs=2, optimizer="gd"), samples)
    before = diagnostics.Linearisation(whole.network, samples.train.x).largest_eigenvalue()
    network, _ = train.convert.grelu_to_relu(whole.network, samples.train.x)
    after = diagnostics.Linearisation(network, samples.train.x).largest_eigenvalue()
    assert after > before
    assert [record.rate for record in run.records[:3]] == [0.05] * 3
    assert run.records[3].rate == run.records[2].switch["rate"] == pytest.approx(0.05 * before / after, rel=0.05)
    given = train.fit(small(width=100, switch=2, optimizer="gd", switch_rate=1e-4))
    assert given.records[3].rate == given.optimizer.param_groups[0]["lr"] == 1e-4


def test_a_switch_with_more_samples_than_neurons_warns_and_reports_the_jump():
    with pytest.warns(UserWarning, match="least squares fit"):
        run = train.fit(small(switch=2))
    switch = run.records[2].switch
    assert max(layer["residual"] for layer in switch["report"]["layers"]) > 1e-3
    assert switch["train_loss_after"] != pytest.approx(switch["train_loss_before"], rel=1e-3)


# Checkpoints and the log


def log_lines(folder):
    return [json.loads(line) for line in (folder / train.LOG).read_text().splitlines()]


def without_times(records):
    return [replace(record, seconds=0.0) for record in records]


def assert_same_state(a, b):
    """Bit for bit, tensors and numbers alike."""
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same_state(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same_state(x, y)
    else:
        assert a == b


def interrupted_after(seed, epoch):
    def callback(record, trial):
        if not trial and (record.seed, record.epoch) == (seed, epoch):
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize(
    ("options", "seed", "epoch"),
    [
        ({"optimizer": "sgd", "diagnostics": tuple(diagnostics.NAMES)}, 0, 5),
        ({"optimizer": "adam", "model": "relu", "seeds": 2, "diagnostics": ("gradient", "patterns")}, 1, 3),
        ({"optimizer": "gd", "rates": (0.01, 0.05), "loss": "cross-entropy", "test_fraction": 0.2}, 0, 2),
        ({"optimizer": "adam", "width": 100, "switch": 2, "diagnostics": tuple(diagnostics.NAMES)}, 0, 1),
        ({"optimizer": "adam", "width": 100, "switch": 2, "diagnostics": tuple(diagnostics.NAMES)}, 0, 3),
        ({"optimizer": "sgd", "width": 100, "switch": 2, "test_fraction": 0.2}, 0, 5),
    ],
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, options, seed, epoch):
    config = small(**{"epochs": 6, "dtype": "float32", "trial_epochs": 1, **options})
    samples = train.prepare(config)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train.run_all(config, samples, whole, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train.run_all(config, samples, parts, checkpoint_every=2, callback=interrupted_after(seed, epoch))
    result = train.run_all(config, samples, parts, checkpoint_every=2, resume=True)
    assert without_times(result.records) == without_times(expected.records)
    assert (result.rate, result.trials) == (expected.rate, expected.trials)
    assert sorted(path.name for path in parts.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in train.checkpoint_paths(whole):
        ours, theirs = (torch.load(folder / path.name, weights_only=True) for folder in (parts, whole))
        assert_same_state(ours, theirs)
    for ours, theirs in zip(log_lines(parts), log_lines(whole), strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_finished_training_goes_on_with_more_epochs_and_seeds(tmp_path):
    short, long = small(epochs=2), small(epochs=4, seeds=2)
    samples = train.prepare(short)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train.run_all(long, samples, whole)
    train.run_all(short, samples, parts)
    result = train.run_all(long, samples, parts, resume=True)
    assert without_times(result.records) == without_times(expected.records)
    again = train.run_all(long, samples, parts, resume=True)
    assert again.records == result.records
    with pytest.raises(TrainingError, match="seed 0 is at epoch 4 already, got epochs=3"):
        train.run_all(small(epochs=3), samples, parts, resume=True)


def test_a_resume_computes_nothing_twice(tmp_path, monkeypatch):
    config = small(rates=(0.01, 0.02), seeds=2)
    samples = train.prepare(config)
    first = train.run_all(config, samples, tmp_path)
    monkeypatch.setattr(train.Run, "train_epoch", None)
    seen = []
    again = train.run_all(config, samples, tmp_path, resume=True, callback=lambda record, trial: seen.append(record))
    assert again == first
    assert seen == first.records


def test_a_diverged_run_is_not_repeated_and_does_not_stop_the_others(tmp_path):
    config = small(rates=(1e12,), seeds=2, epochs=50)
    samples = train.prepare(config)
    result = train.run_all(config, samples, tmp_path)
    assert [record.seed for record in result.diverged] == [0, 1]
    assert train.run_all(config, samples, tmp_path, resume=True) == result


def test_another_configuration_is_refused_by_the_names_of_what_differs(tmp_path):
    config = small(epochs=1)
    samples = train.prepare(config)
    train.run_all(config, samples, tmp_path)
    other = replace(config, width=8, optimizer="adam")
    with pytest.raises(
        TrainingError, match=r'holds another training \(width was 16, is 8, optimizer was "sgd", is "adam"'
    ):
        train.run_all(other, samples, tmp_path, resume=True)
    changed = replace(samples, digest="0" * 64)
    with pytest.raises(TrainingError, match="sha256 was"):
        train.run_all(config, changed, tmp_path, resume=True)
    assert train.run_all(config, samples, tmp_path, resume=True).rate == 0.05


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    config, other = small(epochs=1), small(epochs=1, depth=3)
    samples = train.prepare(config)
    train.run_all(config, samples, mine)
    train.run_all(other, samples, theirs)
    os.replace(theirs / "checkpoint-0.pt", mine / "checkpoint-0.pt")
    with pytest.raises(TrainingError, match=r"checkpoint-0.pt is of another training \(depth was 3, is 2\)"):
        train.run_all(config, samples, mine, resume=True)


def test_a_folder_is_neither_overwritten_nor_resumed_by_accident(tmp_path):
    config = small(epochs=1)
    samples = train.prepare(config)
    with pytest.raises(TrainingError, match="holds no training to go on with; resume=False starts one"):
        train.run_all(config, samples, tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []
    train.run_all(config, samples, tmp_path)
    before = (tmp_path / train.LOG).read_bytes()
    with pytest.raises(TrainingError, match="resume=True goes on with it, restart=True starts over"):
        train.run_all(config, samples, tmp_path)
    assert (tmp_path / train.LOG).read_bytes() == before
    other = replace(config, seeds=1, depth=1)
    result = train.run_all(other, samples, tmp_path, restart=True)
    assert [record.epoch for record in result.records] == [0, 1]
    assert log_lines(tmp_path)[0]["training"]["depth"] == 1


def test_a_restart_forgets_the_checkpoints(tmp_path):
    samples = train.prepare(small())
    train.run_all(small(seeds=2, epochs=1), samples, tmp_path)
    train.run_all(small(seeds=1, epochs=1), samples, tmp_path, restart=True)
    assert [path.name for path in train.checkpoint_paths(tmp_path)] == ["checkpoint-0.pt"]


@pytest.mark.parametrize("step", ["save", "fsync", "replace"])
def test_an_interrupted_write_leaves_the_checkpoint_before_valid(tmp_path, monkeypatch, step):
    config = small(epochs=4)
    samples = train.prepare(config)
    saves, save, fsync, replace_file = [], torch.save, os.fsync, os.replace

    def interrupt_second(state, file):
        saves.append(1)
        if len(saves) == 2 and step == "save":
            file.write(b"half a checkpoint")
            raise KeyboardInterrupt
        save(state, file)

    def interrupt(function):
        def wrapped(*arguments):
            if len(saves) == 2:
                raise KeyboardInterrupt
            return function(*arguments)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupt_second)
        if step == "fsync":
            patch.setattr(os, "fsync", interrupt(fsync))
        if step == "replace":
            patch.setattr(os, "replace", interrupt(replace_file))
        with pytest.raises(KeyboardInterrupt):
            train.run_all(config, samples, tmp_path, checkpoint_every=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-0.pt", "log.jsonl"]
    state = train.read_checkpoint(tmp_path / "checkpoint-0.pt", train.identity(config, samples))
    assert state["epoch"] == 2
    result = train.run_all(config, samples, tmp_path, resume=True)
    assert [record.epoch for record in result.records] == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Path of a checkpoint and the identity of its training."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = small(epochs=1, width=4, depth=1)
    samples = train.prepare(config)
    train.run_all(config, samples, folder)
    return folder / "checkpoint-0.pt", train.identity(config, samples)


@settings(max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_damaged(tmp_path, checkpoint, share):
    whole, identity = checkpoint
    content, path = whole.read_bytes(), tmp_path / "checkpoint-0.pt"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TrainingError, match="damaged, or not a checkpoint; restart=True starts over"):
        train.read_checkpoint(path, identity)


def test_foreign_files_are_no_checkpoints(tmp_path, checkpoint):
    path = tmp_path / "checkpoint-0.pt"
    assert train.read_checkpoint(path, checkpoint[1]) is None
    torch.save([1, 2], path)
    with pytest.raises(TrainingError, match="not a checkpoint of gatentk train"):
        train.read_checkpoint(path, checkpoint[1])
    torch.save({"identity": {}, "code": SimpleNamespace()}, path)  # nothing but plain values is unpickled
    with pytest.raises(TrainingError, match="damaged, or not a checkpoint"):
        train.read_checkpoint(path, checkpoint[1])


def record_of(seed, epoch):
    return Record(seed, epoch, "relu", 0.1, 1.0 / (epoch + 1), None, None, None, 0.5)


@settings(max_examples=40)
@given(share=st.floats(0, 1), epochs=st.integers(0, 5))
def test_a_torn_log_keeps_its_whole_lines(tmp_path_factory, share, epochs):
    folder = tmp_path_factory.mktemp("log")
    path, who = folder / train.LOG, {"width": 3}
    records = [record_of(0, epoch) for epoch in range(epochs)]
    with Log(folder, who) as log:
        log.choose(0.1, [Trial(0.1, 2.0), Trial(0.2, None)])
        for record in records:
            log.append(record)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    lines = path.read_bytes().count(b"\n")
    with Log(folder, who, resume=True) as log:
        assert log.records == records[: max(0, lines - 2)]
        assert log.rate == (0.1 if lines >= 2 else None)
        assert log.trials == ([Trial(0.1, 2.0), Trial(0.2, None)] if lines >= 2 else [])
    assert path.read_bytes() == content[: path.stat().st_size]


def test_the_log_forgets_what_a_checkpoint_does_not_know(tmp_path):
    with Log(tmp_path, {}) as log:
        log.choose(0.1, [])
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2)):
            log.append(record_of(seed, epoch))
        assert log.rewind(0, 1) == [record_of(0, 0), record_of(0, 1)]
        with pytest.raises(TrainingError, match="lacks epochs of seed 1 that its checkpoint has"):
            log.rewind(1, 2)
        log.append(record_of(0, 2))
    with Log(tmp_path, {}, resume=True) as log:
        assert [(r.seed, r.epoch) for r in log.records] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
        assert log.rewind(1, -1) == []
        assert log.rate == 0.1
    assert [path.name for path in tmp_path.iterdir()] == [train.LOG]


def test_an_interrupt_while_the_log_is_rewritten_keeps_the_old_one(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with Log(tmp_path, {}) as log:
        log.choose(0.1, [])
        log.append(record_of(0, 0))
        before = (tmp_path / train.LOG).read_bytes()
        monkeypatch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.rewind(0, -1)
    assert [path.name for path in tmp_path.iterdir()] == [train.LOG]
    assert (tmp_path / train.LOG).read_bytes() == before


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    with Log(tmp_path, {}) as log:
        with pytest.raises(TrainingError, match="another gatentk is writing"):
            Log(tmp_path, {}, resume=True)
        log.append(record_of(0, 0))
        log.rewind(0, -1)
        with pytest.raises(TrainingError, match="another gatentk is writing"):
            Log(tmp_path, {}, resume=True)


def test_a_foreign_log_is_left_alone(tmp_path):
    path = tmp_path / train.LOG
    path.write_text('{"message": "mine"}\n')
    with pytest.raises(TrainingError, match="is not a log of gatentk train"):
        Log(tmp_path, {}, resume=True)
    assert path.read_text() == '{"message": "mine"}\n'


def test_large_gate_tables_live_in_a_file_while_they_are_needed(tmp_path, monkeypatch):
    config = small(test_fraction=0.2, epochs=2)
    samples = train.prepare(config)
    expected = train.fit(config, samples).records
    monkeypatch.setattr(train, "TABLE_BYTES", 0)
    seen = []
    result = train.run_all(
        config, samples, tmp_path, callback=lambda *_: seen.append({path.name for path in tmp_path.glob("*.gates")})
    )
    assert seen == [{"train-0.gates", "test-0.gates"}] * 3
    assert not list(tmp_path.glob("*.gates"))
    assert without_times(result.records) == without_times(expected)


def test_memory_grows_with_what_is_asked_for():
    config = small(width=2000, rates=(0.1,), dtype="float32")
    samples = train.prepare(config)
    least = train.memory_needed(replace(config, model="relu"), samples)
    assert least > 3 * DEPTH * 2000**2 * 4
    more = [{}, {"optimizer": "adam", "model": "relu"}, {"diagnostics": ("gradient",), "model": "relu"}]
    assert all(train.memory_needed(replace(config, **changes), samples) > least for changes in more)


# What training reaches


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
    config = Config(data="mnist", width=1024, depth=4, optimizer="adam", epochs=16)
    run = train.fit(config, rate=3e-4)
    assert min(record.train_loss for record in run.records) < 2e-3 * run.records[0].train_loss
    assert run.records[-1].train_accuracy == 1
