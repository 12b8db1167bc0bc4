"""results.json: every number of a run, with a checksum of all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatentk.errors import RunError

RESULTS = "results.json"
SEAL = "sha256"  # the last key


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document without this key, as JSON with sorted keys and nothing between its parts.

    Examples:
        >>> digest({"b": 0.5, "a": None})[:8]
        'e0f06d56'
    """
    rest = {key: value for key, value in document.items() if key != SEAL}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def with_digest(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document that says by its last key, "sha256", what it was when it was written."""
    return {**document, SEAL: digest(document)}


def read_results(path: Path) -> dict[str, Any]:
    """What a run has written to its results.json, if it is all there and unchanged.

    Raises:
        OSError: the file cannot be read.
        RunError: it is not what was written, or has no checksum.
    """
    document = _parsed(path)
    if document is None:
        raise RunError(f"{path}: damaged, or not the results of a run")
    if SEAL not in document:
        raise RunError(
            f"{path}: no {SEAL}, so nothing says that it is what was written; the same command writes it anew"
        )
    try:
        is_whole = document[SEAL] == digest(document)
    except (ValueError, RecursionError):  # NaN
        is_whole = False
    if not is_whole:
        raise RunError(f"{path}: damaged or edited, it does not fit its {SEAL}; the same command writes it anew")
    return document


def is_results(path: Path) -> bool:
    """Whether a file is what a run of this package has written, with or without a checksum."""
    document = _parsed(path) if path.is_file() else None
    return document is not None and str(document.get("schema")).startswith("gatentk/")


def _parsed(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
