"""Which experiments there are, read from the text of the modules of a package without importing them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """An experiment as its module's constants describe it.

    Attributes:
        name: on the command line: that of the module, with hyphens.
        module: the name of the module in its package.
        summary: its `SUMMARY`, a line for the help.
        place: its `PLACE`, a number that orders reports and lists of all experiments.
    """

    name: str
    module: str
    summary: str
    place: int


def discover(folder: Path) -> dict[str, Entry]:
    """The modules and packages of a folder that have a SUMMARY and a PLACE, by name and in their order."""
    entries = []
    for path in folder.iterdir():
        source = path / "__init__.py" if path.is_dir() else path
        if source.suffix == ".py" and source.is_file() and source != folder / "__init__.py":
            constants = _constants(source)
            if {"SUMMARY", "PLACE"} <= constants.keys():
                name = path.stem.replace("_", "-")
                entries.append(Entry(name, path.stem, constants["SUMMARY"], constants["PLACE"]))
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: (entry.place, entry.name))}


def _constants(source: Path) -> dict[str, Any]:
    """What a module says of itself, a plain string or number on one line each; parsing all of it would take longer."""
    lines = re.findall(r"""^(SUMMARY|PLACE) = (".*"|'.*'|\d+)$""", source.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: ast.literal_eval(value) for name, value in lines}
