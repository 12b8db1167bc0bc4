"""The Python version of CIFAR-10, which is pickled, without running anything that a pickle may ask for.

Numbers, strings, lists and dicts are built, and numpy's arrays as records of what the file says of them. Whatever else
a file names is refused before it is imported.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatentk.errors import DataError

_PIXELS = 3 * 32 * 32
_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _Record:
    """Stands for an array or a dtype: the arguments and the state that the file gives it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# The one in Python: that in C reserves as much memory as a few bytes of a file ask for.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY and name in ("_reconstruct", "ndarray", "dtype"):
            return _Record
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_cifar10_pickle(path: Path) -> NDArray[np.uint8]:
    """One batch as records of a label and 3072 pixels (n, 3073), as in the binary version.

    Raises:
        DataError: the file asks for something else than arrays, is damaged, or is not a batch of CIFAR-10.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise DataError(f"{path}: not a pickled batch of CIFAR-10: {error or type(error).__name__}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected a pickled dict, got {type(found).__name__}")
    pixels, labels = (found.get(name.encode(), found.get(name)) for name in ("data", "labels"))
    images = _array(path, pixels)
    if not isinstance(labels, list) or len(labels) != len(images):
        raise DataError(f"{path}: expected a list of {len(images)} labels, one an image")
    if not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise DataError(f"{path}: expected labels from 0 to 9")
    return np.column_stack([np.array(labels, dtype=np.uint8), images])


def _array(path: Path, record: Any) -> NDArray[np.uint8]:
    """The pixels (n, 3072) that a record of an array says."""
    wrong = DataError(f"{path}: expected data of shape (n, {_PIXELS}), uint8")
    if not isinstance(record, _Record) or not isinstance(record.state, tuple) or len(record.state) != 5:
        raise wrong
    _, shape, dtype, is_fortran, raw = record.state
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[1] != _PIXELS or not isinstance(raw, bytes):
        raise wrong
    if not isinstance(dtype, _Record) or dtype.arguments[:1] not in ((b"u1",), ("u1",)):
        raise wrong
    if len(raw) == 0 or len(raw) != shape[0] * _PIXELS:
        raise DataError(f"{path}: expected {shape[0]} x {_PIXELS} bytes of pixels, got {len(raw)}")
    return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if is_fortran else "C")
