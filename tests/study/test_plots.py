"""The two plots: what is a line, what an arrow, where labels stand."""

import pytest
from cases.studies import finished

from gatentk.reporting.figures import render
from gatentk.study.plots import COLOURS, _groups, _spread, draw


def plots_of(study):
    return draw(study.config, study.samples, study.series)


@pytest.fixture(scope="module")
def synthetic():
    """More samples than features: linear networks are not resolved."""
    return finished(data="synthetic", n=30, subset=12)


@pytest.fixture(scope="module")
def batches():
    return finished(batch=8, subset=16, n=40)


def test_the_same_study_gives_the_same_files(batches):
    first, second = plots_of(batches), plots_of(batches)
    for name in ("angle", "condition"):
        assert render(first[name], "svg") == render(second[name], "svg")


def lines_and_arrows(axes):
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) and line.get_linestyle() != "None"]
    arrows = [bars for bars in axes.containers if bars.has_yerr]
    return lines, arrows


def test_unresolved_values_are_arrows_and_not_lines(synthetic):
    axes = plots_of(synthetic)["condition"].axes[0]
    lines, arrows = lines_and_arrows(axes)
    resolved = {(s.kind, s.rows): s for s in synthetic.series if s.activation == "relu"}
    assert len(lines) == len(resolved) == 3
    for line, series in zip(lines, resolved.values(), strict=True):
        assert list(line.get_xdata()) == [1, 3]
        assert list(line.get_ydata()) == [p.condition for p in series.points[1:]]
    drawn = sum(len(bars.lines[0].get_xdata()) for bars in arrows)
    assert drawn == sum(not p.resolved for s in synthetic.series for p in s.points) == 3 * (1 + 3)
    assert "at least" in plots_of(synthetic)["condition"].legends[0].get_texts()[-1].get_text()


def test_relu_is_solid_linear_dashed_and_seeds_make_a_band(batches):
    axes = plots_of(batches)["angle"].axes[0]
    lines, arrows = lines_and_arrows(axes)
    assert not arrows
    assert [line.get_linestyle() for line in lines] == ["-", "--"] * 3
    assert len(axes.collections) == 2
    assert axes.get_ylim()[0] == 0
    assert [line.get_color() for line in lines[::2]] == list(COLOURS.values())


def test_labels_are_grouped_and_moved_apart():
    assert _groups([0.1, 0.2, 0.5, 0.6, 0.7], 0.15) == [[0.1, 0.2], [0.5, 0.6, 0.7]]
    assert _spread([0.1, 0.5], 0.1) == pytest.approx([0.1, 0.5])
    assert _spread([0.5, 0.52, 0.6, 0.95], 0.1) == pytest.approx([0.44, 0.54, 0.64, 0.95])
    assert _spread([], 0.1) == []
