"""JSON lines that survive a torn end, a second writer and a failed replacement."""

import os

import pytest

from gatentk.errors import RunError
from gatentk.runs.journal import RUNNERS, Journal, JournalBusyError, JournalFile, Runner


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


def test_a_replacement_is_locked_as_the_file_was(tmp_path):
    path = tmp_path / "j"
    with JournalFile(path) as journal:
        journal.replace([{"a": 1}])
        with pytest.raises(JournalBusyError):
            JournalFile(path)
        journal.clear()
        journal.write({"b": 2})
        journal.replace([{"c": 3}])
        assert journal.read() == [{"c": 3}]
    with JournalFile(path) as journal:
        assert journal.read() == [{"c": 3}]


# The journal of a run


class Steps(Journal):
    runner = Runner("walk", "steps.jsonl", "gatentk walk")

    def __init__(self, folder, identity, restart=False):
        self.steps = []
        super().__init__(folder, identity, restart)

    def take(self, entry):
        self.steps.append(entry["step"])


def walked(folder, identity, *steps):
    with Steps(folder, identity) as journal:
        for step in steps:
            journal.write({"step": step})


def test_a_run_goes_on_where_it_stopped(tmp_path):
    with Steps(tmp_path, {"to": ("a", "b")}) as journal:
        assert not journal.continued
        journal.write({"step": 1})
    with Steps(tmp_path, {"to": ["a", "b"]}) as journal:
        assert journal.continued
        assert journal.steps == [1]
    assert (tmp_path / "steps.jsonl").read_text() == '{"walk": {"to": ["a", "b"]}}\n{"step": 1}\n'


def test_another_run_is_refused_with_what_differs_and_kept(tmp_path):
    walked(tmp_path, {"to": "a", "by": 1}, 1)
    before = (tmp_path / "steps.jsonl").read_bytes()
    message = r'holds another walk \(to was "a", is "b"\); choose another folder with folder=, or restart=True to start'
    with pytest.raises(RunError, match=message):
        Steps(tmp_path, {"to": "b", "by": 1})
    assert (tmp_path / "steps.jsonl").read_bytes() == before
    walked(tmp_path, {"to": "a", "by": 1}, 2)  # the refusal has released the file


@pytest.mark.parametrize("line", ['{"message": "mine"}\n', '{"walk": 3}\n'])
def test_a_foreign_file_is_left_alone(tmp_path, line):
    (tmp_path / "steps.jsonl").write_text(line)
    with pytest.raises(RunError, match=r"another walk \(of an unknown form\)"):
        Steps(tmp_path, {"to": "a"})
    assert (tmp_path / "steps.jsonl").read_text() == line


def test_a_restart_forgets_everything_or_only_another_run(tmp_path):
    walked(tmp_path, {"to": "a"}, 1)
    with Steps(tmp_path, {"to": "a"}, restart=None) as journal:
        assert journal.steps == [1]
    with Steps(tmp_path, {"to": "b"}, restart=None) as journal:
        assert (journal.steps, journal.continued) == ([], False)
        journal.write({"step": 2})
    with Steps(tmp_path, {"to": "b"}, restart=True) as journal:
        assert journal.steps == []
    assert (tmp_path / "steps.jsonl").read_text() == '{"walk": {"to": "b"}}\n'


def test_a_second_writer_of_a_run_gets_the_error_of_its_kind(tmp_path):
    with Steps(tmp_path, {}), pytest.raises(RunError, match="another gatentk is writing"):
        Steps(tmp_path, {}, restart=True)


# Runners


def kept_by(runner, folder, restart=False):
    """The journal of a runner in a folder, with something finished."""
    kind = type("Kept", (Journal,), {"runner": runner, "take": lambda self, entry: None})
    with kind(folder, {"to": "a"}, restart) as journal:
        journal.write({"step": 1})


PAIRS = [(first, second) for first in RUNNERS for second in RUNNERS if first != second]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda runner: runner.kind)
@pytest.mark.parametrize("restart", [False, True, None])
def test_a_folder_of_another_runner_is_refused_and_kept(tmp_path, first, second, restart):
    kept_by(first, tmp_path)
    before = (tmp_path / first.file_name).read_bytes()
    with pytest.raises(RunError, match=f"holds results of {first.command}; choose another folder with folder=$"):
        kept_by(second, tmp_path, restart)
    assert [path.name for path in tmp_path.iterdir()] == [first.file_name]
    assert (tmp_path / first.file_name).read_bytes() == before
    kept_by(first, tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "mine\n", "{}\n", '{"message": "training"}\n', '{"seed": 0, "training": 1}\n']
)
def test_a_file_that_only_has_the_name_of_a_journal_is_none(tmp_path, content):
    (tmp_path / "log.jsonl").write_text(content)
    walked(tmp_path, {"to": "a"}, 1)
    assert (tmp_path / "log.jsonl").read_text() == content
