"""results.json with its checksum: read as it was written, or refused."""

import hashlib
import json

import pytest
from cases.damage import flipped, flips

from gatentk.errors import RunError
from gatentk.reporting.text import json_text
from gatentk.runs.results import is_results, read_results, with_digest

DOCUMENT = {
    "schema": "gatentk/walk/1",
    "data": {"name": "J", "sha256": "0" * 64},
    "numbers": [1.0, 1, -0.0, 5e-324, 1e-05, 1e300, None, True, "é\n"],
    "empty": {},
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "results.json").write_text(json_text(with_digest(DOCUMENT)))
    return tmp_path / "results.json"


def test_results_are_read_as_they_were_written(path):
    document = read_results(path)
    assert list(document) == [*DOCUMENT, "sha256"]
    assert (
        document.pop("sha256")
        == hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    )
    assert document == DOCUMENT
    path.write_text(json.dumps(json.loads(path.read_text())))  # laid out otherwise
    assert read_results(path)["numbers"] == DOCUMENT["numbers"]
    assert is_results(path)


@pytest.mark.parametrize("count", [300, pytest.param(4000, marks=pytest.mark.slow)])
def test_no_flipped_bit_is_accepted_with_other_content(path, count):
    whole = path.read_bytes()
    text, same = json.dumps(read_results(path)), 0
    for bit in flips(whole, count):
        path.write_bytes(flipped(whole, bit))
        try:
            same += json.dumps(read_results(path)) == text or pytest.fail(f"bit {bit} is accepted")
        except RunError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (it need not be raised)
    assert same < 10  # 1E-05 for 1e-05, \u00E9 for \u00e9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged, or not the results"),
        (b"[1]", "damaged, or not the results"),
        (b"\xff\xfe", "damaged, or not the results"),
        (b"[" * 100_000, "damaged, or not the results"),
        (b'{"a": 1}', "no sha256"),
        (b'{"a": 1, "sha256": 3}', "damaged or edited"),
        (b'{"a": NaN, "sha256": "x"}', "damaged or edited"),
    ],
    ids=lambda value: value[:12],
)
def test_what_no_run_has_written_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(RunError, match=message):
        read_results(path)
    assert not is_results(path)


def test_results_are_those_of_this_package(tmp_path):
    path = tmp_path / "results.json"
    assert not is_results(path)
    for schema, expected in (("gatentk/walk/1", True), ("mine", False), (3, False)):
        path.write_text(json.dumps({"schema": schema}))
        assert is_results(path) is expected
