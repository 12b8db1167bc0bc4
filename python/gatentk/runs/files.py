"""The one way to write a file: it is there whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A new file, to write and read, that takes the place of `path` at the end of the block.

    If the block fails, or the disk or the user stops it, what was at `path` stays and nothing else is left behind.

    Raises:
        OSError: the file cannot be written; IsADirectoryError before anything is, if `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with aside.open("x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file; see `open_atomically`."""
    with open_atomically(path) as file:
        file.write(content)
