"""The journal of a run: what goes on, what is refused, which files belong to it, what is left of dead processes."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from cases.damage import flipped, flips

from gatentk.errors import RunError
from gatentk.runs.files import open_atomically
from gatentk.runs.journal import RUNNERS, DemoFolder, Journal, PapersFolder, Runner, another
from gatentk.runs.lines import sealed


class Steps(Journal):
    runner = Runner("walk", "steps.jsonl", "gatentk walk")

    def __init__(self, folder, identity, restart=False, files=()):
        self.steps = []
        super().__init__(folder, identity, restart, files)

    def take(self, entry):
        self.steps.append(entry["step"])


def walked(folder, identity, *steps, files=()):
    with Steps(folder, identity, files=files) as journal:
        for step in steps:
            journal.write({"step": step})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_goes_on_where_it_stopped(tmp_path):
    with Steps(tmp_path, {"to": ("a", "b")}, files=["b", "a"]) as journal:
        assert not journal.continued
        journal.write({"step": 1})
    with Steps(tmp_path, {"to": ["a", "b"]}) as journal:
        assert journal.continued
        assert journal.steps == [1]
        assert journal.files == {"a", "b"}
    first = {"walk": {"to": ["a", "b"]}, "files": ["a", "b"]}
    assert (tmp_path / "steps.jsonl").read_bytes() == sealed(first) + sealed({"step": 1})


def test_another_run_is_refused_with_what_differs_and_kept(tmp_path):
    walked(tmp_path, {"to": "a", "by": 1}, 1)
    before = contents(tmp_path)
    free = tmp_path.with_name(f"{tmp_path.name}-3")
    tmp_path.with_name(f"{tmp_path.name}-2").mkdir()
    message = r'holds another walk \(to was "a", is "b"\); choose another folder with folder=, such as '
    with pytest.raises(RunError, match=f"{message}{free}, or restart=True to start over in this one"):
        Steps(tmp_path, {"to": "b", "by": 1})
    assert contents(tmp_path) == before
    walked(tmp_path, {"to": "a", "by": 1}, 2)  # the refusal has released the folder


@pytest.mark.parametrize("name", [".", "..", "/", "x"])
def test_a_free_folder_has_a_name_wherever_one_is(tmp_path, monkeypatch, name):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    free = {".": "b-2", "..": "a-2", "/": "results-2", "x": "x-2"}[name]
    assert another(Path(name)) == f"choose another folder with folder=, such as {free}"


OWN = ['{"message": "mine"}\n', '{"walk": 3}\n', "", "mine", "mine\n", '{"walk": {', '{"walk": {}, "mine": 1}\n']


@pytest.mark.parametrize("content", OWN)
@pytest.mark.parametrize("restart", [False, True, None])
def test_a_file_of_the_users_is_left_alone(tmp_path, content, restart):
    (tmp_path / "steps.jsonl").write_text(content)
    (tmp_path / "result").write_text("mine, too")
    with pytest.raises(RunError, match=r"steps.jsonl is no journal of gatentk walk.*; choose another folder with fol"):
        Steps(tmp_path, {"to": "a"}, restart, ["result"])
    assert contents(tmp_path) == {"steps.jsonl": content.encode(), "result": b"mine, too"}


@pytest.mark.parametrize("files", [["../mine"], [".."], ["steps/mine"], ["cells.jsonl"], [3], [""], "mine", {}])
def test_a_first_line_with_names_that_no_run_writes_is_none(tmp_path, files):
    (tmp_path / "steps.jsonl").write_bytes(sealed({"walk": {}, "files": files}))
    with pytest.raises(RunError, match="is no journal"):
        Steps(tmp_path, {}, True)


def test_a_restart_forgets_everything_or_only_another_run(tmp_path):
    walked(tmp_path, {"to": "a"}, 1)
    with Steps(tmp_path, {"to": "a"}, restart=None) as journal:
        assert journal.steps == [1]
    with Steps(tmp_path, {"to": "b"}, restart=None) as journal:
        assert (journal.steps, journal.continued) == ([], False)
        journal.write({"step": 2})
    with Steps(tmp_path, {"to": "b"}, restart=True) as journal:
        assert journal.steps == []
    assert (tmp_path / "steps.jsonl").read_bytes() == sealed({"walk": {"to": "b"}, "files": []})


def test_a_second_writer_of_a_run_gets_the_error_of_its_kind(tmp_path):
    with Steps(tmp_path, {}):
        for restart in (False, True, None):
            with pytest.raises(RunError, match="another gatentk is writing"):
                Steps(tmp_path, {}, restart)


def test_a_child_does_not_write(tmp_path):
    with Steps(tmp_path, {}) as journal:
        child = os.fork()
        if child == 0:
            try:
                journal.write({"step": 1})
            except RunError:
                os._exit(17)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
        journal.write({"step": 2})
    assert walked(tmp_path, {}) is None
    with Steps(tmp_path, {}) as journal:
        assert journal.steps == [2]


@pytest.mark.parametrize("missing", [False, True])
def test_of_processes_that_begin_at_once_one_has_the_folder(tmp_path, missing):
    """Of several commands, too: each waits for the start, tries, and keeps what it got for a while."""
    program = (
        "import sys; from pathlib import Path\n"
        "from gatentk.runs import journal; from gatentk.errors import RunError\n"
        "kind = type('Kept', (journal.Journal,), {'runner': journal.RUNNERS[int(sys.argv[2])]})\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try:\n"
        "    with kind(Path(sys.argv[1]), {'to': 'a'}):\n"
        "        print('got it', flush=True); sys.stdin.readline()\n"
        "except RunError as error: print(error, flush=True)\n"
    )
    folder = tmp_path / "a" / "b" if missing else tmp_path
    commands = [[sys.executable, "-c", program, folder, str(kind)] for kind in (0, 1, 2, 0)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        said = [process.stdout.readline() for process in processes]
    finally:
        for process in processes:
            process.communicate("\n")
    assert said.count("got it\n") == 1
    assert sum("another gatentk is writing to this folder" in line for line in said) == len(processes) - 1
    assert len(list(folder.iterdir())) == 1


# Damage


def test_a_torn_last_line_is_cut_off_once_the_run_goes_on(tmp_path):
    walked(tmp_path, {"to": "a"}, 1, 2)
    path = tmp_path / "steps.jsonl"
    torn = path.read_bytes()[:-4]
    path.write_bytes(torn)
    with pytest.raises(RunError, match="another walk"):
        Steps(tmp_path, {"to": "b"})
    assert path.read_bytes() == torn
    walked(tmp_path, {"to": "a"}, 3)
    with Steps(tmp_path, {"to": "a"}) as journal:
        assert journal.steps == [1, 3]


@pytest.mark.parametrize("count", [150, pytest.param(4000, marks=pytest.mark.slow)])
def test_no_flipped_bit_of_a_journal_is_accepted(tmp_path, count):
    walked(tmp_path, {"to": "a", "J": [1.5, None]}, *range(60), files=["result"])
    path = tmp_path / "steps.jsonl"
    whole = path.read_bytes()
    for bit in flips(whole, count):
        damaged = flipped(whole, bit)
        path.write_bytes(damaged)
        line = damaged[: bit // 8].count(b"\n") + 1
        with pytest.raises(RunError, match=r"steps\.jsonl(: line \d+ is damaged| is no journal)") as caught:
            Steps(tmp_path, {"to": "a", "J": [1.5, None]}, files=["result"])
        if line > 1 and damaged.count(b"\n") == whole.count(b"\n"):
            assert f"{path}: line {line} is damaged" in str(caught.value)
            assert "restart=True starts over" in str(caught.value)
        assert path.read_bytes() == damaged
    path.write_bytes(flipped(whole, 8 * (len(whole) - 60)))
    with Steps(tmp_path, {"to": "a", "J": [1.5, None]}, restart=True) as journal:
        assert journal.steps == []


@pytest.mark.parametrize("entry", [{}, {"other": 1}])
def test_entries_of_another_shape_are_refused_by_their_number(tmp_path, entry):
    walked(tmp_path, {}, 1)
    path = tmp_path / "steps.jsonl"
    with path.open("ab") as file:
        file.write(b"{}\n" if not entry else sealed(entry))
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"steps.jsonl: line 3 is .*restart=True starts over"):
        Steps(tmp_path, {})
    assert path.read_bytes() == before


def test_a_journal_of_before_checksums_goes_on_with_them(tmp_path):
    path, old = tmp_path / "steps.jsonl", b'{"walk": {"to": "a"}}\n{"step": 1}\n{"ste'
    path.write_bytes(old)
    with pytest.raises(RunError, match="another walk"):
        Steps(tmp_path, {"to": "b"})
    assert path.read_bytes() == old
    walked(tmp_path, {"to": "a"}, 2, files=["result"])
    lines = [{"walk": {"to": "a"}, "files": ["result"]}, {"step": 1}, {"step": 2}]
    assert path.read_bytes() == b"".join(map(sealed, lines))


@pytest.mark.parametrize("ours", [False, True])
def test_files_beside_a_journal_of_before_are_its_own_if_the_results_are(tmp_path, ours):
    (tmp_path / "steps.jsonl").write_bytes(b'{"walk": {"to": "a"}}\n')
    (tmp_path / "results.json").write_text(json.dumps({"schema": "gatentk/walk/1" if ours else "mine"}))
    if ours:
        walked(tmp_path, {"to": "a"}, files=["results.json"])
    else:
        with pytest.raises(RunError, match=r"results.json was not written by this run of gatentk walk"):
            walked(tmp_path, {"to": "a"}, files=["results.json"])


# Files


def test_only_files_of_the_run_are_replaced_or_removed(tmp_path):
    with Steps(tmp_path, {}, files=["a"]) as journal:
        journal.put("a", b"1")
        journal.put("b", b"1")
        journal.write({"step": 1})
        (tmp_path / "c").write_bytes(b"mine")
        (tmp_path / "link").symlink_to("nowhere")
        for name in ("c", "link"):
            with pytest.raises(RunError, match=f"{name} was not written by this run of gatentk walk, which"):
                journal.put(name, b"2")
        journal.remove(["c"])
        journal.put("a", b"2")
        journal.write({"step": 2})
    assert (tmp_path / "c").read_bytes() == b"mine"
    with Steps(tmp_path, {}) as journal:
        assert journal.files == {"a", "b"}
        assert journal.steps == [1, 2]
        journal.remove(["b"])
        journal.put("b", b"3")
    with Steps(tmp_path, {"to": "b"}, restart=True, files=["d"]) as journal:
        assert journal.files == {"a", "b", "d"}
        assert not (tmp_path / "a").exists()
        assert not (tmp_path / "b").exists()
    assert (tmp_path / "c").read_bytes() == b"mine"


@pytest.mark.parametrize("restart", [False, True, None])
def test_a_file_that_would_be_replaced_is_found_before_anything_is_written(tmp_path, restart):
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(
        RunError, match=r"a was not written by this run of gatentk walk, .*; move it, or choose another folder with"
    ):
        Steps(tmp_path, {}, restart, ["a"])
    assert contents(tmp_path) == {"a": b"mine"}


def test_what_killed_processes_left_is_removed_by_the_next_run_of_the_folder(tmp_path):
    """Files that they had begun, of the run and of no others; the first journal of another command among them."""
    walked(tmp_path, {}, 1, files=["a", "b"])
    pid = os.fork()
    if pid == 0:
        files = [open_atomically(tmp_path / name) for name in ("a", "b", "steps.jsonl", "log.jsonl", "mine")]
        for file in files:
            file.__enter__().write(b"x")
        os._exit(0)  # nothing is cleaned up
    os.waitpid(pid, 0)
    (tmp_path / ".a.12345678.tmp").touch()
    (tmp_path / ".a.mine.gatentk-tmp").touch()
    assert len(list(tmp_path.iterdir())) == 8
    with pytest.raises(RunError, match="another walk"):
        Steps(tmp_path, {"to": "b"})
    assert len(list(tmp_path.iterdir())) == 8
    walked(tmp_path, {}, 2)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[:2] == [".a.12345678.tmp", ".a.mine.gatentk-tmp"]
    assert left[2].startswith(".mine.")
    assert left[3:] == ["steps.jsonl"]


@pytest.mark.parametrize("restart", [False, True])
def test_a_kill_at_any_system_call_leaves_a_folder_to_go_on_with(tmp_path, restart):
    """Every rename, removal and write of a small run in turn ends a child at once."""

    def run(folder, restart):
        with Steps(folder, {}, restart, ["a"]) as journal:
            for step in range(len(journal.steps), 3):
                journal.write({"step": step})
            for content in (b"1", b"2"):
                journal.put("a", content)
            journal.put("b", b"end")

    whole = tmp_path / "whole"
    run(whole, False)
    for count in range(1, 200):
        folder = tmp_path / f"{count}"
        if restart:
            run(folder, False)
            (folder / "mine").touch()
        pid = os.fork()
        if pid == 0:
            dying(count)
            run(folder, restart)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
            break
        run(folder, False)
        kept = contents(folder)
        kept.pop("mine", None)
        assert kept == contents(whole)
    assert count > 20


def dying(count):
    """End the process before its n-th call that changes a file."""
    calls = iter(range(1, count + 1))

    def before(function):
        def called(*arguments, **options):
            if next(calls, None) == count:
                os._exit(9)
            return function(*arguments, **options)

        return called

    for name in ("write", "fsync", "replace", "unlink", "ftruncate", "mkdir", "open"):
        setattr(os, name, before(getattr(os, name)))


def test_a_full_disk_is_named_and_what_was_there_is_kept(tmp_path):
    walked(tmp_path, {}, 1, files=["a"])
    with Steps(tmp_path, {}) as journal:
        journal.put("a", b"old")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
            for name, attempt in {
                "a": lambda: journal.put("a", b"new" * 10),
                "steps.jsonl": lambda: journal.write({"step": 2}),
            }.items():
                with pytest.raises(OSError, match=f"27.*{tmp_path / name}") as caught:
                    attempt()
                assert caught.value.errno == errno.EFBIG
            with pytest.raises(RunError, match=f"^folder: cannot write to {tmp_path / 'new'}: .*errno 27, .*jsonl"):
                Steps(tmp_path / "new", {})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        journal.write({"step": 3})
    assert (tmp_path / "a").read_bytes() == b"old"
    with Steps(tmp_path, {}) as journal:
        assert journal.steps == [1, 3]
    assert sorted(contents(tmp_path)) == ["a", "steps.jsonl"] if not (tmp_path / "new").exists() else True
    assert list((tmp_path / "new").iterdir()) == []


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
    before = contents(tmp_path)
    free = f"{tmp_path}-2"
    with pytest.raises(RunError, match=f"holds results of {first.command}; choose another .*such as {free}$"):
        kept_by(second, tmp_path, restart)
    assert contents(tmp_path) == before
    kept_by(first, tmp_path)


def test_a_damaged_journal_of_another_runner_is_one(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"training": {"wi')
    with pytest.raises(RunError, match="holds results of gatentk train"):
        walked(tmp_path, {"to": "a"}, 1)


@pytest.mark.parametrize(
    "content", ["", "{", "mine\n", "{}\n", '{"message": "training"}\n', '{"seed": 0, "training": 1}\n']
)
def test_a_file_that_only_has_the_name_of_a_journal_is_none(tmp_path, content):
    (tmp_path / "log.jsonl").write_text(content)
    walked(tmp_path, {"to": "a"}, 1)
    assert (tmp_path / "log.jsonl").read_text() == content


@pytest.mark.parametrize("kind", [PapersFolder, DemoFolder])
def test_the_folder_of_a_page_holds_nothing_else(tmp_path, kind):
    for _ in range(2):
        with kind(tmp_path, {}, files=["page"]) as folder:
            folder.put("page", b"text")
    with folder.path.open("ab") as file:
        file.write(sealed({"step": 1}))
    with pytest.raises(RunError, match="line 2 is not of this"):
        kind(tmp_path, {})
