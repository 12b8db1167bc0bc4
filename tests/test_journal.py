"""JSON lines that survive a torn end, a second writer and a failed replacement."""

import os

import pytest

from gatentk.journal import JournalBusyError, JournalFile


def test_what_was_written_is_read_back(tmp_path):
    entries = [{"a": 1}, {"b": [1.5, None, "x\n"]}]
    with JournalFile(tmp_path / "j") as journal:
        assert journal.read() == []
        for entry in entries:
            journal.write(entry)
        journal.sync()
    with JournalFile(tmp_path / "j") as journal:
        assert journal.read() == entries
        journal.clear()
        assert journal.read() == []


@pytest.mark.parametrize("torn", [b'{"b": 2', b'{"b": 2}', b"null\n", b"[1]\n", b"\xff\xfe\n"])
def test_a_torn_or_foreign_end_is_cut_off(tmp_path, torn):
    path = tmp_path / "j"
    path.write_bytes(b'{"a": 1}\n' + torn)
    with JournalFile(path) as journal:
        assert journal.read() == [{"a": 1}]
        journal.write({"c": 3})
    assert path.read_bytes() == b'{"a": 1}\n{"c": 3}\n'


def test_a_second_writer_is_refused(tmp_path):
    with JournalFile(tmp_path / "j"), pytest.raises(JournalBusyError, match="another gatentk"):
        JournalFile(tmp_path / "j")
    JournalFile(tmp_path / "j").close()


def test_not_a_number_is_refused(tmp_path):
    with JournalFile(tmp_path / "j") as journal, pytest.raises(ValueError, match="JSON"):
        journal.write({"a": float("nan")})


def test_a_replacement_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "j"
    with JournalFile(path) as journal:
        journal.write({"a": 1})
        journal.replace([{"b": 2}, {"c": 3}])
        journal.write({"d": 4})
        assert journal.read() == [{"b": 2}, {"c": 3}, {"d": 4}]
        before = path.read_bytes()

        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk full"):
            journal.replace([{"e": 5}])
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == ["j"]
        journal.write({"f": 6})
        assert journal.read()[-1] == {"f": 6}
