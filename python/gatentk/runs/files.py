"""The one way to write a file: it is there whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_ASIDE = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.gatentk-tmp", re.DOTALL)


@contextmanager
def open_atomically(path: Path, before: Callable[[], None] | None = None) -> Iterator[BinaryIO]:
    """A new file, to write and read, that takes the place of `path` at the end of the block.

    If the block fails, or the disk or the user stops it, what was at `path` stays and nothing else is left behind. A
    process that is killed leaves a file that `leftovers` knows.

    Args:
        path: of the file.
        before: called when the new file is whole, before it takes its place.

    Raises:
        OSError: the file cannot be written, which is named; IsADirectoryError before anything is, if `path` is a
            folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    aside = temporary(path)
    try:
        with naming(path):
            with aside.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if before is not None:
                before()
            os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def temporary(path: Path) -> Path:
    """A new name beside a file, for what takes its place; `leftovers` knows it."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.gatentk-tmp")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file; see `open_atomically`."""
    with open_atomically(path) as file:
        file.write(content)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the operating system in the block name a file, as those of an open file do not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


def leftovers(folder: Path, names: Collection[str] | re.Pattern[str]) -> list[Path]:
    """What processes that were killed while they wrote files of these names, or this form, have left in a folder."""
    found = ((path, _ASIDE.fullmatch(path.name)) for path in folder.iterdir())
    return sorted(path for path, match in found if match is not None and _is_one(match["name"], names))


def _is_one(name: str, names: Collection[str] | re.Pattern[str]) -> bool:
    return names.fullmatch(name) is not None if isinstance(names, re.Pattern) else name in names
