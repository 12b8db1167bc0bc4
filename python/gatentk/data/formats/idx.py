"""IDX: arrays of unsigned bytes, as MNIST and its like are published."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatentk.data.formats.streams import DEFLATE_RATIO, Stream, read_exactly
from gatentk.errors import DataError


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, plain or (suffix .gz) gzipped, with `ndim` dimensions."""
    zipped = path.suffix == ".gz"
    with path.open("rb") as file:
        capacity = path.stat().st_size * (DEFLATE_RATIO if zipped else 1)
        if not zipped:
            return _parse_idx(file, path, ndim, capacity)
        try:
            with gzip.open(file) as stream:
                return _parse_idx(stream, path, ndim, capacity)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path}: expected a whole gzip file: {error}") from error


def _parse_idx(stream: Stream, path: Path, ndim: int, capacity: int) -> NDArray[np.uint8]:
    """Check the header before anything is read by it; `capacity` is the most bytes there can be."""
    header = stream.read(4 + 4 * ndim)
    magic = bytes((0, 0, 0x08, ndim))
    if header[:4] != magic:
        raise DataError(
            f"{path}: expected an IDX file of unsigned bytes with {ndim} dimensions, which starts with "
            f"{magic.hex(' ')}, got {header[:4].hex(' ') or 'an empty file'}"
        )
    if len(header) < 4 + 4 * ndim:
        raise DataError(f"{path}: expected a header of {4 + 4 * ndim} bytes, the file ends after {len(header)}")
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))
    count = math.prod(shape)
    if count == 0:
        raise DataError(f"{path}: expected at least one sample and one feature, the header says {shape}")
    if count > capacity:
        raise DataError(f"{path}: expected {count} bytes for the shape {shape}, the file holds {capacity} at most")
    return np.frombuffer(read_exactly(stream, count, str(path), shape), np.uint8).reshape(shape)
