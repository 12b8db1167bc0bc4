"""Figures and tables of all kernels."""

import math

from cases.experiments import findings_of

from gatentk.papers.grelu_conditioning import EXPERIMENT
from gatentk.reporting.figures import render


def test_figures_and_table(settings, results):
    findings = findings_of(EXPERIMENT, settings, results)
    assert len(findings.draw()) == 2
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    assert sum(len(table.rows) for table in findings.tables) == len(results) - 6  # without those of the limit
    for table in findings.tables:
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(math.isfinite(value) for row in table.rows for value in row if isinstance(value, float))
