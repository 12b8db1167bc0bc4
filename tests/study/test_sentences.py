"""A study in words."""

import re
from dataclasses import replace

import pytest
import torch
from cases.studies import finished

from gatentk import data
from gatentk.reporting.text import number
from gatentk.study.sentences import headline, notes


@pytest.fixture(scope="module")
def synthetic():
    """More samples than features: linear networks are not resolved."""
    return finished(data="synthetic", n=30, subset=12)


@pytest.fixture(scope="module")
def batches():
    return finished(batch=8, subset=16, n=40)


def test_the_headline_has_the_key_numbers(synthetic):
    relu, linear, unresolved = headline(synthetic.config, synthetic.samples, synthetic.series)
    first, last = synthetic.series[0].points[0], synthetic.series[0].points[-1]
    assert f"grows from {number(first.angle)}° at depth 0 to {number(last.angle)}° at depth 3" in relu
    assert "is not resolved at depth 0." in relu
    assert "at every depth; the condition number is not resolved at any depth, but at least" in linear
    assert "with 30 samples and 5 features the kernel is singular" in unresolved


def test_a_headline_without_unresolved_values_has_no_excuses(batches):
    sentences = headline(batches.config, batches.samples, batches.series)
    assert len(sentences) == 2
    assert "on mini-batches of 8" in sentences[0]
    assert re.search(r"falls from [\d,.]+ at depth 0 to [\d,.]+ at depth 3", sentences[0])


@pytest.mark.parametrize(("kind", "dtype"), [("finite", "float64"), ("finite", "float32"), ("infinite", "float64")])
def test_an_angle_of_rounding_does_not_grow(kind, dtype):
    noise = {"finite float64": 9e-8, "finite float32": 0.01, "infinite float64": 3e-14}[f"{kind} {dtype}"]
    plain = finished(depths=(0, 1), dtype=dtype)
    for angles, expected in (
        ((noise, 31.0), r"is below the accuracy of such angles, .*°, at depth 0 and 31.0° at depth 1;"),
        ((noise, noise * 1.5), r"is below the accuracy of such angles, .*°, at depths 0 and 1;"),
        ((noise * 1e3, 31.0), r"grows from .* at depth 0 to 31.0° at depth 1 \(.* times\);"),
        ((0.0, 31.0), r"grows from 0° at depth 0 to 31.0° at depth 1;"),
    ):
        points = [replace(p, angle=a) for p, a in zip(plain.series[0].points, angles, strict=True)]
        series = [replace(s, kind=kind, points=tuple(points)) for s in plain.series]
        for sentence in headline(plain.config, plain.samples, series)[:2]:
            assert re.search(expected, sentence), sentence
            assert ("times" in sentence) == ("times" in expected)


def test_notes_count_repeated_and_dropped_rows(monkeypatch):
    rows = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [0, 2, 2]])
    monkeypatch.setattr(data, "load", lambda *_, **__: data.Dataset(x=rows.double(), y=None, name="rows"))
    found = finished(drop_zero_rows=True, depths=(0, 1))
    text = " ".join(notes(found.config, found.samples, found.series))
    assert "1 all-zero rows were left out" in text
    assert "One row is equal to an earlier one: their angle is zero" in text
    found = finished(drop_zero_rows=True, drop_duplicates=True, depths=(0, 1))
    text = " ".join(notes(found.config, found.samples, found.series))
    assert "1 rows equal to an earlier one were left out" in text
    assert "Two different rows point in exactly the same direction" in text


def test_notes_speak_of_the_widths_that_were_computed(batches):
    both = " ".join(notes(batches.config, batches.samples, batches.series))
    assert "(5 of 40 samples and 2 of 16 samples; a remainder is left out)" in both
    assert "from the 40; compare it with infinite width on the same samples, since both quantities depend" in both
    assert "good to about 10⁻⁸ rad; those at infinite width" in both
    finite = finished(batch=8, subset=16, n=40, infinite=False, depths=(1,))
    text = " ".join(notes(finite.config, finite.samples, finite.series))
    assert "(2 of 16 samples; a remainder is left out)" in text
    assert "Finite width uses 16 samples drawn at random from the 40; both quantities depend on the number" in text
    assert "good to about 10⁻⁸ rad." in text
    assert "infinite" not in text
    infinite = finished(batch=8, n=40, width=None, depths=(1,))
    (sentence,) = notes(infinite.config, infinite.samples, infinite.series)
    assert "(5 of 40 samples; a remainder is left out)" in sentence
