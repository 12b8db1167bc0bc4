"""What claims make of times and of agreement."""

import copy

import pytest
from cases.experiments import findings_of

from gatentk.papers.speed import EXPERIMENT


@pytest.fixture
def verdicts(small):
    return lambda results: [claim.agrees for claim in findings_of(EXPERIMENT, small, results).claims]


def with_times(results, factors):
    """Each variant as many times as fast as the dense network as `factors` has it, 1 for others."""
    changed = copy.deepcopy(results)
    for numbers in changed.values():
        for name in numbers.get("seconds", {}):
            numbers["seconds"][name] = [0.6 / factors.get(name, 1.0)] * 2
    return changed


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, [False, False, False, False]),
        ({"grelu": 2.0}, [True, False, True, False]),
        ({"relu": 1.5}, [False, True, False, False]),
        ({"grelu-new": 0.5, "grelu-low-rank": 0.8}, [False, False, False, True]),
        ({"grelu-new": 0.9, "grelu-low-rank": 0.8}, [False, False, False, False]),
    ],
)
def test_claims_about_times_follow_the_times(results, verdicts, factors, expected):
    assert verdicts(with_times(results, factors))[:4] == expected


def test_blocks_are_faster_only_at_every_width_and_with_gates_computed(results, verdicts):
    changed = copy.deepcopy(results)
    for key in ("blocks of 32 width 32", "blocks of 64 width 64"):
        for times in (changed[key]["training"], *changed[key]["inference"].values()):
            times["seconds"] = {"dense": [2.0] * 2, **dict.fromkeys(list(times["seconds"])[1:], [1.0] * 2)}
    assert verdicts(changed)[-1] is True
    changed["blocks of 64 width 64"]["inference"]["16"]["seconds"]["blocks-new"] = [3.0] * 2
    assert verdicts(changed)[-1] is False


def test_faster_only_where_wide_does_not_agree(results, small):
    changed = with_times(results, {"grelu": 2.0})
    changed["training width 32"]["seconds"]["grelu"] = [0.9, 0.9]
    claim = findings_of(EXPERIMENT, small, changed).claims[0]
    assert claim.agrees is False
    assert "0.67 (m = 32), 2.00 (m = 64)" in claim.outcome


def test_an_error_is_not_made_up_for_by_speed(results, verdicts):
    changed = with_times(results, {"relu": 3.0})
    assert verdicts(changed)[1] is True
    changed["inference width 64 rows 16"]["difference"] = 0.01
    assert verdicts(changed)[1] is False


def test_claims_about_agreement_follow_it(results, verdicts):
    assert verdicts(results)[5] is True
    changed = copy.deepcopy(results)
    changed["agreement isotropic grelu width 32"]["agreement"][0] = 1.0
    assert verdicts(changed)[5] is False
