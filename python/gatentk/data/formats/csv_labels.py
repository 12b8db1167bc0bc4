"""The column y of a CSV file: classes as whole numbers or names, or numbers to predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatentk.data.entries import LARGEST_WHOLE
from gatentk.data.formats.csv_columns import CLASSES, NUMBERS, readable
from gatentk.data.formats.csv_lines import has_thousands, is_missing, is_number
from gatentk.errors import DataError

_MOST_CLASSES = 20  # different whole numbers in a column whose name does not say what it is
_SAID_NAMES = 6


class Labels:
    """Values of y as written, with the numbers of their lines; `where` is their column for messages."""

    def __init__(self, path: Path, name: str, lines: Sequence[int], texts: Sequence[str], where: str) -> None:
        self.path, self.name, self.lines, self.texts, self.where = path, name, lines, texts, where

    def values(self) -> tuple[NDArray[Any], tuple[str, ...] | None, str]:
        """y as int64 classes or float64 numbers, the names of the classes if they have some, and what y is in words."""
        for line, text in zip(self.lines, self.texts, strict=True):
            if is_missing(text):
                raise self._wrong(line, "a label", text, "; is a value missing?")
        kind = self.name.lower()
        if kind in NUMBERS and any(map(is_number, self.texts)):
            return self._numbers(), None, "numbers"
        if not all(map(is_number, self.texts)):
            self._refuse_thousands()
            return self._names()
        if kind in CLASSES:
            return self._classes(), None, "classes"
        numbers = self._numbers()
        whole = bool((numbers == np.floor(numbers)).all())
        if whole and len(np.unique(numbers)) <= _MOST_CLASSES:
            return self._classes(), None, "classes, being few whole numbers"
        return numbers, None, "numbers"

    def _wrong(self, line: int, expected: str, text: str, advice: str = "") -> DataError:
        got = repr(text.strip()[:40])
        return DataError(f"{self.path}, line {line}, {self.where}: expected {expected}, got {got}{advice}")

    def _refuse_thousands(self) -> None:
        """Numbers with commas of thousands are no names of classes."""
        first = None
        for line, text in zip(self.lines, self.texts, strict=True):
            if has_thousands(text):
                first = first or (line, text)
            elif not is_number(text):
                return
        if first:
            line, text = first
            raise self._wrong(line, "a number without commas of thousands", text)

    def _numbers(self) -> NDArray[np.float64]:
        for line, text in zip(self.lines, self.texts, strict=True):
            if not is_number(text) or not math.isfinite(float(text)):
                raise self._wrong(line, "a finite number", text)
        return np.array([float(text) for text in self.texts])

    def _classes(self) -> NDArray[np.int64]:
        found = []
        for line, text in zip(self.lines, self.texts, strict=True):
            value = _whole(text)
            if value is None:
                raise self._wrong(line, "a whole number as label", text)
            found.append(value)
        return np.array(found, dtype=np.int64)

    def _names(self) -> tuple[NDArray[np.int64], tuple[str, ...], str]:
        names = [readable(text) for text in self.texts]
        classes = sorted(set(names))
        number = {name: i for i, name in enumerate(classes)}
        said = ", ".join(f"{name[:40]} = {i}" for name, i in list(number.items())[:_SAID_NAMES])
        more = ", ..." if len(classes) > _SAID_NAMES else ""
        return np.array([number[name] for name in names], dtype=np.int64), tuple(classes), f"classes {said}{more}"


def _whole(text: str) -> int | None:
    """A label exactly, int64 as it is written, or a float that is whole."""
    try:
        value = int(text)
        return value if -(2**63) <= value < 2**63 else None
    except ValueError:
        number = float(text)
    return int(number) if number.is_integer() and abs(number) <= LARGEST_WHOLE else None
