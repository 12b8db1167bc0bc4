"""GReLU kernels beside ReLU kernels: what must come out on digits, and claims that follow the numbers."""

import copy
import math

import numpy as np
import pytest
import torch
from cases.experiments import defaults, findings_of, plain_numbers

from gatentk import ntk
from gatentk.errors import DataError
from gatentk.papers import grelu_conditioning
from gatentk.papers.frame.experiment import Scale
from gatentk.reporting.figures import render

EXPERIMENT = grelu_conditioning.EXPERIMENT
SMALL = {
    "samples": {"digits": 150},
    "paths": {},
    "missing": {},
    "depths": [1, 2, 3, 5, 10],
    "width": 256,
    "finite_samples": 30,
    "finite_depths": [1, 3],
    "seeds": 2,
    "target": 0.01,
    "limit": {"data": "synthetic", "n": 20, "depths": [1, 100, 10_000]},
}


@pytest.fixture(scope="module")
def results():
    return plain_numbers(EXPERIMENT, SMALL)


def claims(results):
    return {claim.source: claim.agrees for claim in findings_of(EXPERIMENT, SMALL, results).claims}


def test_on_digits_the_condition_number_of_grelu_is_below_that_of_relu_at_every_depth(results):
    for depth in SMALL["depths"]:
        relu, grelu = (results[f"digits {a} depth {depth}"] for a in ("relu", "grelu"))
        assert relu["resolved"]
        assert grelu["resolved"]
        assert grelu["condition"] < relu["condition"]
        assert grelu["min_angle"] > relu["min_angle"]
    assert claims(results)["infinite width"] is True


def test_condition_numbers_are_those_of_all_eigenvalues(results):
    x, _ = grelu_conditioning.unit_rows("digits", 150, 0)
    for activation in ("relu", "grelu"):
        values = torch.linalg.eigvalsh(ntk.infinite(x, depth=2, activation=activation))
        assert results[f"digits {activation} depth 2"]["condition"] == pytest.approx(float(values[-1] / values[0]))


def test_close_samples_are_told_apart_better_with_depth(results):
    for activation in ("relu", "grelu"):
        angles = [results[f"digits {activation} depth {depth}"]["min_angle"] for depth in SMALL["depths"]]
        assert angles == sorted(angles)


def test_unit_rows_are_unit_rows_without_repetitions():
    x, targets = grelu_conditioning.unit_rows("digits", 150, 0)
    assert torch.allclose(x.norm(dim=1), torch.ones(len(x), dtype=torch.float64))
    assert len(torch.unique(x, dim=0)) == len(x)
    assert targets.shape == (len(x), 10)
    assert float(targets.square().mean()) == pytest.approx(1)
    assert torch.allclose(targets.mean(dim=0), torch.zeros(10, dtype=torch.float64), atol=1e-12)


def test_better_conditioned_kernels_need_fewer_steps_here(results):
    found = claims(results)
    assert found["kernel regime"] is True
    assert found["finite width"] is True


def test_claims_follow_the_numbers(results):
    changed = copy.deepcopy(results)
    changed["digits grelu depth 3"]["condition"] = 2 * changed["digits relu depth 3"]["condition"]
    changed["digits grelu depth 2"]["steps"] = changed["digits relu depth 2"]["steps"]
    for seed in range(2):
        changed[f"digits grelu depth 1 seed {seed}"]["condition_bound"] = 1e9
    found = claims(changed)
    assert [found[source] for source in ("infinite width", "kernel regime", "finite width")] == [False] * 3


def test_condition_numbers_tend_to_their_limits_with_depth(results):
    assert results["limit relu depth 10000"]["condition"] == pytest.approx(23 / 3, rel=0.02)
    assert results["limit grelu depth 10000"]["condition"] == pytest.approx(1, rel=0.02)
    (claim,) = [c for c in findings_of(EXPERIMENT, SMALL, results).claims if "tends to" in c.statement]
    assert claim.agrees is True
    for changed, agrees in (
        ({"limit grelu depth 10000": {"samples": 20, "condition": 1.5}}, False),
        ({"limit relu depth 100": {"samples": 20, "condition": 1e9}}, False),
        ({"limit relu depth 1": {"samples": 20, "condition": None}}, None),
    ):
        (claim,) = [c for c in findings_of(EXPERIMENT, SMALL, results | changed).claims if "tends to" in c.statement]
        assert claim.agrees is agrees


def test_an_unresolved_kernel_decides_nothing_unless_the_bound_does(results):
    changed = copy.deepcopy(results)
    changed["digits grelu depth 3"] |= {"resolved": False, "condition": None}
    assert claims(changed)["infinite width"] is None
    changed = copy.deepcopy(results)
    changed["digits relu depth 3"] |= {"resolved": False, "condition": None, "condition_bound": 1e14}
    assert claims(changed)["infinite width"] is True
    assert len(findings_of(EXPERIMENT, SMALL, changed).draw()) == 1


def test_figures_and_table(results):
    findings = findings_of(EXPERIMENT, SMALL, results)
    assert len(findings.draw()) == 1
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    (table,) = findings.tables
    assert len(table.rows) == len(results) - 6  # without those of the limit
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert all(math.isfinite(value) for row in table.rows for value in row if isinstance(value, float))


def test_features_that_the_user_brings(tmp_path):
    path = tmp_path / "speech.npy"
    x = np.random.default_rng(0).standard_normal((12, 5))
    x[3], x[4] = 0, x[5]
    np.save(path, x)
    settings = defaults(EXPERIMENT, Scale(full=True, paths={"librispeech": path}))
    assert settings["samples"]["librispeech"] == 5000
    assert settings["missing"].keys() >= {"svhn", "cifar10"}
    settings |= {"samples": {"librispeech": 5000}, "depths": [1, 2], "width": 32, "finite_samples": 6}
    settings |= {"finite_depths": [1], "seeds": 2}
    results = plain_numbers(EXPERIMENT, settings)
    assert results["librispeech relu depth 1"]["samples"] == 10  # without the zero row and the repetition
    assert results["librispeech relu depth 1"]["steps"] is None
    findings = findings_of(EXPERIMENT, settings, results)
    assert [claim.agrees for claim in findings.claims if claim.source == "kernel regime"] == [None]
    assert any("svhn" in remark for remark in findings.remarks)
    with pytest.raises(DataError, match="data_batch_1"):
        EXPERIMENT.settings(Scale(full=True, paths={"cifar10": tmp_path}))


def test_the_default_covers_every_depth_up_to_ten():
    settings = EXPERIMENT.settings(Scale())
    assert settings.depths == tuple(range(1, 11))
    assert settings.samples == {"digits": 1797, "synthetic": 2000}
    memory, seconds = EXPERIMENT.needs(settings)
    assert 8 * 2000**2 < memory < 1e9
    assert 10 < seconds < 600
