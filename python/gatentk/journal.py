"""Files of JSON objects, a line each, that survive crashes and full disks."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any


class JournalBusyError(Exception):
    """Another process has the file open."""


class JournalFile:
    """A file of JSON objects, a line each, locked while open.

    A last line that is torn, by a crash or a full disk, is cut off when the file is read.

    Args:
        path: of the file; created if it is not there.

    Raises:
        JournalBusyError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _locked(path, "a+b")

    def __enter__(self) -> JournalFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def read(self) -> list[dict[str, Any]]:
        """All objects; what follows the last whole line is cut off."""
        self._file.seek(0)
        whole = 0
        entries = []
        for line in self._file:
            entry = _parse(line)
            if entry is None:
                break
            entries.append(entry)
            whole += len(line)
        self._file.truncate(whole)
        return entries

    def write(self, entry: dict[str, Any]) -> None:
        """Add an object; it is handed to the operating system at once."""
        _write(self._file, entry)

    def sync(self) -> None:
        """Wait until the disk has all of it."""
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)

    def replace(self, entries: Iterable[dict[str, Any]]) -> None:
        """Put a file of other objects in place of this one, which stays whole until then."""
        aside = self.path.with_name(f".{self.path.name}.tmp")
        file = _locked(aside, "w+b")
        try:
            for entry in entries:
                _write(file, entry)
            os.fsync(file.fileno())
            os.replace(aside, self.path)
        except BaseException:
            file.close()
            aside.unlink(missing_ok=True)
            raise
        self._file.close()
        self._file = file


def _locked(path: Path, mode: str) -> IO[bytes]:
    file: IO[bytes] = open(path, mode)  # noqa: SIM115 (closed by JournalFile)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise JournalBusyError(f"{path.parent}: another gatentk is writing to this folder") from error
    except BaseException:
        file.close()
        raise
    return file


def _write(file: IO[bytes], entry: dict[str, Any]) -> None:
    file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
    file.flush()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object of a whole line, None for a torn one."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
