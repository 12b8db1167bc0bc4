"""The rows of a study: difficult ones counted, dropped or refused."""

import pytest
from cases.studies import from_rows, small

from gatentk.errors import StudyError
from gatentk.study.run import run_tasks
from gatentk.study.samples import prepare_study


def test_repeated_rows_are_counted_or_dropped(monkeypatch):
    rows = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, -0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]]
    config, samples = from_rows(monkeypatch, rows)
    assert (samples.duplicates, samples.dropped_duplicates, len(samples.x)) == (2, 0, 5)
    for _, (record,) in run_tasks(config, samples):
        assert record.min_angle == 0
        assert not record.resolved
    config, samples = from_rows(monkeypatch, rows, drop_duplicates=True)
    assert (samples.duplicates, samples.dropped_duplicates) == (0, 2)
    assert samples.x.tolist() == [rows[0], rows[1], rows[4]]
    for _, (record,) in run_tasks(config, samples):
        assert record.resolved


def test_zero_rows_are_named_or_dropped(monkeypatch):
    rows = [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    with pytest.raises(StudyError, match=r"row 1 and 1 more .*all zero.*drop_zero_rows=True"):
        from_rows(monkeypatch, rows)
    _, samples = from_rows(monkeypatch, rows, drop_zero_rows=True)
    assert samples.dropped_zero_rows == 2
    assert samples.x.tolist() == [rows[0], rows[2]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "at least two samples"),
        ({"subset": 21}, "subset=21: the data has 20 samples"),
        ({"batch": 21}, "batch=21: there are 20 samples"),
        ({"subset": 10, "batch": 11}, "batch=11: there are 10 samples"),
    ],
)
def test_too_few_samples_are_refused(options, message):
    with pytest.raises(StudyError, match=message):
        prepare_study(small(**options))
