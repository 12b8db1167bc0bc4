from dataclasses import replace

import pytest
from cases.training import record_of, small

from gatentk import train
from gatentk.train.plots import draw


def result_of(config, **changes):
    records = [replace(record_of(seed, epoch), **changes) for seed in range(config.seeds) for epoch in range(3)]
    return train.Result(config, 0.1, [], records)


@pytest.fixture(scope="module")
def samples():
    return train.prepare_training(small())


def test_every_seed_has_a_line_and_every_side_a_label(samples):
    figure = draw(samples, result_of(small(seeds=2), test_loss=0.5))
    (axes,) = figure.axes
    train_lines, test_lines = axes.lines[:2], axes.lines[2:]
    assert [line.get_ydata().tolist() for line in train_lines] == [[1, 1 / 2, 1 / 3]] * 2
    assert [line.get_ydata().tolist() for line in test_lines] == [[0.5] * 3] * 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", "test", "best epoch"]
    assert axes.collections[0].get_offsets().tolist() == [[0, 0.5]] * 2  # the first of equals
    assert axes.get_yscale() == "log"
    assert axes.get_title("left") == "1/2 |output - label|², mean over samples"
    assert "40 samples; GReLU, width 16, depth 2\nSGD, learning rate 0.10, 2 seeds" in axes.texts[0].get_text()


def test_losses_that_are_zero_are_not_logarithmic(samples):
    (axes,) = draw(samples, result_of(small(), train_loss=0.0)).axes
    assert axes.get_yscale() == "linear"


def test_the_switch_is_marked(samples):
    (axes,) = draw(samples, result_of(small(switch=1, width=100))).axes
    assert axes.lines[-1].get_xdata() == [1, 1]
    assert axes.texts[-1].get_text() == "ReLU"


def test_nothing_finite_is_no_line(samples):
    (axes,) = draw(samples, result_of(small(), train_loss=None)).axes
    assert not axes.lines
