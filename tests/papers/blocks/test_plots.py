"""Plots render and tables are whole."""

from cases.experiments import findings_of

from gatentk.papers.blocks import EXPERIMENT
from gatentk.reporting.figures import render


def test_figures_and_tables(results, small):
    findings = findings_of(EXPERIMENT, small, results)
    drawn = findings.draw()
    assert [plot.name for plot in drawn] == [
        "blocks-digits",
        "blocks-digits-kernels",
        "blocks-friedman",
        "blocks-friedman-kernels",
    ]
    for plot in drawn[:2]:
        assert render(plot.figure, "png").startswith(b"\x89PNG")
    for table in findings.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
