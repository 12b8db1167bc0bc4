"""Lines of a CSV file as fields: its encoding, its quotes, what separates fields, and whether commas are decimal."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from gatentk.errors import DataError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces"}
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "?")  # in lower case; "none" may be a class

_SAMPLE = 1000  # lines that guesses look at
# Of a line that goes on because a quote is open; a field of the csv module has at most as many characters.
_QUOTED_LINES, _QUOTED_LENGTH = 100, 1 << 17
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")  # or a number with three decimals
_POINT = re.compile(r"\.\d*$")
_BINARY = {b"PK\3\4": "a zip archive or an Excel workbook", b"\x1f\x8b": "a gzip archive", b"PAR1": "a Parquet file"}

Line = tuple[int, list[str]]  # the number of a line, from 1, and its fields


class Lines(NamedTuple):
    """The lines of a file that are not blank.

    Attributes:
        rest: of the lines, in order.
        sample: the first of them, which `rest` has, too.
        separator: one of `SEPARATORS`.
        decimal_comma: whether numbers are written with a comma; fields have points already.
    """

    rest: Iterator[Line]
    sample: Sequence[Line]
    separator: str
    decimal_comma: bool


def csv_lines(path: Path) -> Lines:
    """The lines of a file, its separator recognised by the first twenty."""
    texts = _texts(path)
    head = list(islice(texts, _SAMPLE))
    separator = _separator([text for _, text in head[:20]])
    lines = (
        (number, _fields(path, number, text, separator))
        for number, text in chain(head, texts)
        if separator == "\t" or not text.isspace()
    )
    sample = list(islice(lines, _SAMPLE))
    decimal_comma = separator != "," and any(has_decimal_comma(field) for _, row in sample for field in row)
    whole = chain(sample, lines)
    if not decimal_comma:
        return Lines(whole, sample, separator, decimal_comma)
    return Lines(_with_points(path, whole), [(n, _pointed(row)) for n, row in sample], separator, decimal_comma)


def is_number(field: str) -> bool:
    """Whether a field is read as a number, NaN and infinity among them."""
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # float() reads 1_0 as ten; in a data file an underscore is a slip


def has_decimal_comma(field: str) -> bool:
    """Whether a field is a number with a comma for a point."""
    return _DECIMAL_COMMA.fullmatch(field.strip()) is not None


def has_thousands(field: str) -> bool:
    """Whether a field is a number with commas of thousands, such as 1,234 or -12,345.6."""
    return _THOUSANDS.fullmatch(_POINT.sub("", field.strip())) is not None


def is_missing(field: str) -> bool:
    """Whether a field says that there is no value."""
    return field.strip().lower() in MISSING


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with something in them; one in which a quote stays open goes on with the next."""
    with path.open("rb") as binary:
        if stat.S_ISCHR(os.fstat(binary.fileno()).st_mode):
            raise DataError(f"{path}: expected a file or a pipe, got a device")
        head = binary.peek(4)  # a pipe is read once
        for begin, kind in _BINARY.items():
            if head.startswith(begin):
                raise DataError(f"{path}: expected lines of text, got {kind}; unpack it, or save the table as csv")
        utf16 = head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        # Bytes that are not UTF-8 survive as surrogates: harmless in a header, reported like any bad number.
        encoding, errors = ("utf-16", "strict") if utf16 else ("utf-8-sig", "surrogateescape")
        file = io.TextIOWrapper(binary, encoding=encoding, errors=errors)
        begun, text = 0, ""
        try:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise DataError(f"{path}, line {number}: expected text, got a byte that is 0, as binary files have")
                begun, text = (begun, text + line) if text else (number, line)
                # A line without a quote closes none.
                if '"' in line and not _stays_open(text):
                    pass
                elif '"' in text:
                    if number - begun >= _QUOTED_LINES or len(text) > _QUOTED_LENGTH:
                        raise DataError(f"{path}, line {begun}: a quote is opened and not closed")
                    continue
                if text.strip("\r\n "):
                    yield begun, text.rstrip("\r\n")
                text = ""
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: expected UTF-16 text, as its first bytes say: {error.reason}") from error
    if text:
        yield begun, text  # what the quote means is left to the reader of fields


def _stays_open(text: str) -> bool:
    return any(_open_quote(text, separator) for separator in (",", ";", "\t"))


def _open_quote(text: str, separator: str) -> bool:
    try:
        for _ in csv.reader((text,), delimiter=separator, skipinitialspace=True, strict=True):
            pass
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def _separator(texts: Sequence[str]) -> str:
    """What splits all lines into the same number of fields, at least two, and the last line into the most numbers."""
    best, most = next((s for s in (",", ";", "\t") if texts and s in texts[0]), ","), -1.0
    texts = [text for text in texts if not text.isspace()]
    for separator in SEPARATORS:
        try:
            rows = [_split(text, separator) for text in texts]
        except csv.Error:
            continue
        if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
            continue
        numbers = sum(is_number(f) or (separator != "," and has_decimal_comma(f)) for f in rows[-1])
        share = numbers / len(rows[-1])
        if share > most:
            best, most = separator, share
    return best


def _split(text: str, separator: str) -> list[str]:
    if separator == " ":
        return text.split()
    if '"' not in text:
        return text.split(separator)
    return next(csv.reader((text,), delimiter=separator, skipinitialspace=True), [])


def _fields(path: Path, number: int, text: str, separator: str) -> list[str]:
    try:
        return _split(text, separator)
    except csv.Error as error:
        raise DataError(f"{path}, line {number}: {error}") from error


def _pointed(fields: list[str]) -> list[str]:
    return [field.replace(",", ".") if has_decimal_comma(field) else field for field in fields]


def _with_points(path: Path, lines: Iterator[Line]) -> Iterator[Line]:
    """Decimal commas as points. That 1,234 is no thousand is known if another comma cannot be one of thousands."""
    decided = False
    for number, fields in lines:
        for column, field in enumerate(fields, 1):
            if "," not in field:
                if "." in field and is_number(field):
                    raise DataError(
                        f"{path}, line {number}, column {column}: expected a decimal comma, as in other lines, "
                        f"got {field.strip()[:40]!r}"
                    )
            elif not decided:
                stripped = field.strip()
                decided = has_decimal_comma(stripped) and not _THOUSANDS.fullmatch(stripped)
        yield number, _pointed(fields)
    if not decided:
        raise DataError(f"{path}: commas in numbers such as 1,234 may be of thousands or of decimals; write points")
