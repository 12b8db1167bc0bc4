"""Lines with checksums: what was written is read back, and nothing else is; only a torn end is no error."""

import errno
import json
import os
import resource
import zlib

import pytest
from cases.damage import flipped, flips
from hypothesis import given
from hypothesis import strategies as st

from gatentk.runs.lines import DamagedLineError, LinesFile, first_line, read_lines, sealed

ENTRIES = [{"run": {"width": 3, "J": "J*\n"}}, {"a": 1.5, "b": [None, "x\n"]}, {"c": {"d": -1e-300}}]


@pytest.fixture
def path(tmp_path):
    LinesFile.create(tmp_path / "j", ENTRIES).close()
    return tmp_path / "j"


def test_what_was_written_is_read_back(tmp_path):
    file = LinesFile.create(tmp_path / "j", ENTRIES[:1])
    for entry in ENTRIES[1:]:
        file.write(entry)
    file.sync()
    file.close()
    size = (tmp_path / "j").stat().st_size
    assert read_lines(tmp_path / "j") == (ENTRIES, size, True)
    assert first_line(tmp_path / "j") == (ENTRIES[0], True)
    with pytest.raises(ValueError, match="is closed"):
        file.write({"d": 1})


def test_a_checksum_is_that_of_the_line_without_it():
    line = json.loads(sealed({"a": 1, "b": "é"}))
    crc = line.pop("crc")
    assert crc == f"{zlib.crc32(json.dumps(line).encode()):08x}"
    assert list(json.loads(sealed({"a": 1}))) == ["a", "crc"]


def accepted(path, content):
    """What is read of other content, without lines of a torn end; None if it is refused."""
    path.write_bytes(content)
    before = path.stat()
    try:
        return read_lines(path)
    except DamagedLineError as error:
        assert str(error).startswith(f"{path}: line ")  # noqa: PT017 (it need not be raised)
        return None
    finally:
        assert path.read_bytes() == content
        assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("count", [250, pytest.param(None, marks=pytest.mark.slow)])
def test_no_flipped_bit_is_accepted(path, count):
    content = path.read_bytes()
    for bit in flips(content, count):
        lines = accepted(path, flipped(content, bit))
        # A first line that has no checksum any longer is of another form, with a key that its reader does not know.
        assert lines is None or (not lines.sealed and len(lines.entries) < 2), bit
    assert accepted(path, content).entries == ENTRIES


@given(cut=st.integers(0, 400))
def test_a_torn_end_is_no_error_and_not_taken(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("torn") / "j"
    content = b"".join(map(sealed, ENTRIES))[: max(cut, 1)]
    lines = accepted(path, content)
    whole = content.count(b"\n")
    assert lines.entries == ENTRIES[:whole]
    assert lines.size == len(b"".join(map(sealed, ENTRIES[:whole])))
    assert accepted(path, content + bytes(7)).entries == ENTRIES[:whole]  # a file system that lost the end


@pytest.mark.parametrize(
    "line",
    [
        *(b"null\n", b"[1]\n", b"\xff\xfe\n", b"\n", b'{"a": 1}\n', b'{"a": 1, "crc": "00000000"}\n', b"mine", b"1"),
        *(b"[" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n", sealed({"d": 1})[:-1] + b"*"),
    ],
    ids=lambda line: line[:12],
)
def test_what_was_not_written_is_refused_by_its_number(path, line):
    number = path.read_bytes().count(b"\n") + 1
    content = path.read_bytes() + line
    assert accepted(path, content) is None
    with pytest.raises(DamagedLineError, match=f"line {number} is damaged"):
        read_lines(path)
    if line.endswith(b"\n"):
        path.write_bytes(content + sealed({"e": 1}))
        with pytest.raises(DamagedLineError, match=f"line {number} is damaged"):
            read_lines(path)


def test_lines_without_checksums_are_read_if_the_first_has_none(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"run": {}}\n{"a": 1}\n{"b": ')
    assert read_lines(path) == ([{"run": {}}, {"a": 1}], 21, False)
    path.write_bytes(b'{"run": {}}\n{"a": 1\n{"b": 2}\n')
    with pytest.raises(DamagedLineError, match="line 2 is damaged"):
        read_lines(path)


def test_anybodys_file_has_perhaps_a_first_line(tmp_path):
    path = tmp_path / "j"
    for content in (
        b"",
        b"{",
        b"mine\n",
        b"[1]\n",
        b"\0" * 100,
        b"{" * 100_000 + b"\n",
        b'{"a": 1, "crc": "00000000"}\n',
    ):
        path.write_bytes(content)
        assert first_line(path) is None
    path.write_bytes(b'{"mine": 1}\n')
    assert first_line(path) == ({"mine": 1}, False)


def test_not_a_number_is_refused(path):
    file = LinesFile(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        file.write({"a": float("nan")})
    file.close()
    assert path.read_bytes() == before


def test_a_replacement_is_whole_or_not_there(path, monkeypatch):
    file = LinesFile(path)
    file.replace([{"b": 2}])
    file.write({"d": 4})
    before = path.read_bytes()

    def fail(*_):
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match=f"disk full: '{path}'"):
            file.replace([{"e": 5}])
    assert path.read_bytes() == before
    file.write({"f": 6})
    file.close()
    assert read_lines(path).entries == [{"b": 2}, {"d": 4}, {"f": 6}]
    assert [each.name for each in path.parent.iterdir()] == ["j"]


def test_a_full_disk_leaves_the_file_as_it_was_and_is_named(path):
    """By a limit of the process, in the middle of a line."""
    file, before = LinesFile(path), path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        for attempt in (lambda: file.write({"long": "x" * 100}), lambda: file.replace([{"long": "x" * 1000}])):
            with pytest.raises(OSError, match=str(path)) as caught:
                attempt()
            assert caught.value.errno == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    file.write({"d": 1})
    file.close()
    assert read_lines(path).entries == [*ENTRIES, {"d": 1}]
    assert [each.name for each in path.parent.iterdir()] == ["j"]
