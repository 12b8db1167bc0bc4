"""Depths and the outcome as lines of a journal."""

import pytest
from cases.fits import outcome, record

from gatentk.errors import FitError
from gatentk.fit.journal import JOURNAL, Journal
from gatentk.runs.lines import LinesFile


def test_what_was_computed_comes_back(tmp_path):
    best = outcome(left_out=(1, 2.5), outputs=((0.1,), (0.2,)), deviations=(1.0, 0.0))
    with Journal(tmp_path, {"data": "x"}) as journal:
        journal.append(record(scores=(None, 0.1)))
        journal.finish(best)
    with Journal(tmp_path, {"data": "x"}) as journal:
        assert journal.records == {1: record(scores=(None, 0.1))}
        assert journal.outcome == best


def test_another_fit_and_lines_of_another_kind_are_refused(tmp_path):
    with Journal(tmp_path, {"data": "x"}) as journal:
        journal.append(record())
    with pytest.raises(FitError, match="another fit"):
        Journal(tmp_path, {"data": "y"})
    lines = LinesFile(tmp_path / JOURNAL)
    lines.write({"tried": {"depth": 1}})
    lines.close()
    with pytest.raises(FitError, match=r"line 3: tried: missing 'scores'"):
        Journal(tmp_path, {"data": "x"})
