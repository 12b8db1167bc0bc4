"""The command `gatentk paper`: all of one experiment or several, stopped and continued, errors in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from cases.experiments import Toy
from click.testing import CliRunner

import gatentk
from gatentk import cli, papers
from gatentk.errors import DataError
from gatentk.papers.frame.experiment import Scale
from gatentk.papers.frame.record import JOURNAL
from gatentk.runs import memory

FILES = {"cells.jsonl", "results.json", "toy-values.csv", "toy-long.csv", "toy-plot.png", "toy-plot.svg", "report.html"}
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits an ignored one
from gatentk import papers
from gatentk.cli import main
from cases.experiments import Toy as SlowToy
SlowToy.delay = float(sys.argv.pop(1))
papers.NAMES, papers.experiment = ("toy",), SlowToy
main(prog_name="gatentk")
"""


def invoke(*arguments):
    return CliRunner().invoke(cli.main, ["paper", *map(str, arguments)], prog_name="gatentk")


@pytest.fixture
def toys(monkeypatch):
    """Two experiments that take no time, by name."""
    known = {name: Toy(name) for name in ("toy", "tea")}
    monkeypatch.setattr(papers, "NAMES", tuple(known))
    monkeypatch.setattr(papers, "experiment", known.__getitem__)
    return known


def results(folder):
    return json.loads((folder / "results.json").read_text())


def assert_one_line(outcome, code, *parts):
    assert outcome.exit_code == code, outcome.output
    assert outcome.exception is None or isinstance(outcome.exception, SystemExit)
    line = outcome.output.rstrip().splitlines()[-1]
    assert line.startswith("Error: ")
    for part in parts:
        assert part in line


# The main job


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "gatentk paper toy --out DIR"),
        (("--full",), "gatentk paper toy --full --out DIR"),
        (("--full", "--path", "cifar10=my data"), "gatentk paper toy --full --path 'cifar10=my data' --out DIR"),
    ],
)
def test_results_name_the_command_that_repeats_them(toys, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data").touch()
    assert invoke("toy", *options, "--out", "out").exit_code == 0
    assert results(tmp_path / "out")["command"] == words


def test_one_command_writes_everything_and_says_what_came_out(toys, tmp_path):
    out = tmp_path / "new" / "folder"
    outcome = invoke("toy", "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == FILES
    for text in ("Values are below one & positive. [T, a]", "  agrees: largest", "  does not agree: largest"):
        assert text in outcome.output
    assert "  not decided here: nothing to see" in outcome.output
    assert outcome.output.rstrip().endswith(f"Written: {out / 'report.html'}")


def test_the_same_command_again_computes_nothing(toys, tmp_path):
    invoke("toy", "--out", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    toys["toy"].computed.clear()
    outcome = invoke("toy", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert "3 of 3 cells are done already" in outcome.output
    assert toys["toy"].computed == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_restart_computes_all_again(toys, tmp_path):
    invoke("toy", "--out", tmp_path)
    outcome = invoke("toy", "--out", tmp_path, "--restart")
    assert outcome.exit_code == 0, outcome.output
    assert "done already" not in outcome.output
    assert toys["toy"].computed == ["cell 0", "cell 1", "cell 2"] * 2


def test_another_file_is_another_run(toys, tmp_path):
    folder = tmp_path / "cifar"
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(b"a")
    arguments = ["toy", "--path", f"cifar10={folder}", "--out", tmp_path / "out"]
    assert invoke(*arguments).exit_code == 0
    assert invoke(*arguments).exit_code == 0
    (folder / "data_batch_1.bin").write_bytes(b"b")
    assert_one_line(invoke(*arguments), 2, "holds cells of another set of files")
    assert invoke(*arguments, "--restart").exit_code == 0


def test_paths_are_of_data_sets_that_are_read(toys, tmp_path):
    outcome = invoke("toy", "--path", "cifar=here", "--out", tmp_path)
    assert_one_line(outcome, 2, "expected one of mnist, fashion-mnist, svhn, cifar10, ", "before the =, got 'cifar'")


def test_a_path_that_nothing_reads_is_said(tmp_path):
    outcome = invoke("angles", "--path", "sgemm=nowhere.csv", "--out", tmp_path)
    assert outcome.output.startswith("sgemm is not read from nowhere.csv here; --full may.\n")


def test_full_and_paths_reach_the_settings(toys, tmp_path):
    arguments = ["toy", "--full", "--path", "cifar10=a=b", "--path", "sgemm=c.csv", "--out", tmp_path]
    outcome = invoke(*arguments)
    assert outcome.exit_code == 0, outcome.output
    found = results(tmp_path)
    assert found["settings"] == {"cells": 5, "paths": {"cifar10": "a=b", "sgemm": "c.csv"}}
    assert found["command"] == "gatentk paper toy --full --path cifar10=a=b --path sgemm=c.csv --out DIR"


def test_all_makes_a_folder_each_and_one_page(toys, tmp_path):
    outcome = invoke("all", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "tea", "report.html", "papers.jsonl"}
    assert {path.name for path in (tmp_path / "tea").iterdir()} == FILES
    page = (tmp_path / "report.html").read_text()
    assert 'href="#toy"' in page
    assert 'href="#tea"' in page
    assert outcome.output.rstrip().endswith(f"All of them: {tmp_path / 'report.html'}")


def test_all_leaves_a_report_of_the_users(toys, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    for restart in ([], ["--restart"]):
        outcome = invoke("all", *restart, "--out", tmp_path)
        assert_one_line(outcome, 2, "report.html was not written by this run of gatentk paper all")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "mine")]


def test_all_continues_after_the_experiment_that_was_stopped(toys, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(toys["tea"], "compute", interrupted)
        assert invoke("all", "--out", tmp_path).exit_code == 130
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "tea", "papers.jsonl"}
    toys["toy"].computed.clear()
    outcome = invoke("all", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert toys["toy"].computed == []
    assert toys["tea"].computed == ["cell 0", "cell 1", "cell 2"]


def test_all_leaves_out_what_cannot_run_and_says_so_before_anything_runs(toys, tmp_path, monkeypatch):
    def settings(scale):
        raise DataError("tea.csv: needs to be <downloaded>")

    monkeypatch.setattr(toys["tea"], "settings", settings)
    outcome = invoke("all", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("tea is left out: tea.csv: needs to be <downloaded>\n")
    assert {path.name for path in tmp_path.iterdir()} == {"toy", "report.html", "papers.jsonl"}
    page = (tmp_path / "report.html").read_text()
    assert "<strong>tea</strong> is left out: tea.csv: needs to be &lt;downloaded&gt;" in page

    toys["toy"].estimate = (10**18, 1.0)
    outcome = invoke("all", "--out", tmp_path / "none")
    assert_one_line(outcome, 2, "tea.csv")
    assert not (tmp_path / "none").exists()


def test_the_index_counts_what_came_out(toys, tmp_path):
    invoke("all", "--out", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("1 agrees, 1 does not agree, 1 not decided here</li>") == 2


def test_all_states_its_time_first(toys, tmp_path):
    toys["toy"].estimate = toys["tea"].estimate = (0, 400.0)
    assert invoke("all", "--out", tmp_path).output.startswith("All of them: about 13 minutes.\n")


def test_a_long_run_is_announced(toys, tmp_path, monkeypatch):
    toys["toy"].estimate = (1_500_000, 1800.0)
    outcome = invoke("toy", "--out", tmp_path)
    assert "toy: about 30 minutes and 0.0 GB of memory." in outcome.output


def test_a_real_experiment_runs(tmp_path, monkeypatch):
    angles = papers.experiment("angles")
    small = replace(angles.settings(Scale()), depths=(1, 3), angles=(30.0, 59.0, 180.0), small_angles=(1e-6, 1.0))
    monkeypatch.setattr(type(angles), "settings", lambda *_: small)
    outcome = invoke("angles", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert set(results(tmp_path)["numbers"]) == {"relu", "grelu", "embedding"}


def test_the_help_names_every_experiment():
    text = invoke("--help").output
    lines = [line.split()[0] for line in text.splitlines() if line.strip()]
    assert set(papers.NAMES) <= set(lines)


# Stopped and continued


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(toys, tmp_path, monkeypatch):
    toy, whole, parts = toys["toy"], tmp_path / "whole", tmp_path / "parts"
    invoke("toy", "--out", whole)
    compute = toy.compute

    def interrupted(settings, cell):
        if cell.key == "cell 2":
            raise KeyboardInterrupt
        return compute(settings, cell)

    with monkeypatch.context() as patch:
        patch.setattr(toy, "compute", interrupted)
        outcome = invoke("toy", "--out", parts)
    assert_one_line(outcome, 130, f"interrupted; 2 of 3 cells are kept in {parts}, and the same command goes on")
    assert [path.name for path in parts.iterdir()] == [JOURNAL]
    toy.computed.clear()
    outcome = invoke("toy", "--out", parts)
    assert outcome.exit_code == 0, outcome.output
    assert "2 of 3 cells are done already" in outcome.output
    assert toy.computed == ["cell 2"]
    assert results(parts)["numbers"] == results(whole)["numbers"]
    assert results(parts)["claims"] == results(whole)["claims"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "interrupt"])
def test_a_killed_run_continues_and_gives_the_same_numbers(toys, tmp_path, number):
    command = [sys.executable, "-c", PROGRAM, "0.3", "paper", "toy", "--full", "--out", str(tmp_path / "a")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    journal, deadline = tmp_path / "a" / JOURNAL, time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_text().count("\n") >= 3:
            process.send_signal(number)
            break
        time.sleep(0.02)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), output
    assert "Traceback" not in output
    assert not (tmp_path / "a" / "results.json").exists()
    toy = toys["toy"]
    outcome = invoke("toy", "--full", "--out", tmp_path / "a")
    assert outcome.exit_code == 0, outcome.output
    assert 0 < len(toy.computed) < 5
    invoke("toy", "--full", "--out", tmp_path / "b")
    assert results(tmp_path / "a")["numbers"] == results(tmp_path / "b")["numbers"]


# Errors


def test_an_unknown_name_is_answered_with_the_known_ones(toys, tmp_path):
    outcome = invoke("fig1", "--out", tmp_path)
    assert_one_line(outcome, 2, "name: expected one of 'toy', 'tea', 'all', got 'fig1'")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", ["cifar10", "=there", "cifar10="])
def test_a_path_without_a_name_is_refused(toys, tmp_path, value):
    outcome = invoke("toy", "--path", value, "--out", tmp_path)
    assert_one_line(outcome, 2, "expected NAME=PATH such as cifar10=cifar-10-batches-bin", repr(value))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument 'NAME'"),
        (("toy",), "Missing option '--out'"),
        (("toy", "--fast"), "No such option"),
        (("toy", "tea", "--out", "x"), "unexpected extra argument"),
    ],
)
def test_wrong_arguments_are_refused(toys, arguments, message):
    assert_one_line(invoke(*arguments), 2, message)


def test_a_folder_of_another_scale_is_refused_and_kept(toys, tmp_path):
    invoke("toy", "--out", tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    outcome = invoke("toy", "--full", "--out", tmp_path)
    assert_one_line(outcome, 2, "another settings", "--out", "--restart")
    assert (tmp_path / "results.json").read_bytes() == before
    assert invoke("toy", "--full", "--out", tmp_path, "--restart").exit_code == 0


def test_a_file_in_place_of_the_folder_is_refused(toys, tmp_path):
    (tmp_path / "file").write_text("mine")
    occupied = tmp_path / "file"
    for out, why in ((occupied, f"'{occupied}' is a file"), (occupied / "below", f"cannot write to {occupied}/below")):
        assert_one_line(invoke("toy", "--out", out), 2, "--out", why)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_read_only_folder_is_refused(toys, tmp_path, monkeypatch):
    # Permissions do not stop a superuser, who may run these tests.
    def refused(path, entries):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gatentk.runs.journal.LinesFile, "create", refused)
    outcome = invoke("toy", "--out", tmp_path)
    assert_one_line(outcome, 2, f"cannot write to {tmp_path}: Permission denied")
    assert toys["toy"].computed == []


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not stop a superuser")
def test_permissions_of_a_folder_are_respected(toys, tmp_path):
    tmp_path.chmod(0o500)
    assert_one_line(invoke("toy", "--out", tmp_path), 2, f"cannot write to {tmp_path}")


def test_too_little_memory_is_said_before_the_first_cell(toys, tmp_path, monkeypatch):
    toys["toy"].estimate = (7_000_000_000, 1.0)
    monkeypatch.setattr(memory, "available_memory", lambda: 2_000_000_000)
    outcome = invoke("toy", "--out", tmp_path / "out")
    assert_one_line(outcome, 1, "toy needs about 7.0 GB of memory and 2.0 GB are free")
    assert toys["toy"].computed == []
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_line_and_nothing_is_lost(toys, tmp_path, monkeypatch):
    from gatentk.papers.frame.record import Journal

    append = Journal.append

    def full(journal, cell, *rest):
        if cell.key == "cell 1":
            raise OSError(28, "No space left on device")
        append(journal, cell, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        assert_one_line(invoke("toy", "--out", tmp_path), 1, "No space left on device")
    toys["toy"].computed.clear()
    assert invoke("toy", "--out", tmp_path).exit_code == 0
    assert toys["toy"].computed == ["cell 1", "cell 2"]
