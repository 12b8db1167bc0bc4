"""Comparisons of points that are resolved, that are bounds, and whose ranges overlap."""

import pytest

from gatentk.papers.conditioning.comparisons import at, falls, grows, hidden, is_below, is_wider
from gatentk.study.summary import Point


def point(depth=1, angle=(1.0, 1.0, 1.0), condition=(10.0, 10.0, 10.0), resolved=True):
    """Means with their ranges, lowest value in the middle."""
    return Point(depth, *angle, *condition, resolved, kernels=1, unresolved=int(not resolved))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((2.0, 2.0, 2.0), (1.0, 1.0, 1.0), True),
        ((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), False),
        ((1.0, 0.5, 2.5), (2.0, 2.0, 2.0), None),  # some seed is above
        ((None, None, None), (2.0, 2.0, 2.0), None),
        ((2.0, 2.0, 2.0), (None, None, None), None),
    ],
)
def test_a_larger_angle_is_decided_where_ranges_are_apart(a, b, expected):
    assert is_wider(point(angle=a), point(angle=b)) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (((5.0, 5.0, 5.0), True), ((10.0, 10.0, 10.0), True), True),
        (((5.0, 5.0, 5.0), True), ((10.0, 10.0, 10.0), False), True),  # below a lower bound
        (((20.0, 20.0, 20.0), True), ((10.0, 10.0, 10.0), True), False),
        (((20.0, 5.0, 30.0), True), ((10.0, 10.0, 10.0), True), None),
        (((20.0, 20.0, 20.0), True), ((10.0, 10.0, 10.0), False), None),
        (((20.0, 20.0, 20.0), False), ((10.0, 10.0, 10.0), True), False),  # a lower bound above
        (((5.0, 5.0, 5.0), False), ((10.0, 10.0, 10.0), True), None),
        (((20.0, 20.0, 20.0), False), ((10.0, 10.0, 10.0), False), None),
    ],
)
def test_a_smaller_condition_number_is_decided_where_bounds_and_ranges_allow(a, b, expected):
    first, second = (point(condition=condition, resolved=resolved) for condition, resolved in (a, b))
    assert is_below(first, second) is expected


def test_steps_are_in_the_order_of_depths():
    line = {
        depth: point(depth, angle=(angle,) * 3, condition=(condition,) * 3)
        for depth, angle, condition in ((2, 2.0, 5.0), (0, 9.0, 1.0), (1, 1.0, 10.0), (3, 1.5, 4.0))
    }
    assert list(hidden(line)) == [2, 1, 3]
    assert grows(hidden(line)) == [True, False]
    assert falls(hidden(line)) == [True, True]


def test_where_it_is_so_reads_well():
    assert at([True, True]) == "at every depth"
    assert at([True, False, None]) == "at 1 of 3 depths (1 undecided)"
    assert at([True, False], "step") == "at 1 of 2 steps"
