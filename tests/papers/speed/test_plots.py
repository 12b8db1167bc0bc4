"""Plots render and tables are whole."""

from cases.experiments import findings_of

from gatentk.papers.speed import EXPERIMENT
from gatentk.reporting.figures import render


def test_figures_and_tables(results, small):
    findings = findings_of(EXPERIMENT, small, results)
    for plot in findings.draw():
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
