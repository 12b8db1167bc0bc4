"""The binary version of CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatentk.data.formats.streams import read_exactly
from gatentk.data.published import check_labels
from gatentk.errors import DataError

_RECORD = 1 + 3 * 32 * 32


def read_cifar10_binary(path: Path) -> NDArray[np.uint8]:
    """Records of a label and 3072 pixels (n, 3073).

    The format has no header, so any number of whole records passes; half a record is a damaged file.
    """
    size = path.stat().st_size
    if size == 0 or size % _RECORD:
        raise DataError(f"{path}: expected a multiple of {_RECORD} bytes, a label and 3072 pixels, got {size}")
    shape = (size // _RECORD, _RECORD)
    with path.open("rb") as file:
        records = np.frombuffer(read_exactly(file, size, str(path), shape), np.uint8).reshape(shape)
    check_labels(path, records[:, 0], records[:, 0] > 9, "0 to 9")
    return records
