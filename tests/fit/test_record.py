"""Trials as plain numbers and back."""

import math

from cases.fits import record

from gatentk.fit.record import DepthRecord, chosen_pair
from gatentk.kernel_machines.trials import Trial


def test_trials_come_back_and_what_was_not_tried_is_none():
    trial = Trial(2, (0.5, math.nan), (math.inf, math.nan), (1.0, math.nan), 1.0, 0.0, 2.0, 1e-15)
    found = DepthRecord.of(trial)
    assert (found.scores, found.errors) == ((0.5, None), (None, None))
    back = found.trial()
    assert (back.best(), back.depth, back.lmax) == (0, 2, 2.0)


def test_the_best_score_then_the_smaller_error_then_the_first():
    assert chosen_pair([record(), record(scores=(0.8, None))]) == (1, 0)
    assert chosen_pair([record(), record(scores=(0.75, 0.75), relative=(0.3, 0.2))]) == (1, 1)
    assert chosen_pair([record(), record()]) == (0, 1)
    assert chosen_pair([record(scores=(None, None))]) is None
