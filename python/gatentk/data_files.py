"""File formats of data sets: each reader checks a file's sizes before it allocates, and never unpickles.

IDX (Fashion-MNIST and its like), CSV, NPY and NPZ; MATLAB files are in `data_matlab`. A file that is damaged gives
a `DataError` that names it.
"""

from __future__ import annotations

import csv
import gzip
import math
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatentk.errors import DataError

DEFLATE_RATIO = 1032  # deflate never expands a byte to more than this

_LARGEST_WHOLE = 2**53  # every integer up to here is a float64
_CHUNK_BYTES = 1 << 24

_Stream = IO[bytes] | gzip.GzipFile


class Source(NamedTuple):
    """Samples as stored: x (n, ...) is still to be divided by `scale` and flattened to (n, d)."""

    x: NDArray[Any]
    y: NDArray[Any] | None
    scale: float = 1.0


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


def _parse_idx(stream: _Stream, path: Path, ndim: int, capacity: int) -> NDArray[np.uint8]:
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


def read_exactly(stream: _Stream, count: int, where: str, shape: tuple[int, ...]) -> bytearray:
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


def read_csv(path: Path) -> Source:
    """Numbers separated by commas; `gatentk.data.load` says what a header does."""
    lines = csv_lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: expected lines of numbers, the file is empty")
    label = _label_name(first[1])
    header = label is not None or not any(map(_is_number, first[1]))
    columns, width = len(first[1]), len(first[1]) - (label is not None)
    if width == 0:
        raise DataError(f"{path}, line {first[0]}: expected a feature column before {label!r}")
    values = array("d")  # 8 bytes a number, against 32 in a list of floats
    for number, fields in lines if header else chain((first,), lines):
        if len(fields) != columns:
            raise DataError(
                f"{path}, line {number}: expected {columns} columns, as in line {first[0]}, got {len(fields)}"
            )
        values.extend(_csv_numbers(path, number, fields, label))
    if not values:
        raise DataError(f"{path}: expected lines of numbers after the header in line {first[0]}")
    table = np.frombuffer(values, np.float64).reshape(-1, columns)
    if label is None:
        return Source(table, None)
    y = table[:, width]
    return Source(table[:, :width], y.astype(np.int64) if label == "label" else y)


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The 1-based number and the fields of each line that is not blank."""
    # Bytes that are not UTF-8 survive as surrogates: harmless in a header, reported like any bad number.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            if '"' not in line:
                yield number, line.split(",")
                continue
            try:
                yield number, next(csv.reader((line,), skipinitialspace=True))
            except csv.Error as error:
                raise DataError(f"{path}, line {number}: {error}") from error


def _label_name(fields: list[str]) -> str | None:
    """`label`, `target` or `y` if the last field of a header is that."""
    last = fields[-1].strip().lower()
    return last if last in ("label", "target", "y") else None


def _csv_numbers(path: Path, number: int, fields: list[str], label: str | None) -> list[float]:
    """The numbers of a line; the first field that is not a finite number is named."""
    try:
        row = list(map(float, fields))
    except ValueError:
        row = []
    # float() reads 1_0 as ten; in a data file an underscore is a slip.
    if not row or not all(map(math.isfinite, row)) or "_" in "".join(fields):
        column = next(c for c, field in enumerate(fields) if not _is_number(field) or not math.isfinite(float(field)))
        got = repr(fields[column].strip()[:40])
        raise DataError(f"{path}, line {number}, column {column + 1}: expected a finite number, got {got}")
    if label == "label" and not (row[-1].is_integer() and abs(row[-1]) <= _LARGEST_WHOLE):
        raise DataError(f"{path}, line {number}: expected a whole number as label, got {fields[-1].strip()[:40]!r}")
    return row


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field


def read_npy(path: Path) -> Source:
    """An .npy or .npz file, told apart by how it starts."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PK\x03\x04":
            return _read_npz(file, path)
        return Source(_parse_npy(file, path.stat().st_size, str(path), 2), None)


def _read_npz(file: _Stream, path: Path) -> Source:
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
    if info.file_size > DEFLATE_RATIO * path.stat().st_size:
        raise DataError(f"{path}, array {name}: expected {info.file_size} bytes, more than the file can hold")
    with archive.open(info) as stream:
        return _parse_npy(stream, info.file_size, f"{path}, array {name}", ndim)


def _parse_npy(stream: _Stream, size: int, where: str, ndim: int) -> NDArray[Any]:
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
        wrong = (values > _LARGEST_WHOLE) | (values < -_LARGEST_WHOLE)
    else:
        return
    if wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        expected = "a finite number" if values.dtype.kind == "f" else "an integer of at most 2^53"
        raise DataError(f"{where}, row {index[0]} (from 0): expected {expected}, got {values[index]}")
