"""Files of a finished run: numbers first, then what is drawn of them, which cannot lose the numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from gatentk.errors import DrawingWarning
from gatentk.reporting.figures import Drawn
from gatentk.reporting.text import printable, reason


def write_results(
    folder: Path,
    write: Callable[[str, bytes], None],
    numbers: Mapping[str, bytes],
    draw: Callable[[], Drawn],
    pages: Mapping[str, Callable[[], str]] | None = None,
) -> None:
    """Write all files of a run; what cannot be drawn or written after the numbers is said and stops nothing.

    Args:
        folder: of the files, to name it.
        write: writes one of them, whole or not at all.
        numbers: contents by file name, written before anything is drawn.
        draw: gives the figures.
        pages: give the text of pages by file name; may need the figures.

    Raises:
        OSError: the numbers cannot be written.

    Warns:
        DrawingWarning: for each figure or page that is missing.
    """
    for name, content in numbers.items():
        write(name, content)
    failures: list[str] = []
    drawn = draw()
    failures += drawn.failures
    for name, content in drawn.files.items():
        _attempt(name, lambda name=name, content=content: write(name, content), failures)  # type: ignore[misc]
    for name, page in (pages or {}).items():
        _attempt(name, lambda name=name, page=page: write(name, text_bytes(page())), failures)  # type: ignore[misc]
    warn_of(failures, f"all numbers are in {printable(str(folder))}")


def write_page(path: Path, write: Callable[[Path, bytes], None], page: Callable[[], str]) -> None:
    """Write a page about runs whose own files are written.

    Warns:
        DrawingWarning: it cannot be made or written.
    """
    failures: list[str] = []
    _attempt(path.name, lambda: write(path, text_bytes(page())), failures)
    warn_of(failures, f"all numbers are in folders of {printable(str(path.parent))}")


def warn_of(failures: list[str], comfort: str) -> None:
    """A warning for each."""
    for failure in failures:
        warnings.warn(f"{failure}; {comfort}", DrawingWarning, stacklevel=3)


def text_bytes(text: str) -> bytes:
    """Text as a file holds it, whatever letters it has."""
    return text.encode("utf-8", "backslashreplace")


def _attempt(name: str, action: Callable[[], None], failures: list[str]) -> None:
    try:
        action()
    except Exception as error:
        failures.append(f"{name} could not be written: {reason(error)}")
