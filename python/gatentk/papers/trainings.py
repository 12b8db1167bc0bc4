"""Trainings as cells of an experiment: samples loaded once, loss curves as plain numbers, expected work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from gatentk import train
from gatentk.errors import DataError
from gatentk.ops import row_bytes
from gatentk.papers.experiment import Numbers, Scale, Settings
from gatentk.reporting import style
from gatentk.train import Config, Run, Samples, Split, Start
from gatentk.train.rates import largest_eigenvalue as tangent_eigenvalue

Found = TypeVar("Found")

NAMES = {"grelu": "GReLU", "relu": "ReLU"}
COLOURS = {"grelu": style.ORANGE, "relu": style.BLUE}

# What two cores of a laptop do: dense float32 products, memory traffic, and what a small layer costs in a step.
FLOPS = 6e10
BYTES_PER_SECOND = 5e9
LAYER_SECONDS = 1e-3


def config(settings: Settings, **changes: Any) -> Config:
    """The training of `settings["config"]` with some fields changed.

    Rates and diagnostics, lists in JSON, become tuples. A rate that is not known yet is 1, so that none is searched.
    """
    fields: dict[str, Any] = {"rates": (1.0,), **settings["config"], **changes}
    for name in ("rates", "diagnostics"):
        fields[name] = tuple(fields.get(name, ()))
    return Config(**fields)


def file(scale: Scale, name: str) -> str | None:
    """The user's file of a data set, as a setting."""
    path = scale.paths.get(name)
    return None if path is None else str(path)


def cifar10(scale: Scale) -> Settings:
    """Data and path of CIFAR-10: the binary version, or the pickled one where the user names that."""
    name = "cifar10-pickle" if "cifar10-pickle" in scale.paths else "cifar10"
    return {"data": name, "path": file(scale, name)}


def source(name: str, path: Path | str | None) -> str:
    """What `gatentk.data.load` calls a data set; the user's arrays may stand for speech features and for MNIST."""
    return "npy" if name == "librispeech" or (name == "mnist" and path is not None) else name


def present(
    names: Iterable[str], scale: Scale, find: Callable[[str, Path | None], Found], brought: Mapping[str, str]
) -> tuple[dict[str, Found], dict[str, str]]:
    """What is found of the data sets that are there, and what the others need.

    Args:
        names: of the data sets.
        scale: with the user's files.
        find: gets a name and a path.
        brought: what those data sets need that are never there without a path.

    Raises:
        DataError: a path was given, and there is no such data set.
    """
    found, missing = {}, {}
    for name in names:
        path = scale.paths.get(name)
        if path is None and name in brought:
            missing[name] = brought[name]
            continue
        try:
            found[name] = find(name, path)
        except DataError as error:
            if path is not None:
                raise
            missing[name] = str(error)
    return found, missing


def left_out(settings: Settings) -> list[str]:
    """Remarks on the data sets that are not there."""
    return [f"Left out: {name}. It needs {what}." for name, what in settings["missing"].items()]


def samples(config: Config, spread: float | None = None) -> Samples:
    """`gatentk.train.prepare`, which depends on a part of the configuration only and is done once for it.

    Args:
        config: of the training.
        spread: scale real targets to mean 0 and this standard deviation on the train samples.
    """
    kept = ("data", "path", "n", "data_seed", "test_fraction", "normalize", "loss", "dtype")
    return _samples(Config(**{name: getattr(config, name) for name in kept}), spread)


@lru_cache(maxsize=2)
def _samples(config: Config, spread: float | None) -> Samples:
    if spread is None:
        return train.prepare(config)
    found = _samples(config, None)
    mean, deviation = found.train.targets.mean(), found.train.targets.std(correction=0)

    def scaled(split: Split) -> Split:
        return replace(split, targets=(split.targets - mean) * (spread / deviation))

    return replace(found, train=scaled(found.train), test=None if found.test is None else scaled(found.test))


def target_spread(config: Config) -> float:
    """A third of m/sqrt(d_x): targets of normal size stay within [G]'s |y| <= m/d_x for samples of norm 1.

    Standardised samples have norm sqrt(d_x), and the outputs of a network are of size sqrt(2 m) at the start: much
    smaller targets would be fitted by removing those, and nothing else would have to change.
    """
    return config.width / (3 * math.sqrt(samples(config).train.x.shape[1]))


def start(config: Config, seed: int, spread: float | None = None) -> Start:
    """The untrained network of a seed with its samples."""
    found = samples(config, spread)
    return train.begin(config, found, seed, train.build(config, found, seed))


def largest_eigenvalue(begun: Start) -> float:
    """Of K / n, K the tangent kernel of (at most 256) train samples at the start, to more digits than a grid needs."""
    return tangent_eigenvalue(begun.network, begun.train, begun.shuffled, iterations=50)


def unexplained(numbers: Numbers, spread: float) -> Numbers:
    """A curve with losses as mean squared errors relative to the variance of the targets: 1 is that of their mean."""
    return numbers | {side: [2 * loss / spread**2 for loss in numbers[side]] for side in ("train", "test")}


def curve(run: Run, epochs: int, target: float | None = None) -> Numbers:
    """Losses by epoch, the start first.

    Args:
        run, epochs: what to train.
        target: stop when the train loss is at most this share of that at the start, or has been the same for five
            epochs, as that of a network whose neurons have all died.

    Returns:
        "train", "test" (empty without a test split), means over samples; "accuracy" on the test split; "diverged" where
        a loss was not finite, which ends the lists; "switch", what `Run` says of it; "diagnostics", a dict by epoch.
    """
    found: Numbers = {"train": [], "test": [], "accuracy": [], "diverged": False, "switch": None, "diagnostics": []}
    for record in run.epochs(epochs):
        if record.train_loss is None:
            found["diverged"] = True
            break
        found["train"].append(record.train_loss)
        if record.test_loss is not None:
            found["test"].append(record.test_loss)
        if record.test_accuracy is not None:
            found["accuracy"].append(record.test_accuracy)
        if run.monitor is not None:
            found["diagnostics"].append(record.diagnostics)
        found["switch"] = record.switch or found["switch"]
        if target is not None and _is_settled(found["train"], target):
            break
    return found


def _is_settled(losses: Sequence[float], target: float) -> bool:
    return losses[-1] <= target * losses[0] or (len(losses) > 5 and len(set(losses[-6:])) == 1)


def final(numbers: Numbers) -> float:
    """The last train loss; infinite where the training diverged or ended above its start."""
    losses = numbers["train"]
    return float(losses[-1]) if not numbers["diverged"] and losses[-1] <= losses[0] else math.inf


def memory(config: Config) -> int:
    """Peak bytes of one training; gate tables are kept in memory."""
    found = samples(config)
    tables = 0
    if config.model == "grelu":
        rows = len(found.train) + (0 if found.test is None else len(found.test))
        tables = (config.depth + 1) * rows * row_bytes(config.width)
    return train.memory_needed(replace(config, rates=(1.0,)), found) + tables


def seconds(config: Config, epochs: int) -> float:
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


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers; infinite if one of them is."""
    return math.exp(sum(math.log(max(v, 1e-300)) for v in values) / len(values)) if values else math.inf


def finite(value: float) -> float | None:
    """For tables: None where there is no number."""
    return value if math.isfinite(value) else None


def shades(count: int) -> list[Any]:
    """Colours from light to dark for an ordered quantity; readable on white."""
    import matplotlib as mpl

    return [mpl.colormaps["viridis_r"](0.12 + 0.82 * index / max(1, count - 1)) for index in range(count)]
