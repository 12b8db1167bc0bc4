import io
import math

from rich.console import Console
from rich.progress import Progress

from gatentk.runs.bar import progress_bar, time_left


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
    console = Console(file=io.StringIO(), width=80)
    with progress_bar("digits", console) as show:
        show(0.5, "half")
    assert console.file.getvalue().strip() == ""
