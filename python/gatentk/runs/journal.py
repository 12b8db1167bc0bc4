"""What a run has finished, a line each, in a file that survives crashes and full disks."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple

from gatentk.errors import RunError
from gatentk.runs.files import open_atomically
from gatentk.runs.identity import as_stored, changes_text, differing_names

if TYPE_CHECKING:
    from typing_extensions import Self


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
        self._file: IO[bytes] = open(path, "a+b")  # noqa: SIM115 (closed by `close`)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise JournalBusyError(f"{path.parent}: another gatentk is writing to this folder") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
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
        self._file.seek(whole)
        return entries

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add an object; it is handed to the operating system at once."""
        _write(self._file, entry)

    def sync(self) -> None:
        """Wait until the disk has all of it."""
        os.fsync(self._file.fileno())

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
        self._file.seek(0)

    def replace(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Put a file of other objects in place of this one, which stays whole until then."""
        kept: IO[bytes] | None = None
        try:
            with open_atomically(self.path) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # before anybody can find it
                for entry in entries:
                    _write(file, entry)
                kept = os.fdopen(os.dup(file.fileno()), "r+b")  # the lock lasts while one of both is open
        except BaseException:
            if kept is not None:
                kept.close()
            raise
        self._file.close()
        self._file = kept


def _write(file: IO[bytes], entry: Mapping[str, Any]) -> None:
    file.write(json.dumps(entry, allow_nan=False).encode() + b"\n")
    file.flush()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object of a whole line, None for a torn one."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _begins_with(path: Path, key: str) -> bool:
    """Whether a file is there and its first line an object with this key first."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        entry = _parse(file.readline())
    return next(iter(entry or {}), None) == key


class Runner(NamedTuple):
    """Who keeps a journal.

    Attributes:
        kind: what a run is called, which is also the first key of the first line.
        file_name: of the journal in its folder.
        command: that calls the runner.
    """

    kind: str
    file_name: str
    command: str


STUDY = Runner("study", "records.jsonl", "gatentk ntk")
TRAINING = Runner("training", "log.jsonl", "gatentk train")
PAPER = Runner("paper", "cells.jsonl", "gatentk paper")
# A folder belongs to one of them: their results have the same names.
RUNNERS = (STUDY, TRAINING, PAPER)


class Journal:
    """The finished parts of one run in its folder, after a first line that says what they depend on.

    A subclass names its runner and takes the entries that are there.

    Args:
        folder: of the results; created if it is not there.
        identity: what the numbers depend on; a journal with another one is not continued.
        restart: whether to forget what is there; None to do so only if it belongs to another run.

    Attributes:
        runner: who keeps it.
        error: what a refusal raises.
        path: of the file.
        identity: as JSON gives it back.
        continued: whether there was something of the same run.

    Raises:
        RunError: `error`, for a folder that holds another run, or anything of another runner (whatever `restart` is),
            that cannot be written, or that another process is writing to.
    """

    runner: ClassVar[Runner]
    error: ClassVar[type[RunError]] = RunError

    def __init__(self, folder: Path, identity: Mapping[str, Any], restart: bool | None = False) -> None:
        self.path = folder / self.runner.file_name
        self.identity = as_stored(identity)
        self.continued = False
        try:
            self.check_folder(folder)
            folder.mkdir(parents=True, exist_ok=True)
            self._file = JournalFile(self.path)
            try:
                self._open(restart)
            except BaseException:
                self._file.close()
                raise
        except JournalBusyError as error:
            raise self.error(str(error)) from error
        except OSError as error:
            raise self.error(f"folder: cannot write to {folder}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that this run may not write to, before anything is written."""
        for other in RUNNERS:
            if other != self.runner and _begins_with(folder / other.file_name, other.kind):
                raise self.error(f"{folder} holds results of {other.command}; choose another folder with folder=")

    def take(self, entry: dict[str, Any]) -> None:
        """Remember one of the entries that were there; called for each after the first line."""
        raise NotImplementedError

    def first_line(self) -> dict[str, Any]:
        """What a new file starts with."""
        return {self.runner.kind: self.identity}

    def identity_in(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The identity in the first line of a file; None if the file is no such journal."""
        identity = line.get(self.runner.kind)
        return identity if isinstance(identity, dict) else None

    def other(self, stored: dict[str, Any], names: list[str]) -> str:
        """What a file with another identity holds, `names` of which differ."""
        return f"another {self.runner.kind} ({changes_text(stored, self.identity, names)})"

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; the disk has it when this returns."""
        self._file.write(entry)
        self._file.sync()

    def _open(self, restart: bool | None) -> None:
        if restart:
            self._file.clear()
        entries = self._file.read()
        refusal = self._refusal(entries[0]) if entries else None
        if refusal is not None and restart is None:
            self._file.clear()
            entries = []
        elif refusal is not None:
            raise self.error(refusal)
        if not entries:
            self.write(self.first_line())
        self.continued = bool(entries)
        for entry in entries[1:]:
            self.take(entry)

    def _refusal(self, line: dict[str, Any]) -> str | None:
        """Why a file with this first line is not continued."""
        stored = self.identity_in(line)
        if stored == self.identity:
            return None
        if stored is None:
            content = f"another {self.runner.kind} (of an unknown form)"
        else:
            content = self.other(stored, differing_names(stored, self.identity))
        return (
            f"{self.path.parent} holds {content}; choose another folder with folder=, or restart=True to start over in "
            "this one"
        )
