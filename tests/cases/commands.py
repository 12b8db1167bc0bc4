"""Commands run in this process or in one that a signal stops."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

from click.testing import CliRunner

from gatentk import cli

SMALL_STUDY = ["--data", "digits", "-n", "20", "--depths", "0,2", "--width", "16,inf", "--seeds", "2"]
SMALL_FIT = ["--data", "digits", "-n", "40", "--depths", "1,2", "--ridges", "0.001,0.1"]
SMALL_TRAINING = ["--data", "digits", "-n", "40", "--width", "16", "--depth", "2", "--epochs", "3", "--lr", "0.01"]


def invoke(*arguments):
    """The outcome of `gatentk` with these arguments."""
    return CliRunner().invoke(cli.main, [str(a) for a in arguments], prog_name="gatentk")


def results(folder):
    """What a command wrote down."""
    return json.loads((folder / "results.json").read_text())


def interrupted_process(arguments, journal, lines):
    """Exit code and output of a `gatentk` that gets Ctrl-C when its journal has more lines than that."""
    # A job that a script put in the background inherits an ignored SIGINT.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from gatentk.cli import main; main(prog_name='gatentk')"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") > lines):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def interrupted(*_):
    """Ctrl-C in place of a function."""
    raise KeyboardInterrupt


def process(arguments, redirection="", cwd=None, **environment):
    """Exit code and output of a `gatentk` of its own in a shell that redirects its streams."""
    program = "from gatentk.cli import main; main(prog_name='gatentk')"
    command = shlex.join([sys.executable, "-c", program, *map(str, arguments)])
    outcome = subprocess.run(
        ["bash", "-c", f"{command} {redirection}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | environment,
        cwd=cwd,
        timeout=120,
        check=False,
    )
    return outcome.returncode, outcome.stdout.decode(errors="replace")
