"""What several checks decide together."""

import pytest

from gatentk.papers.frame.findings import decided, held


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [([], True), ([True, True], True), ([True, None], None), ([None, False], False), ([True, False], False)],
)
def test_one_that_fails_decides_and_one_that_is_open_leaves_it_open(checks, verdict):
    assert decided(checks) is verdict


def test_those_that_hold_are_counted():
    assert held([True, None, False, True]) == "2 of 4"
