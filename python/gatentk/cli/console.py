"""What a person sees: lines, how far a run is, tables of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gatentk.cli.errors import Interrupted
from gatentk.runs.bar import progress_bar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gatentk.runs.progress import Progress


def open_console() -> Console:
    """A console that prints paths and names as they are."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


@contextmanager
def shown_progress(
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
    with progress_bar(name, console, expected) as show:

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
