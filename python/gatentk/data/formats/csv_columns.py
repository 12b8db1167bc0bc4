"""What the columns of a CSV file are: whether the first line names them, which is y, which only numbers the rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from gatentk.data.entries import Columns
from gatentk.data.formats.csv_lines import Lines, has_decimal_comma, is_missing, is_number
from gatentk.errors import DataError

CLASSES = ("label", "class")  # names of a column of classes
NUMBERS = ("target", "y")  # names of a column of numbers to predict

_FEWEST_NUMBERED = 4  # columns from which 0, 1, 2, ... is no sample by chance
_FEWEST_FROM_ONE = 16  # the same for 1, 2, 3, ..., with which examples made by hand begin


@dataclass(frozen=True)
class Layout:
    """What the columns of a file are.

    Attributes:
        names: of all columns, if the first line has them.
        label: the column that is y.
        index: how many columns at the left are left out.
        said: what was guessed, in words.
    """

    names: list[str] | None
    label: int | None
    index: int
    said: list[str]

    def where(self, column: int) -> str:
        """A column for a message."""
        named = self.names is not None and column < len(self.names) and self.names[column]
        return f"column {column + 1}" + (f" ({self.names[column][:40]})" if named and self.names else "")


def layout(path: Path, lines: Lines, asked: Columns) -> Layout:
    """What the user says of the columns, and for the rest what the first lines look like."""
    number, first = lines.sample[0]
    first = [readable(field) for field in first]
    if first[0].startswith("#"):  # as numpy.savetxt writes names
        first[0] = first[0].lstrip("# ")
    below = [fields for _, fields in lines.sample[1:]]
    said: list[str] = []
    header = _has_header(number, first, below, asked, said) if asked.header is None else asked.header
    rows = below if header else [fields for _, fields in lines.sample]
    names = first if header else None
    if asked.index is None:
        index = _index_columns(names, rows, len(first), said)
    else:  # of several levels, if the first columns have no names
        index = max(1, _index_columns(names, rows, len(first), [])) if asked.index else 0
    label = _label(path, names, len(first), asked.label, index, said)
    if len(first) == index + (label is not None):
        of = f"column {label + 1 if label is not None else 1}" if names is None else repr(names[label or 0])
        raise DataError(f"{path}, line {number}: expected a feature column beside {of}")
    return Layout(names, label, index, said)


def readable(field: str) -> str:
    """A name without spaces around it; bytes that are not UTF-8 are read as Latin-1."""
    field = field.strip()
    try:
        field.encode()
    except UnicodeEncodeError:
        return field.encode("utf-8", "surrogateescape").decode("latin-1")
    return field


def _has_header(number: int, first: list[str], below: list[list[str]], asked: Columns, said: list[str]) -> bool:
    lower = [field.lower() for field in first]
    known = lower[-1] in CLASSES + NUMBERS or any(name in (*CLASSES, "target") for name in lower)
    if known or (asked.label and asked.label.strip() in first and not is_number(asked.label)):
        return True
    begun = next((c for c, name in enumerate(lower) if not _is_nameless(c, name)), 0)
    numbered = lower[begun:]
    # A first field that is missing is that of an index if the others number the columns, and else a missing value.
    header = True if begun and numbered in _countings(len(numbered)) else _numbers_columns(numbered, below)
    if header is not None:
        text = first if len(first) < 4 else [*first[:2], "...", first[-1]]
        said.append(f"line {number}, {','.join(text)}, {'numbers the columns' if header else 'is a sample'}")
        return header
    numbers = any(is_number(field) or has_decimal_comma(field) for field in first)
    return not numbers and not all(map(is_missing, first))


def _is_nameless(column: int, name: str) -> bool:
    """As pandas writes a column of its index, and once more what it has read of that."""
    return name.lower() in ("", f"unnamed: {column}")


def _numbers_columns(first: list[str], below: list[list[str]]) -> bool | None:
    """Whether the first line has the numbers of columns; None if nothing speaks for it."""
    zero, one = _countings(len(first))
    kinds = _kinds(below)
    pointed = len(first) > 2 and bool(kinds) and all(kind == {True} for kind in kinds)
    if first == zero:
        by_column = all(len(kind) == 1 for kind in kinds) and {True} in kinds
        return by_column or (len(first) >= _FEWEST_NUMBERED and bool(below))
    if first == one and (pointed or len(first) >= _FEWEST_FROM_ONE):
        return bool(below) and not all(map(_goes_on_counting, below))
    increasing = all(map(str.isdecimal, first)) and all(int(a) < int(b) for a, b in pairwise(first))
    return False if pointed and increasing else None


def _kinds(rows: list[list[str]]) -> list[set[bool]]:
    """Of every column, whether its numbers have points: True, False or both. A dtype has one of them throughout."""
    return [{not field.strip().lstrip("+-").isdigit() for field in column} for column in zip(*rows, strict=False)]


def _goes_on_counting(row: list[str]) -> bool:
    return all(field.strip().isdecimal() for field in row) and all(int(b) - int(a) == 1 for a, b in pairwise(row))


def _index_columns(names: list[str] | None, rows: list[list[str]], columns: int, said: list[str]) -> int:
    """How many columns at the left have no name and are no measurements: one for each level of an index of pandas."""
    found = 0
    while names is not None and found < columns - 1 and _is_nameless(found, names[found]):
        values = [row[found].strip() for row in rows if len(row) > found]
        if not all(value.isdigit() or not is_number(value) for value in values):
            said.append(f"column {found + 1}, which has no name, is a feature")
            break
        found += 1
    else:
        values = [row[0].strip() for row in rows if row]
        if not found and columns > 1 and len(values) > 2 and values in _countings(len(values)):
            of = f" ({names[0][:40]})" if names else ""
            said.append(f"column 1{of} counts the lines and is a feature all the same")
    if found == 1:
        said.append("column 1, which has no name, is left out as the rows' index")
    elif found:
        said.append(f"columns 1 to {found}, which have no names, are left out as the rows' index")
    return found


def _countings(n: int) -> tuple[list[str], list[str]]:
    return [str(i) for i in range(n)], [str(i) for i in range(1, n + 1)]


def _label(
    path: Path, names: list[str] | None, columns: int, asked: str | None, index: int, said: list[str]
) -> int | None:
    if asked == "":
        return None
    if asked is not None:
        found = _asked_label(names, columns, asked.strip())
        if found < index:
            raise ValueError(f"label: expected another column than the index, which is left out, got {asked!r}")
        return found
    lower = [] if names is None else [name.lower() for name in names]
    strong = [c for c, name in enumerate(lower) if name in (*CLASSES, "target")]
    # Elsewhere than at an end a y may be a coordinate.
    weak = [c for c, name in enumerate(lower) if name == "y" and c in (len(lower) - 1, index)]
    candidates = strong or weak[-1:]
    if len(candidates) > 1:
        listed = ", ".join(names[c] for c in candidates) if names else ""
        raise DataError(f"{path}: more than one column may be y ({listed}); choose one by its name, label=NAME")
    if names is not None and not candidates and "y" in lower:
        said.append(
            f"column {lower.index('y') + 1} (y) is a feature, being neither the first nor the last, so there is no y"
        )
    elif names is not None and not candidates:
        said.append("no column is called label, class, target or y, so there is no y")
    return candidates[0] if candidates else None


def _asked_label(names: list[str] | None, columns: int, asked: str) -> int:
    """The column of that name; without names, of that number from 1."""
    if names is None:
        if asked.isdecimal() and 1 <= int(asked) <= columns:
            return int(asked) - 1
        raise ValueError(f"label: expected a column from 1 to {columns} (the first line has no names), got {asked!r}")
    found = [c for c, name in enumerate(names) if name == asked] or [
        c for c, name in enumerate(names) if name.lower() == asked.lower()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"label: expected the name of one column, {len(found)} are called {asked!r}")
    listed = ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")
    raise ValueError(f"label: expected one of the columns {listed}, got {asked!r}")
