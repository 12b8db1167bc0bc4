"""The report of a fit: one HTML file with everything inside it."""

from __future__ import annotations

from typing import Any

from gatentk.fit.result import Fit
from gatentk.fit.sentences import headline, measure_text, notes, ridge_text, score_text, settings
from gatentk.reporting.figures import Drawn
from gatentk.reporting.page import inline_svg, template
from gatentk.reporting.text import data_name, number

MOST_DEPTHS = 200  # columns of the table; scores.csv has all
TITLES = {"scores": "Leave-one-out scores by depth and ridge", "predictions": "Predictions and targets"}


def html(found: Fit, drawn: Drawn) -> str:
    """One page with everything inside it, the plots that could be drawn among it."""
    section = _section(found, drawn)
    return template("fit.html").render(
        title=f"Fit of {section['name']}", sections=[section], environment=found.environment
    )


def _section(found: Fit, drawn: Drawn) -> dict[str, Any]:
    """What the template shows."""
    files = ["scores.csv", "left_out.csv", *(["predictions.csv"] if found.samples.test_x is not None else [])]
    return {
        "id": "fit",
        "name": data_name(found.samples.name),
        "headline": headline(found),
        "figures": [
            {"title": text, "svg": inline_svg(drawn.files[f"{name}.svg"], f"{name}-")}
            for name, text in TITLES.items()
            if f"{name}.svg" in drawn.files
        ],
        "undrawn": drawn.failures,
        "notes": notes(found),
        "depths": _depths(found),
        "scores": _scores(found),
        "measure": measure_text(found).capitalize(),
        "config": settings(found),
        "command": found.command,
        "files": files,
    }


def _depths(found: Fit) -> list[dict[str, Any]]:
    """The best ridge of each depth, and the kernel without a ridge."""
    rows = []
    for record in found.records[:MOST_DEPTHS]:
        best = record.trial().best()
        ridge = "none above the noise floor" if best is None else ridge_text(found.config.ridges[best])
        score = "" if best is None else score_text(found, record.scores[best])
        resolved = record.lmin > record.floor
        bound = record.lmax / record.floor if record.floor > 0 else 1.0
        condition = number(record.lmax / record.lmin) if resolved else f"≥ {number(bound)}"
        rows.append({"depth": record.depth, "cells": [ridge, score, condition]})
    return rows


def _scores(found: Fit) -> dict[str, Any]:
    """A row a ridge and a column a depth."""
    records = found.records[:MOST_DEPTHS]
    rows = [
        {"depth": ridge_text(ridge), "cells": [score_text(found, record.scores[k]) for record in records]}
        for k, ridge in enumerate(found.config.ridges)
    ]
    return {"depths": [record.depth for record in records], "rows": rows}
