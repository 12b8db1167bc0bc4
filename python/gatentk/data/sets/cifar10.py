"""CIFAR-10: small photographs in ten classes (Krizhevsky, 2009), in the binary version or in the Python version.

`x.reshape(-1, 3, 32, 32)` is a batch of images (sample, channel, row, column). The Python version is pickled, so it is
read by a name of its own only; no class or function that it names is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gatentk.data.entries import Published, Row, Source
from gatentk.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCHES = tuple(f"data_batch_{batch}" for batch in range(1, 6))

_BINARY_ADVICE = (
    "download and unpack the binary version, cifar-10-binary.tar.gz, from The CIFAR-10 dataset, "
    "https://www.cs.toronto.edu/~kriz/cifar.html, and give its folder cifar-10-batches-bin as path"
)
_PICKLE_ADVICE = (
    "download and unpack the Python version, cifar-10-python.tar.gz, from The CIFAR-10 dataset, "
    "https://www.cs.toronto.edu/~kriz/cifar.html, and give its folder cifar-10-batches-py as path"
)


def _read_binary(names: Sequence[str], folder: Path | None) -> Source:
    from gatentk.data.formats.cifar_binary import read_cifar10_binary

    return _source([read_cifar10_binary(_find(folder, f"{name}.bin", _BINARY_ADVICE)) for name in names])


def _read_pickle(names: Sequence[str], folder: Path | None) -> Source:
    from gatentk.data.formats.cifar_pickle import read_cifar10_pickle

    return _source([read_cifar10_pickle(_find(folder, name, _PICKLE_ADVICE)) for name in names])


def _source(batches: Sequence[NDArray[np.uint8]]) -> Source:
    """Records of a byte label and 3072 bytes of pixels: channel, row, column."""
    import numpy as np

    records = np.concatenate(batches)
    return Source(records[:, 1:], records[:, 0], 255)


def _find(folder: Path | None, file: str, advice: str) -> Path:
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


ENTRIES = (
    Published(
        name="cifar10",
        place=120,
        rows=(
            Row("cifar10", "50,000 x 3072", "pixels / 255, channel by channel, row by row", "classes 0 to 9"),
            Row("cifar10-test", "10,000 x 3072", "the same", "classes 0 to 9"),
        ),
        read=partial(_read_binary, _BATCHES),
        read_test=partial(_read_binary, ("test_batch",)),
        path="the folder of `data_batch_1.bin` to `data_batch_5.bin` or `test_batch.bin` (the binary version; the "
        "Python version is pickled and refused)",
    ),
    Published(
        name="cifar10-pickle",
        place=130,
        rows=(Row("cifar10-pickle", "50,000 x 3072", "the same, from the Python version", "classes 0 to 9"),),
        read=partial(_read_pickle, _BATCHES),
        read_test=partial(_read_pickle, ("test_batch",)),
        path="the folder of `data_batch_1` to `data_batch_5` or `test_batch`, for those who have the Python version",
        listed=False,
    ),
)
