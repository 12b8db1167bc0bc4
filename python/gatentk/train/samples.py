"""What a training works on: data that are split, scaled and turned into targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gatentk import data
from gatentk.data.loading import CLASS_LIMIT, lacks_y, too_many_classes
from gatentk.data.rows import split_rows as drawn_rows
from gatentk.errors import TrainingError
from gatentk.gates import GateTable
from gatentk.runs.identity import array_digest
from gatentk.scaling import standard_columns, unit_rows
from gatentk.train import config as names
from gatentk.train.config import TrainingConfig
from gatentk.train.targets import TargetScale, target_scale

BLOCK_ROWS = 2048  # samples that go through the network at a time where gradients or losses are added up
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in names.DTYPES}


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one side of the split, with what a loss compares outputs with.

    Attributes:
        x: (n, d).
        targets: what the loss takes: (n, d_out) numbers, or (n,) classes for cross-entropy.
        classes: (n,) numbers of the classes; None for regression.
        gates: of x, for a GReLU network.
        scale: how the targets came from given numbers; None for classes, and where they are as given.
    """

    x: Tensor
    targets: Tensor
    classes: Tensor | None
    gates: GateTable | None = None
    scale: TargetScale | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor) -> Split:
        """Some of the samples, by their numbers."""
        return Split(
            self.x[rows],
            self.targets[rows],
            None if self.classes is None else self.classes[rows],
            None if self.gates is None else self.gates[rows],
            self.scale,
        )

    def blocks(self) -> Iterator[Split]:
        """All samples in their order, at most 2048 at a time."""
        if len(self) <= BLOCK_ROWS:
            yield self  # and not a copy, whose gates would lack the plans built before
            return
        for rows in torch.split(torch.arange(len(self)), BLOCK_ROWS):
            yield self.take(rows)


@dataclass(frozen=True, eq=False)
class TrainingSamples:
    """What a training works on.

    Attributes:
        train, test: the split; test is None without one.
        name: of the data set.
        outputs: of the network: the number of classes, or 1 for regression.
        classes: labels in the order of the outputs; None for regression.
        zero_rows: samples that are all zero, whose outputs are zero whatever is learnt.
        shuffled: all rows of train in random order; estimates use the first of them.
        digest: SHA-256 of the data.
        note: in a line, what was guessed of the data's file; empty if nothing was.
        normalize: how the features were scaled, as `TrainingConfig.normalize` but not "auto".
    """

    train: Split
    test: Split | None
    name: str
    outputs: int
    classes: tuple[int, ...] | None
    zero_rows: int
    shuffled: Tensor
    digest: str
    note: str = ""
    normalize: str = "unit"

    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs (n, d_out) of a network in the units of the data: as they are, or by `TargetScale.given`."""
        return outputs if self.train.scale is None else self.train.scale.given(outputs)


def prepare_training(config: TrainingConfig) -> TrainingSamples:
    """Load the data, split it and scale the features.

    Raises:
        DataError, TypeError, ValueError: as `gatentk.data.load`.
        TrainingError: there is nothing to learn, or the loss does not fit the labels.
    """
    dataset = data.load(
        config.data,
        n=config.n,
        seed=config.data_seed,
        path=config.path,
        label=config.label,
        index=config.index,
        header=config.header,
    )
    if dataset.y is None:
        raise TrainingError(lacks_y(dataset, "labels to learn"))
    classes = None if dataset.y.is_floating_point() else _classes(dataset.name, dataset.y)
    if classes is None and config.loss == "cross-entropy":
        raise TrainingError(f"{dataset.name} has real targets, and cross-entropy needs classes; use loss=square")
    train_rows, test_rows = split_rows(config, len(dataset.x), dataset.name)
    normalize = config.normalize
    if normalize == "auto":
        normalize = "standard" if classes is None else "unit"
    x = normalised(dataset.x, normalize, train_rows).to(DTYPES[config.dtype])
    whole = _with_targets(config, x, dataset.y, classes, train_rows)
    train = whole.take(train_rows)
    return TrainingSamples(
        train=train,
        test=whole.take(test_rows) if len(test_rows) else None,
        name=dataset.name,
        outputs=1 if classes is None else len(classes),
        classes=classes,
        zero_rows=int((~(train.x != 0).any(dim=1)).sum()),
        shuffled=torch.from_numpy(np.random.default_rng((config.data_seed, 4)).permutation(len(train))),
        digest=array_digest(dataset.x.numpy(), dataset.y.numpy()),
        note=dataset.note,
        normalize=normalize,
    )


def _classes(name: str, labels: Tensor) -> tuple[int, ...]:
    classes = tuple(torch.unique(labels).tolist())
    if len(classes) < 2:
        raise TrainingError(f"{name}: expected at least two classes, all labels are {classes[0]}")
    if len(classes) > CLASS_LIMIT:
        raise TrainingError(too_many_classes(name, len(classes)))
    return classes


def split_rows(config: TrainingConfig, n: int, name: str) -> tuple[Tensor, Tensor]:
    """Rows for training, in the order of the data, and for testing."""
    count = round(config.test_fraction * n)
    if config.test_fraction > 0 and not 0 < count < n:
        raise TrainingError(f"test_fraction={config.test_fraction:g}: {name} has {n} samples, {count} would be tests")
    return drawn_rows(n, count, config.data_seed)


def normalised(x: Tensor, normalize: str, train_rows: Tensor) -> Tensor:
    """Features as `TrainingConfig.normalize` says; all-zero rows and constant features stay zero."""
    if normalize == "unit":
        return unit_rows(x)
    if normalize == "standard":
        return standard_columns(x, train_rows)
    return x


def _with_targets(
    config: TrainingConfig, x: Tensor, y: Tensor, classes: tuple[int, ...] | None, train_rows: Tensor
) -> Split:
    if classes is None:
        given = y.unsqueeze(1)
        if config.targets == "none":
            return Split(x, given.to(x.dtype), None)
        scale = target_scale(given[train_rows], x[train_rows], config.width)
        return Split(x, scale.learnt(given).to(x.dtype), None, scale=scale)
    numbers = torch.searchsorted(torch.tensor(classes), y)
    if config.loss == "cross-entropy":
        return Split(x, numbers, numbers)
    return Split(x, torch.nn.functional.one_hot(numbers, len(classes)).to(x.dtype), numbers)
