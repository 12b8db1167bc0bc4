"""The command `gatentk` and its commands.

Modules that take long to import are imported by the functions that need them, and commands when they are asked for, so
that --help is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from gatentk._version import __version__
from gatentk.cli.errors import Interrupted, one_line
from gatentk.errors import GateNTKError
from gatentk.extras import require

# The first sentence of each command, which stands in the module of its name.
COMMANDS = {
    "bench": "Measure the package beside what one would use instead, on this machine.",
    "demo": "Two data sets of handwritten digits, from data to a report, in a few minutes.",
    "info": "Version, processor, instruction sets, threads, CUDA kernels and the versions of what gatentk builds on.",
    "ntk": "Minimal gradient angles and condition numbers by depth.",
    "paper": 'Recompute a figure, table or theorem of the papers: NAME is one of those below, or "all".',
    "train": "Train a gated ReLU (GReLU) or ReLU network.",
}


TYPED = "gatentk.typed"  # key of the words after `gatentk` in the context


class Commands(click.Group):
    """A group of commands that turns the errors a user can cause into one line without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load a command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"gatentk.cli.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without loading any."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        named = [click.Command(name, help=text) for name, text in COMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl([(str(command.name), command.get_short_help_str(limit)) for command in named])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Remember what was typed, for errors that show it."""
        ctx.meta[TYPED] = tuple(args)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            require("cli", "gatentk")  # not after hours, where the first plot is drawn
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (GateNTKError, ValueError, TypeError, OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise one_line(error, command, ctx.meta.get(TYPED, ())) from error
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gatentk")
@click.option("--debug", is_flag=True, help="Show the traceback of an error. Comes before the command.")
def main(debug: bool) -> None:
    """How well conditioned is the neural tangent kernel of my data?

    gatentk computes neural tangent kernels (NTK) of ReLU and linear networks, of finite and infinite width, and
    says by depth how far the gradients of the closest samples are pulled apart and how large the condition
    number of the kernel is.

    \b
    Start here:
      gatentk demo                                  two data sets, a report to look at
      gatentk ntk --data csv:mine.csv --out result  the same for your own data
    """  # noqa: D301 (click reads \b: keep these lines apart)
