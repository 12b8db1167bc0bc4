"""Claims of ReLU and GReLU kernels: true on digits, and they follow the numbers."""

import copy

import pytest
from cases.experiments import findings_of

from gatentk.papers.grelu_conditioning import EXPERIMENT


def claims(settings, results):
    return {claim.source: claim.agrees for claim in findings_of(EXPERIMENT, settings, results).claims}


def test_on_digits_the_condition_number_of_grelu_is_below_that_of_relu_at_every_depth(settings, results):
    for depth in settings["depths"]:
        relu, grelu = (results[f"digits {a} depth {depth}"] for a in ("relu", "grelu"))
        assert relu["resolved"]
        assert grelu["resolved"]
        assert grelu["condition"] < relu["condition"]
        assert grelu["min_angle"] > relu["min_angle"]
    assert claims(settings, results)["infinite width"] is True


def test_better_conditioned_kernels_need_fewer_steps_here(settings, results):
    found = claims(settings, results)
    assert found["kernel regime"] is True
    assert found["finite width"] is True


def test_claims_follow_the_numbers(settings, results):
    changed = copy.deepcopy(results)
    changed["digits grelu depth 3"]["condition"] = 2 * changed["digits relu depth 3"]["condition"]
    changed["digits grelu depth 2"]["steps"] = changed["digits relu depth 2"]["steps"]
    for seed in range(2):
        changed[f"digits grelu depth 1 seed {seed}"]["condition_bound"] = 1e9
    found = claims(settings, changed)
    assert [found[source] for source in ("infinite width", "kernel regime", "finite width")] == [False] * 3


def test_condition_numbers_tend_to_their_limits_with_depth(settings, results):
    assert results["limit relu depth 10000"]["condition"] == pytest.approx(23 / 3, rel=0.02)
    assert results["limit grelu depth 10000"]["condition"] == pytest.approx(1, rel=0.02)
    (claim,) = [c for c in findings_of(EXPERIMENT, settings, results).claims if "tends to" in c.statement]
    assert claim.agrees is True
    for changed, agrees in (
        ({"limit grelu depth 10000": {"samples": 20, "condition": 1.5}}, False),
        ({"limit relu depth 100": {"samples": 20, "condition": 1e9}}, False),
        ({"limit relu depth 1": {"samples": 20, "condition": None}}, None),
    ):
        (claim,) = [c for c in findings_of(EXPERIMENT, settings, results | changed).claims if "tends to" in c.statement]
        assert claim.agrees is agrees


def test_an_unresolved_kernel_decides_nothing_unless_the_bound_does(settings, results):
    changed = copy.deepcopy(results)
    changed["digits grelu depth 3"] |= {"resolved": False, "condition": None}
    assert claims(settings, changed)["infinite width"] is None
    changed = copy.deepcopy(results)
    changed["digits relu depth 3"] |= {"resolved": False, "condition": None, "condition_bound": 1e14}
    assert claims(settings, changed)["infinite width"] is True
    assert len(findings_of(EXPERIMENT, settings, changed).draw()) == 2
