"""CSV: a table of numbers, with a column y if its header or the user says so."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

import numpy as np

from gatentk.data.entries import LARGEST_WHOLE, Columns, Source
from gatentk.data.formats.csv_columns import Layout, layout
from gatentk.data.formats.csv_labels import Labels
from gatentk.data.formats.csv_lines import SEPARATORS, Lines, csv_lines, is_missing, is_number
from gatentk.errors import DataError

_GUESSED = Columns()


def read_csv(path: Path, asked: Columns = _GUESSED) -> Source:
    """Numbers separated by commas or the like; `gatentk.data.sets.files` says what a header does."""
    lines = csv_lines(path)
    if not lines.sample:
        raise DataError(f"{path}: expected lines of numbers, the file is empty")
    number, _ = lines.sample[0]
    found = layout(path, lines, asked)
    table, label_lines, texts = _read_rows(path, lines, found)
    if not len(table):
        raise DataError(f"{path}: expected lines of numbers after the header in line {number}")
    said = [*_format_said(lines), *found.said]
    columns = [c for c in range(found.index, len(lines.sample[0][1])) if c != found.label]
    features = None if found.names is None else tuple(found.names[c] for c in columns)
    if found.label is None:
        return Source(table, None, note="; ".join(said), features=features)
    where = found.where(found.label)
    if all(map(is_missing, texts)):  # samples to predict, in the form of others
        said.append(f"{where} has no values, so there is no y")
        return Source(table, None, note="; ".join(said), features=features)
    name = found.names[found.label] if found.names else ""
    y, classes, kind = Labels(path, name, label_lines, texts, where).values()
    said.append(f"{where} is y: {kind}")
    return Source(table, y, classes=classes, note="; ".join(said), features=features)


def _read_rows(path: Path, lines: Lines, found: Layout) -> tuple[np.ndarray, array[int], list[str]]:
    """Features, and the column y as written with the numbers of its lines."""
    number, first = lines.sample[0]
    columns = len(first)
    width = columns - found.index - (found.label is not None)
    values = array("d")  # 8 bytes a number, against 32 in a list of floats
    label_lines, texts = array("q"), list[str]()
    rows = lines.rest
    if found.names is not None:
        next(rows)
    for at, fields in rows:
        if len(fields) != columns:
            raise DataError(f"{path}, line {at}: expected {columns} columns, as in line {number}, got {len(fields)}")
        features = fields
        if found.label is not None:
            features = fields[: found.label] + fields[found.label + 1 :]
            label_lines.append(at)
            texts.append(fields[found.label])
        values.extend(_numbers(path, at, features[found.index :], fields, found))
    return np.frombuffer(values, np.float64).reshape(-1, width) if values else np.empty((0, width)), label_lines, texts


def _numbers(path: Path, at: int, features: list[str], fields: list[str], found: Layout) -> list[float]:
    """The numbers of a line; the first field that is none, or that float64 cannot hold, is named."""
    try:
        row = list(map(float, features))
    except ValueError:
        row = [math.nan]
    # NaN and infinity fail the comparison, too.
    if sum(map(abs, row)) < LARGEST_WHOLE and "_" not in "".join(features):
        return row
    for column, field in enumerate(fields):
        if column == found.label or column < found.index:
            continue
        where = f"{path}, line {at}, {found.where(column)}"
        got = repr(field.strip()[:40])
        if not is_number(field) or not math.isfinite(float(field)):
            advice = "; is a value missing?" if is_missing(field) else ""
            raise DataError(f"{where}: expected a finite number, got {got}{advice}")
        if _is_rounded(field):
            raise DataError(f"{where}: expected an integer that float64 can hold, at most 2^53, got {got}")
    return row


def _is_rounded(field: str) -> bool:
    """Whether a field is an integer without point or exponent that is another one in float64."""
    try:
        return int(field) != int(float(field))
    except ValueError:
        return False


def _format_said(lines: Lines) -> list[str]:
    if lines.separator == "," or len(lines.sample[0][1]) == 1:
        return []
    return [f"fields are separated by {SEPARATORS[lines.separator]}" + ", commas are decimal" * lines.decimal_comma]
