"""The command line of the tool."""

import sys

import cuda_static
import pytest
from sass import gram


def test_a_command_prints_its_table(monkeypatch, capsys):
    monkeypatch.setattr(gram, "lines", lambda: ["| a |", "| b |"])
    monkeypatch.setattr(sys, "argv", ["cuda_static.py", "roofline"])
    cuda_static.main()
    assert capsys.readouterr().out == "| a |\n| b |\n"


def test_an_unknown_command_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cuda_static.py", "registers"])
    with pytest.raises(SystemExit):
        cuda_static.main()
    printed = capsys.readouterr().err
    assert all(name in printed for name in ("resources", "cores", "roofline", "blocks", "prototypes"))
