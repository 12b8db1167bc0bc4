"""Trainings as cells: their configuration, when they end, and plain numbers."""

import math
from dataclasses import dataclass

from gatentk.papers.frame import trainings
from gatentk.runs.plain import ABSENT, Absent
from gatentk.train import Run, memory, training_memory


@dataclass(frozen=True)
class Part:
    data: str = "friedman"
    n: int = 40
    width: int = 16
    depth: int = 2
    path: str | Absent | None = ABSENT


def test_settings_are_a_part_of_the_configuration():
    config = trainings.config(Part(), model="relu", epochs=3)
    assert (config.data, config.n, config.width, config.model, config.epochs) == ("friedman", 40, 16, "relu", 3)
    assert (config.path, config.rates) == (None, (1.0,))
    assert trainings.config(Part(), width=8).width == 8
    assert trainings.config(Part(path="here")).path == "here"


def test_samples_are_prepared_once_whatever_the_network():
    first = trainings.samples(trainings.config(Part()))
    assert trainings.samples(trainings.config(Part(), width=8, epochs=9)) is first
    assert trainings.samples(trainings.config(Part(), n=30)) is not first


def test_a_curve_has_the_losses_of_all_epochs_and_of_the_switch():
    config = trainings.config(Part(width=64), epochs=3, switch=2, test_fraction=0.25)
    run = Run(config, trainings.start(config, 0), 1e-4)
    curve, measured = trainings.curve(run, 3)
    assert (len(curve.train), len(curve.test), curve.accuracy, measured) == (4, 4, [], [])
    assert curve.diverged is False
    assert curve.switch.train_loss_before == curve.train[2]
    assert [fit.layer for fit in curve.switch.report.layers] == [1, 2]


def test_a_curve_that_diverges_ends():
    config = trainings.config(Part(), epochs=50)
    curve, _ = trainings.curve(Run(config, trainings.start(config, 0), 1e6), 50)
    assert curve.diverged is True
    assert len(curve.train) < 51
    assert all(map(math.isfinite, curve.train))


def test_a_training_ends_when_it_is_fitted_or_does_not_change():
    settled = trainings._is_settled
    assert settled([2.0, 1e-4], 1e-4)
    assert not settled([2.0, 1e-3], 1e-4)
    assert settled([2.0, *[1.0] * 6], 1e-4)
    assert not settled([2.0, 3.0, *[1.0] * 5], 1e-4)


def test_a_training_that_did_not_work_has_no_final_loss():
    assert trainings.final([2.0, 1.0], diverged=False) == 1.0
    assert trainings.final([2.0, 3.0], diverged=False) == math.inf
    assert trainings.final([2.0, 1.0], diverged=True) == math.inf


def test_losses_relative_to_the_variance_of_the_targets():
    assert trainings.unexplained([2.0, 1.0], 2.0) == [1.0, 0.5]  # the loss is half the squared error


def test_work_grows_with_epochs_and_weights():
    config = trainings.config(Part())
    assert trainings.seconds(config, 4) == 4 * trainings.seconds(config, 1)
    assert trainings.seconds(trainings.config(Part(), width=64), 1) > trainings.seconds(config, 1)
    assert trainings.memory(trainings.config(Part(), width=512)) > trainings.memory(config)


def test_gate_tables_are_counted_once_and_whole(monkeypatch):
    config = trainings.config(Part(), test_fraction=0.25)
    table = memory.table_bytes(config, 40)
    whole = trainings.memory(config)
    assert whole == training_memory(config, trainings.samples(config))
    monkeypatch.setattr(memory, "TABLE_BYTES", table // 4)
    monkeypatch.setattr(trainings, "TABLE_BYTES", table // 4)
    assert training_memory(config, trainings.samples(config)) < whole == trainings.memory(config)
