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
    ("size", "dtype", "message"),
    [
        (
            1e-200,
            "float64",
            r"row 1 .* largest value is 2e-200, is too small for kernels in float64; rescale the data$",
        ),
        (5e-324, "float64", "too small for kernels in float64"),
        (1e-22, "float32", r"too small for kernels in float32; rescale the data, or use float64"),
        (1e-60, "float32", "too small for kernels in float32"),
        (1e200, "float64", "too large for kernels in float64"),
        (1e60, "float32", "too large for kernels in float32"),
        (1e18, "float32", "too large for kernels in float32"),
    ],
)
def test_rows_that_kernels_cannot_hold_are_named(monkeypatch, size, dtype, message):
    with pytest.raises(StudyError, match=message):
        from_rows(monkeypatch, [[1.0, 0.0], [0.0, 2 * size], [1.0, 1.0]], dtype=dtype)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1e-150, "float64"), (1e140, "float64"), (1e-15, "float32"), (1e10, "float32")]
)
def test_the_scale_of_the_data_does_not_change_a_study(monkeypatch, size, dtype):
    rows = [[1.0, 0.0], [0.5, 2.0], [1.0, 1.0]]
    options = {"width": 8, "depths": (1, 2), "dtype": dtype}
    plain, scaled = (
        [
            record
            for _, (record,) in run_tasks(*from_rows(monkeypatch, [[s * v for v in row] for row in rows], **options))
        ]
        for s in (1.0, size)
    )
    for a, b in zip(plain, scaled, strict=True):
        assert (a.resolved, a.condition) == (b.resolved, pytest.approx(b.condition, rel=2e-4 if a.resolved else None))
        assert a.min_angle == pytest.approx(b.min_angle, rel=1e-3)


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
