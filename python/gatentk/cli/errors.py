"""What a user can cause, in one line that names flags and with an exit code of its own."""

from __future__ import annotations

import re

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


def one_line(error: Exception, command: click.Command | None) -> click.ClickException:
    """What the command line says of an error of the library."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, (RunError, MemoryError)) and command is not None:
        message = with_flags(message, command)
    return MachineError(message) if isinstance(error, (OSError, MemoryError)) else UserError(message)


def with_flags(message: str, command: click.Command) -> str:
    """A message of a runner, which names arguments, with the command's flags for them.

    `name=value` becomes `--flag value`, `name=True` of a switch `--flag`, `name=False` of one "leaving out --flag",
    and a first word `name:` becomes `--flag:`. What is no option of the command stays as it is.
    """
    options = {param.name: param for param in command.params if isinstance(param, click.Option)}

    def flagged(match: re.Match[str]) -> str:
        option = options.get(match["first"] or match["name"])
        if option is None:
            return match[0]
        flag = max(option.opts, key=len)
        if match["first"]:
            return f"{flag}:"
        if option.is_flag:
            return flag if match["value"] == "True" else f"leaving out {flag}"
        return f"{flag} {match['value']}".rstrip()

    return re.sub(r"^(?P<first>[a-z_]+):|\b(?P<name>[a-z_]+)=(?P<value>[\w.]*)", flagged, message)
