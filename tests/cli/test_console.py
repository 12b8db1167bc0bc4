"""The progress bar, what Ctrl-C says, and tables of numbers."""

import io
import math
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from gatentk.cli.console import followed, number_table, progress_bar, time_left
from gatentk.cli.errors import Interrupted
from gatentk.runs import progress


def quiet():
    return Console(file=io.StringIO(), width=80)


def test_the_time_left_is_known_from_the_start():
    clock = [0.0]
    column = time_left(400.0)
    progress = Progress(column, get_time=lambda: clock[0], speed_estimate_period=math.inf)
    bar = progress.add_task("cells", total=10.0)
    (task,) = progress.tasks

    def shown():
        column._renderable_cache.clear()
        return str(column(task))

    assert shown() == "about 0:06:40"
    clock[0] = 100.0
    assert shown() == "about 0:05:00"
    progress.update(bar, advance=2.0)
    clock[0] = 200.0
    progress.update(bar, advance=2.0)
    assert shown() == "0:05:00"  # 6 of 10 to do, at 2 in 100 seconds


def test_nothing_is_drawn_where_there_is_no_terminal():
    console = quiet()
    with progress_bar(console, "digits") as show:
        show(0.5, "half")
    assert console.file.getvalue().strip() == ""


def test_a_run_that_goes_on_says_so_and_ctrl_c_says_what_is_kept():
    def run(report):
        report(progress.Progress(4, 1, 0.1, None))
        report(progress.Progress(4, 2, 0.3, "second"))
        raise KeyboardInterrupt

    console = quiet()
    with (
        pytest.raises(Interrupted, match="interrupted; 2 of 4 steps are kept in out, and the same command goes on"),
        followed(console, "digits", Path("out"), "steps") as report,
    ):
        run(report)
    assert console.file.getvalue().startswith("Continuing: 1 of 4 steps are done already.\n")


def test_ctrl_c_before_the_first_report_keeps_nothing():
    with pytest.raises(KeyboardInterrupt), followed(quiet(), "digits", Path("out"), "steps"):
        raise KeyboardInterrupt


def test_tables_of_numbers_are_aligned_on_the_right():
    console = quiet()
    console.print(number_table(["depth", "angle"], [["1", "5.37"], ["10", "12"]], "Angles"))
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines == ["Angles", " depth  angle", "     1   5.37", "    10     12"]
