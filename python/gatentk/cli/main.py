"""The command `gatentk` and its commands.

Modules that take long to import are imported by the functions that need them, and commands when they are asked for, so
that --help is quick.
"""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import Any

import click

from gatentk._version import __version__
from gatentk.cli.errors import Interrupted, MachineError, one_line
from gatentk.cli.streams import loss, steady
from gatentk.errors import DrawingWarning
from gatentk.extras import require

# The first sentence of each command, which stands in the module of its name.
COMMANDS = {
    "bench": "Measure the package beside what one would use instead, on this machine.",
    "demo": "Two data sets of handwritten digits, from data to a report, in a few minutes.",
    "fit": "Predict by the kernel of infinitely wide networks; depth and ridge are chosen by leave-one-out.",
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
            with shown_warnings() as categories:
                result = super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            command = self.get_command(ctx, ctx.invoked_subcommand or "")
            raise one_line(error, command, ctx.meta.get(TYPED, ())) from error
        if any(issubclass(category, DrawingWarning) for category in categories):
            ctx.exit(MachineError.exit_code)
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command of the arguments, and end the process with its exit code."""

        def run() -> Any:
            return super(Commands, self).main(args, prog_name, complete_var, standalone_mode=False, **extra)

        if not standalone_mode:
            return run()
        with interruptible() as is_interrupted, steady() as streams:
            code = _code(run, is_interrupted, "--debug" in (sys.argv if args is None else args))
        text = loss(streams)
        if text is not None:
            if text:
                click.echo(f"Error: {text}", err=True)
            code = code or MachineError.exit_code
        sys.exit(code)


def _code(run: Callable[[], Any], is_interrupted: Callable[[], bool], debug: bool) -> int:
    """The exit code; what there is to say is said."""
    try:
        try:
            code = run()
        except click.ClickException as error:
            if is_interrupted() and not isinstance(error, Interrupted):
                raise KeyboardInterrupt from None  # an import that was stopped fails with any error
            error.show()
            return error.exit_code
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, click.Abort):
        Interrupted("interrupted").show()
        return Interrupted.exit_code
    except Exception as error:
        if debug:
            raise
        failure = Interrupted("interrupted") if is_interrupted() else one_line(error, None)
        failure.show()
        return failure.exit_code


@contextmanager
def shown_warnings() -> Iterator[list[type[Warning]]]:
    """Show each warning of the block in one line.

    Yields:
        Their categories, filled as they come.
    """
    from gatentk.reporting.text import printable

    categories: list[type[Warning]] = []

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        categories.append(category)
        click.echo(f"Warning: {printable(' '.join(str(message).split()))}", err=True)

    with warnings.catch_warnings():
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = show
        yield categories


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Remember Ctrl-C, which may come out as another error, or as none where Python cannot raise.

    Yields:
        Whether it came.
    """
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    if handler is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    timers: list[threading.Timer] = []

    def later() -> None:
        main_thread = threading.main_thread().ident or 0
        timers[:] = [threading.Timer(0.02, signal.pthread_kill, (main_thread, signal.SIGINT))]
        timers[0].daemon = True
        timers[0].start()

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if _imports_torch(frame):
            later()  # its C++ ends the process where Python raises
        else:
            raise KeyboardInterrupt

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            later()  # in a callback, where it stopped nothing
        else:
            hook(unraisable)

    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = again
    is_process = sys.stdout is sys.__stdout__
    try:
        yield lambda: bool(came)
    finally:
        for timer in timers:
            timer.cancel()
        sys.unraisablehook = hook
        # While Python ends it would be a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL if is_process else handler)


def _imports_torch(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "<module>" and str(frame.f_globals.get("__name__")).partition(".")[0] == "torch":
            return True
        frame = frame.f_back
    return False


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

    \b
    Exit codes:
      0    done
      1    what the machine lacks (memory, a disk, a plot that could not be drawn), or a training that diverged
      2    something to change in the command; the message names it
      130  interrupted by Ctrl-C
      70   a mistake in gatentk
    """  # noqa: D301 (click reads \b: keep these lines apart)
