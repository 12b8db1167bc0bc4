"""The switch from GReLU to ReLU: continuous for n <= m, and not beyond."""

import copy

import pytest
from cases.experiments import findings_of, plain_numbers

from gatentk.errors import DataError
from gatentk.papers import switch
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = switch.EXPERIMENT
SMALL = {
    "config": {
        "data": "digits",
        "n": 90,
        "test_fraction": 1 / 3,
        "width": 128,
        "depth": 2,
        "epochs": 4,
        "switch": 2,
    },
    "narrow": [32],
    "augment": None,
    "factor": 0.5,
    "seed": 0,
    "train_samples": 60,
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def claims(results):
    return findings_of(EXPERIMENT, SMALL, results).claims


def test_the_train_loss_is_continuous_for_no_more_samples_than_neurons(results):
    found = results["switched width 128"]["switch"]
    assert found["train_loss_after"] == pytest.approx(found["train_loss_before"], rel=1e-4)
    assert [fit["rank"] for fit in found["report"]["layers"]] == [60, 60]
    assert [claim.agrees for claim in claims(results)[:2]] == [True, True]


def test_it_jumps_for_more_samples_than_neurons(results):
    found = results["switched width 32"]["switch"]
    assert abs(found["train_loss_after"] / found["train_loss_before"] - 1) > 1e-3
    assert claims(results)[-1].agrees is True


def test_until_the_switch_the_training_is_that_of_grelu(results):
    switched, plain = results["switched width 128"], results["grelu width 128"]
    assert switched["train"][:3] == plain["train"][:3]
    assert switched["train"][3:] != plain["train"][3:]
    assert plain["switch"] is None
    assert len(plain["test"]) == 5


def test_claims_follow_the_numbers(results):
    changed = copy.deepcopy(results)
    found = changed["switched width 128"]["switch"]
    found["train_loss_after"] = found["train_loss_before"] * (1 + 2e-4)
    found["report"]["layers"][1]["residual"] = 0.1
    changed["switched width 128"]["train"][-1] = 2 * found["train_loss_before"]
    narrow = changed["switched width 32"]["switch"]
    narrow["train_loss_after"] = narrow["train_loss_before"]
    continuity, values, _, after, too_many = claims(changed)
    assert [c.agrees for c in (continuity, values, after, too_many)] == [False] * 4

    for shift in (-0.1, 0.1):
        found["test_loss_after"] = found["test_loss_before"] + shift
        assert claims(changed)[2].agrees is (shift < 0)


def test_findings_are_complete(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    assert all(len(row) == len(table.columns) for table in findings.tables for row in table.rows)
    assert [len(table.rows) for table in findings.tables] == [2, 4]
    assert [render(plot.figure, "svg")[:5] for plot in findings.draw()] == [b"<?xml"] * 2


def test_a_training_that_diverges_before_the_switch_decides_nothing(results):
    changed = copy.deepcopy(results)
    changed["switched width 128"] |= {"switch": None, "diverged": True}
    assert [claim.agrees for claim in claims(changed)[:4]] == [None, None, None, False]


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
