"""Dataclasses to JSON and back: order, types, and every refusal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from gatentk.errors import RunError
from gatentk.papers.frame.experiment import UserFile
from gatentk.runs.plain import ABSENT, Absent, from_json, to_json


@dataclass(frozen=True)
class Inner:
    name: str
    size: int | None


@dataclass(frozen=True)
class Outer:
    zeta: float
    alpha: bool
    inner: Inner
    lines: Mapping[int, Sequence[Inner]]
    pair: tuple[str, int | None]
    depths: tuple[int, ...]
    texts: dict[str, list[float | None]]
    free: Any
    path: UserFile | Absent | None = ABSENT


OUTER = Outer(
    1.5, True, Inner("a", None), {3: [Inner("b", 2)]}, ("c", 4), (1, 2), {"x": [0.1 + 0.2, None]}, [1, {"y": None}]
)
JSON = (
    '{"zeta": 1.5, "alpha": true, "inner": {"name": "a", "size": null}, "lines": {"3": [{"name": "b", "size": 2}]}, '
    '"pair": ["c", 4], "depths": [1, 2], "texts": {"x": [0.30000000000000004, null]}, "free": [1, {"y": null}]}'
)


def test_keys_are_the_fields_in_their_order():
    assert json.dumps(to_json(OUTER)) == JSON


def test_what_was_written_is_read_back():
    assert from_json(Outer, json.loads(JSON), "it") == OUTER


def test_a_field_may_be_absent_which_is_not_none():
    document = json.loads(JSON)
    assert from_json(Outer, document | {"path": None}, "it").path is None
    assert to_json(from_json(Outer, document | {"path": None}, "it"))["path"] is None
    assert "path" not in to_json(from_json(Outer, document, "it"))


def test_an_integer_stays_one_where_a_float_is_expected():
    value = from_json(Outer, json.loads(JSON) | {"zeta": 2}, "it").zeta
    assert (value, type(value)) == (2, int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zeta": "1.5"}, "it.zeta: expected float, got '1.5'"),
        ({"zeta": True}, "it.zeta: expected float, got True"),
        ({"zeta": None}, "it.zeta: expected float, got None"),
        ({"alpha": 1}, "it.alpha: expected bool, got 1"),
        ({"inner": {"name": "a"}}, "it.inner: missing 'size'"),
        ({"inner": {"name": "a", "size": 1, "colour": "red"}}, "it.inner: unknown 'colour'"),
        ({"inner": ["a", 1]}, "it.inner: expected dict, got"),
        ({"inner": {"name": "a", "size": 1.0}}, "it.inner.size: expected int, got 1.0"),
        ({"lines": {"x": []}}, "it.lines: expected keys of type int, got 'x'"),
        ({"lines": {"3": [{}]}}, r"it.lines.3\[0\]: missing 'name', 'size'"),
        ({"pair": ["c"]}, "it.pair: expected 2 values, got 1"),
        ({"depths": [1, "2"]}, r"it.depths\[1\]: expected int, got '2'"),
        ({"texts": [1]}, "it.texts: expected dict"),
        ({"path": 3}, "it.path: expected str, got 3"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(RunError, match=message):
        from_json(Outer, json.loads(JSON) | change, "it")


def test_of_a_union_the_first_that_fits_is_taken():
    assert from_json(int | str, "infinite", "width") == "infinite"
    assert from_json(Inner | Mapping[str, int], {"a": 1}, "it") == {"a": 1}
    with pytest.raises(RunError, match="width: expected str, got None"):
        from_json(int | str, None, "width")


class Named(NamedTuple):
    rate: float
    loss: float | None
    grew: bool = False


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"rate": 1.0, "loss": None}, "x: missing 'grew'"),
        ({"rate": 1.0, "loss": None, "grew": True, "more": 1}, "x: unknown 'more'"),
        ({"rate": "1", "loss": None, "grew": True}, "x.rate: expected float, got '1'"),
        ([1.0, None, True], r"x: expected dict, got \[1.0, None, True\]"),
    ],
)
def test_named_tuples_are_what_they_give_as_dictionaries(value, message):
    one = Named(1.0, None, True)
    assert from_json(Named, one._asdict(), "x") == one
    with pytest.raises(RunError, match=message):
        from_json(Named, value, "x")
