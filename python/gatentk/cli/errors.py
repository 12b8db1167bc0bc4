"""What a user can cause, in one line that names flags and with an exit code of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from gatentk.errors import RunError


class UserError(click.ClickException):
    """Something to change in the command; one line on stderr."""

    exit_code = 2


class MachineError(click.ClickException):
    """Something that went wrong on the machine: a full disk, too little memory."""

    exit_code = 1


class Interrupted(click.ClickException):
    """Stopped by Ctrl-C."""

    exit_code = 130  # as shells report it


def one_line(error: Exception, command: click.Command | None, words: Iterable[str] = ()) -> click.ClickException:
    """What the command line says of an error of the library.

    Args:
        error: of the library.
        command: that was run.
        words: what the user typed, which is shown as it was.
    """
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (RunError, MemoryError)) and command is not None:
        message = with_flags(message, command, words)
    return MachineError(message) if isinstance(error, (OSError, MemoryError)) else UserError(message)


def with_flags(message: str, command: click.Command, words: Iterable[str] = ()) -> str:
    """A message of a runner, which names arguments, with the command's flags for them.

    `name=value` becomes `--flag value`, `name=True` of a switch `--flag`, `name=False` of one "leaving out --flag",
    and a first word `name:` becomes `--flag:`. What is no option of the command stays as it is, and so does what the
    user typed: a folder may be called batch=32.
    """
    options = {param.name: param for param in command.params if isinstance(param, click.Option)}

    def flagged(match: re.Match[str]) -> str:
        option = options.get(match["first"] or match["name"])
        if match["typed"] or option is None:
            return match[0]
        flag = max(option.opts, key=len)
        if match["first"]:
            return f"{flag}:"
        if option.is_flag:
            return flag if match["value"] == "True" else f"leaving out {flag}"
        return f"{flag} {match['value']}".rstrip()

    typed = "|".join(map(re.escape, _names_in(words))) or "(?!)"
    pattern = rf"(?P<typed>{typed})|^(?P<first>[a-z_]+):|\b(?P<name>[a-z_]+)=(?P<value>[\w.]*)"
    return re.sub(pattern, flagged, message)


def _names_in(words: Iterable[str]) -> list[str]:
    """Values of options and the last parts of paths that look like arguments, the longest first."""
    values = {value for word in words for value in (word, word.partition("=")[2] if word.startswith("-") else "")}
    parts = {part for value in values for part in (value, value.rpartition("/")[2])}
    return sorted((part for part in parts if "=" in part), key=len, reverse=True)
