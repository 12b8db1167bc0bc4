"""Errors of the library as the command line shows them."""

import click
import pytest
from click.testing import CliRunner

from gatentk.cli.errors import MachineError, UserError, one_line, with_flags
from gatentk.cli.main import main
from gatentk.errors import DataError, RunError


@click.command()
@click.option("--data")
@click.option("-n", "n")
@click.option("--lr", "rates")
@click.option("--drop-zero-rows", is_flag=True)
@click.option("--restart", is_flag=True)
@click.option("--out", "folder")
def command(**_):
    """Some options."""


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("n=21: the data has 20 samples", "-n 21: the data has 20 samples"),
        ("give one by rates=", "give one by --lr"),
        ("rates=0.5; smaller", "--lr 0.5; smaller"),
        ("drop_zero_rows=True leaves such rows out", "--drop-zero-rows leaves such rows out"),
        ("restart=False starts none", "leaving out --restart starts none"),
        ("another folder with folder=, or restart=True", "another folder with --out, or --restart"),
        ("folder: cannot write to it: full", "--out: cannot write to it: full"),
        ("it holds n: 3 and n = 4, sin=5 and folders=", "it holds n: 3 and n = 4, sin=5 and folders="),
        ("infinite relu: K", "infinite relu: K"),
    ],
)
def test_arguments_become_the_flags_of_the_command(message, shown):
    assert with_flags(message, command) == shown


@pytest.mark.parametrize(
    ("words", "message", "shown"),
    [
        (["--out", "n=5"], "n=5 holds n=21; another with folder=", "n=5 holds -n 21; another with --out"),
        (["--out=x/rates=1"], "x/rates=1/log.jsonl: rates=0.5", "x/rates=1/log.jsonl: --lr 0.5"),
        (["--data", "csv:/d/n=8.csv"], "n=8.csv and csv:/d/n=8.csv: n=9", "n=8.csv and csv:/d/n=8.csv: -n 9"),
        (["-n", "21", "--restart"], "n=21 is too many", "-n 21 is too many"),
    ],
)
def test_what_the_user_typed_is_shown_as_it_was(words, message, shown):
    assert with_flags(message, command, words) == shown


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("n: digits has 5 samples, got n=9", "-n: digits has 5 samples, got n=9"),
        ("rates: expected other ones: 1", "--lr: expected other ones: 1"),
        ("name: expected a data set", "--data: expected a data set"),
        ("folder", "folder"),
        ("mask: expected booleans", "mask: expected booleans"),
    ],
)
@pytest.mark.parametrize("kind", [ValueError, TypeError])
def test_errors_of_functions_name_the_flag_first(kind, message, shown):
    assert one_line(kind(message), command).message == shown


def test_errors_of_runners_speak_of_flags_and_others_of_what_they_are():
    shown = one_line(RunError("n=3:\n  too few"), command)
    assert (type(shown), shown.message, shown.exit_code) == (UserError, "-n 3: too few", 2)
    assert one_line(RunError("n=3"), None).message == "n=3"
    assert one_line(DataError("impossible sizes, n=3"), command).message == "impossible sizes, n=3"
    assert one_line(ValueError(), command).message == "ValueError"


def test_what_the_machine_lacks_has_its_own_exit_code():
    for error in (MemoryError("take fewer samples with n="), OSError(28, "No space left on device")):
        shown = one_line(error, command)
        assert (type(shown), shown.exit_code) == (MachineError, 1)
    assert one_line(MemoryError("take fewer samples with n="), command).message == "take fewer samples with -n"


def test_a_folder_may_be_called_as_an_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("few.csv").write_text("1,2\n3,5\n")
    arguments = ["ntk", "--data", "csv:few.csv", "--depths", "0", "--width", "inf", "--out", "batch=32"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    refused = CliRunner().invoke(main, [*arguments, "--certify"])
    assert refused.exit_code == 2
    assert "batch=32 holds another study (certify was false, is true)" in refused.stderr
