"""CSV: a table of numbers, with a last column y if its header says so."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from gatentk.data.entries import LARGEST_WHOLE, Source
from gatentk.errors import DataError


def read_csv(path: Path) -> Source:
    """Numbers separated by commas; `gatentk.data.sets.files` says what a header does."""
    lines = csv_lines(path)
    first = next(lines, None)
    if first is None:
        raise DataError(f"{path}: expected lines of numbers, the file is empty")
    label = _label_name(first[1])
    header = label is not None or not any(map(_is_number, first[1]))
    columns, width = len(first[1]), len(first[1]) - (label is not None)
    if width == 0:
        raise DataError(f"{path}, line {first[0]}: expected a feature column before {label!r}")
    values = array("d")  # 8 bytes a number, against 32 in a list of floats
    for number, fields in lines if header else chain((first,), lines):
        if len(fields) != columns:
            raise DataError(
                f"{path}, line {number}: expected {columns} columns, as in line {first[0]}, got {len(fields)}"
            )
        values.extend(_csv_numbers(path, number, fields, label))
    if not values:
        raise DataError(f"{path}: expected lines of numbers after the header in line {first[0]}")
    table = np.frombuffer(values, np.float64).reshape(-1, columns)
    if label is None:
        return Source(table, None)
    y = table[:, width]
    return Source(table[:, :width], y.astype(np.int64) if label == "label" else y)


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The 1-based number and the fields of each line that is not blank."""
    # Bytes that are not UTF-8 survive as surrogates: harmless in a header, reported like any bad number.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if line.isspace():
                continue
            if '"' not in line:
                yield number, line.split(",")
                continue
            try:
                yield number, next(csv.reader((line,), skipinitialspace=True))
            except csv.Error as error:
                raise DataError(f"{path}, line {number}: {error}") from error


def _label_name(fields: list[str]) -> str | None:
    """`label`, `target` or `y` if the last field of a header is that."""
    last = fields[-1].strip().lower()
    return last if last in ("label", "target", "y") else None


def _csv_numbers(path: Path, number: int, fields: list[str], label: str | None) -> list[float]:
    """The numbers of a line; the first field that is not a finite number is named."""
    try:
        row = list(map(float, fields))
    except ValueError:
        row = []
    # float() reads 1_0 as ten; in a data file an underscore is a slip.
    if not row or not all(map(math.isfinite, row)) or "_" in "".join(fields):
        column = next(c for c, field in enumerate(fields) if not _is_number(field) or not math.isfinite(float(field)))
        got = repr(fields[column].strip()[:40])
        raise DataError(f"{path}, line {number}, column {column + 1}: expected a finite number, got {got}")
    if label == "label" and not (row[-1].is_integer() and abs(row[-1]) <= LARGEST_WHOLE):
        raise DataError(f"{path}, line {number}: expected a whole number as label, got {fields[-1].strip()[:40]!r}")
    return row


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field
