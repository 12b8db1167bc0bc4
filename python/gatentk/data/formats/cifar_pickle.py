"""The Python version of CIFAR-10, which is pickled, without running anything that a pickle may ask for.

Numbers, strings, lists and dicts are built, and numpy's arrays as records of what the file says of them. Whatever else
a file names is refused before it is imported.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gatentk.errors import DataError

_PIXELS = 3 * 32 * 32
_MOST_ARGUMENTS = 3  # of what rebuilds an array, and of a dtype
_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")


class _Record:
    """Stands for an array or a dtype: the arguments and the state that the file gives it."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


# What Python 2 and numpy need for a dict of numbers, strings, lists and arrays. Others reserve as much memory as a few
# bytes of a file ask for, or build objects.
_OPCODES = (
    b"\x80 . ( 0 N I J K M L G F S T U V X \x88 \x89 \x8a \x8b \x85 \x86 \x87 t ) l ] a e d } s u c R b p q r g h j"
).split()


class _Opcodes(dict[int, Any]):
    def __missing__(self, code: int) -> Any:
        raise pickle.UnpicklingError(f"opcode {code:#04x} is none of those of a batch")


# The one in Python: that in C has no such list, and reserves memory for places that a file numbers.
class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar = _Opcodes((code[0], pickle._Unpickler.dispatch[code[0]]) for code in _OPCODES)

    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY and name in ("_reconstruct", "ndarray", "dtype"):
            return _Record
        raise pickle.UnpicklingError(f"it asks for {module[:80]!r}, {name[:80]!r}")

    def load_reduce(self) -> None:
        """Make a record of arguments, which are counted before they are spread."""
        arguments = self.stack[-1]
        if type(arguments) is not tuple or len(arguments) > _MOST_ARGUMENTS:
            raise pickle.UnpicklingError("arguments are no tuple of at most three")
        super().load_reduce()  # type: ignore[misc]

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set_items([items[i : i + 2] for i in range(0, len(items), 2)], 0)

    def load_setitem(self) -> None:
        self._set_items([self.stack[-2:]], 2)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set_items([items[i : i + 2] for i in range(0, len(items), 2)], 0)

    def _set_items(self, pairs: list[list[Any]], taken: int) -> None:
        """Put pairs into the dict below them; no key whose hash takes long."""
        del self.stack[len(self.stack) - taken :]
        for key, value in pairs:
            if type(key) not in (bytes, str):
                raise pickle.UnpicklingError(f"a key is a {type(key).__name__}")
            self.stack[-1][key] = value

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


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
        raise DataError(f"{path}: not a pickled batch of CIFAR-10: {str(error) or type(error).__name__}") from error
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
    if not isinstance(shape, tuple) or [type(size) for size in shape] != [int, int] or not isinstance(raw, bytes):
        raise wrong
    if shape[1] != _PIXELS:
        raise wrong
    if not isinstance(dtype, _Record) or dtype.arguments[:1] not in ((b"u1",), ("u1",)):
        raise wrong
    if len(raw) == 0 or len(raw) != shape[0] * _PIXELS:
        raise DataError(f"{path}: expected as many bytes of pixels as the shape says, and some, got {len(raw)}")
    return np.frombuffer(raw, np.uint8).reshape(shape, order="F" if is_fortran else "C")
