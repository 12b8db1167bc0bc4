"""Numbers, times and names as people read them; tables and documents as programs do."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

LONGEST_REASON = 200  # letters; LaTeX gives a page of its log
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: int = 3) -> str:
    """A number for people: 0.0123, 4.56, 12,300, 7.89 × 10⁵."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = float(f"{value:.{digits - 1}e}")
    if not 1e-3 <= abs(rounded) < 1e5:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def given(value: float) -> str:
    """A number that somebody chose, as it is: 0.05, 300, 10⁻⁶, 2.5 × 10⁷."""
    mantissa, e, exponent = f"{value:g}".partition("e")
    if not e:
        return mantissa
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa} × {power}"


def duration(seconds: float) -> str:
    """A time to read, in the unit that fits it."""
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    if seconds < 1:
        return "less than a second"
    return "1 second" if seconds < 1.5 else f"{seconds:.0f} seconds"


def data_name(name: str) -> str:
    """The name of a data set to read, that of a file without its folders."""
    kind, colon, path = name.partition(":")
    return printable(f"{kind}:{Path(path).name}" if colon else name)


def printable(text: str) -> str:
    r"""Text in letters that can be seen and written: other bytes and letters of a file name as in Python.

    Examples:
        >>> print(printable("caf\udce9\n.csv"))
        caf\xe9\n.csv
    """
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python could not decode
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape", "surrogatepass").decode()


def shell_line(words: Iterable[str]) -> str:
    """Words as a line for a shell, with $'...' where a file name has bytes that are no text."""
    return " ".join(_shell_word(word) for word in words)


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    content = "".join(
        letter if letter.isprintable() and letter not in "'\\" else "".join(f"\\x{byte:02x}" for byte in _bytes(letter))
        for letter in word
    )
    return f"$'{content}'"


def _bytes(letter: str) -> bytes:
    code = ord(letter)
    return bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else letter.encode("utf-8", "surrogatepass")


def reason(error: BaseException) -> str:
    """An exception in one line that is not too long."""
    text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
    return printable(text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 4]} ...")


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table with its columns as the first line, empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def json_text(document: Mapping[str, Any]) -> str:
    """A document of finite numbers, indented by one."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
