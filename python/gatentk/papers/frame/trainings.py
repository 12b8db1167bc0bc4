"""Trainings as cells of an experiment: samples loaded once, loss curves as plain numbers, expected work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

from gatentk import train
from gatentk.convert import ConversionReport
from gatentk.runs.plain import ABSENT, from_json
from gatentk.scaling import exponents, times_power_of_two
from gatentk.train import Run, Split, Start, TrainingConfig, TrainingSamples
from gatentk.train.learning_rates import largest_eigenvalue as tangent_eigenvalue
from gatentk.train.memory import TABLE_BYTES, table_bytes

# What two cores of a laptop do: dense float32 products, memory traffic, and what a small layer costs in a step.
FLOPS = 6e10
BYTES_PER_SECOND = 5e9
LAYER_SECONDS = 1e-3

# Experiments take samples, targets and rates as the papers do.
PLAIN: dict[str, Any] = {"normalize": "unit", "targets": "none", "schedule": "constant", "switch_ridge": 0.0}


@dataclass(frozen=True)
class Switch:
    """Mean losses before and after a GReLU network becomes a ReLU network, the rate from there on, and the fit."""

    train_loss_before: float
    train_loss_after: float | None
    test_loss_before: float | None
    test_loss_after: float | None
    rate: float
    report: ConversionReport


@dataclass(frozen=True)
class Curve:
    """What came of a training.

    Attributes:
        train, test: mean losses by epoch, the start first; `test` is empty without a test split.
        accuracy: on the test split.
        diverged: a loss was not finite, which ends the lists.
        switch: where one was made.
    """

    train: list[float]
    test: list[float]
    accuracy: list[float]
    diverged: bool
    switch: Switch | None


def config(part: Any, **changes: Any) -> TrainingConfig:
    """The training of which an experiment's settings hold a part.

    Args:
        part: a dataclass whose fields are called as those of `TrainingConfig`.
        changes: other fields, and what replaces those of `part`. A rate that is not known yet is 1, so that none is
            searched.
    """
    given = {field.name: getattr(part, field.name) for field in fields(part)}
    return TrainingConfig(
        **PLAIN | {"rates": (1.0,)} | {name: value for name, value in given.items() if value is not ABSENT} | changes
    )


def samples(config: TrainingConfig, spread: float | None = None) -> TrainingSamples:
    """`gatentk.train.prepare_training`, which depends on a part of the configuration only and is done once for it.

    Args:
        config: of the training.
        spread: scale real targets to mean 0 and this standard deviation on the train samples.
    """
    kept = ("data", "path", "n", "data_seed", "test_fraction", "normalize", "targets", "loss", "dtype")
    return _samples(TrainingConfig(**{name: getattr(config, name) for name in kept}), spread)


@lru_cache(maxsize=2)
def _samples(config: TrainingConfig, spread: float | None) -> TrainingSamples:
    if spread is None:
        return train.prepare_training(config)
    plain = _samples(config, None)
    extreme = exponents(plain.train.targets, 0)
    power = 0 if extreme is None else extreme
    targets = times_power_of_two(plain.train.targets, power)
    mean, deviation = targets.mean(), targets.std(correction=0)

    def scaled(split: Split) -> Split:
        return replace(split, targets=(times_power_of_two(split.targets, power) - mean) * (spread / deviation))

    return replace(plain, train=scaled(plain.train), test=None if plain.test is None else scaled(plain.test))


def target_spread(config: TrainingConfig) -> float:
    """A third of m/sqrt(d_x): targets of normal size stay within [G]'s |y| <= m/d_x for samples of norm 1.

    Standardised samples have norm sqrt(d_x), and the outputs of a network are of size sqrt(2 m) at the start: much
    smaller targets would be fitted by removing those, and nothing else would have to change.
    """
    return config.width / (3 * math.sqrt(samples(config).train.x.shape[1]))


def start(config: TrainingConfig, seed: int, spread: float | None = None) -> Start:
    """The untrained network of a seed with its samples."""
    prepared = samples(config, spread)
    return train.begin(config, prepared, seed, train.build(config, prepared, seed))


def largest_eigenvalue(begun: Start) -> float:
    """The largest eigenvalue of K / n, K the tangent kernel of up to 256 train samples, to more digits than needed."""
    return tangent_eigenvalue(begun.network, begun.train, begun.shuffled, iterations=50)


def curve(run: Run, epochs: int, target: float | None = None) -> tuple[Curve, list[dict[str, Any]]]:
    """Losses and diagnostics by epoch, the start first; no diagnostics where the run measures none.

    Args:
        run, epochs: what to train.
        target: stop when the train loss is at most this share of that at the start, or has been the same for five
            epochs, as that of a network whose neurons have all died.
    """
    record = Curve([], [], [], False, None)
    measured: list[dict[str, Any]] = []
    for epoch in run.epochs(epochs):
        if epoch.train_loss is None:
            return replace(record, diverged=True), measured
        record.train.append(epoch.train_loss)
        if epoch.test_loss is not None:
            record.test.append(epoch.test_loss)
        if epoch.test_accuracy is not None:
            record.accuracy.append(epoch.test_accuracy)
        if run.monitor is not None:
            measured.append(epoch.diagnostics)
        if epoch.switch is not None:
            record = replace(record, switch=from_json(Switch, epoch.switch, "switch"))
        if target is not None and _is_settled(record.train, target):
            break
    return record, measured


def _is_settled(losses: Sequence[float], target: float) -> bool:
    return losses[-1] <= target * losses[0] or (len(losses) > 5 and len(set(losses[-6:])) == 1)


def unexplained(losses: Sequence[float], spread: float) -> list[float]:
    """Losses as mean squared errors relative to the variance of the targets: 1 is that of their mean."""
    return [2 * loss / spread**2 for loss in losses]


def final(losses: Sequence[float], diverged: bool) -> float:
    """The last train loss; infinite where the training diverged or ended above its start."""
    return float(losses[-1]) if not diverged and losses[-1] <= losses[0] else math.inf


def memory(config: TrainingConfig) -> int:
    """Peak bytes of one training that keeps gate tables in memory; of large ones a run in a folder keeps files."""
    prepared = samples(config)
    tables = table_bytes(config, len(prepared.train))
    tables += 0 if prepared.test is None else table_bytes(config, len(prepared.test))
    counted = min(tables, 2 * TABLE_BYTES)
    return train.training_memory(replace(config, rates=(1.0,)), prepared) + tables - counted


def seconds(config: TrainingConfig, epochs: int) -> float:
    """Expected time of one training on two cores: forward and backward passes, steps, and the losses after each epoch.

    Eight operations a weight and sample are six for a step and two for the loss; in a step every weight or its gradient
    is read or written eight times.
    """
    n, d = samples(config).train.x.shape
    weights = config.depth * config.width**2 + config.width * d
    steps = 1 if config.batch is None else math.ceil(n / config.batch)
    size = train.DTYPES[config.dtype].itemsize
    step = 8 * weights * size / BYTES_PER_SECOND + config.depth * LAYER_SECONDS
    return epochs * (8 * n * weights * size / 4 / FLOPS + steps * step)
