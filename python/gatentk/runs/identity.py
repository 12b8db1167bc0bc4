"""What the numbers of a run depend on: digests of its data, and how two such descriptions differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 1 << 20
_LONGEST_VALUE = 40  # characters of a value in a message


def array_digest(*arrays: np.ndarray[Any, Any]) -> str:
    """SHA-256 of the values of arrays, one after another, in the order of their indices."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of the name and content of a file, or of all files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode())
            with file.open("rb") as content:
                while block := content.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()


def as_stored(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity as JSON gives it back: tuples are lists, keys are strings."""
    stored: dict[str, Any] = json.loads(json.dumps(identity))
    return stored


def differing_names(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """The names whose values differ, those of `expected` first; a name that only one side has differs."""
    missing = object()
    return [name for name in {**expected, **stored} if stored.get(name, missing) != expected.get(name, missing)]


def changes_text(stored: Mapping[str, Any], expected: Mapping[str, Any], names: Iterable[str]) -> str:
    """What differs, to read: "seeds was 2, is 1, width was 16, is 8"."""
    return ", ".join(f"{name} was {_short(stored.get(name))}, is {_short(expected.get(name))}" for name in names)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 4]}..."
