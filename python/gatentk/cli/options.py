"""Options that several commands share, each declared once; defaults come from what the commands configure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click

from gatentk.data import registry
from gatentk.data.entries import COLUMNS
from gatentk.reporting.text import shell_line
from gatentk.study.config import depths_text

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


def command_line(command: click.Command, config: Any, always: Collection[str], out: str) -> str:
    """The command that repeats what a configuration says, with the options that differ from their defaults.

    Args:
        command: whose options are called as the fields of `config`.
        config: a dataclass that asks for `data` alone.
        always: names of options that are said even if they are as by default.
        out: the folder.
    """
    defaults = type(config)(config.data)
    words = ["gatentk", str(command.name)]
    for option in command.params:
        name = str(option.name)
        value = getattr(config, name, None)
        if name == "label":
            words += column_words(config)
        if name in COLUMNS or value is None or (value == getattr(defaults, name) and name not in always):
            continue
        words += _words(option, value)
    return shell_line([*words, "--out", out])


def _words(option: click.Parameter, value: Any) -> list[str]:
    if isinstance(option, click.Option) and option.is_flag:
        return [option.opts[0] if value else option.secondary_opts[0]]
    if option.name == "depths":
        return [option.opts[0], depths_text(value)]
    return [option.opts[0], ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def n() -> Decorator:
    """-n: a random part of the samples."""
    return click.option(
        "-n", "n", type=click.IntRange(2), metavar="N", help="Take N samples at random.  [default: all]"
    )


def data_seed(default: int, drawn: str) -> Decorator:
    """--data-seed: of what is drawn from the data."""
    help_text = f"Seed of everything that is drawn from the data: {drawn}."
    return click.option("--data-seed", type=click.IntRange(0), default=default, show_default=True, help=help_text)


def parse_depths(ctx: click.Context | None, param: click.Parameter | None, value: str) -> tuple[int, ...]:
    """Ascending depths from 0:10, 0:10:2, 0,1,5 or a mixture."""
    depths: set[int] = set()
    for part in value.split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?::(\d{1,6})(?::(\d{1,6}))?)?\s*", part)
        if match is None:
            expected = "depths such as 0:10, 0:10:2 or 0,1,5, of at most 999999"
            raise click.BadParameter(f"expected {expected}, got {value!r}", ctx, param)
        start = int(match[1])
        stop, step = int(match[2] or start), int(match[3] or 1)
        if stop < start or step < 1:
            raise click.BadParameter(f"expected a:b[:step] with a <= b and step >= 1, got {part.strip()!r}", ctx, param)
        depths.update(range(start, stop + 1, step))
    return tuple(sorted(depths))


def depths(default: tuple[int, ...], help_text: str) -> Decorator:
    """--depths: numbers of hidden layers."""
    return click.option(
        "--depths",
        callback=parse_depths,
        metavar="A:B[:STEP]|A,B,..",
        default=depths_text(default),
        show_default=True,
        help=help_text,
    )


def numbers(value: str) -> list[float]:
    """Numbers between commas, NaN for what is none."""
    return [_number(part) for part in value.split(",")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def fraction(more: str = "", **default: Any) -> Decorator:
    """--test-fraction: how many samples are for testing."""
    help_text = f"Share of the samples that is kept for testing.{more}"
    return click.option("--test-fraction", type=click.FloatRange(0, 1, max_open=True), help=help_text, **default)


def normalize(default: str, choices: tuple[str, ...], help_text: str) -> Decorator:
    """--normalize: how samples are scaled."""
    return click.option("--normalize", type=click.Choice(choices), default=default, show_default=True, help=help_text)


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
