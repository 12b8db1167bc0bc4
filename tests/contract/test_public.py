"""Nothing that other programs and people rely on gets lost; `tools/public_contract.py` takes the list."""

import public_contract
import pytest


def test_broken_lines_are_those_that_are_lost_changed_or_moved():
    assert public_contract.broken(["a", "b", "c"], ["x", "a", "b", "y", "c"]) == []
    assert public_contract.broken(["a", "b", "c"], ["a", "c"]) == ["b"]
    assert public_contract.broken(["a", "b", "c"], ["b", "a", "c"]) == ["b"]


@pytest.mark.parametrize("part", ["names", "attributes", "options", "files"])
def test_every_stored_line_is_still_true(part):
    now = getattr(public_contract, part)()
    assert public_contract.broken(public_contract.stored(part), now) == []
