"""A file of JSON objects, a line each with its checksum: a line is what was written, or it is refused by its number."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gatentk.runs.files import naming, open_atomically

LONGEST_FIRST_LINE = 1 << 24  # bytes that are read of a file that may be anybody's
_SEAL = re.compile(rb', "crc": "([0-9a-f]{8})"\}')


class DamagedLineError(Exception):
    """A line is not what was written; the message names file and line."""


class Lines(NamedTuple):
    """What a file holds.

    Attributes:
        entries: the objects of all whole lines, without checksums.
        size: bytes of these lines; what follows is torn.
        sealed: whether the lines have checksums; those that gatentk 0.1 wrote at first have none.
    """

    entries: list[dict[str, Any]]
    size: int
    sealed: bool


def sealed(entry: Mapping[str, Any]) -> bytes:
    r"""A line: the object as JSON, with the CRC-32 of its text without this last key.

    Examples:
        >>> sealed({"step": 1})
        b'{"step": 1, "crc": "3a87913d"}\n'
    """
    text = json.dumps(entry, allow_nan=False).encode()
    return text[:-1] + b', "crc": "%08x"}\n' % zlib.crc32(text)


def first_line(path: Path) -> tuple[dict[str, Any], bool] | None:
    """The object of the first line of anybody's file, and whether it has a checksum; None if there is none."""
    with path.open("rb") as file:
        return _parse(file.readline(LONGEST_FIRST_LINE))


def read_lines(path: Path) -> Lines:
    """All whole lines of a file; nothing is changed.

    Raises:
        DamagedLineError: a line is no object or does not fit its checksum, and is not a last line that was torn while
            it was written.
    """
    *whole, rest = path.read_bytes().split(b"\n")
    entries: list[dict[str, Any]] = []
    is_sealed = True
    for number, line in enumerate(whole, 1):
        parsed = _parse(line + b"\n")
        if number == 1 and parsed is not None:
            is_sealed = parsed[1]
        if parsed is None or parsed[1] != is_sealed:
            raise DamagedLineError(f"{path}: line {number} is damaged")
        entries.append(parsed[0])
    if not _is_torn(rest):
        raise DamagedLineError(f"{path}: line {len(whole) + 1} is damaged")
    return Lines(entries, sum(map(len, whole)) + len(whole), is_sealed)


def _parse(line: bytes) -> tuple[dict[str, Any], bool] | None:
    """The object of a line and whether it has a checksum; None if it is none or does not fit it."""
    if not line.endswith(b"\n"):
        return None
    seal = _SEAL.fullmatch(line, max(0, len(line) - 21), len(line) - 1)
    text = line if seal is None else line[: seal.start()] + b"}"
    if seal is not None and zlib.crc32(text) != int(seal[1], 16):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return (entry, seal is not None) if isinstance(entry, dict) else None


def _is_torn(rest: bytes) -> bool:
    """Whether the end of a file is the beginning of a line, or zeros: not a whole line whose end was changed."""
    text = rest.rstrip(b"\0")
    seal = _SEAL.search(text)
    return not text or (text.startswith(b"{") and (seal is None or seal.end() == len(text)))


class LinesFile:
    """A file of lines that is there and is added to.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = os.open(path, os.O_RDWR | os.O_APPEND)

    @staticmethod
    def create(path: Path, entries: Iterable[Mapping[str, Any]]) -> LinesFile:
        """A file that has these lines as soon as it is there."""
        with open_atomically(path) as file:
            file.writelines(map(sealed, entries))
        return LinesFile(path)

    def close(self) -> None:
        """Release the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self.close()

    def write(self, entry: Mapping[str, Any]) -> None:
        """Add a line, which is handed to the operating system at once.

        Raises:
            OSError: it cannot be written; the file is as it was.
        """
        left = memoryview(sealed(entry))
        with naming(self.path):
            size = os.fstat(self._number).st_size
            try:
                while left:
                    left = left[os.write(self._number, left) :]
            except OSError:
                os.ftruncate(self._number, size)
                raise

    def sync(self) -> None:
        """Wait until the disk has all of it."""
        with naming(self.path):
            os.fsync(self._number)

    def cut(self, size: int) -> None:
        """Forget what follows the first bytes."""
        os.ftruncate(self._number, size)

    def replace(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Put a file of other lines in place of this one, which stays whole until then."""
        with open_atomically(self.path) as file:
            file.writelines(map(sealed, entries))
        self.close()
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND)

    @property
    def _number(self) -> int:
        if self._file is None:
            raise ValueError(f"{self.path} is closed")
        return self._file
