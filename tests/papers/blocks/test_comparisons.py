"""Who is better, after how long, and how surely."""

import pytest
from cases.experiments import settings_of

from gatentk.papers.blocks import EXPERIMENT, comparisons
from gatentk.papers.blocks.cells import TimeCell, Times, Trained, TrainingCell
from gatentk.papers.blocks.comparisons import Comparison, Standing
from gatentk.papers.blocks.learning import Curve, Score, Timed
from gatentk.papers.blocks.settings import Network
from gatentk.papers.frame.experiment import Results


@pytest.fixture
def compared(small):
    """Digits: narrow networks take a second a step, wide ones two, those with blocks one; all learn a little."""
    settings = settings_of(EXPERIMENT, small)
    task = settings.tasks["digits"]
    numbers = {}

    def curve(best):
        scores = [Score(1.0, share, list(range(round(16 * (1 - share))))) for share in (0.0, best / 2, best)]
        return Curve(scores, scores, [1.0, 1.0], False)

    steps = {}
    for network in task.networks:
        slow = 1.0 if network.block > 1 or network.width == 24 else 2.0
        steps[network.name] = Timed([slow] * 3, 0.5)
        best = 0.5 if network.kind == "relu" else 1.0
        trained = Trained(0.3 / network.width, [], [curve(best), curve(best)])
        numbers[TrainingCell("digits", network).key] = trained
    numbers[TimeCell("digits").key] = Times(steps, 4, 16)
    return Comparison(settings, Results(numbers), "digits")


def test_the_clock_starts_with_the_gates(compared):
    assert compared.clock(Network("relu", 32)) == [0.0, 8.0, 16.0]
    assert compared.clock(Network("centred", 32, 16)) == [0.5, 4.5, 8.5]


def test_networks_stand_where_their_last_whole_epoch_left_them(compared):
    relu = Network("relu", 32)
    assert [compared.after(relu, seconds).value for seconds in (7.9, 8.0, 15.9, 16.0)] == [0.0, 0.25, 0.25, 0.5]
    assert compared.end(relu).value == 0.5
    assert compared.end(Network("centred", 48, 16)).against(compared.end(relu)) > 2


def test_dense_networks_of_the_same_time_are_the_widest_that_get_through(compared):
    assert compared.relu_of_time(8.5) == Network("relu", 24)
    assert compared.relu_of_time(7.5) is None
    assert compared.relu_of_time(16.0) == Network("relu", 48)
    assert compared.best_relu(8.5)[0] == Network("relu", 24)


def test_rates_at_an_end_of_the_grid_are_named(compared):
    assert compared.at_end_of_grid() == list(compared.task.networks)


def test_the_networks_that_are_told_of_are_those_of_most_widths(compared):
    assert {network.kind for network in compared.main} == {"centred"}
    assert compared.kinds == ["deep", "centred"]


def test_epochs_that_took_longer_than_their_steps_in_turns_are_noticed(compared):
    assert compared.disturbance() == pytest.approx(1 / 4)


def test_differences_on_the_same_samples_count_by_sample():
    """Ten of a hundred samples more are right, and none fewer: 3.3 standard errors, not the 1.6 of other samples."""
    a = Standing(0.8, 0.0, (1.0,) * 80 + (0.0,) * 20)
    b = Standing(0.7, 0.0, (1.0,) * 70 + (0.0,) * 30)
    assert a.against(b) == pytest.approx(0.1 / (0.09 * 100 / 99 / 100) ** 0.5)
    assert b.against(a) == -a.against(b)
    assert a.against(a) == 0
    assert Standing(-0.1, 0.01, ()).against(Standing(-0.2, 0.0, ())) == pytest.approx(10)


def test_what_diverged_stands_as_if_nothing_was_learnt(compared):
    assert compared._value(None) == 0.0
    assert list(comparisons._wrong(None, 3)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("differences", "verdict"), [([3, 4], True), ([3, 1], None), ([3, -1], None), ([3, -3], False)]
)
def test_verdicts_take_two_standard_errors(differences, verdict):
    assert comparisons.decided(differences) is verdict
