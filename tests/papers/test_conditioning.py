"""Condition numbers by depth on tiny data: theorems, what stands for missing data, claims that can fail."""

import copy
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from gatentk import ntk, spectrum
from gatentk.errors import DataError
from gatentk.papers.conditioning import EXPERIMENT, LAPTOP, SPEED, describe, samples_of
from gatentk.papers.experiment import Cell, Scale, run
from gatentk.reporting.figures import render


@pytest.fixture(scope="module")
def settings():
    """Sixty points in five dimensions and forty digits, all depths."""
    sets = {"synthetic": describe("synthetic", 60, None, LAPTOP), "digits": describe("digits", 40, None, LAPTOP)}
    for chosen in sets.values():
        chosen["rows"] |= {"subset": 10, "batches": min(4, 40 // chosen["batch"]) * chosen["batch"]}
    return {
        "sets": sets,
        "missing": {"fashion-mnist": "a file"},
        "depths": list(range(11)),
        "width": 48,
        "seeds": 2,
        "by_width": {"set": "digits", "rows": 8, "depths": [1, 2], "widths": [16, 256]},
    }


@pytest.fixture(scope="module")
def numbers(settings):
    return {cell.key: found for cell, found in run(EXPERIMENT, settings, {})}


@pytest.fixture
def altered(numbers):
    """Numbers that a test may change."""
    return copy.deepcopy(numbers)


def claims(settings, numbers):
    return {claim.statement: claim for claim in EXPERIMENT.findings(settings, numbers).claims}


def claim(settings, numbers, *words):
    (found,) = [c for text, c in claims(settings, numbers).items() if all(word in text for word in words)]
    return found


def point(numbers, depth, activation="relu", name="synthetic", part="all"):
    """One depth of a line at infinite width, of single cells or of one for all depths."""
    points = [
        p
        for key, found in numbers.items()
        if key.startswith(f"{name} {part} infinite {activation} ")
        for p in found["points"]
        if p["depth"] == depth
    ]
    return points[0]


def change(point, quantity, value):
    """One network's value, so without a range."""
    point |= {quantity: value, f"{quantity}_low": value, f"{quantity}_high": value}


def test_condition_number_falls_and_angle_grows_at_every_step_on_synthetic_data(settings, numbers):
    points = [point(numbers, depth) for depth in range(1, 11)]
    assert all(p["resolved"] for p in points)
    assert all(b["condition"] < a["condition"] for a, b in pairwise(points))
    assert all(b["angle"] > a["angle"] for a, b in pairwise(points))
    assert claim(settings, numbers, "On synthetic", "falls with depth").agrees is True
    assert claim(settings, numbers, "On synthetic", "grows with depth").agrees is True


def test_infinite_width_is_that_of_the_closed_form(settings, numbers):
    x = samples_of("synthetic", None, 60).x
    for depth in (1, 7):
        expected = spectrum(ntk.infinite(x, depth=depth)).condition
        assert point(numbers, depth)["condition"] == pytest.approx(expected, rel=1e-6)
        assert math.radians(point(numbers, depth)["angle"]) == pytest.approx(ntk.min_angle(x, depth), rel=1e-9)


def test_linear_networks_keep_angle_and_condition_number_of_the_samples(settings, numbers):
    x = samples_of("digits", None, 40).x
    gram = spectrum(x @ x.T)
    for depth in range(11):
        found = point(numbers, depth, "linear", "digits")
        assert found["condition"] == pytest.approx(gram.condition, rel=1e-6)
        assert math.radians(found["angle"]) == pytest.approx(ntk.min_angle(x, 0), rel=1e-9)


def test_depth_zero_is_the_linear_model_for_both(numbers):
    relu, linear = (point(numbers, 0, activation, "digits") for activation in ("relu", "linear"))
    assert relu["condition"] == pytest.approx(linear["condition"])


def test_more_samples_than_features_leave_linear_networks_unresolved(settings, numbers):
    assert not any(point(numbers, depth, "linear")["resolved"] for depth in range(11))
    found = claim(settings, numbers, "On synthetic", "than linear networks")
    assert found.agrees is True  # a bound above is enough
    assert "≥" in found.outcome


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


def test_wide_networks_are_close_to_infinite_width(settings, numbers):
    found = claim(settings, numbers, "finite width")
    assert found.agrees is True
    swapped = dict(numbers)
    for depth in (1, 2):
        narrow, wide = (f"widths depth {depth} width {width}" for width in (16, 256))
        swapped[narrow], swapped[wide] = numbers[wide], numbers[narrow]
    assert claim(settings, swapped, "finite width").agrees is False


def test_means_are_over_all_seeds(settings, numbers):
    found = numbers["digits subset finite relu depth 3"]
    assert len(found["seeds"]) == settings["seeds"]
    angles = [seed[0]["angle"] for seed in found["seeds"]]
    assert angles[0] != angles[1]
    assert found["points"][0]["angle"] == pytest.approx(sum(angles) / 2)


def test_a_cell_gives_the_same_numbers_again(settings, numbers):
    cells = {cell.key: cell for cell in EXPERIMENT.cells(settings)}
    assert len(cells) == len(numbers)
    key = "synthetic batches finite linear depth 2"
    assert EXPERIMENT.compute(settings, cells[key]) == numbers[key]


def test_figures_render_and_tables_are_rectangular(settings, numbers):
    findings = EXPERIMENT.findings(settings, numbers)
    assert [plot.name for plot in findings.plots] == [
        "conditioning-synthetic",
        "conditioning-digits",
        "conditioning-by-width",
    ]
    for plot in findings.plots:
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert "Left out: fashion-mnist" in findings.remarks[0]


def test_features_of_the_user_are_read_and_a_missing_file_is_an_error(tmp_path):
    features = torch.randn(30, 12, generator=torch.Generator().manual_seed(0)).numpy()
    np.save(tmp_path / "speech.npy", features)
    chosen = describe("librispeech", None, tmp_path / "speech.npy", LAPTOP)
    assert (chosen["source"], chosen["n"], chosen["features"], chosen["batch"]) == ("npy", 30, 12, 6)
    with pytest.raises(DataError, match="SVHN"):
        describe("svhn", None, tmp_path, LAPTOP)


def test_what_is_not_there_is_left_out(monkeypatch):
    def only_synthetic(name, n, path, limits):
        if name != "synthetic":
            raise DataError(f"{name}: not here")
        return describe("synthetic", 20, None, limits)

    monkeypatch.setattr("gatentk.papers.conditioning.describe", only_synthetic)
    found = EXPERIMENT.settings(Scale())
    assert list(found["sets"]) == ["synthetic"]
    assert found["missing"]["fashion-mnist"] == "fashion-mnist: not here"
    assert "librispeech" in EXPERIMENT.settings(Scale(full=True))["missing"]
    with pytest.raises(DataError, match="not here"):
        EXPERIMENT.settings(Scale(paths={"svhn": Path("nowhere")}))


def test_needs_grow_with_the_largest_kernel(settings):
    larger = copy.deepcopy(settings)
    larger["sets"]["digits"]["rows"]["all"] = 20_000
    assert EXPERIMENT.needs(larger)[0] > 2 * 8 * 20_000**2
    seconds = EXPERIMENT.needs(settings)[1]
    assert seconds == pytest.approx(sum(cell.cost for cell in EXPERIMENT.cells(settings)) / SPEED)
    assert all(isinstance(cell, Cell) and cell.cost > 0 for cell in EXPERIMENT.cells(settings))
