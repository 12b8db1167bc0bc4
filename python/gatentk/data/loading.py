"""Samples of a data set as tensors: all of them or a random part."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import torch

from gatentk.checks import check_integer, describe
from gatentk.data.entries import Columns, Entry, FileFormat, Generated, Installed, Published, Source
from gatentk.data.registry import entries, names
from gatentk.errors import DataError

CLASS_LIMIT = 10_000


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples and what is known of them.

    Attributes:
        x: (n, d) float64, one sample a row, contiguous.
        y: (n,) int64 class labels or float64 targets; None if the source has neither.
        name: the name it was loaded by.
        classes: names of the classes 0, 1, ... where a file has names; None elsewhere.
        note: in a line, what was guessed of a file; empty if nothing was.
        features: names of the columns of x where a csv file has names; None elsewhere.
    """

    x: torch.Tensor
    y: torch.Tensor | None
    name: str
    classes: tuple[str, ...] | None = None
    note: str = ""
    features: tuple[str, ...] | None = None


def lacks_y(dataset: Dataset, wanted: str) -> str:
    """What to say of a data set without what is wanted of it, and what was guessed of its file.

    >>> lacks_y(Dataset(torch.zeros(1, 1), None, "csv:x.csv", note="csv:x.csv: no header"), "labels")[:40]
    'csv:x.csv has no labels (no header); exp'
    """
    found = f" ({dataset.note.removeprefix(f'{dataset.name}: ')})" if dataset.note else ""
    return (
        f"{dataset.name} has no {wanted}{found}; expected a csv file with a column called label, class, target or y, "
        "or one that label= names, or an .npz file with an array y beside x"
    )


def too_many_classes(name: str, count: int) -> str:
    """What to say of a data set with more than `CLASS_LIMIT` classes."""
    return (
        f"{name}: {count:,} different labels; name the column target (or store y as floats) if they are numbers to "
        "predict and not classes"
    )


def load(
    name: str,
    n: int | None = None,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    *,
    label: str | None = None,
    index: bool | None = None,
    header: bool | None = None,
) -> Dataset:
    """Load a data set; the module's table says what each name holds and how its features are scaled.

    Args:
        name: one of `names()`.
        n: number of samples. None gives all of them in the order of their file. A number gives that many
            without replacement in random order: the first n of one permutation, so that smaller subsets are
            prefixes of larger ones. For `synthetic` and `friedman`, the number drawn (default 2000, no upper
            limit), prefixes too; for `ackley` (default 100) not, because n also decides d = 2n.
        seed: of the subset, or of the samples of `synthetic`, `friedman` and `ackley`; global random state is
            left alone.
        path: where your files are: of a data set that is published, as its entry in `gatentk.data` says; for `csv`
            and `npy`, the file, instead of `csv:PATH`.
        label: of a csv file, the column that is y, by its name, or by its number from 1 where there are no names; ""
            if none is.
        index: of a csv file, whether the first column only names or counts the rows and is left out.
        header: of a csv file, whether the first line names the columns.
            What is left out of these three is guessed, as `gatentk.data.sets.files` says, and `note` tells.

    Raises:
        TypeError, ValueError: an unknown name, more samples than there are, a path missing or not wanted.
        DataError: data that is not installed or not downloaded, with the place where it is published; a file
            that is missing, damaged or holds NaN or infinity. It names the file and, where there is one, the
            line or row.

    >>> import gatentk as gt
    >>> digits = gt.data.load("digits", n=100)
    >>> digits.x.shape, digits.y.shape, float(digits.x.max())
    (torch.Size([100, 64]), torch.Size([100]), 1.0)
    >>> fewer = gt.data.load("digits", n=10)
    >>> bool((fewer.x == digits.x[:10]).all())
    True
    """
    entry, file = _resolve(name, path)
    seed = check_integer("seed", seed, 0)
    n = None if n is None else check_integer("n", n, 1)
    columns = _columns(entry, name, Columns(label, index, header))
    if isinstance(entry, Generated):
        return _tensors(entry.draw(entry.default if n is None else n, seed), name)
    title = f"{entry.name}:{file}" if isinstance(entry, FileFormat) else name
    source = _read(entry, name, file, columns)
    if n is not None:
        source = _subset(source, n, seed, title)
    return _tensors(source, title)


def _resolve(name: str, path: str | os.PathLike[str] | None) -> tuple[Entry, Path | None]:
    """The entry of a name, and its file or folder."""
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {describe(name)}")
    kind, colon, inline = name.partition(":")
    for entry in entries():
        if isinstance(entry, FileFormat) and entry.name == kind:
            if bool(inline) == (path is not None):
                raise ValueError(
                    f"{kind}: expected one file, as {kind}:PATH or by path, got name {name!r} and path {path!r}"
                )
            return entry, _file(path if path is not None else inline)
        if name in entry.names and not colon:
            if path is not None and not isinstance(entry, Published):
                raise ValueError(f"path: {name} is not read from a file or folder of yours, got {path!r}")
            return entry, None if path is None else _file(path)
    raise ValueError(f"name: expected one of {', '.join(names())}, got {name!r}{_meant(name)}")


def _meant(name: str) -> str:
    """What may have been meant by a name that is unknown; nothing if it is like no other."""
    suffix = Path(name).suffix.lower()
    if suffix in (".csv", ".npy", ".npz"):
        return f"; the file is {'csv' if suffix == '.csv' else 'npy'}:{name}"
    like = get_close_matches(name, [known for known in names() if ":" not in known], 1)
    return f"; did you mean {like[0]}?" if like else ""


def _file(path: str | os.PathLike[str]) -> Path:
    """A path with the user's home for ~; that of nobody stays as it is written, as in a shell."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"path: expected the path of a file or folder, got {path!r}")
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


def _columns(entry: Entry, name: str, columns: Columns) -> Columns:
    """What is said of columns, of a file that has some."""
    for argument, value in asdict(columns).items():
        if value is None:
            continue
        if not (isinstance(entry, FileFormat) and entry.columns):
            raise ValueError(f"{argument}: only csv files have columns to choose, {name!r} has none")
        kind = str if argument == "label" else bool
        if not isinstance(value, kind):
            wanted = "the name of a column" if kind is str else "True or False"
            raise TypeError(f"{argument}: expected {wanted}, got {describe(value)}")
    return columns


def _read(entry: Entry, name: str, file: Path | None, columns: Columns) -> Source:
    """Everything a source holds, in its own order."""
    try:
        if isinstance(entry, Published):
            return entry.reader(name)(file)
        if isinstance(entry, FileFormat):
            assert file is not None
            return entry.read(file, columns)
        assert isinstance(entry, Installed)
        return entry.read()
    except OSError as error:
        raise DataError(f"{error.filename or file or name}: {error.strerror or error}") from error


def _subset(source: Source, n: int, seed: int, name: str) -> Source:
    """The first n samples of a permutation that depends on the seed and the number of samples only."""
    available = len(source.x)
    if n > available:
        raise ValueError(f"n: {name} has {available} samples, got n={n}")
    chosen = np.random.default_rng(seed).permutation(available)[:n]
    return source._replace(x=source.x[chosen], y=None if source.y is None else source.y[chosen])


def _tensors(source: Source, name: str) -> Dataset:
    """Scale, flatten and convert: x to (n, d) float64, y to int64 or float64."""
    x = np.array(source.x, dtype=np.float64, order="C").reshape(len(source.x), -1)
    if source.scale != 1:
        x /= source.scale
    note = f"{name}: {source.note}" if source.note else ""
    y = source.y
    if y is not None:
        y = np.array(y, dtype=np.float64 if y.dtype.kind == "f" else np.int64)
    return Dataset(
        torch.from_numpy(x), None if y is None else torch.from_numpy(y), name, source.classes, note, source.features
    )
