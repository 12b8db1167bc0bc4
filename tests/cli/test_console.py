"""What a run that goes on and Ctrl-C say, and tables of numbers."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from gatentk.cli.console import number_table, shown_progress
from gatentk.cli.errors import Interrupted
from gatentk.runs import progress


def quiet():
    return Console(file=io.StringIO(), width=80)


def test_a_run_that_goes_on_says_so_and_ctrl_c_says_what_is_kept():
    def run(report):
        report(progress.Progress(4, 1, 0.1, None))
        report(progress.Progress(4, 2, 0.3, "second"))
        raise KeyboardInterrupt

    console = quiet()
    with (
        pytest.raises(Interrupted, match="interrupted; 2 of 4 steps are kept in out, and the same command goes on"),
        shown_progress(console, "digits", Path("out"), "steps") as report,
    ):
        run(report)
    assert console.file.getvalue().startswith("Continuing: 1 of 4 steps are done already.\n")


def test_ctrl_c_before_the_first_report_keeps_nothing():
    with pytest.raises(KeyboardInterrupt), shown_progress(quiet(), "digits", Path("out"), "steps"):
        raise KeyboardInterrupt


def test_tables_of_numbers_are_aligned_on_the_right():
    console = quiet()
    console.print(number_table(["depth", "angle"], [["1", "5.37"], ["10", "12"]], "Angles"))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines == ["Angles", " depth  angle", "     1   5.37", "    10     12"]
