"""NPY and NPZ: arrays as numpy saves them, read without unpickling anything."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatentk.data.entries import LARGEST_WHOLE, Source
from gatentk.data.formats.streams import DEFLATE_RATIO, Stream, read_exactly
from gatentk.errors import DataError


def read_npy(path: Path) -> Source:
    """An .npy or .npz file, told apart by how it starts."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PK\x03\x04":
            return _read_npz(file, path)
        return Source(_parse_npy(file, path.stat().st_size, str(path), 2), None)


def _read_npz(file: Stream, path: Path) -> Source:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
            if "x.npy" not in members:
                raise DataError(f"{path}: expected an array x, got {', '.join(members)[:80] or 'none'}")
            x = _parse_member(archive, "x", path, 2)
            y = _parse_member(archive, "y", path, 1) if "y.npy" in members else None
    except DataError:
        raise
    except Exception as error:  # zipfile answers damage with a dozen exceptions, struct.error and KeyError among them
        raise DataError(f"{path}: expected a whole .npz file: {error}") from error
    if y is not None and len(y) != len(x):
        raise DataError(f"{path}: expected {len(x)} values of y, one a row of x, got {len(y)}")
    return Source(x, y)


def _parse_member(archive: zipfile.ZipFile, name: str, path: Path, ndim: int) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    # Others reserve memory by what a file says (LZMA), or hold more in a byte than sizes here allow for.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{path}, array {name}: expected it stored or deflated, as numpy writes it")
    if info.file_size > DEFLATE_RATIO * path.stat().st_size:
        raise DataError(f"{path}, array {name}: expected {info.file_size} bytes, more than the file can hold")
    with archive.open(info) as stream:
        return _parse_npy(stream, info.file_size, f"{path}, array {name}", ndim)


def _parse_npy(stream: Stream, size: int, where: str, ndim: int) -> NDArray[Any]:
    """The finite float or integer array of an .npy stream of `size` bytes.

    numpy parses the header (a Python literal, not code). The data is read here and not by `np.load`, which
    allocates by the header's shape before it looks for the bytes.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran_order, dtype = read_header[version](stream)
    except Exception as error:  # numpy passes on whatever the parsing of the literal raised
        raise DataError(f"{where}: expected an .npy array: {error}") from error
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise DataError(f"{where}: expected float or integer numbers of at most 64 bits, got {dtype}")
    if len(shape) != ndim or min(shape) < 1:
        expected = "(n, d), at least one sample and one feature" if ndim == 2 else "(n,)"
        raise DataError(f"{where}: expected shape {expected}, got {shape}")
    count, rest = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if count != rest:
        raise DataError(f"{where}: expected {count} bytes for the shape {shape}, got {rest}")
    data = np.frombuffer(read_exactly(stream, count, where, shape), dtype)
    values = data.reshape(shape, order="F" if fortran_order else "C")
    _check_convertible(values, where)
    return values


def _check_convertible(values: NDArray[Any], where: str) -> None:
    """Refuse what float64 (or int64, for labels) cannot hold: NaN, infinity, integers beyond 2^53."""
    if values.dtype.kind == "f":
        wrong = ~np.isfinite(values)
    elif values.dtype.itemsize == 8:
        wrong = (values > LARGEST_WHOLE) | (values < -LARGEST_WHOLE)
    else:
        return
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        expected = "a finite number" if values.dtype.kind == "f" else "an integer of at most 2^53"
        raise DataError(f"{where}, row {index[0]} (from 0): expected {expected}, got {values[index]}")
