"""The command `gatentk ntk`: a study written, stopped and continued, errors in one line that names flags."""

import os
import re

import pytest
from cases.commands import SMALL_STUDY as SMALL
from cases.commands import interrupted, interrupted_process, invoke, results

from gatentk import ntk
from gatentk.cli.ntk import command_line
from gatentk.cli.options import parse_depths
from gatentk.errors import SpectrumError, StudyError
from gatentk.reporting.figures import Drawn
from gatentk.runs import memory
from gatentk.study import folder, run
from gatentk.study.config import StudyConfig, depths_text
from gatentk.study.journal import JOURNAL
from gatentk.study.result import Study

FILES = {
    *("angle.png", "angle.svg", "condition.png", "condition.svg"),
    *("records.jsonl", "report.html", "results.csv", "results.json"),
}


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes a second a study."""
    names = [name for name in FILES if name.endswith((".png", ".svg"))]
    monkeypatch.setattr(Study, "drawn", Drawn(dict.fromkeys(names, b"<svg></svg>"), []))


# The main job


def test_one_command_writes_everything_and_names_the_report(tmp_path):
    out = tmp_path / "new" / "folder"
    outcome = invoke("ntk", *SMALL, "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == FILES
    assert outcome.output.rstrip().endswith(f"Report: {out / 'report.html'}")
    assert "Smallest angle, digits" in outcome.output
    assert len(results(out)["records"]) == 2 * 2 * (1 + 2)


def test_the_same_command_again_computes_nothing(no_plots, tmp_path, monkeypatch):
    invoke("ntk", *SMALL, "--out", tmp_path)
    before = results(tmp_path)
    monkeypatch.setattr(ntk, "infinite", None)
    monkeypatch.setattr(ntk, "empirical", None)
    outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert "12 of 12 steps are done already" in outcome.output
    assert results(tmp_path) == before


def test_the_printed_command_repeats_the_study(no_plots, tmp_path):
    options = ["--subset", 10, "--batch", 5, "--data-seed", 3, "--dtype", "float32", "--certify", "--drop-duplicates"]
    outcome = invoke("ntk", *SMALL, *options, "--drop-zero-rows", "--out", tmp_path / "a")
    assert outcome.exit_code == 0, outcome.output
    first = results(tmp_path / "a")
    words = first["command"].replace("DIR", str(tmp_path / "b")).split()
    assert words[:2] == ["gatentk", "ntk"]
    assert invoke(*words[1:]).exit_code == 0
    assert results(tmp_path / "b") == first


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(no_plots, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    invoke("ntk", *SMALL, "--out", whole)
    compute, calls = ntk.empirical, []

    def interrupted_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(ntk, "empirical", interrupted_third)
    outcome = invoke("ntk", *SMALL, "--out", parts)
    assert outcome.exit_code == 130
    assert "interrupted; 6 of 12 steps are kept" in outcome.output
    assert [path.name for path in parts.iterdir()] == ["records.jsonl"]
    outcome = invoke("ntk", *SMALL, "--out", parts)
    assert outcome.exit_code == 0, outcome.output
    assert "6 of 12 steps are done already" in outcome.output
    assert results(parts) == results(whole)
    for name in FILES:
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_ctrl_c_while_files_are_written_leaves_none_half_written(no_plots, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        replace = os.replace
        # Everything but the journal, which is there before anything is computed.
        patch.setattr(os, "replace", lambda *paths: replace(*paths) if paths[1].name == JOURNAL else interrupted())
        outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]
    assert invoke("ntk", *SMALL, "--out", tmp_path).exit_code == 0


def test_a_signal_stops_a_running_program_which_then_goes_on(tmp_path):
    journal = tmp_path / JOURNAL
    arguments = ["ntk", *SMALL, "--depths", "0:40", "--seeds", "40", "--out", tmp_path]
    code, output = interrupted_process(arguments, journal, 3)
    assert code == 130, output
    assert "Traceback" not in output
    kept = int(re.search(r"interrupted; (\d+) of 3362 steps are kept", output)[1])
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
    assert journal.read_text().count("\n") in (kept + 1, kept + 2)


def test_another_command_in_the_folder_is_refused_until_restart(no_plots, tmp_path):
    invoke("ntk", *SMALL, "--out", tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    outcome = invoke("ntk", *SMALL, "--seeds", 1, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert re.search(r"holds another study \(seeds was 2, is 1\).*--restart", outcome.output)
    assert (tmp_path / "results.json").read_bytes() == before
    assert invoke("ntk", *SMALL, "--seeds", 1, "--restart", "--out", tmp_path).exit_code == 0
    assert results(tmp_path)["config"]["seeds"] == 1


def test_repeated_rows_and_large_batches_are_announced(no_plots, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n1,2\n0,1\n")
    outcome = invoke(
        "ntk", "--data", f"csv:{path}", "--depths", "0:1", "--width", "inf", "--batch", 3, "--out", tmp_path
    )
    assert outcome.exit_code == 0, outcome.output
    assert "Rows that equal an earlier one: 1." in outcome.output
    assert "kernels of linear networks stay singular" in outcome.output


# What a user can get wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nosuch"], "--data: expected one of synthetic, friedman"),
        (["--data", "csv:/no/such/file.csv"], "/no/such/file.csv: No such file"),
        (["--data", "digits", "--path", "x"], "--path: digits is not read from a file"),
        (["--data", "digits", "-n", "1"], "Invalid value for '-n'"),
        (["--data", "digits", "-n", "99999"], "digits has 1797 samples"),
        (["--data", "digits", "--depths", "3:1"], "expected a:b[:step] with a <= b"),
        (["--data", "digits", "--depths", "0:4:0"], "step >= 1"),
        (["--data", "digits", "--depths", "-1"], "expected depths such as 0:10"),
        (["--data", "digits", "--depths", "1;2"], "expected depths such as 0:10"),
        (["--data", "digits", "--depths", ""], "expected depths such as 0:10"),
        (["--data", "digits", "--depths", "1000000"], "of at most 999999, got '1000000'"),
        (["--data", "digits", "--width", "0"], "expected one width such as 512"),
        (["--data", "digits", "--width", "16,32"], "expected one width such as 512"),
        (["--data", "digits", "--width", "wide"], "expected one width such as 512"),
        (["--data", "digits", "--activation", "tanh"], "expected relu, linear or both, got 'tanh'"),
        (["--data", "digits", "--dtype", "float16"], "'float64', 'float32'"),
        (["--data", "digits", "--subset", "5000"], "--subset 5000: the data has 1797 samples"),
        (["--data", "digits", "--batch", "5000"], "--batch 5000: there are 1797 samples"),
        (["--data", "digits", "--seeds", "0"], "Invalid value for '--seeds'"),
        ([], "Missing option '--data'"),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(tmp_path, arguments, message):
    out = tmp_path / "out"
    outcome = invoke("ntk", *arguments, "--out", out)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert "Traceback" not in outcome.output
    assert outcome.output.count("Error:") == 1
    assert not out.exists()


def test_damaged_data_is_named_with_its_line(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,nan\n")
    outcome = invoke("ntk", "--data", f"csv:{path}", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert re.search(r"x\.csv.*line 2", outcome.output)


def test_what_was_guessed_of_a_file_is_said_once_and_options_say_otherwise(no_plots, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text(",a,label,b\n0,1,7,2\n1,3,8,4.5\n2,6,7,1\n")
    options = ["--data", f"csv:{path}", "--depths", 0, "--width", "inf"]
    outcome = invoke("ntk", *options, "--out", tmp_path / "guessed")
    assert outcome.exit_code == 0, outcome.output
    note = "column 1, which has no name, is left out as the rows' index; column 3 (label) is y: classes"
    assert outcome.output.count(note) == 1
    words = ["--label", "b", "--no-index", "--header"]
    outcome = invoke("ntk", *options, *words, "--out", tmp_path / "said")
    assert outcome.exit_code == 0, outcome.output
    assert "column 4 (b) is y: numbers" in outcome.output
    assert "left out" not in outcome.output
    found = [results(tmp_path / folder) for folder in ("guessed", "said")]
    assert [document["data"]["features"] for document in found] == [2, 3]
    assert "--label b --no-index --header" in found[1]["command"]
    outcome = invoke("ntk", *options, "--label", "c", "--out", tmp_path / "none")
    assert (outcome.exit_code, outcome.output.count("\n")) == (2, 1)
    assert "--label: expected one of the columns '', 'a', 'label', 'b', got 'c'" in outcome.output


@pytest.mark.parametrize(("inside", "why"), [("", "is a file"), ("deeper/still", "cannot write to")])
def test_a_folder_that_cannot_be_written_is_refused_before_computing(tmp_path, monkeypatch, inside, why):
    monkeypatch.setattr(folder, "run_tasks", None)
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    outcome = invoke("ntk", *SMALL, "--out", occupied / inside)
    assert outcome.exit_code == 2
    assert "--out" in outcome.output
    assert why in outcome.output
    assert occupied.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [occupied]


def test_a_full_disk_is_a_failure_without_traceback(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code in (1, 2)
    assert "No space left on device" in outcome.output


def test_too_many_samples_for_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 5_000_000)
    out = tmp_path / "out"
    outcome = invoke("ntk", "--data", "digits", "--out", out)
    assert outcome.exit_code == 1
    assert re.search(
        r"needs about [\d.]+ GB of memory and 0\.0 GB are free; take fewer samples with -n", outcome.output
    )
    assert not out.exists()


def test_errors_of_the_library_name_the_step_and_debug_shows_the_traceback(tmp_path, monkeypatch):
    def broken(*_, **__):
        raise SpectrumError("K: expected\n a symmetric matrix")

    monkeypatch.setattr(run, "spectrum", broken)
    outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "Error: infinite relu depth 0 all: K: expected a symmetric matrix\n" in outcome.output
    outcome = invoke("--debug", "ntk", *SMALL, "--out", tmp_path)
    assert isinstance(outcome.exception, StudyError)


@pytest.mark.parametrize("text", ["0:10", "0:10:5", "0,1,5", "3", "2:8:3", "1,2"])
def test_depths_are_printed_as_they_are_read(text):
    depths = parse_depths(None, None, text)
    assert parse_depths(None, None, depths_text(depths)) == depths


def test_depths_may_be_mixed_and_repeated():
    assert parse_depths(None, None, "5, 0:4:2,2") == (0, 2, 4, 5)


def test_the_command_of_a_study_has_what_differs_from_the_defaults():
    assert command_line(StudyConfig("digits", width=None)).endswith("--width inf --out DIR")
    config = StudyConfig("csv:a b.csv", infinite=False, data_seed=3, dtype="float32", certify=True)
    assert command_line(config, "x") == (
        "gatentk ntk --data 'csv:a b.csv' --depths 0:10 --activation relu,linear --width 512 --seeds 5 --data-seed 3 "
        "--dtype float32 --certify --out x"
    )
