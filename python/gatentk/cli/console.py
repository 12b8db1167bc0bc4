"""What a person sees: lines, the progress bar, tables of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from gatentk.cli.errors import Interrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn
    from rich.table import Table

    from gatentk.runs.progress import Progress


def open_console() -> Console:
    """A console that prints paths and names as they are."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bar(console: Console, name: str, expected: float = 0.0) -> Iterator[Callable[[float, str], None]]:
    """A bar on a terminal while the block runs, nothing elsewhere.

    Args:
        console: where.
        name: what runs, until the first step is done.
        expected: seconds that all of it may take; 0 if that is not known.

    Yields:
        What to call with the share of the work that is done and with what to show beside the bar.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

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


@contextmanager
def followed(
    console: Console, name: str, folder: Path, parts: str, expected: float = 0.0
) -> Iterator[Callable[[Progress], None]]:
    """A progress bar for a runner, which says at Ctrl-C what is kept.

    Args:
        console: where.
        name: of what runs.
        folder: of the results.
        parts: what the runner's parts are called.
        expected: seconds that all of it may take; 0 if that is not known.

    Yields:
        The runner's `report`.
    """
    last: Progress | None = None
    with progress_bar(console, name, expected) as show:

        def report(progress: Progress) -> None:
            nonlocal last
            last = progress
            if progress.last is None and progress.done:
                console.print(f"Continuing: {progress.done} of {progress.parts} {parts} are done already.")
            show(progress.work, name if progress.last is None else f"{name}: {progress.last}")

        try:
            yield report
        except KeyboardInterrupt:
            if last is None:
                raise
            raise Interrupted(
                f"interrupted; {last.done} of {last.parts} {parts} are kept in {folder}, and the same command goes on "
                "from there"
            ) from None


def number_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """A table of numbers, a row each, aligned on the right."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table
