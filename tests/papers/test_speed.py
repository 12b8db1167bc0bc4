"""Times of tiny networks: that they are taken as described and what claims make of them, not how long they are."""

import copy
import math

import pytest
import torch

from gatentk.papers import speed
from gatentk.papers.experiment import Scale, run
from gatentk.reporting.figures import render

EXPERIMENT = speed.EXPERIMENT
SMALL = EXPERIMENT.settings(Scale()) | {
    "data": "digits",
    "depth": 2,
    "batch": 16,
    "rows": [1, 16],
    "widths": [32, 64],
    "rounds": 2,
    "agreement_samples": 60,
}


@pytest.fixture(scope="module")
def results():
    return {cell.key: numbers for cell, numbers in run(EXPERIMENT, SMALL, {})}


def with_times(results, factors):
    """Each variant as many times as fast as the dense network as `factors` has it, 1 for others."""
    changed = copy.deepcopy(results)
    for numbers in changed.values():
        for name in numbers.get("seconds", {}):
            numbers["seconds"][name] = [0.6 / factors.get(name, 1.0)] * SMALL["rounds"]
    return changed


def verdicts(results):
    return [claim.agrees for claim in EXPERIMENT.findings(SMALL, results).claims]


def test_every_variant_is_timed_in_every_round(results):
    for width in SMALL["widths"]:
        training = results[f"training width {width}"]
        assert set(training["seconds"]) == {"dense", *speed.TRAINING}
        counted = {rows: results[f"inference width {width} rows {rows}"] for rows in SMALL["rows"]}
        for cell, rounds in ((training, 2), (counted[1], 10), (counted[16], 2)):
            for seconds in cell["seconds"].values():
                assert len(seconds) == rounds
                assert min(seconds) > 0
        assert set(counted[1]["seconds"]) == {"dense", *speed.INFERENCE}


def test_variants_take_turns_after_a_call_that_is_not_counted():
    calls = []
    seconds = speed.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert [len(times) for times in seconds.values()] == [3, 3]


def test_the_ratio_is_the_median_of_ratios_of_the_same_round():
    # The machine was half as fast in the second round; a ratio of medians would be 2.
    assert speed.speedup({"dense": [1.0, 20.0, 3.0], "x": [1.0, 2.0, 3.0]}, "x") == 1.0
    assert speed.speedup({"dense": [4.0, 2.0, 8.0], "x": [1.0, 1.0, 2.0]}, "x") == 4.0


def test_networks_that_are_compared_are_the_same():
    x = speed.samples("digits", 8)
    gnet, rnet, table = speed._networks(x, 16, 2)
    for first, second in zip(gnet.weights, rnet.weights, strict=True):
        assert torch.equal(first, second)
    before = [weight.detach().clone() for weight in gnet.weights]
    speed._step(gnet, x, torch.zeros(8, speed.OUTPUTS), table)
    assert all(torch.equal(a, b) for a, b in zip(before, gnet.weights, strict=True))
    assert all(bool(weight.grad.any()) for weight in gnet.weights)


def test_skipping_inputs_changes_nothing_but_rounding(results):
    assert all(
        results[f"inference width {width} rows {rows}"]["difference"] < 1e-5
        for width in SMALL["widths"]
        for rows in SMALL["rows"]
    )


def test_numbers_that_are_not_times_are_those_of_the_seed(results):
    for cell in EXPERIMENT.cells(SMALL):
        if cell.arguments["kind"] == "agreement":
            assert EXPERIMENT.compute(SMALL, cell) == results[cell.key]


def test_agreement_is_above_coin_flipping_and_better_on_real_data(results):
    for width in SMALL["widths"]:
        for model in ("relu", "grelu"):
            found = results[f"agreement digits {model} width {width}"]
            assert found["rank"] == max(1, round(math.sqrt(width) / 2))
            assert all(0.6 < value <= 1 for value in found["agreement"])
            assert math.isfinite(found["error"])
        isotropic = results[f"agreement isotropic grelu width {width}"]
        assert isotropic["agreement"][0] < results[f"agreement digits grelu width {width}"]["agreement"][0]


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
def test_claims_about_times_follow_the_times(results, factors, expected):
    assert verdicts(with_times(results, factors))[:4] == expected


def test_faster_only_where_wide_does_not_agree(results):
    changed = with_times(results, {"grelu": 2.0})
    changed["training width 32"]["seconds"]["grelu"] = [0.9, 0.9]
    claim = EXPERIMENT.findings(SMALL, changed).claims[0]
    assert claim.agrees is False
    assert "0.67 (m = 32), 2.00 (m = 64)" in claim.outcome


def test_an_error_is_not_made_up_for_by_speed(results):
    changed = with_times(results, {"relu": 3.0})
    assert verdicts(changed)[1] is True
    changed["inference width 64 rows 16"]["difference"] = 0.01
    assert verdicts(changed)[1] is False


def test_claims_about_agreement_follow_it(results):
    assert verdicts(results)[5] is True
    changed = copy.deepcopy(results)
    changed["agreement isotropic grelu width 32"]["agreement"][0] = 1.0
    assert verdicts(changed)[5] is False


def test_figures_and_tables(results):
    findings = EXPERIMENT.findings(SMALL, results)
    for plot in findings.plots:
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_full_scale_states_what_it_takes():
    memory, seconds = EXPERIMENT.needs(EXPERIMENT.settings(Scale(full=True)))
    assert memory > 3 * 4 * 16384**2
    assert seconds > 600
