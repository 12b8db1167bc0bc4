"""The progress bar, for whatever shows how far it is: commands, and a library function that is asked to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from gatentk.extras import imports

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn


@contextmanager
def progress_bar(
    name: str, console: Console | None = None, expected: float = 0.0
) -> Iterator[Callable[[float, str], None]]:
    """A bar on a terminal while the block runs, nothing elsewhere.

    Args:
        name: what runs, until the first step is done.
        console: where; standard output if left out.
        expected: seconds that all of it may take; 0 if that is not known.

    Yields:
        What to call with the share of the work that is done and with what to show beside the bar.

    Raises:
        MissingExtraError: rich is not installed.
    """
    with imports("cli", "progress"):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console() if console is None else console
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        time_left(expected),
    )
    # Rich forgets after 30 seconds how long the last steps took; a step may take longer.
    with Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, speed_estimate_period=math.inf
    ) as progress:
        bar = progress.add_task(name, total=1.0)
        yield lambda share, description: progress.update(bar, completed=share, description=description)


def time_left(expected: float) -> ProgressColumn:
    """The time left from the steps that are done; until there are two, what is expected of all, in seconds."""
    from rich.progress import Task, TimeRemainingColumn
    from rich.text import Text

    class TimeLeft(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            if task.time_remaining is not None or not task.total or not expected:
                return super().render(task)
            left = max(0.0, expected * (1 - task.completed / task.total) - (task.elapsed or 0.0))
            return Text(f"about {timedelta(seconds=round(left))}", style="progress.remaining")

    return TimeLeft()
