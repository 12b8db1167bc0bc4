"""Which experiments there are, read from the text of the modules of a package without importing them."""

from __future__ import annotations

import ast
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
    """The values of a module's assignments of plain numbers and strings to one name."""
    return {
        statement.targets[0].id: statement.value.value
        for statement in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Constant)
    }
