"""Options that several commands share, each declared once; defaults come from what the commands configure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gatentk.data import registry

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Place(click.Path):
    """A path that is not empty, which would be the folder one is in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value in ("", b""):
            self.fail("expected a path, got an empty text", param, ctx)
        return super().convert(value, param, ctx)


def data(help_text: str) -> Decorator:
    """--data: a data set by its name."""
    return click.option("--data", required=True, metavar="NAME", help=help_text)


def path() -> Decorator:
    """--path: the user's files of a data set."""
    return click.option("--path", metavar="PATH", help=registry.path_help())


def columns() -> Decorator:
    """--label, --index, --header: what the columns of a csv file are."""
    label = click.option(
        "--label",
        metavar="NAME",
        help="Column of a csv file that is y, by its name, or by its number from 1 where there are no names; '' for "
        "none.  [default: the one called label, class, target or y]",
    )
    index = click.option(
        "--index/--no-index",
        default=None,
        help="Whether the first column of a csv file only names or counts the rows and is left out.  [default: if it "
        "has no name, as pandas writes it]",
    )
    header = click.option(
        "--header/--no-header",
        default=None,
        help="Whether the first line of a csv file names the columns.  [default: as it looks]",
    )
    return lambda command: label(index(header(command)))


def column_words(config: Any) -> list[str]:
    """The options of `columns` that a configuration differs by, as words of a command."""
    words = [] if config.label is None else ["--label", config.label]
    flags = [("index", config.index), ("header", config.header)]
    return words + [f"--{'' if value else 'no-'}{name}" for name, value in flags if value is not None]


def n() -> Decorator:
    """-n: a random part of the samples."""
    return click.option(
        "-n", "n", type=click.IntRange(2), metavar="N", help="Take N samples at random.  [default: all]"
    )


def data_seed(default: int, drawn: str) -> Decorator:
    """--data-seed: of what is drawn from the data."""
    help_text = f"Seed of everything that is drawn from the data: {drawn}."
    return click.option("--data-seed", type=click.IntRange(0), default=default, show_default=True, help=help_text)


def seeds(default: int, help_text: str) -> Decorator:
    """--seeds: how many networks."""
    return click.option("--seeds", type=click.IntRange(1), default=default, show_default=True, help=help_text)


def dtype(default: str, choices: tuple[str, ...], help_text: str) -> Decorator:
    """--dtype: precision."""
    return click.option("--dtype", type=click.Choice(choices), default=default, show_default=True, help=help_text)


def restart(help_text: str) -> Decorator:
    """--restart: forget what the folder holds."""
    return click.option("--restart", is_flag=True, help=help_text)


def out(help_text: str = "Folder of the results.", **default: Any) -> Decorator:
    """--out, the argument `folder` of a runner; required where no `default` is given."""
    default = {"show_default": True, **default} if default else {"required": True}
    folder = Place(file_okay=False, path_type=Path)
    folder.name = "path"  # may not be there yet
    return click.option("--out", "folder", type=folder, metavar="DIR", help=help_text, **default)
