"""The report of one study or several: one HTML file with everything inside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gatentk.activations import LABELS
from gatentk.reporting.page import inline_svg, template
from gatentk.reporting.text import data_name
from gatentk.study.config import StudyConfig, depths_text
from gatentk.study.result import Study
from gatentk.study.sentences import (
    angle_text,
    average_text,
    condition_text,
    headline,
    notes,
    title,
)
from gatentk.study.summary import Point, Series

if TYPE_CHECKING:
    from gatentk.study.samples import StudySamples

TITLES = {"angle": "Smallest angle between two gradients", "condition": "Condition number"}


def html(studies: Sequence[Study], heading: str | None = None) -> str:
    """One page for one study or several, with everything inside it."""
    sections = [_section(study, f"s{index}") for index, study in enumerate(studies)]
    heading = heading or f"Neural tangent kernels of {sections[0]['name']}"
    return template("report.html").render(title=heading, sections=sections, environment=studies[0].environment)


def _section(study: Study, prefix: str) -> dict[str, Any]:
    """What the template shows of one study."""
    config, samples, series = study.config, study.samples, study.series
    return {
        "id": prefix,
        "name": title(config, samples),
        "samples": len(samples.x),
        "features": samples.x.shape[1],
        "headline": headline(config, samples, series),
        "notes": notes(config, samples, series),
        "figures": [
            {"title": text, "svg": inline_svg(study.plots[f"{name}.svg"], f"{prefix}-{name}-")}
            for name, text in TITLES.items()
            if f"{name}.svg" in study.plots
        ],
        "undrawn": study.drawn.failures,
        "tables": [
            _table(series, config, TITLES["angle"], "angle", angle_text),
            _table(series, config, TITLES["condition"], "condition", condition_text),
        ],
        "config": _settings(config, samples),
        "command": study.command,
        "certified": _certified(study),
    }


def _table(
    series: Sequence[Series], config: StudyConfig, title: str, quantity: str, text: Callable[[Point], str]
) -> dict[str, Any]:
    """A table with a row a depth and a column a series."""
    columns = [{"activation": LABELS[s.activation], "label": s.label} for s in series]
    rows = [
        {"depth": depth, "cells": [text(s.points[index]) for s in series]} for index, depth in enumerate(config.depths)
    ]
    return {"title": title, "average": average_text(config, quantity), "columns": columns, "rows": rows}


def _certified(study: Study) -> str:
    """How many condition numbers are proved finite, if that was asked for."""
    if not study.config.certify:
        return ""
    proved = sum(r.lmin_low is not None and r.lmin_low > 0 for r in study.records)
    return (
        f"{proved:,} of {len(study.records):,} kernels are proved positive definite; results.csv has the proved "
        "intervals of both extreme eigenvalues."
    )


def _settings(config: StudyConfig, samples: StudySamples) -> dict[str, str]:
    settings = {
        "Data": f"{data_name(samples.name)}, {len(samples.x):,} samples, {samples.x.shape[1]:,} features",
        "Depths": depths_text(config.depths),
        "Activations": ", ".join(LABELS[a] for a in config.activations),
        "Infinite width": "yes" if config.infinite else "no",
        "Finite width": "no" if config.width is None else f"{config.width:,}, seeds 0 to {config.seeds - 1}",
        "Precision": config.dtype,
        "Seed of subsets": str(config.data_seed),
    }
    if samples.subset is not None:
        settings["Samples for finite width"] = f"{len(samples.subset):,}"
    if config.batch is not None:
        settings["Mini-batches"] = f"{config.batch} samples, random, disjoint"
    return settings
