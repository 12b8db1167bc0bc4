"""The page of one experiment or several: one HTML file with everything inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gatentk.papers.frame.findings import VERDICTS, Findings, Table
from gatentk.papers.frame.result import Result
from gatentk.reporting.page import inline_svg, template
from gatentk.reporting.text import duration, number

LONGEST_TABLE = 60  # rows of a table on the page; longer ones are in their CSV files only


def html(results: Sequence[Result], heading: str, left_out: Mapping[str, str] | None = None) -> str:
    """One page for one experiment or several, with everything inside it, and why some are left out, by name."""
    return template("paper.html").render(
        title=heading,
        sections=[_section(result) for result in results],
        left_out=left_out or {},
        environment=results[0].environment,
    )


def _section(result: Result) -> dict[str, Any]:
    """What the template shows of one experiment."""
    findings, name = result.findings, result.experiment.name
    return {
        "id": name,
        "title": result.experiment.title,
        "source": result.experiment.source,
        "counts": _counts(findings),
        "claims": [asdict(claim) | {"verdict": VERDICTS[claim.agrees]} for claim in findings.claims],
        "plots": [
            {
                "caption": plot.caption,
                "width": round(6.5 * plot.figure.get_figwidth(), 1),
                "svg": inline_svg(result.drawn.files[f"{plot.name}.svg"], f"{name}-{plot.name}-"),
            }
            for plot in result.plots
        ],
        "undrawn": result.drawn.failures,
        "tables": [_shown(table) for table in findings.tables if len(table.rows) <= LONGEST_TABLE],
        "files": [f"{table.name}.csv" for table in findings.tables],
        "remarks": findings.remarks,
        "command": result.command,
        "time": duration(sum(result.seconds.values())),
    }


def _counts(findings: Findings) -> str:
    """How many claims came out how: "5 agree, 1 does not agree, 2 not decided here"."""
    verdicts = [claim.agrees for claim in findings.claims]
    words = {True: ("agrees", "agree"), False: ("does not agree", "do not agree"), None: (VERDICTS[None],) * 2}
    counts = ((verdicts.count(verdict), texts) for verdict, texts in words.items())
    return ", ".join(f"{count} {texts[count > 1]}" for count, texts in counts if count)


def _shown(table: Table) -> dict[str, Any]:
    def text(value: Any) -> str:
        if value is None:
            return "–"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return number(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)

    rows = [[text(value) for value in row] for row in table.rows]
    return {"title": table.title, "columns": table.columns, "rows": rows}
