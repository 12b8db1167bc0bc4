"""What changes by epoch: patterns of GReLU never, those of ReLU as measured; claims follow the numbers."""

import copy

import pytest
import torch
from cases.experiments import findings_of, plain_numbers, settings_of

from gatentk.errors import DataError
from gatentk.papers import dynamics
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = dynamics.EXPERIMENT
SMALL = {
    "config": {
        "data": "friedman",
        "n": 60,
        "normalize": "standard",
        "width": 32,
        "depth": 2,
        "epochs": 4,
        "diagnostics": ["gradient", "gradient_norm", "patterns", "dead", "shift"],
    },
    "factor": 0.3,
    "seeds": 2,
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def claims(results):
    return findings_of(EXPERIMENT, SMALL, results).claims


def test_patterns_of_grelu_never_change_and_no_neuron_dies(results):
    for seed in range(2):
        measured = results[f"grelu seed {seed}"]["diagnostics"]
        assert all(share == 0 for d in measured[1:] for share in d["patterns"])
        assert all(d["dead"] == measured[0]["dead"] for d in measured)
        relu = results[f"relu seed {seed}"]["diagnostics"]
        assert any(share > 0 for d in relu[1:] for share in d["patterns"])
    assert claims(results)[3].agrees is True
    assert claims(results)[4].agrees is True


def test_targets_are_centred_and_scaled(results):
    config = settings_of(EXPERIMENT, SMALL).training("grelu")
    spread = dynamics.trainings.target_spread(config)
    assert spread == pytest.approx(32 / 3 / 10**0.5)
    y = dynamics.trainings.samples(config, spread).train.targets
    assert float(y.mean()) == pytest.approx(0, abs=1e-5)
    assert float(y.square().mean()) == pytest.approx(spread**2, rel=1e-5)
    assert float(dynamics.trainings.samples(config).train.targets.mean()) > 5

    begun = dynamics.trainings.start(settings_of(EXPERIMENT, SMALL).training("relu"), 0, spread)
    with torch.no_grad():
        errors = begun.network(begun.train.x) - y
    assert results["relu seed 0"]["train"][0] == pytest.approx(float(errors.square().mean()) / spread**2, rel=1e-5)


def test_claims_follow_the_numbers(results):
    def altered(relu, grelu=()):
        changed = copy.deepcopy(results)
        for key, r in changed.items():
            for epoch, d in enumerate(r["diagnostics"]):
                d |= {name: value(epoch) for name, value in (relu if key.startswith("relu") else dict(grelu)).items()}
        return claims(changed)

    gradient = {"gradient": lambda epoch: None if epoch == 0 else 1e-9}
    assert altered(gradient)[0].agrees is False
    assert altered({}, gradient)[0].agrees is True
    for share, rising in ((0.2, 0.01), (0.3, -0.01)):
        found = altered({"patterns": lambda e, s=share, r=rising: None if e == 0 else [s + r * e] * 3})
        assert [found[1].agrees, found[2].agrees] == [share == 0.2, rising > 0]
    assert altered({}, {"patterns": lambda e: None if e == 0 else [0, 0.1, 0]})[3].agrees is False
    assert altered({}, {"dead": lambda e: [0.0, 0.1 * e, 0.0]})[4].agrees is False
    for shift in (0.01, 0.5):
        found = altered({"shift": lambda e: [1.0, 1.0, -1.0]}, {"shift": lambda e, s=shift: [9.0, s, -s]})
        assert found[5].agrees is (shift < 0.1)


def test_findings_are_complete(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    (table,) = findings.tables
    assert len(table.rows) == 2 * 2 * 5
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert [render(plot.figure, "svg")[:5] for plot in findings.draw()] == [b"<?xml"] * 2


def test_a_training_that_diverged_decides_nothing(results):
    changed = copy.deepcopy(results)
    changed["relu seed 1"]["diverged"] = True
    (claim,) = claims(changed)
    assert claim.agrees is None
    assert "relu seed 1" in claim.outcome


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
