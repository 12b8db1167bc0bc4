"""What the readers of published files share: where a file is, and whether its labels are classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def find_file(path: Path | None, file: str, advice: str) -> Path:
    """`path` itself or the file of that name in it; the advice says where it is published."""
    if path is None:
        raise DataError(f"{file}: needs to be downloaded; {advice}")
    inside = path / file if path.is_dir() else path
    if not inside.is_file():
        raise DataError(f"{inside}: no such file; {advice}")
    return inside


def check_labels(path: Path, labels: NDArray[Any], wrong: NDArray[np.bool_], expected: str) -> None:
    """Raise a DataError at the first label that is wrong."""
    if wrong.any():
        index = int(wrong.argmax())
        raise DataError(f"{path}, image {index} (from 0): expected a label from {expected}, got {labels[index]}")
