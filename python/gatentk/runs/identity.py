"""What the numbers of a run depend on: digests of its data, and how two such descriptions differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk._version import __version__

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


def identity_of(
    config: Any, digest: str, journal_format: int, unsaid: Mapping[str, Any], grows: Collection[str] = ()
) -> dict[str, Any]:
    """All that the results of a configuration depend on: a journal with another identity is not continued.

    Args:
        config: a dataclass.
        digest: of its data.
        journal_format: of the journal.
        unsaid: what came later than the format, and its values that are left out, so that folders without it go on.
        grows: what is no part of it.
    """
    kept = {
        name: value
        for name, value in asdict(config).items()
        if name not in grows and (name not in unsaid or value != unsaid[name])
    }
    return {"format": journal_format, "version": __version__, **kept, "sha256": digest}


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
