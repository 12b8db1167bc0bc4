"""Digests of data, and the words for how two identities differ."""

import hashlib
from dataclasses import make_dataclass

import numpy as np
import pytest

from gatentk._version import __version__
from gatentk.runs.identity import (
    array_digest,
    as_stored,
    changes_text,
    differing_names,
    file_digest,
    identity_of,
)


def test_a_digest_is_of_the_values_in_the_order_of_their_indices():
    x = np.arange(6.0).reshape(2, 3)
    assert array_digest(x) == hashlib.sha256(x.tobytes()).hexdigest()
    assert array_digest(x.T) == array_digest(np.ascontiguousarray(x.T)) != array_digest(x)
    assert array_digest(x[:1], x[1:]) == array_digest(x)


def test_a_digest_of_files_knows_their_names_and_contents(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").write_bytes(b"1")
    assert file_digest(tmp_path) == hashlib.sha256(b"a1b2").hexdigest()
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"a1").hexdigest()
    (tmp_path / "a").rename(tmp_path / "c")
    assert file_digest(tmp_path) != hashlib.sha256(b"a1b2").hexdigest()


@pytest.mark.parametrize(
    ("stored", "expected", "names"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 3, "a": 2}, ["b", "a"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"c": 1, "a": [1, 2]}, {"a": [1, 2], "b": 1}, ["b", "c"]),
    ],
)
def test_all_names_that_differ_are_found(stored, expected, names):
    assert differing_names(stored, expected) == names


def test_changes_are_short_to_read():
    text = changes_text({"a": 1, "b": "x" * 99}, {"a": 2.5, "c": None}, ["a", "b", "c"])
    assert text == f'a was 1, is 2.5, b was "{"x" * 35}..., is null, c was null, is null'


def test_an_identity_is_compared_as_json_gives_it_back():
    assert as_stored({"a": (1, 2), "b": {3: 0.1}}) == {"a": [1, 2], "b": {"3": 0.1}}


def test_an_identity_has_all_but_what_may_grow_and_what_came_later_and_is_not_asked_for():
    config = make_dataclass("Config", ["data", "seeds", "block", "label"])
    unsaid = {"block": 1, "label": None}
    kept = {"format": 2, "version": __version__, "data": "x", "sha256": "digest"}
    assert identity_of(config("x", 3, 1, None), "digest", 2, unsaid, grows=("seeds",)) == kept
    found = identity_of(config("x", 3, 2, ""), "digest", 2, unsaid)
    assert found == {**kept, "seeds": 3, "block": 2, "label": ""}
