"""What a user can cause, in one line that names flags and with an exit code of its own."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable

import click

from gatentk.errors import GateNTKError, RunError
from gatentk.reporting.text import printable, reason


class UserError(click.ClickException):
    """Something to change in the command; one line on stderr."""

    exit_code = 2


class MachineError(click.ClickException):
    """Something that went wrong on the machine: a full disk, too little memory."""

    exit_code = 1


class InternalError(click.ClickException):
    """Something that no command should raise, whatever it is given."""

    exit_code = 70


class Interrupted(click.ClickException):
    """Stopped by Ctrl-C."""

    exit_code = 130  # as shells report it


def one_line(error: Exception, command: click.Command | None, words: Iterable[str] = ()) -> click.ClickException:
    """What the command line says of an error of the library.

    Args:
        error: of the library, of the machine, or one that is a mistake.
        command: that was run.
        words: what the user typed, which is shown as it was.
    """
    message = printable(" ".join(str(error).split())) or type(error).__name__
    if isinstance(error, (RunError, MemoryError)) and command is not None:
        message = with_flags(message, command, words)
    elif isinstance(error, (ValueError, TypeError)) and command is not None:
        message = with_flag(message, command)
    if lacks_memory(error):
        return MachineError(message if isinstance(error, MemoryError) and error.args else _memory_text(message))
    if isinstance(error, OSError):
        return MachineError(_file_text(error))
    if isinstance(error, RecursionError):
        return UserError("what is read here is nested too deeply")
    if isinstance(error, (GateNTKError, ValueError, TypeError)):
        return UserError(message)
    return InternalError(
        f"gatentk failed with {reason(error)}; this is a mistake in gatentk, please report it "
        "(gatentk --debug, before the command, shows where)"
    )


# Of torch, which raises RuntimeError, and of the system.
_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_?alloc|can't start new thread|"
    r"storage size calculation overflowed|integer multiplication overflow|invalid memory size",
    re.IGNORECASE,
)


def lacks_memory(error: BaseException) -> bool:
    """Whether the machine has too little memory for what was tried."""
    known = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    return known or (isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None)


def _memory_text(message: str) -> str:
    """One line of what torch says in several."""
    tried = re.search(r"(\d+) bytes", message)
    size = f": {int(tried[1]) / 1e9:,.1f} GB could not be had at once" if tried else ""
    return f"the memory of this machine does not suffice{size}; take fewer samples or a smaller network"


def _file_text(error: OSError) -> str:
    """What the system says and of which file, without a number."""
    text = error.strerror or str(error) or type(error).__name__
    return printable(" ".join(f"{error.filename}: {text}".split() if error.filename is not None else text.split()))


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


ARGUMENTS = {"name": "data"}  # of `data.load`, which commands call otherwise


def with_flag(message: str, command: click.Command) -> str:
    """A message of a function that names its argument first, with the command's flag for it."""
    options = {param.name: param for param in command.params}
    name, colon, rest = message.partition(":")
    option = options.get(name) or options.get(ARGUMENTS.get(name, ""))
    return f"{max(option.opts, key=len)}{colon}{rest}" if colon and isinstance(option, click.Option) else message


def _names_in(words: Iterable[str]) -> list[str]:
    """Values of options and the last parts of paths that look like arguments, the longest first."""
    values = {value for word in words for value in (word, word.partition("=")[2] if word.startswith("-") else "")}
    parts = {part for value in values for part in (value, value.rpartition("/")[2])}
    return sorted((part for part in parts if "=" in part), key=len, reverse=True)
