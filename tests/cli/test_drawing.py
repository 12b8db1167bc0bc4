"""Whatever stops a drawing, every command has written its numbers, says so in a line and by its exit code."""

import errno
import os
from pathlib import Path

import pytest
from cases.commands import SMALL_FIT, SMALL_STUDY, SMALL_TRAINING, invoke, process, results

from gatentk.reporting import figures

COMMANDS = {
    "ntk": ["ntk", *SMALL_STUDY, "--seeds", "1"],
    "train": ["train", *SMALL_TRAINING],
    "fit": ["fit", *SMALL_FIT],
    "paper": ["paper", "angles"],
}
TABLES = {"predictions.csv", "left_out.csv", "scores.csv"}
NUMBERS = {
    "fit": {"results.json", *TABLES},
    "ntk": {"results.json", "results.csv"},
    "train": {"results.json"},
    "paper": {"results.json"},
}
NOT_UTF8 = os.fsdecode(b"caf\xe9.csv")


@pytest.fixture(params=COMMANDS)
def command(request):
    return request.param


def named(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def csv_not_utf8(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(NOT_UTF8).write_text("a,b,label\n1,2,0\n3,5,1\n2,9,0\n4,4,1\n")


def test_a_plot_that_fails_costs_a_line_and_the_exit_code(command, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr(figures, "render", fail)
    outcome = invoke(*COMMANDS[command], "--out", tmp_path)
    assert outcome.exit_code == 1
    for line in outcome.stderr.splitlines():
        assert line.startswith("Warning: ")
        assert "could not be drawn: RuntimeError: latex could not be found; all numbers are in" in line
    assert NUMBERS[command] <= named(tmp_path)
    assert results(tmp_path)["schema"]
    assert not [name for name in named(tmp_path) if name.endswith((".png", ".svg"))]
    if command != "train":
        assert "latex could not be found" in (tmp_path / "report.html").read_text()


def test_a_disk_that_is_full_after_the_numbers_loses_plots_only(command, tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith((".png", ".svg", ".html")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    outcome = invoke(*COMMANDS[command], "--out", tmp_path)
    assert outcome.exit_code == 1
    assert "No space left on device" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert NUMBERS[command] <= named(tmp_path)
    assert not [name for name in named(tmp_path) if name.endswith((".png", ".svg", ".html", ".tmp"))]


def test_drawing_that_fails_altogether_keeps_claims_and_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "panels", None)
    outcome = invoke("paper", "angles", "--out", tmp_path)
    assert outcome.exit_code == 1
    assert "no plot could be drawn: TypeError" in outcome.stderr
    assert len(results(tmp_path)["claims"]) > 3
    assert {"gradient-angles.csv", "report.html"} <= named(tmp_path)


def test_a_page_of_all_that_fails_leaves_the_studies(tmp_path, monkeypatch):
    from gatentk.cli import demo
    from gatentk.study import page
    from gatentk.study.config import StudyConfig

    html = page.html
    small = StudyConfig(data="digits", n=20, depths=(0, 1), width=None)
    monkeypatch.setattr(demo, "configurations", lambda: {"a": small, "b": small})
    monkeypatch.setattr(page, "html", lambda *arguments: 1 / 0 if len(arguments) > 1 else html(*arguments))
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 1
    assert "Warning: report.html could not be written: ZeroDivisionError: division by zero" in outcome.stderr
    for name in ("a", "b"):
        assert {"results.json", "report.html", "angle.png"} <= named(tmp_path / name)


@pytest.mark.usefixtures("csv_not_utf8")
@pytest.mark.parametrize("command", ["ntk", "train"])
def test_names_that_are_not_utf8_are_names(tmp_path, command):
    sizes = {"ntk": ["--depths", "0:1", "--width", "inf"], "train": ["--width", "8", "--epochs", "2", "--lr", "0.01"]}
    out = tmp_path / os.fsdecode(b"r\xe9sultat")
    outcome = invoke(command, "--data", f"csv:{NOT_UTF8}", *sizes[command], "--out", out)
    assert outcome.exit_code == 0, outcome.output
    plots = {"ntk": ["angle.png", "condition.svg", "report.html"], "train": ["loss.png", "loss.svg"]}
    assert {"results.json", *plots[command]} <= named(out)
    repeated = results(out)["command"]
    repeated.encode()
    assert r"$'csv:caf\xe9.csv'" in repeated
    if command == "ntk":
        assert r"csv:caf\xe9.csv" in (out / "report.html").read_text()


RC = b"""text.usetex: True
axes.prop_cycle: cycler('color', ['w'])
font.family: nothing
figure.figsize: 99, 99
savefig.dpi: 1
no.such.key: 1
text.color: red
figure.autolayout: True
"""


def test_the_users_matplotlibrc_changes_nothing(tmp_path):
    arguments = ["ntk", *SMALL_STUDY, "--width", "inf", "--out"]
    assert invoke(*arguments, tmp_path / "plain").exit_code == 0
    (tmp_path / "matplotlibrc").write_bytes(RC)
    code, output = process([*arguments, "much"], cwd=tmp_path)
    assert code == 0, output
    assert "Traceback" not in output
    for name in ("angle.png", "condition.svg"):
        assert (tmp_path / "much" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


def test_a_matplotlibrc_that_stops_matplotlib_stops_no_results(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    code, output = process(["ntk", *SMALL_STUDY, "--width", "inf", "--out", "out"], cwd=tmp_path)
    assert code == 1
    assert "Warning: no plot could be drawn: UnicodeDecodeError" in output
    assert "Traceback" not in output
    assert {"results.json", "results.csv", "report.html"} <= named(tmp_path / "out")
