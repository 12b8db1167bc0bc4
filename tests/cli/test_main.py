"""The group of commands: help, version, errors in one line."""

import subprocess
import sys

from cases.commands import invoke

import gatentk


def test_help_explains_every_command():
    for arguments in ([], ["ntk"], ["train"], ["demo"], ["info"]):
        outcome = invoke(*arguments, "--help")
        assert outcome.exit_code == 0
        assert "Usage: gatentk" in outcome.output
        assert "\b" not in outcome.output
    assert gatentk.__version__ in invoke("--version").output


def test_help_waits_for_no_numerical_package():
    heavy = "torch", "numpy", "scipy", "matplotlib", "rich", "jinja2"
    program = f"import sys, gatentk.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
