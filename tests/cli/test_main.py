"""The group of commands: help, version, errors in one line."""

import subprocess
import sys

import click
import pytest
from cases.commands import SMALL_STUDY, SMALL_TRAINING, invoke

import gatentk
from gatentk.cli.main import COMMANDS, main


def test_help_explains_every_command():
    for arguments in ([], ["ntk"], ["train"], ["demo"], ["info"]):
        outcome = invoke(*arguments, "--help")
        assert outcome.exit_code == 0
        assert "Usage: gatentk" in outcome.output
        assert "\b" not in outcome.output
    assert gatentk.__version__ in invoke("--version").output


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


@pytest.mark.parametrize("first", ["ntk", "train", "paper"])
def test_no_command_overwrites_the_results_of_another(tmp_path, first):
    runners = {"ntk": ["ntk", *SMALL_STUDY], "train": ["train", *SMALL_TRAINING], "paper": ["paper", "angles"]}
    assert invoke(*runners.pop(first), "--out", tmp_path).exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for arguments in runners.values():
        for restart in ([], ["--restart"]):
            outcome = invoke(*arguments, *restart, "--out", tmp_path)
            assert outcome.exit_code == 2
            assert f"holds results of gatentk {first}; choose another folder with --out\n" in outcome.output
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
