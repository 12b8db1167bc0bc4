"""The journal of an experiment and the files that it leaves behind."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import gatentk
from gatentk.errors import GateNTKError
from gatentk.journal import JournalBusyError, JournalFile
from gatentk.papers.experiment import Cell, Experiment, Findings, Numbers, Scale, Settings, Table
from gatentk.report import inline_svg, render, write_aside

SCHEMA = "gatentk/paper/1"
JOURNAL = "cells.jsonl"
LONGEST_TABLE = 60  # rows of a table on the page; longer ones are in their CSV files only


class PaperError(GateNTKError):
    """An experiment cannot start or go on as asked; the message says what to change."""


class Journal:
    """Finished cells of one experiment, a line each, in its output folder; locked while open.

    Args:
        folder: of the results; it exists.
        experiment, settings: what the numbers are of.
        restart: forget what is there.
        files: SHA-256 of the user's files that the numbers are of, by data set.

    Raises:
        PaperError: the folder holds other numbers, or another process is writing to it.
    """

    def __init__(
        self,
        folder: Path,
        experiment: Experiment,
        settings: Settings,
        restart: bool = False,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.numbers: dict[str, Numbers] = {}
        self.seconds: dict[str, float] = {}
        try:
            self._file = JournalFile(folder / JOURNAL)
        except JournalBusyError as error:
            raise PaperError(str(error)) from error
        try:
            if restart:
                self._file.clear()
            identity = {"paper": experiment.name, "version": gatentk.__version__, "settings": settings}
            self._read(folder, identity | ({"set of files": dict(files)} if files else {}))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(self, cell: Cell, numbers: Numbers, seconds: float) -> None:
        """Add a finished cell; the disk has it when this returns."""
        numbers = json.loads(json.dumps(numbers, allow_nan=False))  # as they are read back by a run that goes on
        self._file.write({"cell": cell.key, "seconds": seconds, "numbers": numbers})
        self._file.sync()
        self.numbers[cell.key], self.seconds[cell.key] = numbers, seconds

    def _read(self, folder: Path, identity: dict[str, Any]) -> None:
        entries = self._file.read()
        if not entries:
            self._file.write(identity)
            self._file.sync()
            return
        expected = json.loads(json.dumps(identity))
        if entries[0] != expected:
            different = [name for name in expected | entries[0] if entries[0].get(name) != expected.get(name)]
            raise PaperError(
                f"{folder} holds cells of another {' and '.join(different)}; choose another folder with --out, or "
                "--restart to start over in this one"
            )
        for entry in entries[1:]:
            self.numbers[entry["cell"]], self.seconds[entry["cell"]] = entry["numbers"], entry["seconds"]


def digest(path: Path) -> str:
    """SHA-256 of the name and content of a file, or of all files in a folder."""
    found = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file():
            found.update(file.name.encode())
            with file.open("rb") as content:
                while block := content.read(1 << 20):
                    found.update(block)
    return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Result:
    """A finished experiment with everything its files show."""

    experiment: Experiment
    scale: Scale
    settings: Settings
    numbers: Mapping[str, Numbers]
    seconds: Mapping[str, float]
    environment: Mapping[str, Any]

    @cached_property
    def findings(self) -> Findings:
        """Claims, plots and tables."""
        return self.experiment.findings(self.settings, self.numbers)

    @cached_property
    def plots(self) -> dict[str, bytes]:
        """The plots by file name."""
        return {
            f"{plot.name}.{kind}": render(plot.figure, kind) for plot in self.findings.plots for kind in ("png", "svg")
        }

    @property
    def command(self) -> str:
        """What repeats it."""
        return command_line(self.experiment.name, self.scale)


def command_line(name: str, scale: Scale, out: str = "DIR") -> str:
    """The command that runs an experiment at a scale."""
    words = ["gatentk", "paper", name, *(["--full"] if scale.full else [])]
    for data, path in scale.paths.items():
        words += ["--path", f"{data}={path}"]
    return shlex.join([*words, "--out", out])


def write(folder: Path, result: Result) -> Path:
    """Write results.json, tables, plots and the page; returns the path of report.html."""
    contents = {
        "results.json": json_text(result).encode(),
        **{f"{table.name}.csv": csv_text(table).encode() for table in result.findings.tables},
        **result.plots,
        "report.html": html([result], result.experiment.title).encode(),
    }
    for name, content in contents.items():
        write_aside(folder / name, content)
    return folder / "report.html"


def json_text(result: Result) -> str:
    """Every number with the settings, versions and machine that it came from."""
    document = {
        "schema": SCHEMA,
        "name": result.experiment.name,
        "title": result.experiment.title,
        "source": result.experiment.source,
        "command": result.command,
        "settings": result.settings,
        "environment": dict(result.environment),
        "claims": [asdict(claim) for claim in result.findings.claims],
        "seconds": dict(result.seconds),
        "numbers": dict(result.numbers),
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def csv_text(table: Table) -> str:
    """A table with its columns as the first line, empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return buffer.getvalue()


def html(results: Sequence[Result], heading: str, left_out: Mapping[str, str] | None = None) -> str:
    """One page for one experiment or several, with everything inside it, and why some are left out, by name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parents[1] / "templates")
    template = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("paper.html")
    return template.render(
        title=heading,
        sections=[_section(result) for result in results],
        left_out=left_out or {},
        environment=results[0].environment,
    )


VERDICTS = {True: "agrees", False: "does not agree", None: "not decided here"}


def _section(result: Result) -> dict[str, Any]:
    """What the template shows of one experiment."""
    from markupsafe import Markup

    findings, name = result.findings, result.experiment.name
    return {
        "id": name,
        "title": result.experiment.title,
        "source": result.experiment.source,
        "counts": _counts(findings),
        "claims": [asdict(claim) | {"verdict": VERDICTS[claim.agrees]} for claim in findings.claims],
        # Made by matplotlib from numbers and escaped text, so it needs no further escaping.
        "plots": [
            {
                "caption": plot.caption,
                "width": round(6.5 * plot.figure.get_figwidth(), 1),
                "svg": Markup(inline_svg(result.plots[f"{plot.name}.svg"], f"{name}-{plot.name}-")),
            }
            for plot in findings.plots
        ],
        "tables": [_shown(table) for table in findings.tables if len(table.rows) <= LONGEST_TABLE],
        "files": [f"{table.name}.csv" for table in findings.tables],
        "remarks": findings.remarks,
        "command": result.command,
        "minutes": sum(result.seconds.values()) / 60,
    }


def _counts(findings: Findings) -> str:
    """How many claims came out how: "5 agree, 1 does not agree, 2 not decided here"."""
    found = [claim.agrees for claim in findings.claims]
    words = {True: ("agrees", "agree"), False: ("does not agree", "do not agree"), None: (VERDICTS[None],) * 2}
    counts = ((found.count(verdict), texts) for verdict, texts in words.items())
    return ", ".join(f"{count} {texts[count > 1]}" for count, texts in counts if count)


def _shown(table: Table) -> dict[str, Any]:
    from gatentk.report import number

    def text(value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return number(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

    rows = [[text(value) for value in row] for row in table.rows]
    return {"title": table.title, "columns": table.columns, "rows": rows}
