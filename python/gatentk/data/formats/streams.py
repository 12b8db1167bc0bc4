"""Bytes of a stream by a size that a header claims."""

from __future__ import annotations

import gzip
from typing import IO

from gatentk.errors import DataError

DEFLATE_RATIO = 1032  # deflate never expands a byte to more than this

Stream = IO[bytes] | gzip.GzipFile

_CHUNK_BYTES = 1 << 24


def read_exactly(stream: Stream, count: int, where: str, shape: tuple[int, ...]) -> bytearray:
    """The last `count` bytes of a stream; memory grows with what is there, not with what a header claims."""
    data = bytearray()
    while len(data) <= count:
        chunk = stream.read(min(_CHUNK_BYTES, count + 1 - len(data)))
        if not chunk:
            break
        data += chunk
    if len(data) != count:
        got = f"{len(data)}" if len(data) < count else "more"
        raise DataError(f"{where}: expected {count} bytes for the shape {shape}, got {got}")
    return data
