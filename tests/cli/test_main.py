"""The group of commands: help, version, errors in one line."""

import random
import re
import runpy
import signal
import subprocess
import sys
import time
import warnings

import click
import numpy as np
import pytest
import torch
from cases.commands import SMALL_FIT, SMALL_STUDY, SMALL_TRAINING, invoke
from click.testing import CliRunner

import gatentk
from gatentk.cli.errors import InternalError, Interrupted, MachineError, UserError
from gatentk.cli.main import COMMANDS, main
from gatentk.errors import DrawingWarning


def test_help_explains_every_command():
    for arguments in ([], ["ntk"], ["train"], ["demo"], ["info"]):
        outcome = invoke(*arguments, "--help")
        assert outcome.exit_code == 0
        assert "Usage: gatentk" in outcome.output
        assert "\b" not in outcome.output
    assert gatentk.__version__ in invoke("--version").output


def test_the_package_is_the_command_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["somewhere/__main__.py", "fit", "--help"])
    monkeypatch.delitem(sys.modules, "gatentk.__main__", raising=False)  # tests of all modules import it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("gatentk", run_name="__main__")
    assert ended.value.code == 0
    assert "Usage: gatentk fit" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_listed_by_their_first_sentence(name):
    command = main.get_command(click.Context(main), name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]


@pytest.mark.parametrize("arguments", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_waits_for_no_numerical_package(arguments):
    heavy = "torch", "numpy", "scipy", "matplotlib", "rich", "jinja2"
    program = f"import sys, gatentk.cli\ngatentk.cli.main({[*arguments, '--help']}, standalone_mode=False)\n"
    program += f"print([name for name in {heavy} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert output.endswith("\n[]\n")


@pytest.mark.parametrize("first", ["ntk", "train", "fit", "paper"])
def test_no_command_overwrites_the_results_of_another(tmp_path, first):
    runners = {"ntk": ["ntk", *SMALL_STUDY], "train": ["train", *SMALL_TRAINING], "paper": ["paper", "angles"]}
    runners["fit"] = ["fit", *SMALL_FIT]
    assert invoke(*runners.pop(first), "--out", tmp_path).exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in runners.values():
        for restart in ([], ["--restart"]):
            outcome = invoke(*arguments, *restart, "--out", tmp_path)
            assert outcome.exit_code == 2
            refusal = f"holds results of gatentk {first}; choose another folder with --out, such as {tmp_path}-2\n"
            assert refusal in outcome.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# What goes wrong, in one line


def failing(monkeypatch, error):
    """`gatentk info` that raises an error."""

    def environment():
        raise error

    monkeypatch.setattr("gatentk.reporting.environment.environment", environment)
    return invoke("info")


def torch_errors():
    """What torch and numpy really raise where memory is lacking."""
    for allocate in (
        lambda: torch.empty(2**58),
        lambda: torch.empty(2**62, dtype=torch.float64),
        lambda: torch.empty(2**40, 2**40),
        lambda: np.empty(2**58),
        lambda: torch.from_numpy(np.ones(1)).expand(2**57).clone(),
    ):
        try:
            allocate()
        except (RuntimeError, MemoryError, ValueError) as error:
            yield error


@pytest.mark.parametrize("error", [*torch_errors(), MemoryError(), RuntimeError("std::bad_alloc")], ids=str)
def test_too_little_memory_is_one_line_of_the_machine(monkeypatch, error):
    outcome = failing(monkeypatch, error)
    assert outcome.exit_code == 1
    assert re.fullmatch(r"Error: .*(memory|allocate).*\n", outcome.stderr), outcome.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError(28, "No space left on device", "x/y"), 1, "Error: x/y: No space left on device"),
        (PermissionError(13, "Permission denied"), 1, "Error: Permission denied"),
        (OSError("unexpected pos 64 vs 0"), 1, "Error: unexpected pos 64 vs 0"),
        (RecursionError("maximum recursion depth exceeded"), 2, "Error: what is read here is nested too deeply"),
        (ValueError("width: expected\n1"), 2, "Error: width: expected 1"),
        (UnicodeEncodeError("utf-8", "\udce9", 0, 1, "no"), 2, "Error: 'utf-8' codec can't encode character"),
        (KeyError("x"), 70, "Error: gatentk failed with KeyError: 'x'; this is a mistake in gatentk"),
        (RuntimeError("a\nb"), 70, "Error: gatentk failed with RuntimeError: a b; this is a mistake"),
        (OverflowError("too large"), 70, "Error: gatentk failed with OverflowError: too large"),
        (SystemError(), 70, "Error: gatentk failed with SystemError;"),
        (KeyboardInterrupt(), 130, "Error: interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_no_exception_is_a_traceback(monkeypatch, error, code, text):
    outcome = failing(monkeypatch, error)
    assert outcome.exit_code == code
    assert outcome.stderr.startswith(text), outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_debug_shows_where(monkeypatch):
    def environment():
        raise KeyError("x")

    monkeypatch.setattr("gatentk.reporting.environment.environment", environment)
    outcome = CliRunner().invoke(main, ["--debug", "info"])
    assert isinstance(outcome.exception, KeyError)


@pytest.mark.parametrize(("category", "code"), [(UserWarning, 0), (DrawingWarning, 1)])
def test_warnings_are_lines_and_a_drawing_that_failed_is_in_the_exit_code(monkeypatch, category, code):
    def environment():
        warnings.warn("two\nlines", category, stacklevel=1)
        return {"instruction_set": "x"}

    monkeypatch.setattr("gatentk.reporting.environment.environment", environment)
    outcome = invoke("info")
    assert outcome.exit_code == code
    assert outcome.stderr == "Warning: two lines\n"
    assert "instruction set" in outcome.stdout


@pytest.mark.parametrize(
    "moment", ["import gatentk.extras", "import click", "import gatentk.cli.main", "import torch", "load the command"]
)
def test_ctrl_c_in_imports_is_one_line(moment):
    program = f"""
import importlib.abc, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {moment.removeprefix("import ").replace("load the command", "gatentk.cli.info")!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
            if {moment == "import torch"}:
                raise ImportError("what C code makes of it")

sys.meta_path.insert(0, Finder())
from gatentk.cli import main
main(["info"], prog_name="gatentk")
"""
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (130, "Error: interrupted\n")


def test_ctrl_c_in_a_callback_that_cannot_raise_stops_the_command_all_the_same():
    program = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
import gatentk.reporting.environment as place

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

def environment():
    Dying()
    time.sleep(20)

place.environment = environment
from gatentk.cli import main
main(["info"], prog_name="gatentk")
"""
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (130, "Error: interrupted\n")


def test_the_help_lists_the_exit_codes():
    text = invoke("--help").output
    for code in (0, UserError.exit_code, MachineError.exit_code, Interrupted.exit_code, InternalError.exit_code):
        assert re.search(rf"^ +{code} ", text, re.MULTILINE)


HUGE = [
    (["ntk", "--width", "3000000"], "--width"),
    (["ntk", "--width", "999999999", "--depths", "1"], "--width"),
    (["ntk", "--depths", "0:999999", "--width", "4096"], "--width"),
    (["ntk", "--data", "synthetic", "-n", "3000000000"], "-n"),
    (["ntk", "--data", "ackley", "-n", "900000"], "-n"),
    (["ntk", "--data", "friedman", "-n", str(10**30)], "n"),
    (["ntk", "--seeds", str(10**12)], "seeds"),
    (["fit", "--data", "friedman", "-n", "300000"], "-n"),
    (["train", "--width", "3000000"], "--width"),
    (["train", "--depth", "3000000000"], "--width"),
    (["train", "--width", str(10**40)], "width"),
    (["train", "--data", "synthetic", "-n", "3000000000"], "-n"),
]


@pytest.mark.parametrize(("arguments", "flag"), HUGE, ids=lambda value: " ".join(value) if value else None)
def test_huge_sizes_are_refused_before_anything_is_allocated(tmp_path, arguments, flag):
    data = [] if "--data" in arguments else ["--data", "digits"]
    outcome = invoke(*arguments, *data, "--out", tmp_path / "out")
    assert outcome.exit_code in (1, 2)
    assert re.search(rf"(GB of memory and .* free; .*|^Error: .*){flag}\b", outcome.stderr, re.MULTILINE)
    assert len(outcome.stderr) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["ntk", "train", "fit", "paper", "demo", "bench"])
def test_results_go_where_a_folder_can_be(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    needed = {name: ["--data", "digits"] for name in ("ntk", "train", "fit")} | {"paper": ["angles"]}
    for place in ("", "file" if command != "bench" else ".", "file/inside"):
        outcome = invoke(
            command, *needed.get(command, ["-k", "no such case"] if command == "bench" else []), "--out", place
        )
        assert outcome.exit_code == 2, outcome.output
        assert "--out" in outcome.stderr or place == "file/inside"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["ntk", *SMALL_STUDY], ["train", *SMALL_TRAINING], ["fit", *SMALL_FIT], ["paper", "angles"]],
    ids=" ".join,
)
def test_ctrl_c_at_any_moment_is_one_line(tmp_path, arguments):
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
print("started", flush=True)
from gatentk.cli import main
main(prog_name="gatentk")
"""
    random.seed(len(arguments))
    for attempt in range(20):
        command = [sys.executable, "-c", program, *arguments, "--out", str(tmp_path / str(attempt))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0.1, 3))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)
        if process.returncode == 0:
            assert not said
        else:  # -SIGINT: after the end of the command, while Python ends
            assert process.returncode in (130, -signal.SIGINT), said
            assert said.count("\n") == (process.returncode == 130), said
