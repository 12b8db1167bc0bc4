"""Data sets in files that users install or download: what they are called, where they are published, what they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatentk.data_files import Source, csv_lines, read_csv, read_exactly, read_idx
from gatentk.data_matlab import read_matlab
from gatentk.data_pickle import read_cifar10_pickle
from gatentk.errors import DataError

FASHION_MNIST_FOLDER = Path("/usr/share/datasets/fashion-mnist")

_CHANNELS, _SIDE = 3, 32
_CIFAR10_RECORD = 1 + _CHANNELS * _SIDE * _SIDE
_CIFAR10_BATCHES = tuple(f"data_batch_{batch}" for batch in range(1, 6))
_SGEMM_HEADER = (
    "MWG,NWG,KWG,MDIMC,NDIMC,MDIMA,NDIMB,KWI,VWM,VWN,STRM,STRN,SA,SB,Run1 (ms),Run2 (ms),Run3 (ms),Run4 (ms)"
)
_SGEMM_FEATURES = 14
_LONGEST_TIME = 1e9

_FASHION_MNIST_ADVICE = (
    "install the images by: apt-get install dataset-fashion-mnist (Debian, Ubuntu), or give as path a folder with the "
    "four files of https://github.com/zalandoresearch/fashion-mnist"
)
_SVHN_ADVICE = (
    "download {file} (format 2, cropped digits) from The Street View House Numbers (SVHN) Dataset, "
    "http://ufldl.stanford.edu/housenumbers, and give the file or its folder as path"
)
_CIFAR10_ADVICE = (
    "download and unpack the binary version, cifar-10-binary.tar.gz, from The CIFAR-10 dataset, "
    "https://www.cs.toronto.edu/~kriz/cifar.html, and give its folder cifar-10-batches-bin as path"
)
_CIFAR10_PICKLE_ADVICE = (
    "download and unpack the Python version, cifar-10-python.tar.gz, from The CIFAR-10 dataset, "
    "https://www.cs.toronto.edu/~kriz/cifar.html, and give its folder cifar-10-batches-py as path"
)
_SGEMM_ADVICE = (
    "download and unzip sgemm_product.csv from the UCI Machine Learning Repository, data set 440, SGEMM GPU kernel "
    "performance, https://archive.ics.uci.edu/dataset/440, and give the file or its folder as path"
)


def _fashion_mnist(split: str, folder: Path | None) -> Source:
    """One split from a folder with the published file names; any data set in the same files will do."""
    folder = folder or FASHION_MNIST_FOLDER
    images_path = _find_idx(folder, f"{split}-images-idx3-ubyte")
    labels_path = _find_idx(folder, f"{split}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path}: expected {len(images)} labels, one an image of {images_path}, got {len(labels)}"
        )
    return Source(images, labels, 255)


def _find_idx(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / stem}[.gz]: no such file; {_FASHION_MNIST_ADVICE}")


def _find(path: Path | None, file: str, advice: str) -> Path:
    """`path` itself or the file of that name in it."""
    if path is None:
        raise DataError(f"{file}: needs to be downloaded; {advice}")
    found = path / file if path.is_dir() else path
    if not found.is_file():
        raise DataError(f"{found}: no such file; {advice}")
    return found


def _svhn(file: str, path: Path | None) -> Source:
    """X (32, 32, 3, n): row, column, channel, image; y (n, 1): 1 to 9, and 10 for the digit 0."""
    path = _find(path, file, _SVHN_ADVICE.format(file=file))
    x, y = read_matlab(path, ("X", "y"))
    if x.dtype != np.uint8 or x.shape[:3] != (_SIDE, _SIDE, _CHANNELS) or x.ndim > 4 or x.size == 0:
        raise DataError(f"{path}: expected X of shape (32, 32, 3, n), uint8, got {x.shape}, {x.dtype}")
    images = x.reshape(_SIDE, _SIDE, _CHANNELS, -1, order="F").transpose(3, 2, 0, 1)  # MATLAB drops a last size of 1
    if y.shape != (len(images), 1):
        raise DataError(f"{path}: expected y of shape ({len(images)}, 1), one label an image of X, got {y.shape}")
    labels = y[:, 0]
    _check_labels(path, labels, ~np.isin(labels, np.arange(1, 11)), "1 to 10")
    return Source(images, labels.astype(np.int64) % 10, 255)


def _cifar10(read: Callable[[Path], NDArray[np.uint8]], files: Sequence[str], folder: Path | None) -> Source:
    """Records of a byte label and 3072 bytes of pixels: channel, row, column."""
    records = np.concatenate([read(_find_cifar10(folder, file)) for file in files])
    return Source(records[:, 1:], records[:, 0], 255)


def _find_cifar10(folder: Path | None, file: str) -> Path:
    advice = _CIFAR10_ADVICE if file.endswith(".bin") else _CIFAR10_PICKLE_ADVICE
    if folder is None:
        raise DataError(f"{file}: needs to be downloaded; {advice}")
    path = folder / file
    if path.is_file():
        return path
    pickled = path.with_suffix("")
    if pickled.is_file():
        raise DataError(
            f"{pickled}: the Python version of CIFAR-10 is a pickle, which can run any code when it is read, so it is "
            f"not read unless asked for by the name cifar10-pickle (cifar10-pickle-test); {advice}"
        )
    raise DataError(f"{path}: no such file; {advice}")


def _cifar10_records(path: Path) -> NDArray[np.uint8]:
    """The format has no header, so any number of whole records passes; half a record is a damaged file."""
    size = path.stat().st_size
    if size == 0 or size % _CIFAR10_RECORD:
        raise DataError(f"{path}: expected a multiple of {_CIFAR10_RECORD} bytes, a label and 3072 pixels, got {size}")
    shape = (size // _CIFAR10_RECORD, _CIFAR10_RECORD)
    with path.open("rb") as file:
        records = np.frombuffer(read_exactly(file, size, str(path), shape), np.uint8).reshape(shape)
    _check_labels(path, records[:, 0], records[:, 0] > 9, "0 to 9")
    return records


def _check_labels(path: Path, labels: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(f"{path}, image {index} (from 0): expected a label from {expected}, got {labels[index]}")


def _sgemm(path: Path | None) -> Source:
    """Sizes and switches of a matrix product's kernel, and the logarithm of its mean time in four runs."""
    path = _find(path, "sgemm_product.csv", _SGEMM_ADVICE)
    _, header = next(csv_lines(path), (1, [""]))
    got = ",".join(field.strip() for field in header)
    if got != _SGEMM_HEADER:
        raise DataError(f"{path}: expected the header {_SGEMM_HEADER}, got {got[:120]!r}")
    table = read_csv(path).x
    times = table[:, _SGEMM_FEATURES:]
    wrong = (times <= 0) | (times > _LONGEST_TIME)
    if wrong.any():
        sample, run = np.argwhere(wrong)[0]
        raise DataError(
            f"{path}, sample {sample} (from 0): expected run times above 0 and up to {_LONGEST_TIME:g} ms, "
            f"got {times[sample, run]}"
        )
    return Source(table[:, :_SGEMM_FEATURES], np.log(times.mean(axis=1)))


PUBLISHED: dict[str, Callable[[Path | None], Source]] = {
    "fashion-mnist": partial(_fashion_mnist, "train"),
    "fashion-mnist-test": partial(_fashion_mnist, "t10k"),
    "svhn": partial(_svhn, "train_32x32.mat"),
    "svhn-test": partial(_svhn, "test_32x32.mat"),
    "cifar10": partial(_cifar10, _cifar10_records, [f"{file}.bin" for file in _CIFAR10_BATCHES]),
    "cifar10-test": partial(_cifar10, _cifar10_records, ["test_batch.bin"]),
    "cifar10-pickle": partial(_cifar10, read_cifar10_pickle, _CIFAR10_BATCHES),
    "cifar10-pickle-test": partial(_cifar10, read_cifar10_pickle, ["test_batch"]),
    "sgemm": _sgemm,
}
