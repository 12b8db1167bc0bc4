"""Train MSE for pairs of depth and width; claims follow the numbers."""

import copy

import pytest
import torch
from cases.experiments import findings_of, plain_numbers, settings_of

from gatentk.errors import DataError
from gatentk.papers import image_regression
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = image_regression.EXPERIMENT
SMALL = {
    "config": {"data": "digits", "n": 60, "epochs": 3},
    "shapes": [[2, 16], [3, 16], [2, 24]],
    "factors": [0.3, 1.0],
    "seed": 0,
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def claims(results):
    return findings_of(EXPERIMENT, SMALL, results).claims


def test_mse_is_the_mean_over_samples_of_the_squared_error(results):
    config = settings_of(EXPERIMENT, SMALL).training("relu", depth=3, width=16)
    begun = image_regression.trainings.start(config, 0)
    with torch.no_grad():
        errors = begun.network(begun.train.x) - begun.train.targets
    assert errors.shape == (60, 10)
    expected = float(errors.square().sum(dim=1).mean())
    assert results["relu depth 3 width 16 factor 0.3"]["train"][0] == pytest.approx(expected, rel=1e-5)


def test_the_published_rate_is_tried_as_it_is(results):
    assert results["grelu depth 2 width 24 rate 0.0001"]["rate"] == 1e-4
    assert results["grelu depth 2 width 24 factor 0.3"]["stability"] == pytest.approx(0.3)
    assert len(results) == 3 * 2 * 3


def test_claims_follow_the_numbers(results):
    for ahead in ("grelu", "relu"):
        changed = copy.deepcopy(results)
        for key, numbers in changed.items():
            numbers |= {"train": [1.0, 0.1 if key.startswith(ahead) else 0.2], "diverged": False}
        assert [claim.agrees for claim in claims(changed)] == [ahead == "grelu"] * 2 + [False]
        for key, numbers in changed.items():
            if "depth 3" in key:
                numbers["train"][-1] /= 2
        assert claims(changed)[2].agrees is True
    changed["relu depth 2 width 16 rate 0.0001"]["diverged"] = True
    assert "width 16: diverged and" in claims(changed)[0].outcome


def test_findings_are_complete(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    assert [len(table.rows) for table in findings.tables] == [3, 18]
    assert all(len(row) == len(table.columns) for table in findings.tables for row in table.rows)
    assert [render(plot.figure, "svg")[:5] for plot in findings.draw()] == [b"<?xml"]


def test_the_published_size_needs_the_published_data():
    with pytest.raises(DataError, match="data_batch_1"):
        EXPERIMENT.settings(Scale(full=True))


def test_the_default_is_a_matter_of_minutes():
    settings = EXPERIMENT.settings(Scale())
    memory, seconds = EXPERIMENT.needs(settings)
    assert memory < 2e9
    assert 10 < seconds < 600
    keys = [cell.key for cell in EXPERIMENT.cells(settings)]
    assert len(set(keys)) == len(keys)
