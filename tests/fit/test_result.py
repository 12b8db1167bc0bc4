"""Scores against scikit-learn, tables that are read back."""

import csv
import json

import numpy as np
import pytest
import torch
from cases.fits import finished, given, small, waves
from sklearn.metrics import accuracy_score, confusion_matrix, r2_score, root_mean_squared_error

from gatentk.fit.result import document_text, left_out_text, predictions_text, scores_text


@pytest.fixture(scope="module")
def classes():
    return finished(small(n=80))


def rows(text):
    return list(csv.DictReader(text.splitlines()))


def test_scores_are_those_of_their_names(numbers, classes):
    y, predicted = numbers.samples.test_y, numbers.predicted
    assert numbers.test_score == pytest.approx(r2_score(y, predicted), rel=1e-12)
    assert numbers.test_error == pytest.approx(root_mean_squared_error(y, predicted), rel=1e-12)
    assert numbers.left_out_score == pytest.approx(r2_score(numbers.samples.y, numbers.left_out), rel=1e-9)
    assert numbers.left_out_error == pytest.approx(
        root_mean_squared_error(numbers.samples.y, numbers.left_out), rel=1e-12
    )
    samples = classes.samples
    assert classes.test_score == accuracy_score(samples.test_y, classes.predicted)
    np.testing.assert_array_equal(
        classes.confusion(), confusion_matrix(samples.test_y, classes.predicted, labels=range(10))
    )
    most = samples.y.bincount().argmax()
    assert classes.most_frequent == (samples.test_y == most).double().mean()


@pytest.mark.parametrize("scale", [1e6, 1e-6, 1e200, 1e-300])
def test_the_unit_of_targets_does_not_matter(monkeypatch, scale, numbers):
    x, y = waves(40)
    z, w = waves(9, seed=1)
    other = finished(*given(monkeypatch, {"train": (x, scale * y), "test": (z, scale * w)}, test="test"))
    assert other.pair == numbers.pair
    assert other.test_score == pytest.approx(numbers.test_score, rel=1e-9)
    assert other.left_out_error == pytest.approx(scale * numbers.left_out_error, rel=1e-9)
    json.loads(document_text(other))


def test_constant_targets_and_classes_nobody_saw(monkeypatch):
    x, _ = waves(20)
    constant = finished(*given(monkeypatch, {"train": (x, np.full(20, 7.5))}))
    assert (constant.left_out_score, constant.test_score, constant.test_error) == (1.0, None, 0.0)
    test = (x[:3], np.array([5, 5, 0]))
    strange = finished(*given(monkeypatch, {"train": (x, np.arange(20) % 2), "test": test}, test="test"))
    assert strange.confusion().sum(dim=1).tolist() == [1, 0, 2]
    assert strange.test_score <= 1 / 3
    assert rows(predictions_text(strange))[0]["target"] == "5"


def test_tables_have_a_row_a_sample_and_a_row_a_pair(numbers, classes):
    table = rows(predictions_text(numbers))
    assert list(table[0]) == ["row", "target", "prediction", "deviation"]
    assert [float(row["prediction"]) for row in table] == numbers.predicted.tolist()
    assert [float(row["deviation"]) for row in table] == list(numbers.outcome.deviations)
    table = rows(predictions_text(classes))
    assert list(table[0]) == ["row", "target", "prediction", *(f"decision {k}" for k in range(10))]
    decisions = torch.tensor([[float(row[f"decision {k}"]) for k in range(10)] for row in table])
    assert [int(row["prediction"]) for row in table] == decisions.argmax(dim=1).tolist()
    assert [int(row["row"]) for row in table] == classes.samples.test_rows.tolist()
    assert [int(row["target"]) for row in rows(left_out_text(classes))] == classes.samples.y.tolist()
    assert [(int(row["depth"]), float(row["ridge"])) for row in rows(scores_text(classes))] == [
        (depth, ridge) for depth in (1, 3) for ridge in (0.1, 1e-3)
    ]


def test_everything_else_is_in_the_document(numbers):
    document = json.loads(document_text(numbers))
    assert document["schema"] == "gatentk/fit/1"
    assert document["measure"] == "R^2"
    assert document["best"]["depth"] == numbers.outcome.depth
    assert document["data"]["features"] == 3
    assert document["test"] == {"score": numbers.test_score, "rmse": numbers.test_error}
    assert [depth["depth"] for depth in document["depths"]] == [1, 3]
