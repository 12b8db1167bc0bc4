"""What is claimed of kernels by depth: theorems on tiny data, and claims that can fail."""

from itertools import pairwise

from cases.conditioning import change, claim, point
from cases.experiments import findings_of

from gatentk.papers.conditioning import EXPERIMENT
from gatentk.reporting.figures import render


def test_condition_number_falls_and_angle_grows_at_every_step_on_synthetic_data(settings, numbers):
    points = [point(numbers, depth) for depth in range(1, 11)]
    assert all(p["resolved"] for p in points)
    assert all(b["condition"] < a["condition"] for a, b in pairwise(points))
    assert all(b["angle"] > a["angle"] for a, b in pairwise(points))
    assert claim(settings, numbers, "On synthetic", "falls with depth").agrees is True
    assert claim(settings, numbers, "On synthetic", "grows with depth").agrees is True


def test_more_samples_than_features_leave_linear_networks_unresolved(settings, numbers):
    assert not any(point(numbers, depth, "linear")["resolved"] for depth in range(11))
    found = claim(settings, numbers, "On synthetic", "than linear networks")
    assert found.agrees is True  # a bound above is enough
    assert "≥" in found.outcome


def test_claims_follow_the_numbers(settings, altered):
    worse = point(altered, 5)
    change(worse, "condition", 1e3 * worse["condition"])
    assert claim(settings, altered, "On synthetic", "falls with depth").agrees is False
    assert claim(settings, altered, "On synthetic", "grows with depth").agrees is True
    change(worse, "angle", 1e-3)
    assert claim(settings, altered, "On synthetic", "grows with depth").agrees is False
    assert claim(settings, altered, "On synthetic", "than linear networks").agrees is False


def test_an_unresolved_value_leaves_a_claim_open(settings, altered):
    # As a bound it may hide anything above it.
    point(altered, 10)["resolved"] = False
    assert claim(settings, altered, "On synthetic", "falls with depth").agrees is None
    assert claim(settings, altered, "On synthetic", "than linear networks").agrees is None


def test_a_bound_above_contradicts(settings, altered):
    last = point(altered, 10)
    change(last, "condition", 1e15)
    last["resolved"] = False
    assert claim(settings, altered, "On synthetic", "falls with depth").agrees is False


def test_finite_width_claim_follows_the_numbers(settings, altered):
    before = claim(settings, altered, "width 48", "synthetic").outcome
    points = {depth: altered[f"synthetic subset finite relu depth {depth}"]["points"][0] for depth in range(1, 11)}
    for depth, p in points.items():
        change(p, "condition", 100.0 - depth)
        change(p, "angle", 50.0 + depth)
        p["resolved"] = True
    good = claim(settings, altered, "width 48", "synthetic")
    assert good.agrees is True
    assert good.outcome != before
    change(points[4], "angle", 1.0)
    assert claim(settings, altered, "width 48", "synthetic").agrees is False
    points[4]["angle_high"] = 60.0  # some seed has a larger angle than some seed one layer before
    assert claim(settings, altered, "width 48", "synthetic").agrees is None
    points[4]["angle"] = None
    assert claim(settings, altered, "width 48", "synthetic").agrees is None


def test_figures_render_and_tables_are_rectangular(settings, numbers):
    findings = findings_of(EXPERIMENT, settings, numbers)
    assert [plot.name for plot in findings.draw()] == [
        "conditioning-synthetic",
        "conditioning-digits",
        "conditioning-by-width",
    ]
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "Left out: fashion-mnist" in findings.remarks[0]


def test_mini_batches_have_a_finite_condition_number(settings, numbers):
    assert settings["sets"]["synthetic"]["batch"] == 2
    assert settings["sets"]["digits"]["batch"] == 32
    for name in ("synthetic", "digits"):
        assert all(point(numbers, depth, "linear", name, "batches")["resolved"] for depth in range(11))
    # Two samples in a batch: [S, Thm 5.2] for the pairs that are close, and so for the mean here.
    means = [point(numbers, depth, part="batches")["condition"] for depth in range(1, 11)]
    assert claim(settings, numbers, "mini-batches of synthetic").agrees is (
        means == sorted(means, reverse=True)
        and all(mean < point(numbers, 1, "linear", part="batches")["condition"] for mean in means)
    )
