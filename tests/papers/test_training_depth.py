"""Training by depth on tiny data: what gradient descent must do, and claims that can fail."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gatentk.errors import DataError
from gatentk.papers.experiment import Scale, run
from gatentk.papers.training_depth import EXPERIMENT, network, rank_correlation, samples_of
from gatentk.reporting.figures import render

DEPTHS = [1, 2, 3]
FACTORS = [1.0, 8.0, 1e6]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Sixty points on a circle in four dimensions, three classes."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 60)
    x = generator.standard_normal((60, 4)) + 3 * np.eye(4)[y]
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="module")
def settings(source):
    chosen = {"source": "npy", "path": str(source), "n": 60, "features": 4, "outputs": 3}
    return {
        "sets": {"blobs": chosen | {"epochs": 4}},
        "missing": {"fashion-mnist": "a file"},
        "depths": DEPTHS,
        "width": 32,
        "batch": 20,
        "factors": FACTORS,
        "descent": {"rows": 6, "width": 1024, "steps": 60},
        "target": 0.5,
    }


@pytest.fixture(scope="module")
def numbers(settings):
    return {cell.key: found for cell, found in run(EXPERIMENT, settings, {})}


@pytest.fixture
def altered(numbers):
    """Numbers that a test may change."""
    return copy.deepcopy(numbers)


def claim(settings, numbers, words):
    (found,) = [c for c in EXPERIMENT.findings(settings, numbers).claims if words in c.statement]
    return found


def key(depth, factor):
    return f"blobs cross-entropy depth {depth} rate {factor:g}"


def set_final(numbers, losses):
    for depth, loss in zip(DEPTHS, losses, strict=True):
        for factor in FACTORS:
            numbers[key(depth, factor)]["losses"][-1] = loss * (1 + factor) if loss else None


def test_every_epoch_is_recorded_and_the_best_rate_is_shown(settings, numbers):
    table = EXPERIMENT.findings(settings, numbers).tables[0]
    for depth in DEPTHS:
        runs = {factor: numbers[key(depth, factor)]["losses"] for factor in FACTORS}
        assert len(runs[1.0]) == len(runs[8.0]) == 5
        assert runs[1.0][0] == runs[8.0][0] > runs[1.0][-1]
        last = {factor: losses[-1] for factor, losses in runs.items() if losses[-1] is not None}
        (best,) = [row[3] for row in table.rows if row[1] == depth and row[4]]
        assert best == min(last, key=last.get) < 1e6


def test_the_first_loss_is_that_of_the_untrained_network(settings, numbers):
    samples = samples_of("npy", settings["sets"]["blobs"]["path"]).train
    with torch.no_grad():
        logits = network(4, 32, 2, 3)(samples.x)
    expected = torch.nn.functional.cross_entropy(logits, samples.targets)
    assert numbers[key(2, 1.0)]["losses"][0] == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(samples.x.norm(dim=1), torch.ones(60))


def test_gradient_descent_follows_the_linearised_network_and_its_rates(settings, numbers):
    for depth in DEPTHS:
        found = numbers[f"blobs square depth {depth}"]
        rate = math.log1p(-found["lmin"] / found["lmax"])
        linearised = found["linearised"]
        assert found["losses"][0] == 1
        assert linearised[0] == pytest.approx(1)
        assert linearised == sorted(linearised, reverse=True)
        # Each component falls at least as fast as the slowest one.
        assert all(loss <= math.exp(2 * t * rate) * (1 + 1e-9) for t, loss in enumerate(linearised))
        assert found["losses"][1] == pytest.approx(linearised[1], rel=0.05)
    assert claim(settings, numbers, "at least as fast").agrees is True


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


def test_a_loss_above_the_rate_contradicts_it(settings, altered):
    altered["blobs square depth 2"]["losses"][5:] = [1.0] * 56
    assert claim(settings, altered, "at least as fast").agrees is False


def test_a_cell_gives_the_same_numbers_again(settings, numbers):
    for cell in EXPERIMENT.cells(settings)[::5]:
        assert EXPERIMENT.compute(settings, cell) == numbers[cell.key]


def test_figures_render_and_tables_are_rectangular(settings, numbers):
    findings = EXPERIMENT.findings(settings, numbers)
    (plot,) = findings.plots
    assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert any("Left out: fashion-mnist" in remark for remark in findings.remarks)


def test_a_rate_at_the_end_of_the_grid_is_said(settings, altered):
    for depth in DEPTHS:
        altered[key(depth, 8.0)]["losses"][-1] = 1e-6
    assert not any("end of the grid" in remark for remark in EXPERIMENT.findings(settings, altered).remarks)
    altered[key(2, 1.0)]["losses"][-1] = 1e-7
    remarks = EXPERIMENT.findings(settings, altered).remarks
    assert any("end of the grid for blobs depth 2." in remark for remark in remarks)


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 25]) == pytest.approx(0.8)
    assert rank_correlation([1, 2, None, 3], [3, 2, 5, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 2, 3], [5, 5, 5]) is None


def test_default_settings_and_files_of_the_user(source):
    scale = Scale(paths={"mnist": source})
    found = EXPERIMENT.settings(scale)
    assert found["sets"]["mnist"]["source"] == "npy"
    assert found["sets"]["mnist"]["n"] == 60
    assert found["sets"]["digits"]["outputs"] == 10
    assert len(EXPERIMENT.cells(found)) == 2 * 10 * (len(found["factors"]) + 1)
    memory, seconds = EXPERIMENT.needs(found)
    assert memory < 2e9
    assert seconds > 0
    with pytest.raises(DataError, match="nowhere"):
        EXPERIMENT.settings(Scale(paths={"mnist": Path("nowhere.npz")}))
