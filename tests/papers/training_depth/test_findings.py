"""Claims, plots and tables of training by depth, which can fail."""

import copy

import pytest
from cases.experiments import findings_of

from gatentk.papers.training_depth import EXPERIMENT
from gatentk.papers.training_depth.findings import rank_correlation
from gatentk.reporting.figures import render

DEPTHS = [1, 2, 3]
FACTORS = [1.0, 8.0, 1e6]


@pytest.fixture
def altered(numbers):
    """Numbers that a test may change."""
    return copy.deepcopy(numbers)


def claim(settings, numbers, words):
    (found,) = [c for c in findings_of(EXPERIMENT, settings, numbers).claims if words in c.statement]
    return found


def key(depth, factor):
    return f"blobs cross-entropy depth {depth} rate {factor:g}"


def set_final(numbers, losses):
    for depth, loss in zip(DEPTHS, losses, strict=True):
        for factor in FACTORS:
            numbers[key(depth, factor)]["losses"][-1] = loss * (1 + factor) if loss else None


def test_every_epoch_is_recorded_and_the_best_rate_is_shown(settings, numbers):
    table = findings_of(EXPERIMENT, settings, numbers).tables[0]
    for depth in DEPTHS:
        runs = {factor: numbers[key(depth, factor)]["losses"] for factor in FACTORS}
        assert len(runs[1.0]) == len(runs[8.0]) == 5
        assert runs[1.0][0] == runs[8.0][0] > runs[1.0][-1]
        last = {factor: losses[-1] for factor, losses in runs.items() if losses[-1] is not None}
        (best,) = [row[3] for row in table.rows if row[1] == depth and row[4]]
        assert best == min(last, key=last.get) < 1e6


def test_deeper_is_faster_only_if_every_step_is(settings, altered):
    set_final(altered, [0.3, 0.2, 0.1])
    assert claim(settings, altered, "falls faster the deeper").agrees is True
    set_final(altered, [0.3, 0.1, 0.2])
    found = claim(settings, altered, "falls faster the deeper")
    assert found.agrees is False
    assert "1 of 2 steps" in found.outcome
    set_final(altered, [0.3, 0.2, None])
    assert claim(settings, altered, "falls faster the deeper").agrees is None


def test_steps_and_condition_numbers_decide_together(settings, altered):
    for depth, (lmin, steps) in zip(DEPTHS, [(0.01, 30), (0.02, 20), (0.03, 10)], strict=True):
        found = altered[f"blobs square depth {depth}"]
        found |= {"lmin": lmin, "lmax": 1.0, "losses": [1.0] * steps + [0.4] * (61 - steps)}
    good = claim(settings, altered, "takes fewer steps")
    assert good.agrees is True
    assert "100, 50.0, 33.3" in good.outcome
    assert "30, 20, 10" in good.outcome
    altered["blobs square depth 3"]["losses"] = [1.0] * 61  # never
    assert claim(settings, altered, "takes fewer steps").agrees is False
    altered["blobs square depth 3"] |= {"losses": [1.0] * 10 + [0.4] * 51, "lmin": 1e-20}  # not resolved
    assert claim(settings, altered, "takes fewer steps").agrees is None


def test_losses_that_fall_at_the_rate_agree_with_it(settings, numbers):
    assert claim(settings, numbers, "at least as fast").agrees is True


def test_a_loss_above_the_rate_contradicts_it(settings, altered):
    altered["blobs square depth 2"]["losses"][5:] = [1.0] * 56
    assert claim(settings, altered, "at least as fast").agrees is False


def test_figures_render_and_tables_are_rectangular(settings, numbers):
    findings = findings_of(EXPERIMENT, settings, numbers)
    (plot,) = findings.draw()
    assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert any("Left out: fashion-mnist" in remark for remark in findings.remarks)


def test_a_rate_at_the_end_of_the_grid_is_said(settings, altered):
    for depth in DEPTHS:
        altered[key(depth, 8.0)]["losses"][-1] = 1e-6
    assert not any("end of the grid" in remark for remark in findings_of(EXPERIMENT, settings, altered).remarks)
    altered[key(2, 1.0)]["losses"][-1] = 1e-7
    remarks = findings_of(EXPERIMENT, settings, altered).remarks
    assert any("end of the grid for blobs depth 2." in remark for remark in remarks)


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, None, 3], [3, 2, 5, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [5, 5, 5]) is None
