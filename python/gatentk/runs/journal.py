"""What a run has finished, a line each, and the folder that it owns with the files that it has written there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from gatentk.errors import RunError
from gatentk.runs.files import leftovers, write_atomically
from gatentk.runs.identity import as_stored, changes_text, differing_names
from gatentk.runs.lines import DamagedLineError, LinesFile, first_line, read_lines
from gatentk.runs.lock import FolderBusyError, FolderLock
from gatentk.runs.results import RESULTS, is_results

if TYPE_CHECKING:
    from typing_extensions import Self

# Keys of the first line besides the identity: the files of the run, and that they are of a run that was forgotten.
_FILES, _FORGOTTEN = "files", "forgotten"


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
FIT = Runner("fit", "depths.jsonl", "gatentk fit")
PAPER = Runner("paper", "cells.jsonl", "gatentk paper")
PAPERS = Runner("papers", "papers.jsonl", "gatentk paper all")
DEMO = Runner("demo", "demo.jsonl", "gatentk demo")
# A folder belongs to one of them: their results have the same names.
RUNNERS = (STUDY, TRAINING, FIT, PAPER, PAPERS, DEMO)
JOURNALS = frozenset(runner.file_name for runner in RUNNERS)


class Journal:
    """The finished parts of one run, and its folder: nobody else writes to it, nobody else's files are touched.

    The first line says what the results depend on and which files of the folder belong to the run. These files only
    are replaced or removed. A folder is recognised before anything in it is changed. A subclass names its runner and
    takes the entries that are there.

    Args:
        folder: of the results; created if it is not there.
        identity: what the numbers depend on; a journal with another one is not continued.
        restart: whether to forget what is there; None to do so only if it belongs to another run.
        files: names of files that the run will write; see `claim`.

    Attributes:
        runner: who keeps it.
        error: what a refusal raises.
        folder, path: of the results, and of the journal.
        identity: as JSON gives it back.
        files: names of the files that belong to the run.
        continued: whether there was something of the same run.

    Raises:
        RunError: `error`, for a folder that holds another run, anything of another runner, or files that belong to
            nobody known (whatever `restart` is); that cannot be written, or that another process is writing to; for a
            journal that is damaged.
    """

    runner: ClassVar[Runner]
    error: ClassVar[type[RunError]] = RunError

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], restart: bool | None = False, files: Iterable[str] = ()
    ) -> None:
        self.folder, self.path = folder, folder / self.runner.file_name
        self.identity = as_stored(identity)
        self.files: set[str] = set()
        self.continued = False
        self._file: LinesFile | None = None
        self._forgotten = False
        try:
            if not folder.exists():
                self.check_new()
            self._lock = FolderLock(folder)
            try:
                self._check_folder()
                self._open(restart, set(files))
                for path in leftovers(folder, {*self.files, self.path.name, *JOURNALS}):
                    path.unlink()
            except BaseException:
                self.close()
                raise
        except FolderBusyError as error:
            raise self.error(str(error)) from error
        except DamagedLineError as error:
            raise self.error(
                f"{error}, so that what follows is not known; put back a copy of the file, or restart=True starts over"
            ) from error
        except OSError as error:
            details = f" (errno {error.errno}, {error.filename})" if error.filename is not None else ""
            raise self.error(f"folder: cannot write to {folder}: {error.strerror or error}{details}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the folder."""
        if self._file is not None:
            self._file.close()
        self._lock.close()

    # What a subclass says

    def take(self, entry: dict[str, Any]) -> None:
        """Remember one of the entries that were there; called for each after the first line."""
        raise NotImplementedError

    def check_new(self) -> None:
        """Refuse a folder that holds no such run, before anything is written."""

    def check_continued(self) -> None:
        """Refuse to go on with what is there, before anything is written."""

    def first_line(self) -> dict[str, Any]:
        """What a new file starts with, besides the names of files."""
        return {self.runner.kind: self.identity}

    def identity_in(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The identity in the first line of a file, without the names of files; None if the file is no such journal."""
        identity = line.get(self.runner.kind)
        return identity if isinstance(identity, dict) and len(line) == 1 else None

    def other(self, stored: dict[str, Any], names: list[str]) -> str:
        """What a file with another identity holds, `names` of which differ."""
        return f"another {self.runner.kind} ({changes_text(stored, self.identity, names)})"

    # Entries

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add an entry; the disk has it when this returns."""
        self.add(entry)
        self.sync()

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add an entry, which is handed to the operating system."""
        self._lines.write(entry)

    def sync(self) -> None:
        """Wait until the disk has all of it."""
        self._lines.sync()

    def rewrite(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Put other entries in place of all that were written."""
        self._lines.replace([self._first_line(self.files), *entries])

    # Files

    def claim(self, names: Iterable[str]) -> None:
        """Make files belong to the run from here on, whether they are there one day or not.

        Args:
            names: of files in the folder.

        Raises:
            RunError: `error`, if one of them is there and does not belong to the run; nothing is changed.
        """
        files = self.files.union(names)
        if files != self.files:
            self._check_files(files)
            self._lines.replace([self._first_line(files), *read_lines(self.path).entries[1:]])
            self.files = files

    def put(self, name: str, content: bytes) -> None:
        """Write a whole file of the run.

        Raises:
            RunError: `error`, as `claim`.
            OSError: it cannot be written; what was there is as it was.
        """
        self.claim([name])
        self._check_held()
        write_atomically(self.folder / name, content)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, if they are there and belong to the run."""
        for name in self.files.intersection(names):
            (self.folder / name).unlink(missing_ok=True)

    # What is there

    def _check_folder(self) -> None:
        """Refuse a folder of another runner, and a file that is no journal of this one."""
        for other in RUNNERS:
            path = self.folder / other.file_name
            if other != self.runner and path.is_file() and _begins_with(path, other.kind):
                raise self.error(f"{self.folder} holds results of {other.command}; {another(self.folder)}")

    def _open(self, restart: bool | None, files: set[str]) -> None:
        if not os.path.lexists(self.path):
            self.check_new()
            self._check_files(files)
            self._file = LinesFile.create(self.path, [self._first_line(files)])
            self.files = files
            return
        stored, is_sealed = self._recognised()
        if not is_sealed and is_results(self.folder / RESULTS):
            self.files |= files  # journals without checksums do not say which files belong to the run
        if restart is None:
            restart = stored != self.identity
        if restart:
            self._start_over(files)
        elif stored != self.identity:
            content = self.other(stored, differing_names(stored, self.identity))
            raise self.error(
                f"{self.folder} holds {content}; {another(self.folder)}, or restart=True to start over in this one"
            )
        else:
            self._go_on(files)

    def _recognised(self) -> tuple[dict[str, Any], bool]:
        """The identity in the first line of the file that is there, and whether it has a checksum; takes its files."""
        parsed = first_line(self.path) if self.path.is_file() else None
        if parsed is not None:
            line, is_sealed = parsed
            files = line.pop(_FILES, None) if is_sealed else []
            self._forgotten = is_sealed and line.pop(_FORGOTTEN, False) is True
            identity = self.identity_in(line)
            if identity is not None and isinstance(files, list) and all(map(_is_name, files)):
                self.files = set(files)
                return identity, is_sealed
        raise self.error(
            f"{self.path} is no journal of {self.runner.command}, or its first line is damaged; {another(self.folder)}"
        )

    def _start_over(self, files: set[str]) -> None:
        """Forget all entries, then the files, which the next run does if this one is killed."""
        self._check_files(self.files | files)
        self._file = LinesFile(self.path)
        self._file.replace([{**self._first_line(self.files), _FORGOTTEN: True}])
        self.remove(self.files)
        self.files |= files
        self._file.replace([self._first_line(self.files)])

    def _go_on(self, files: set[str]) -> None:
        content = read_lines(self.path)
        self.check_continued()
        self.continued = True
        for number, entry in enumerate(content.entries[1:], 2):
            try:
                self.take(entry)
            except RunError as error:
                raise self.error(f"{self.path}: line {number}: {error}; restart=True starts over") from error
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
                raise self.error(
                    f"{self.path}: line {number} is not of this {self.runner.kind} ({type(error).__name__}: {error}); "
                    "restart=True starts over"
                ) from error
        if self._forgotten:
            self.remove(self.files)
        files |= self.files
        self._check_files(files)
        self._file = LinesFile(self.path)
        if content.sealed and files == self.files and not self._forgotten:
            self._file.cut(content.size)
        else:
            self._file.replace([self._first_line(files), *content.entries[1:]])
        self.files = files

    def _check_files(self, files: set[str]) -> None:
        for name in sorted(files - self.files):
            if os.path.lexists(self.folder / name):
                raise self.error(
                    f"{self.folder / name} was not written by this run of {self.runner.command}, which writes a file "
                    f"of that name; move it, or {another(self.folder)}"
                )

    def _first_line(self, files: Iterable[str]) -> dict[str, Any]:
        return {**self.first_line(), _FILES: sorted(files)}

    @property
    def _lines(self) -> LinesFile:
        self._check_held()
        assert self._file is not None
        return self._file

    def _check_held(self) -> None:
        if not self._lock.held:
            raise self.error(
                f"{self.folder}: this process does not hold the folder; only the one that opened it writes"
            )


class Overview(Journal):
    """The folder of a page about runs, each of which has a folder inside it."""

    def take(self, entry: dict[str, Any]) -> None:
        """Nothing is finished here besides the page."""
        raise ValueError("a page has no parts")


class PapersFolder(Overview):
    """That of all experiments."""

    runner = PAPERS


class DemoFolder(Overview):
    """That of the demonstration."""

    runner = DEMO


def another(folder: Path) -> str:
    """What to do about a folder that is taken: a name that is free."""
    base = folder if folder.name not in ("", "..") else Path(folder.resolve().name or "results")
    free = (base.with_name(f"{base.name}-{number}") for number in itertools.count(2))
    return f"choose another folder with folder=, such as {next(path for path in free if not os.path.lexists(path))}"


def _begins_with(path: Path, key: str) -> bool:
    """Whether a file begins as a journal of that kind, damaged or not."""
    start = f'{{"{key}": '.encode()
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _is_name(name: Any) -> bool:
    """Whether it is the name of a file in a folder, and of no journal."""
    return isinstance(name, str) and name not in {"", ".", "..", *JOURNALS} and "/" not in name and "\0" not in name
