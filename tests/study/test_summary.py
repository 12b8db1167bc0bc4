"""Means over mini-batches and seeds."""

import math

import pytest
from cases.studies import finished, record

from gatentk.study.sentences import condition_text
from gatentk.study.summary import _point


def test_conditions_are_averaged_geometrically_and_angles_arithmetically():
    records = [
        record(seed=seed, batch=batch, condition=c, condition_bound=c, min_angle=a)
        for seed, batch, c, a in [(0, 0, 10.0, 1.0), (0, 1, 1000.0, 3.0), (1, 0, 4.0, 6.0), (1, 1, 25.0, 8.0)]
    ]
    point = _point(records)
    assert (point.condition_low, point.condition_high) == pytest.approx((10.0, 100.0))
    assert point.condition == pytest.approx(math.sqrt(1000.0))
    assert (point.angle, point.angle_low, point.angle_high) == (4.5, 2.0, 7.0)
    assert (point.resolved, point.kernels, point.unresolved) == (True, 4, 0)


def test_one_unresolved_kernel_makes_the_mean_a_lower_bound():
    lost = record(seed=1, lmin=0.0, resolved=False, condition=None, condition_bound=1e14)
    point = _point([record(), lost])
    assert not point.resolved
    assert point.unresolved == 1
    assert point.condition == pytest.approx(1e8)
    assert condition_text(point) == "≥ 1.00 × 10⁸"


def test_series_separate_widths_samples_and_activations():
    synthetic = finished(data="synthetic", n=30, subset=12)
    found = [(s.kind, s.rows, s.activation, s.label) for s in synthetic.series]
    assert found == [
        ("infinite", "all", "relu", "infinite width, 30 samples"),
        ("infinite", "all", "linear", "infinite width, 30 samples"),
        ("infinite", "subset", "relu", "infinite width, 12 samples"),
        ("infinite", "subset", "linear", "infinite width, 12 samples"),
        ("finite", "subset", "relu", "width 16, 12 samples"),
        ("finite", "subset", "linear", "width 16, 12 samples"),
    ]
    assert all([p.depth for p in s.points] == [0, 1, 3] for s in synthetic.series)
