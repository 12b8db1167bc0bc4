"""The report: everything in one file, and all that was computed."""

import re
from dataclasses import replace
from html import unescape

import pytest
from cases.fits import finished, given, record, small, waves

from gatentk.fit.page import html
from gatentk.fit.plots import draw
from gatentk.fit.sentences import headline, notes
from gatentk.reporting.figures import Drawn, rendered


@pytest.fixture
def numbers(monkeypatch):
    return finished(*given(monkeypatch, {"train": waves(40), "<b>": waves(9, seed=1)}, test="<b>"))


def test_the_report_needs_nothing_but_itself_and_says_what_was_computed(numbers):
    page = html(numbers, rendered(lambda: draw(numbers)))
    assert len(re.findall("<svg", page)) == 2
    assert "http" not in page
    assert not re.search("<(script|link|img|iframe|image|b)\\b", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)) <= {(i, "") for i in ids} | {("", i) for i in ids}
    text = unescape(page)
    for sentence in (*headline(numbers), *notes(numbers)):
        assert sentence in text
    for each in numbers.records:
        for score in each.scores:
            assert f"<td>{score:.3f}</td>" in page
    assert page == html(numbers, rendered(lambda: draw(numbers)))


def test_what_was_not_tried_is_named():
    found = replace(finished(small(n=30)), records=[record(lmin=0.0), record(depth=3, scores=(None, None))])
    page = html(found, Drawn({}, ["no plot could be drawn: no ink"]))
    assert "No plot could be drawn: no ink." in page
    assert "not tried" in page
    assert "none above the noise floor" in page
    assert "≥ 1.00 × 10¹⁵" in page
