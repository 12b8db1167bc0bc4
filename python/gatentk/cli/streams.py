"""Standard output and error that take any text, and whose loss stops no run."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

PLAIN = {"×": "x", "²": "^2", "°": " degrees", "–": "-", "−": "-", "≥": ">=", "κ": "kappa", "λ": "lambda", "ε": "eps"}
PLAIN |= {"…": "...", "“": '"', "”": '"', "√": "sqrt", "η": "eta", "π": "pi", "·": "*", "⁻": "-"}
SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789", strict=True))


def fitting(text: str, encoding: str) -> str:
    r"""Text in letters that an encoding has: 10⁻⁵ becomes 10^-5 in ASCII, a byte of a file name \xe9."""
    return text.encode(encoding, "gatentk").decode(encoding, "replace")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    before = error.object[error.start - 1 : error.start]
    letters = error.object[error.start : error.end]
    if letters[0] in SUPERSCRIPTS or letters[0] == "⁻":
        power = "".join(SUPERSCRIPTS.get(letter) or PLAIN.get(letter) or _escaped(letter) for letter in letters)
        return power if before in SUPERSCRIPTS or before == "⁻" else f"^{power}", error.end
    return PLAIN.get(letters[0]) or _escaped(letters[0]), error.start + 1


def _escaped(letter: str) -> str:
    byte = ord(letter) - 0xDC00
    if 0x80 <= byte <= 0xFF:  # of a name that Python could not decode
        return f"\\x{byte:02x}"
    return letter.encode("ascii", "backslashreplace").decode()


codecs.register_error("gatentk", _plain)


class Steady(io.TextIOBase):
    """A stream over another that writes what fits its encoding, and nothing more once it is lost.

    Attributes:
        lost: why nothing is written any more: a reader that is gone, a full disk.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost: Exception | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream underneath."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write it or forget it."""
        if not isinstance(text, str):
            raise TypeError(f"text: expected str, got {type(text).__name__}")
        if self.lost is None:
            try:
                self._stream.write(fitting(text, self.encoding))
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self.lost is None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """Of the stream underneath."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def _lose(self, error: Exception) -> None:
        """Forget what could not be written, or Python tries it again at its end and says so in a traceback."""
        self.lost = error
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def steady() -> Iterator[list[Steady]]:
    """Put steady streams in place of standard output and error.

    Yields:
        Those of them that there are: a shell may have closed one.
    """
    for number in range(3):  # a closed one would be the number of the next file, and get what libraries print
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    streams = [stream if stream is None else Steady(stream) for stream in before]
    sys.stdout, sys.stderr = cast("tuple[TextIO, TextIO]", tuple(streams))
    try:
        yield [stream for stream in streams if stream is not None]
    finally:
        for stream in streams:
            if stream is not None:
                stream.flush()
        sys.stdout, sys.stderr = before


def loss(streams: list[Steady]) -> str | None:
    """What to say of lost output; nothing of a reader that has seen enough, None if nothing is lost."""
    lost = [stream.lost for stream in streams if stream.lost is not None]
    if not lost:
        return None
    said = [error for error in lost if getattr(error, "errno", None) != errno.EPIPE]
    return f"what was to be shown could not be written: {said[0]}" if said else ""
