"""A fit in words: numbers as they are, noise called noise."""

from dataclasses import replace

import numpy as np
import pytest
from cases.fits import given, record, waves

from gatentk.fit.sentences import data_notes, headline, noise_text, notes, score_text, settings


def test_the_choice_the_test_and_the_kernel_are_told(numbers, classes):
    choice, test, kernel = headline(numbers)
    assert f"chooses depth {numbers.outcome.depth} and ridge" in choice
    assert f"R² is {numbers.left_out_score:.3f} and the root mean square error" in choice
    assert test.startswith(f"On 9 test samples R² is {numbers.test_score:.3f}")
    assert "limited by the data, not by precision" in kernel
    _, test, _ = headline(classes)
    wrong = round(12 * (1 - classes.test_score))
    assert f"On 12 test samples {100 * classes.test_score:.1f}% are right ({wrong} wrong)" in test


def test_tests_without_targets_or_with_equal_ones(numbers):
    blind = replace(numbers, samples=replace(numbers.samples, test_y=None))
    assert headline(blind)[1] == "9 test samples without targets are predicted in predictions.csv."
    one = replace(numbers, samples=replace(numbers.samples, test_y=None, test_x=numbers.samples.test_x[:1]))
    assert headline(one)[1] == "1 test sample without targets is predicted in predictions.csv."
    assert "so a little too good." in " ".join(notes(blind))
    assert "which had no part in the choice" in " ".join(notes(numbers))
    equal = replace(numbers, samples=replace(numbers.samples, test_y=0 * numbers.samples.test_y))
    assert "R² has no meaning" in headline(equal)[1]


@pytest.mark.parametrize(
    ("condition", "text"),
    [(1e2, "about 13 digits"), (1e9, "about 6 digits"), (1e12, "about 3 digits"), (1e15, "about no digit")],
)
def test_what_a_condition_number_costs(numbers, condition, text):
    kernel = headline(replace(numbers, outcome=replace(numbers.outcome, condition=condition)))[2]
    assert text in kernel
    assert ("larger ridge" in kernel) == (condition > 1e10)


def test_what_is_not_resolved_is_called_so(numbers):
    lost = [record(depth=depth, lmin=1e-17) for depth in (1, 3)]
    assert "at least 1.00 × 10¹⁵, which float64 does not resolve" in headline(replace(numbers, records=lost))[2]
    best = replace(numbers.outcome, condition=None, resolved=False)
    assert "Even with its ridge" in headline(replace(numbers, outcome=best))[2]


def test_pairs_that_were_not_tried_are_counted(numbers):
    assert "All pairs of depth and ridge are above the noise floor" in noise_text(numbers)
    cut = replace(numbers, records=[record(scores=(0.9, None)), record(depth=3, scores=(0.5, 0.6))])
    assert noise_text(cut).startswith("1 of 4 pairs of depth and ridge were not tried")
    assert "smallest of its depth that is above it" in noise_text(cut)


def test_the_edge_of_the_table_is_named(numbers):
    edge = replace(numbers, records=[record(scores=(0.1, 0.1)), record(depth=3, scores=(0.9, 0.1))])
    text = " ".join(notes(edge))
    assert "The chosen ridge is the largest that was tried" in text
    assert "The chosen depth is the largest that was tried" in text
    records = [record(scores=(0.1, 0.9)), record(depth=3, scores=(0.1, 0.1))]
    for added, told in ((0.05, True), (1e-5, False)):
        low = replace(numbers, records=records, outcome=replace(numbers.outcome, added_ridge=added))
        assert ("The chosen ridge is the smallest that was tried" in " ".join(notes(low))) == told


def test_oddities_of_the_data_are_told(monkeypatch):
    x, _ = waves(12)
    x = np.r_[x, x[:2], np.zeros((1, 3))] * [1000, 1, 1]
    test = (x[:2], np.array([7, 0]))
    sets = {"train": (x, np.arange(15) % 2), "test": test}
    _, samples = given(monkeypatch, sets, test="test", normalize="unit")
    text = " ".join(data_notes(samples))
    assert "2 train samples are equal to an earlier one" in text
    assert "2 test samples are equal to a train sample" in text
    assert "test sample" not in " ".join(data_notes(replace(samples, test_y=None)))
    assert "One train sample is all zero" in text
    assert "normalize=standard is usually better" in text
    assert data_notes(given(monkeypatch, {"train": waves(12)})[1]) == []
    few = given(monkeypatch, {"train": (waves(12)[0], np.arange(12) % 2.0)})[1]
    (text,) = data_notes(few)
    assert text.startswith("The targets are 2 different whole numbers, and are taken as numbers")
    assert text.endswith("say so by predict=classes.")


def test_settings_and_scores(numbers, classes):
    assert score_text(numbers, None) == score_text(classes, None) == "not tried"
    assert (
        settings(numbers)["Samples are scaled"] == "to mean 0 and variance 1 of each feature, with a feature that is 1"
    )
    assert settings(classes)["Kernel"] == "NTK, ReLU"
    assert settings(replace(numbers, config=replace(numbers.config, b_std=0.3)))["b_std"] == "0.3"
