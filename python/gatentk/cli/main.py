"""The command `gatentk` and its commands.

Modules that take long to import are imported by the functions that need them, so that --help is quick.
"""

from __future__ import annotations

from typing import Any

import click

from gatentk._version import __version__
from gatentk.cli.bench import bench
from gatentk.cli.demo import demo
from gatentk.cli.errors import Interrupted, one_line
from gatentk.cli.info import info
from gatentk.cli.ntk import ntk
from gatentk.cli.paper import paper
from gatentk.cli.train import train
from gatentk.errors import GateNTKError
from gatentk.extras import require


class Commands(click.Group):
    """A group of commands that turns the errors a user can cause into one line without a traceback."""

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
            raise one_line(error, self.commands.get(ctx.invoked_subcommand or "")) from error
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


for command in (ntk, demo, info, bench, train, paper):
    main.add_command(command)
