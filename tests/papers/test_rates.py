"""Losses by learning rate, width and depth; claims follow the numbers."""

import copy
import re

import pytest
from cases.experiments import findings_of, plain_numbers

from gatentk.errors import DataError
from gatentk.papers import rates
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = rates.EXPERIMENT
SMALL = {
    "config": {
        "data": "friedman",
        "n": 60,
        "normalize": "standard",
        "width": 16,
        "depth": 2,
        "epochs": 3,
    },
    "widths": [8, 16],
    "depths": [1, 2],
    "factors": [0.1, 0.5, 1000.0],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def claims(results):
    return findings_of(EXPERIMENT, SMALL, results).claims


def test_both_networks_get_the_same_rates(results):
    assert len(results) == 3 * 2 * 2
    for width, depth in ((8, 2), (16, 2), (16, 1)):
        for seed in range(2):
            pair = [results[f"{m} width {width} depth {depth} seed {seed}"]["runs"] for m in ("grelu", "relu")]
            assert [r["rate"] for r in pair[0]] == [r["rate"] for r in pair[1]]
            assert pair[0][1]["rate"] == pytest.approx(5 * pair[0][0]["rate"])


def test_short_steps_lower_the_loss_and_long_ones_do_not(results):
    runs = results["grelu width 16 depth 2 seed 0"]["runs"]
    assert runs[0]["train"][-1] < runs[0]["train"][0]
    (claim, *_) = claims(results)
    assert re.search(r"0\.1: [\d.e-]+ and", claim.outcome)
    assert "1000: diverged and" in claim.outcome


def test_claims_follow_the_numbers(results):
    for ahead in ("grelu", "relu"):
        changed = copy.deepcopy(results)
        for key, numbers in changed.items():
            for r in numbers["runs"]:
                r |= {"train": [1.0, 0.1 if key.startswith(ahead) else 0.2], "diverged": False}
        assert [claim.agrees for claim in claims(changed)] == [ahead == "grelu"] * 3
    changed = copy.deepcopy(results)
    for numbers in changed.values():
        for r in numbers["runs"]:
            r["diverged"] = True
    assert claims(changed)[0].agrees is None


def test_findings_are_complete(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    (table,) = findings.tables
    assert len(table.rows) == len(results) * 3
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [render(plot.figure, "svg")[:5] for plot in findings.draw()] == [b"<?xml"] * 2


def test_the_published_size_needs_the_published_data():
    with pytest.raises(DataError, match="sgemm_product"):
        EXPERIMENT.settings(Scale(full=True))


def test_the_default_is_a_matter_of_minutes():
    settings = EXPERIMENT.settings(Scale())
    memory, seconds = EXPERIMENT.needs(settings)
    assert memory < 2e9
    assert 10 < seconds < 600
    keys = [cell.key for cell in EXPERIMENT.cells(settings)]
    assert len(set(keys)) == len(keys)
