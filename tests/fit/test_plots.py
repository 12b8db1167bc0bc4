"""Plots show what was computed."""

from dataclasses import replace

import numpy as np
import pytest
from cases.fits import finished, given, record, waves

from gatentk.fit import plots
from gatentk.reporting.figures import rendered, styled


def drawn(found):
    with styled():
        return {name: figure.axes[0] for name, figure in plots.draw(found).items()}


def test_scores_are_cells_and_the_best_is_marked(numbers):
    axes = drawn(numbers)["scores"]
    cells = axes.collections[0].get_array()
    expected = np.array([record.scores[::-1] for record in numbers.records]).T
    np.testing.assert_array_equal(cells, expected)
    row, column = numbers.pair
    assert axes.lines[0].get_xydata().tolist() == [[row, 1 - column]]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "3"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0.001", "0.1"]


def test_pairs_below_the_noise_floor_have_no_colour(classes):
    cut = replace(classes, records=[record(), record(depth=3, scores=(0.7, None))])
    cells = drawn(cut)["scores"].collections[0].get_array()
    assert cells.mask.tolist() == [[False, True], [False, False]]


def test_predictions_are_points_with_deviations(numbers):
    axes = drawn(numbers)["predictions"]
    left_out, test, diagonal = (line.get_xydata() for line in axes.lines)
    np.testing.assert_array_equal(left_out, np.c_[numbers.samples.y, numbers.left_out])
    np.testing.assert_array_equal(test, np.c_[numbers.samples.test_y, numbers.predicted])
    assert (diagonal[:, 0] == diagonal[:, 1]).all()
    lines = np.array(axes.collections[0].get_segments())
    np.testing.assert_allclose(lines[:, 1, 1] - lines[:, 0, 1], 2 * np.array(numbers.outcome.deviations))


def test_large_sets_are_drawn_in_part(numbers, monkeypatch):
    monkeypatch.setattr(plots, "MOST_POINTS", 10)
    assert [len(line.get_xydata()) for line in drawn(numbers)["predictions"].lines[:2]] == [10, 9]


def test_counts_of_classes_are_written_in_their_cells(classes):
    axes = drawn(classes)["predictions"]
    counts = classes.confusion()
    written = {tuple(text.get_position()): int(text.get_text()) for text in axes.texts[1:]}
    assert written == {(c, r): counts[r][c] for r in range(10) for c in range(10) if counts[r][c]}


def test_many_classes_one_pair_and_one_score_are_drawn_too(monkeypatch, numbers):
    x, _ = waves(60)
    many = finished(*given(monkeypatch, {"train": (x, np.arange(60) % 25)}, depths=(0,), ridges=(0.1,)))
    constant = finished(*given(monkeypatch, {"train": (x, np.ones(60))}, test_fraction=0))
    for found in (many, constant):
        done = rendered(lambda found=found: plots.draw(found))
        assert done.failures == []
        assert sorted(done.files) == ["predictions.png", "predictions.svg", "scores.png", "scores.svg"]
        assert b"<image" not in done.files["scores.svg"]


@pytest.mark.parametrize("size", [1e6, 1e-6, 1e300, 1e-250])
def test_axes_name_their_unit(monkeypatch, size):
    x, y = waves(40)
    found = finished(*given(monkeypatch, {"train": (x, size * y)}, depths=(1,), ridges=(0.1,)))
    axes = drawn(found)["predictions"]
    axes.figure.draw_without_rendering()
    units = {1e6: "10⁶", 1e-6: "10⁻⁶", 1e300: "10³⁰⁰", 1e-250: "10⁻²⁵⁰"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(
        f"{name}, in units of {units[size]}" for name in ("Target", "Prediction")
    )
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_offset_text().get_text() == ""
        assert max(len(tick.get_text()) for tick in axis.get_ticklabels()) <= 4


def test_axes_of_numbers_that_differ_in_late_digits_show_these(monkeypatch):
    x, y = waves(40)
    found = finished(*given(monkeypatch, {"train": (x, 1e6 + y)}, depths=(1,), ridges=(0.1,)))
    axes = drawn(found)["predictions"]
    axes.figure.draw_without_rendering()
    assert axes.get_xlabel() == "Target"
    texts = [tick.get_text() for tick in axes.get_xticklabels()]
    assert len(set(texts)) == len(texts) <= 6
    assert {"1000000.0"} < set(texts)


@pytest.mark.parametrize("scores", [(1.0, 1.0), (-3.0, -3.0 + 1e-14), (0.0, 0.0), (0.9999999, 0.99), (-1e30, -2e30)])
def test_scales_of_scores_have_no_impossible_ones(numbers, classes, scores):
    for found in (numbers, classes)[: 1 if min(scores) < 0 else 2]:
        object.__setattr__(found, "records", [record(scores=scores), record(depth=3, scores=scores)])
        cells = drawn(found)["scores"].collections[0]
        low, high = cells.norm.boundaries[[0, -1]]
        assert low < high <= 1
        assert found is numbers or low >= 0
        assert max(scores) <= high


def test_every_name_on_an_axis_is_another(monkeypatch):
    x, _ = waves(60)
    names = (*(f"class of a long name {k}" for k in range(12)), "x" * 20, "x" * 21)
    few = finished(*given(monkeypatch, {"train": (x, np.arange(60) % 14, {"classes": names})}, depths=(0,)))
    labels = [tick.get_text() for tick in drawn(few)["predictions"].get_xticklabels()]
    assert len(set(labels)) == 14
    assert max(map(len, labels)) <= 12
    many = finished(*given(monkeypatch, {"train": (x, np.arange(60) % 24 + 100)}, depths=(0,), ridges=(0.1,)))
    axes = drawn(many)["predictions"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [str(k) for k in range(100, 124, 3)]
    assert len(axes.texts) == 1
