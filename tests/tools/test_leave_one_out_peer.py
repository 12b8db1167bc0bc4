"""Choice of depth and ridge beside a grid search: both sides on the same samples."""

import sys

import leave_one_out_peer as tool
import pytest


def test_as_many_folds_as_samples_choose_as_leave_one_out(monkeypatch):
    monkeypatch.setattr(tool, "DEPTHS", (1, 2))
    monkeypatch.setattr(tool, "FOLDS", 60)
    monkeypatch.setattr(tool, "RIDGES", (1e-4, 1e-2, 1.0))
    ours, peer = tool.sides(60, None)
    depth, ridge = ours()
    assert (depth, pytest.approx(ridge)) == peer()


def test_turns_and_ratios_are_printed(monkeypatch, capsys):
    monkeypatch.setattr(tool, "DEPTHS", (1, 2))
    monkeypatch.setattr(tool, "RIDGES", (1e-2, 1.0))
    monkeypatch.setattr(sys, "argv", ["leave_one_out_peer", "--n", "50", "--turns", "2", "--digit", "0"])
    tool.main()
    lines = capsys.readouterr().out.splitlines()
    starts = [f"turn {turn}, {name}:" for turn in (1, 2) for name in ("ours", "GridSearchCV")]
    starts += ["wall time:", "processor time:"]
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))
