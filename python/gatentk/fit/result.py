"""A finished fit: its scores, as JSON, and as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gatentk.fit.config import FitConfig
from gatentk.fit.record import DepthRecord, Outcome, chosen_pair
from gatentk.fit.samples import FitSamples
from gatentk.kernel_machines.trials import Columns, determination
from gatentk.reporting.text import csv_text, json_text
from gatentk.runs.results import with_digest

SCHEMA = "gatentk/fit/1"


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished fit with everything its files show.

    Attributes:
        config, samples: what was fitted.
        records: of all depths.
        outcome: the best fit and its predictions.
        environment: versions and hardware.
        command: what repeats it.
    """

    config: FitConfig
    samples: FitSamples
    records: Sequence[DepthRecord]
    outcome: Outcome
    environment: Mapping[str, Any]
    command: str

    @property
    def measure(self) -> str:
        """What scores are: "accuracy" for classes, "R^2" for numbers to predict."""
        return "R^2" if self.samples.classes is None else "accuracy"

    @cached_property
    def pair(self) -> tuple[int, int]:
        """Depth and ridge of the best fit by their numbers."""
        found = chosen_pair(self.records)
        assert found is not None
        return found

    @property
    def left_out_score(self) -> float:
        """Of the best pair, each train sample predicted by a fit to all others."""
        score = self.records[self.pair[0]].scores[self.pair[1]]
        assert score is not None
        return score

    @cached_property
    def left_out_error(self) -> float | None:
        """Root mean square error of the same, for numbers to predict."""
        if self.samples.classes is not None:
            return None
        return _root_mean_square(self.samples.y - self.left_out)

    @property
    def left_out(self) -> Tensor:
        """Leave-one-out predictions (n,): numbers, or numbers of classes."""
        return torch.tensor(self.outcome.left_out, dtype=self.samples.y.dtype)

    @cached_property
    def predicted(self) -> Tensor | None:
        """Predictions for the test samples (m,): numbers, or numbers of classes; None without test samples."""
        if self.samples.test_x is None:
            return None
        outputs = torch.tensor(self.outcome.outputs, dtype=torch.float64)
        if self.samples.classes is None:
            return outputs[:, 0]
        return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(dim=1)

    @cached_property
    def test_score(self) -> float | None:
        """Accuracy or R^2 on the test samples; None without targets, and of R^2 where all targets are the same."""
        y, predicted = self.samples.test_y, self.predicted
        if y is None or predicted is None:
            return None
        if self.samples.classes is not None:
            return float((y == predicted).double().mean())
        if bool((y == y[0]).all()):
            return None
        columns = Columns(y.unsqueeze(1), with_intercept=True)
        score = determination((y - predicted).unsqueeze(1) / columns.size, columns.scaled)
        return score if math.isfinite(score) else None

    @cached_property
    def test_error(self) -> float | None:
        """Root mean square error on the test samples, for numbers to predict."""
        y, predicted = self.samples.test_y, self.predicted
        if y is None or predicted is None or self.samples.classes is not None:
            return None
        return _root_mean_square(y - predicted)

    @cached_property
    def most_frequent(self) -> float | None:
        """Accuracy, on the test samples or else on the train samples, of always giving the most frequent class."""
        if self.samples.classes is None:
            return None
        y = self.samples.y if self.samples.test_y is None else self.samples.test_y
        return float((y == self.samples.y.bincount().argmax()).double().mean())

    def confusion(self) -> Tensor:
        """How many samples of each class (rows) were given each class (columns).

        Of the test samples, if they have targets, else of the train samples by leave-one-out.
        """
        y, predicted = self.samples.test_y, self.predicted
        if y is None or predicted is None:
            y, predicted = self.samples.y, self.left_out
        k = len(self.samples.labels)
        return (y * k + predicted).bincount(minlength=k * k).view(k, k)


def document_text(found: Fit) -> str:
    """Everything but single predictions, machine-readable; `null` where there is no value."""
    samples, outcome = found.samples, found.outcome
    outcomes = {
        name: value for name, value in asdict(outcome).items() if name not in ("left_out", "outputs", "deviations")
    }
    document = {
        "schema": SCHEMA,
        "command": found.command,
        "config": asdict(found.config),
        "data": {
            "name": samples.name,
            "test_name": samples.test_name or None,
            "train_samples": len(samples.x),
            "test_samples": samples.tests,
            "features": samples.x.shape[1] - samples.constant,
            "classes": samples.classes,
            "unseen_classes": list(samples.unseen),
            "normalize": samples.normalize,
            "constant": samples.constant,
            "duplicate_rows": samples.duplicates,
            "zero_rows": samples.zero_rows,
            "test_rows_among_train": samples.shared,
            "sha256": samples.digest,
        },
        "environment": dict(found.environment),
        "measure": found.measure,
        "best": outcomes,
        "leave_one_out": {"score": found.left_out_score, "rmse": found.left_out_error},
        "test": {"score": found.test_score, "rmse": found.test_error},
        "most_frequent_class": found.most_frequent,
        "confusion": None if samples.classes is None else found.confusion().tolist(),
        "depths": [asdict(record) for record in found.records],
    }
    return json_text(with_digest(document))


def scores_text(found: Fit) -> str:
    """A row a depth and ridge: score and mean squared error of leave-one-out, empty below the noise floor."""
    rows = (
        (record.depth, ridge, score, error)
        for record in found.records
        for ridge, score, error in zip(found.config.ridges, record.scores, record.errors, strict=True)
    )
    return csv_text(("depth", "ridge", "score", "error"), rows)


def predictions_text(found: Fit) -> str:
    """A row a test sample: its number in its data from 0, target if known, prediction, deviation or decision values."""
    samples, outcome = found.samples, found.outcome
    assert samples.test_rows is not None
    assert found.predicted is not None
    extra: Iterable[Sequence[float]]
    if samples.classes is None:
        names, extra = ["deviation"], ((value,) for value in outcome.deviations)
    else:
        several = len(samples.classes) > 2
        names = [f"decision {label}" for label in (samples.classes if several else samples.classes[1:])]
        extra = outcome.outputs
    targets = [None] * len(outcome.outputs) if samples.test_y is None else _shown(found, samples.test_y)
    rows = zip(samples.test_rows.tolist(), targets, _shown(found, found.predicted), extra, strict=True)
    return csv_text(("row", "target", "prediction", *names), ((*first, *values) for *first, values in rows))


def left_out_text(found: Fit) -> str:
    """A row a train sample: its number in its data from 0, its target, and what a fit to all others predicts."""
    samples = found.samples
    rows = zip(samples.rows.tolist(), _shown(found, samples.y), _shown(found, found.left_out), strict=True)
    return csv_text(("row", "target", "prediction"), rows)


def _shown(found: Fit, values: Tensor) -> list[Any]:
    """Numbers as they are, classes by their labels."""
    return values.tolist() if found.samples.classes is None else [found.samples.labels[k] for k in values.tolist()]


def _root_mean_square(values: Tensor) -> float | None:
    """Of residuals of any size; None where it is not finite."""
    size = float(values.abs().max()) or 1.0
    root = size * float((values / size).square().mean().sqrt())
    return root if math.isfinite(root) else None
