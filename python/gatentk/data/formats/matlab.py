"""Arrays of MATLAB files: level 5, as `save -v6` and `save -v7` write them.

Not `scipy.io.loadmat`: scipy 1.17.1 ends the process by a segmentation fault if, say, byte 145 (from 0) of an
uncompressed file by its own `savemat` is changed to 255. The tests compare with it on files that are whole.

The format is described in "MAT-File Format" of The MathWorks, chapter "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatentk.data.formats.streams import DEFLATE_RATIO
from gatentk.errors import DataError

_HEADER_BYTES = 128
_BYTE_ORDERS = {b"\x00\x01IM": "<", b"\x01\x00MI": ">"}  # version 1.0 and the mark, which ends the header

_INT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 5, 6, 14, 15
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)  # double, single, 8 to 64 bits signed and unsigned
_OTHER_CLASSES = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix", 16: "a function"}
_COMPLEX = 0x800
_MOST_DIMENSIONS = 32  # of a numpy 1 array


def read_matlab(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """The real numeric arrays of these names, with MATLAB's shapes and the number types they are stored in.

    Other variables are passed over. Arrays share memory with what was read: nothing is copied or converted.

    Raises:
        DataError: another format; a file that is truncated, overlong or damaged; a variable that is missing, there
            twice, or no real numeric array.
    """
    found: dict[str, NDArray[Any]] = {}
    for element, order in _matrices(path):
        name, values = _parse_matrix(element, order, path, names)
        if values is None:
            continue
        if name in found:
            raise DataError(f"{path}: expected one variable {name}, got two")
        found[name] = values
    for name in names:
        if name not in found:
            raise DataError(f"{path}: expected a variable {name}, there is none")
    return [found[name] for name in names]


def _matrices(path: Path) -> Iterator[tuple[memoryview, str]]:
    """The content of each variable, inflated, and its byte order."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        order = _BYTE_ORDERS.get(header[-4:]) if len(header) == _HEADER_BYTES else None
        if order is None:
            raise DataError(
                f"{path}: expected a MATLAB file of level 5 (save -v6 or -v7), got one that starts with {header[:19]!r}"
            )
        while tag := file.read(8):
            at = file.tell() - len(tag)
            kind, count = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (0, 0)
            if kind not in (_MATRIX, _COMPRESSED):
                raise DataError(f"{path}: expected a variable at byte {at}, got {tag.hex(' ')}")
            if count > size - at - 8:
                raise DataError(f"{path}: expected {count} bytes after byte {at + 8}, got {size - at - 8}")
            content = file.read(count)
            yield memoryview(content if kind == _MATRIX else _inflate(content, order, path)), order


def _inflate(content: bytes, order: str, path: Path) -> bytes:
    """The content of the one variable in a zlib stream."""
    inflater = zlib.decompressobj()
    try:
        tag = inflater.decompress(content, 8)
        kind, count = struct.unpack(f"{order}II", tag) if len(tag) == 8 else (0, 0)
        if kind != _MATRIX:
            raise DataError(f"{path}: expected a variable in compressed data, got {tag.hex(' ') or 'nothing'}")
        if count > DEFLATE_RATIO * len(content):
            raise DataError(f"{path}: expected {count} bytes, more than {len(content)} compressed bytes can hold")
        inflated = inflater.decompress(inflater.unconsumed_tail, count + 1)
    except zlib.error as error:
        raise DataError(f"{path}: expected whole compressed data: {error}") from error
    # Only at its end is a stream's checksum compared.
    if len(inflated) != count or not inflater.eof or inflater.unused_data:
        raise DataError(f"{path}: expected compressed data of {count} bytes and no more, got {len(inflated)}")
    return inflated


def _parse_matrix(
    content: memoryview, order: str, path: Path, wanted: Sequence[str]
) -> tuple[str, NDArray[Any] | None]:
    """The name of a variable, and its values if it is wanted."""
    kind, flags, at = _subelement(content, 0, order, path)
    if kind != _UINT32 or len(flags) != 8:
        raise DataError(f"{path}: expected the flags of a variable, got {len(flags)} bytes of type {kind}")
    kind, dimensions, at = _subelement(content, at, order, path)
    if kind != _INT32 or len(dimensions) % 4 or not 2 <= len(dimensions) // 4 <= _MOST_DIMENSIONS:
        raise DataError(f"{path}: expected the shape of a variable, got {len(dimensions)} bytes of type {kind}")
    shape = struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions)
    kind, label, at = _subelement(content, at, order, path)
    if kind != _INT8:
        raise DataError(f"{path}: expected the name of a variable, got {len(label)} bytes of type {kind}")
    name = bytes(label).decode("latin-1")
    if name not in wanted:
        return name, None
    class_and_flags = struct.unpack(f"{order}II", flags)[0]
    number = class_and_flags & 0xFF
    if number not in _NUMERIC_CLASSES or class_and_flags & _COMPLEX:
        got = "complex ones" if number in _NUMERIC_CLASSES else _OTHER_CLASSES.get(number, f"class {number}")
        raise DataError(f"{path}, variable {name}: expected real numbers, got {got}")
    kind, values, end = _subelement(content, at, order, path)
    if kind not in _DTYPES:
        raise DataError(f"{path}, variable {name}: expected numbers, got data of type {kind}")
    dtype = np.dtype(order + _DTYPES[kind])
    if min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise DataError(f"{path}, variable {name}: expected {shape} numbers of {dtype}, got {len(values)} bytes")
    if end < len(content):
        raise DataError(f"{path}, variable {name}: expected no more than its numbers, got {len(content) - end} bytes")
    return name, np.frombuffer(values, dtype).reshape(shape, order="F")


def _subelement(content: memoryview, at: int, order: str, path: Path) -> tuple[int, memoryview, int]:
    """The type and the bytes of the part of a variable that starts at `at`, and where the next part starts."""
    if len(content) - at < 8:
        raise DataError(f"{path}: expected another part of a variable, it ends after {len(content)} bytes")
    kind, count = struct.unpack_from(f"{order}II", content, at)
    if kind >> 16:  # up to four bytes lie in the tag itself
        kind, count, start, following = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    else:
        start = at + 8
        following = start + count + -count % 8  # parts are padded to whole words
    if count > len(content) - start or (start == at + 4 and count > 4):
        raise DataError(f"{path}: expected {count} bytes in a part of a variable, got {len(content) - start}")
    return kind, content[start : start + count], following
