"""A folder for one process: not for a second one, not for a child, not by a lock on what is no longer there."""

import errno
import fcntl
import os
import subprocess
import sys
import time

import pytest

from gatentk.runs import lock
from gatentk.runs.lock import LOCK_NAME, FolderBusyError, FolderLock

CHILD = "from pathlib import Path; import sys; from gatentk.runs.lock import FolderLock; FolderLock(Path(sys.argv[1]))"


def no_folders(monkeypatch, number):
    """A file system that locks files and answers for folders with an error number."""
    flock = fcntl.flock

    def files_only(file, operation):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(number, os.strerror(number))
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", files_only)


def is_free(folder):
    """Whether another process can have it."""
    done = subprocess.run([sys.executable, "-c", CHILD, folder], capture_output=True, text=True)
    assert done.returncode == 0 or "another gatentk is writing to this folder" in done.stderr, done.stderr
    return done.returncode == 0


def test_a_folder_is_for_one_at_a_time_and_nothing_is_written_to_it(tmp_path):
    first = FolderLock(tmp_path / "a" / "b")
    with pytest.raises(FolderBusyError, match="another gatentk is writing to this folder"):
        FolderLock(tmp_path / "a" / "b")
    assert not is_free(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    FolderLock(tmp_path / "a").close()
    first.close()
    assert not first.held
    assert is_free(tmp_path / "a" / "b")


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_is_locked_where_folders_cannot_be(tmp_path, monkeypatch, number):
    no_folders(monkeypatch, number)
    (tmp_path / LOCK_NAME).touch()  # of a process that was killed
    first = FolderLock(tmp_path)
    with pytest.raises(FolderBusyError):
        FolderLock(tmp_path)
    first.close()
    assert list(tmp_path.iterdir()) == []
    FolderLock(tmp_path).close()


def test_other_errors_are_raised(tmp_path, monkeypatch):
    no_folders(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        FolderLock(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        FolderLock(tmp_path / "file")


@pytest.mark.parametrize("by_file", [False, True])
def test_a_lock_on_what_was_replaced_is_none(tmp_path, monkeypatch, by_file):
    folder, calls = tmp_path / "a", []
    if by_file:
        no_folders(monkeypatch, errno.EBADF)
    flock = fcntl.flock

    def replaced_first(file, operation):
        flock(file, operation)
        calls.append(file)
        if len(calls) == 1:  # between opening and locking, seen from here
            if by_file:
                (folder / LOCK_NAME).unlink()
                (folder / LOCK_NAME).touch()
            else:
                folder.rename(tmp_path / "old")
                folder.mkdir()

    monkeypatch.setattr(fcntl, "flock", replaced_first)
    held = FolderLock(folder)
    assert len(calls) == 2
    monkeypatch.setattr(fcntl, "flock", flock)
    if by_file:
        no_folders(monkeypatch, errno.EBADF)
    with pytest.raises(FolderBusyError):
        FolderLock(folder)
    held.close()


def test_a_forked_child_does_not_hold_it(tmp_path):
    held = FolderLock(tmp_path)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # lives on while the parent lets go
        os.write(write, b"1" if held.held else b"0")
        held.close()
        time.sleep(60)
        os._exit(0)
    try:
        assert os.read(read, 1) == b"0"
        assert held.held
        with pytest.raises(FolderBusyError):
            FolderLock(tmp_path)
        held.close()
        FolderLock(tmp_path).close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def test_a_lock_that_nobody_refers_to_is_released(tmp_path):
    held = FolderLock(tmp_path)
    assert held in lock._HELD
    del held
    FolderLock(tmp_path).close()
