"""One atomic write: the old file or the new one, whatever happens, and nothing beside it."""

import os
import resource

import pytest

from gatentk.runs.files import leftovers, open_atomically, write_atomically


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left")])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step, error):
    path = tmp_path / "results.json"
    write_atomically(path, b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]
    assert path.read_bytes() == b"old"


def test_a_failure_in_the_block_leaves_no_file(tmp_path):
    def fail():
        with open_atomically(tmp_path / "a") as file:
            file.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a"
    write_atomically(path, b"old")
    with open_atomically(path) as file:
        file.write(b"...new")
        assert path.read_bytes() == b"old"
        file.seek(0)
        file.write(b"all")
        file.seek(0)
        assert file.read() == b"allnew"
    assert path.read_bytes() == b"allnew"


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"")
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a", b"")
    assert list(tmp_path.iterdir()) == []


def test_files_get_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "aside", b"")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "aside").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_something_is_done_between_a_whole_file_and_its_place(tmp_path):
    path, seen = tmp_path / "a", []
    path.write_bytes(b"old")

    def before():
        (aside,) = leftovers(tmp_path, {"a"})
        seen.extend([path.read_bytes(), aside.read_bytes()])

    with open_atomically(path, before=before) as file:
        file.write(b"new")
    assert seen == [b"old", b"new"]
    assert leftovers(tmp_path, {"a"}) == []


def test_only_files_that_this_package_began_are_left_over(tmp_path):
    names = [".a.0123abcd.gatentk-tmp", ".a.0123abcd.tmp", ".a.0123abc.gatentk-tmp", "a.0123abcd.gatentk-tmp", "a"]
    for name in [*names, ".b.0123abcd.gatentk-tmp", ".a.x.0123abcd.gatentk-tmp"]:
        (tmp_path / name).touch()
    assert leftovers(tmp_path, {"a", "c"}) == [tmp_path / names[0]]


def test_a_full_disk_is_named(tmp_path):
    """By a limit of the process: an open file does not say what it is called."""
    path, limits = tmp_path / "a", resource.getrlimit(resource.RLIMIT_FSIZE)
    path.write_bytes(b"old")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            write_atomically(path, b"new" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("a", b"old")]
