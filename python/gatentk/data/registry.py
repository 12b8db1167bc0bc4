"""The data sets there are: found in the modules of `gatentk.data.sets`, in order, with the texts that name them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

from gatentk.data import sets
from gatentk.data.entries import Entry, FileFormat, Published

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """What every module of `gatentk.data.sets` declares as `ENTRIES`, in the order of their places."""
    modules = [
        importlib.import_module(f"{sets.__name__}.{module.name}") for module in pkgutil.iter_modules(sets.__path__)
    ]
    return tuple(sorted((entry for module in modules for entry in module.ENTRIES), key=lambda entry: entry.place))


def names() -> tuple[str, ...]:
    """The names that `gatentk.data.load` knows; `PATH` stands for a file.

    >>> import gatentk as gt
    >>> gt.data.names()[:4]
    ('synthetic', 'friedman', 'ackley', 'digits')
    """
    return tuple(name for entry in entries() for name in entry.names)


def brought_names() -> tuple[str, ...]:
    """The data sets that experiments of the papers read from files of the user's."""
    return tuple(entry.name for entry in entries() if entry.brought)


def samples_help() -> str:
    """The names in a sentence, for a command that looks at samples."""
    return _sentence(f"{form.name}:PATH ({form.samples_note})" for form in _formats())


def training_help() -> str:
    """The names in a sentence, for a command that learns y."""
    return _sentence(f"{form.name}:PATH ({form.training_note})" for form in _formats())


def path_help() -> str:
    """What a path may lead to, in a sentence."""
    published = [entry.name for entry in _listed() if isinstance(entry, Published)]
    return f"Folder or file of {_either(published)}, or the {_either([form.name for form in _formats()])} file."


def table() -> str:
    """A line a data set: its samples, x and y; then what the path of each is."""
    header = ("name", "samples", "`x`", "`y`")
    rows = [header, *((f"`{row.name}`", *row[1:]) for entry in entries() for row in entry.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(map(str.ljust, row, widths)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    paths = [
        f"- {', '.join(f'`{name}`' for name in entry.names)}: {entry.path}."
        for entry in entries()
        if isinstance(entry, Published)
    ]
    return "\n".join([*(f"| {line} |" for line in lines), "", "Paths of files that users install or download:", *paths])


def _formats() -> list[FileFormat]:
    return [entry for entry in entries() if isinstance(entry, FileFormat)]


def _listed() -> list[Entry]:
    """Those with a name of their own that help texts name."""
    return [
        entry
        for entry in entries()
        if entry.names and not isinstance(entry, FileFormat) and getattr(entry, "listed", True)
    ]


def _sentence(forms: Iterable[str]) -> str:
    """Names that are followed by those of test sets say so once."""
    items = []
    for several, run in groupby(_listed(), key=lambda entry: len(entry.names) > 1):
        run_names = [entry.name for entry in run]
        if several:
            also = f"the last {_NUMBERS[len(run_names) - 2]} also" if len(run_names) > 1 else "also"
            run_names[-1] += f" ({also} with -test)"
        items += run_names
    return f"{_either([*items, *forms])}."


def _either(items: Sequence[str]) -> str:
    """A, B or C."""
    return " or ".join(filter(None, (", ".join(items[:-1]), items[-1])))
