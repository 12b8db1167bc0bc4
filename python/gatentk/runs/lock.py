"""A folder for one process at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from weakref import WeakSet

# What file systems answer that lock no folders: NFS wants a file that is open for writing.
_FOLDERS_CANNOT = {errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
LOCK_NAME = ".gatentk-lock"


class FolderBusyError(Exception):
    """Another process has the folder."""


class FolderLock:
    """A folder for this process alone, until it is closed or the process ends; a forked child does not hold it.

    The folder itself is locked, so that nothing is written to it. Where the file system cannot do that it is a file in
    the folder, which is removed at the end.

    Args:
        folder: created if it is not there.

    Raises:
        FolderBusyError: another process has it, or this one by another lock.
        OSError: it cannot be made or opened.
    """

    def __init__(self, folder: Path) -> None:
        self._file: int | None = None
        self._lock_file: Path | None = None
        while not self.held:
            folder.mkdir(parents=True, exist_ok=True)
            self._take(folder)
        _HELD.add(self)

    @property
    def held(self) -> bool:
        """Whether this process holds it."""
        return self._file is not None

    def close(self) -> None:
        """Let others have the folder."""
        if self._file is None:
            return
        if self._lock_file is not None:
            self._lock_file.unlink(missing_ok=True)  # before others can lock it
        self.forget()

    def forget(self) -> None:
        """Hold it no longer, as a child must whose parent goes on holding it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    def _take(self, folder: Path) -> None:
        """Lock what is there; nothing, if it was replaced between opening and locking."""
        whole = folder, os.O_RDONLY | os.O_DIRECTORY
        inside = folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        for path, flags in (whole, inside):
            file = os.open(path, flags, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(file)
                raise FolderBusyError(f"{folder}: another gatentk is writing to this folder") from error
            except OSError as error:
                os.close(file)
                if path is folder and error.errno in _FOLDERS_CANNOT:
                    continue
                raise
            if _is_at(path, file):
                self._file, self._lock_file = file, None if path is folder else path
            else:
                os.close(file)
            return


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


_HELD: WeakSet[FolderLock] = WeakSet()


def _forget_all() -> None:
    for lock in list(_HELD):
        lock.forget()


# A lock belongs to the open file, which a child shares with its parent: a worker that outlives it would keep it.
os.register_at_fork(after_in_child=_forget_all)
