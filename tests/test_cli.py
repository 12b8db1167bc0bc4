import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import gatentk
from gatentk import cli, ntk, report, study, train
from gatentk.errors import SpectrumError
from gatentk.reporting import figures
from gatentk.runs import memory
from gatentk.train import report as train_report

SMALL = ["--data", "digits", "-n", "20", "--depths", "0,2", "--width", "16,inf", "--seeds", "2"]
FILES = {
    *("angle.png", "angle.svg", "condition.png", "condition.svg"),
    *("records.jsonl", "report.html", "results.csv", "results.json"),
}


def invoke(*arguments):
    return CliRunner().invoke(cli.main, [str(a) for a in arguments], prog_name="gatentk")


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes a second a study."""
    names = [name for name in FILES if name.endswith((".png", ".svg"))]
    monkeypatch.setattr(report.Study, "plots", dict.fromkeys(names, b"<svg></svg>"))


def results(folder):
    return json.loads((folder / "results.json").read_text())


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

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(ntk, "empirical", interrupted)
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
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]
    assert invoke("ntk", *SMALL, "--out", tmp_path).exit_code == 0


def test_a_signal_stops_a_running_program_which_then_goes_on(tmp_path):
    # A job that a script put in the background inherits an ignored SIGINT.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from gatentk.cli import main; main(prog_name='gatentk')"
    command = [sys.executable, "-c", program, "ntk", *SMALL]
    command += ["--depths", "0:40", "--seeds", "40", "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    journal = tmp_path / study.JOURNAL
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") > 3):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    kept = int(re.search(r"interrupted; (\d+) of 3362 steps are kept", output)[1])
    assert [path.name for path in tmp_path.iterdir()] == [study.JOURNAL]
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
        (["--data", "nosuch"], "name: expected one of synthetic, friedman"),
        (["--data", "csv:/no/such/file.csv"], "/no/such/file.csv: No such file"),
        (["--data", "digits", "--path", "x"], "path: digits is not read from a file"),
        (["--data", "digits", "-n", "1"], "Invalid value for '-n'"),
        (["--data", "digits", "-n", "99999"], "digits has 1797 samples"),
        (["--data", "digits", "--depths", "3:1"], "expected a:b[:step] with a <= b"),
        (["--data", "digits", "--depths", "0:4:0"], "step >= 1"),
        (["--data", "digits", "--depths", "-1"], "expected depths such as 0:10"),
        (["--data", "digits", "--depths", "1;2"], "expected depths such as 0:10"),
        (["--data", "digits", "--depths", ""], "expected depths such as 0:10"),
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


@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_a_folder_that_cannot_be_written_is_refused_before_computing(tmp_path, monkeypatch, inside):
    monkeypatch.setattr(study, "run", None)
    occupied = tmp_path / "file"
    occupied.write_text("mine")
    outcome = invoke("ntk", *SMALL, "--out", occupied / inside)
    assert outcome.exit_code == 2
    assert "cannot write to" in outcome.output
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

    monkeypatch.setattr(study, "spectrum", broken)
    outcome = invoke("ntk", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "Error: infinite relu depth 0 all: K: expected a symmetric matrix\n" in outcome.output
    outcome = invoke("--debug", "ntk", *SMALL, "--out", tmp_path)
    assert isinstance(outcome.exception, study.StudyError)


@pytest.mark.parametrize("text", ["0:10", "0:10:5", "0,1,5", "3", "2:8:3", "1,2"])
def test_depths_are_printed_as_they_are_read(text):
    depths = cli._depths(None, None, text)
    assert cli._depths(None, None, report.depths_argument(depths)) == depths


def test_depths_may_be_mixed_and_repeated():
    assert cli._depths(None, None, "5, 0:4:2,2") == (0, 2, 4, 5)


# gatentk train

TRAIN = ["--data", "digits", "-n", "40", "--width", "16", "--depth", "2", "--epochs", "3", "--lr", "0.01"]
TRAIN_FILES = {"checkpoint-0.pt", "log.jsonl", "loss.png", "loss.svg", "results.json"}


@pytest.fixture
def one_thread():
    """Products this small only get slower by more threads, on a busy machine a hundred times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def log(folder):
    return [json.loads(line) for line in (folder / train.LOG).read_text().splitlines()]


def test_training_writes_log_checkpoint_plot_and_results(one_thread, tmp_path):
    out = tmp_path / "new" / "folder"
    options = ["--test-fraction", 0.25, "--diagnostics", "all", "--optimizer", "adam", "--loss", "cross-entropy"]
    outcome = invoke("train", *TRAIN, *options, "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == TRAIN_FILES
    assert outcome.output.rstrip().endswith(f"Results: {out / 'results.json'}")
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (out / "loss.svg").read_text()
    lines = log(out)
    assert lines[0]["training"]["optimizer"] == "adam"
    assert lines[1] == {"rate": 0.01, "trials": []}
    assert [line["epoch"] for line in lines[2:]] == [0, 1, 2, 3]
    document = results(out)
    assert document["schema"] == "gatentk/training/1"
    assert document["data"] | {"sha256": ""} == {
        "name": "digits",
        "train_samples": 30,
        "test_samples": 10,
        "features": 64,
        "outputs": 10,
        "classes": list(range(10)),
        "zero_rows": 0,
        "sha256": "",
    }
    (run,) = document["runs"]
    assert (run["seed"], run["diverged"], run["epochs"]) == (0, False, 3)
    assert (run["first"], run["last"]) == (lines[2], lines[5])
    assert run["last"]["train_loss"] < run["first"]["train_loss"]
    best = min(lines[2:], key=lambda line: line["test_loss"])
    assert run["best_test"] == {"epoch": best["epoch"], "test_loss": best["test_loss"]}
    assert list(document["diagnostics"]) == list(run["last"]["diagnostics"])
    assert len(document["diagnostics"]) == 9


def test_learning_rates_are_tried_and_the_choice_is_shown(no_loss_plot, tmp_path):
    outcome = invoke("train", *TRAIN, "--lr", "1e-6, 0.05,1e30", "--trial-epochs", 1, "--seeds", 2, "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert re.search(r"Learning rate 1e-06: train loss [\d.]+\n", outcome.output)
    assert re.search(r"Learning rate 0\.05: train loss [\d.]+, taken\n", outcome.output)
    assert "Learning rate 1e+30: diverged\n" in outcome.output
    document = results(tmp_path)
    assert document["learning_rate"] == 0.05
    assert [trial["rate"] for trial in document["trials"]] == [1e-6, 0.05, 1e30]
    assert document["trials"][2]["train_loss"] is None
    assert [run["seed"] for run in document["runs"]] == [0, 1]


@pytest.fixture
def no_loss_plot(one_thread, monkeypatch):
    """Drawing takes most of a second."""
    monkeypatch.setattr(train_report, "draw", lambda *_: None)
    monkeypatch.setattr(figures, "render", lambda *_: b"plot")


def test_the_printed_command_repeats_the_training(no_loss_plot, tmp_path):
    options = ["--lr", "auto", "--optimizer", "gd", "--test-fraction", 0.2, "--normalize", "standard"]
    options += ["--switch", 1, "--switch-lr", 0.0001, "--diagnostics", "tau,dead", "--diagnostic-samples", 5]
    options += ["--dtype", "float64", "--trial-epochs", 1, "--data-seed", 2, "--width", 100]
    outcome = invoke("train", *TRAIN, *options, "--out", tmp_path / "a")
    assert outcome.exit_code == 0, outcome.output
    first = results(tmp_path / "a")
    words = first["command"].replace("DIR", str(tmp_path / "b")).split()
    assert words[:2] == ["gatentk", "train"]
    assert invoke(*words[1:]).exit_code == 0
    second = results(tmp_path / "b")
    for document in (first, second):
        for run in document["runs"]:
            del run["seconds"], run["first"]["seconds"], run["last"]["seconds"]
    assert first == second
    assert re.search(r"Seed 0: converted to ReLU after epoch 1, train loss \S+ before and \S+ after", outcome.output)


def test_ctrl_c_keeps_the_checkpoint_and_resume_goes_on(no_loss_plot, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    invoke("train", *TRAIN, "--out", whole)
    step, calls = train.Run.train_epoch, []

    def interrupted(run):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(run)

    monkeypatch.setattr(train.Run, "train_epoch", interrupted)
    outcome = invoke("train", *TRAIN, "--checkpoint-every", 2, "--out", parts)
    assert outcome.exit_code == 130
    assert "interrupted; checkpoint-0.pt in" in outcome.output
    assert "--resume goes on from there" in outcome.output
    assert {path.name for path in parts.iterdir()} == {"checkpoint-0.pt", "log.jsonl"}
    outcome = invoke("train", *TRAIN, "--out", parts)
    assert outcome.exit_code == 2
    assert "--resume goes on with it, --restart starts over" in outcome.output
    outcome = invoke("train", *TRAIN, "--resume", "--out", parts)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in parts.iterdir()} == TRAIN_FILES
    assert [{**line, "seconds": 0} for line in log(parts)] == [{**line, "seconds": 0} for line in log(whole)]


def test_ctrl_c_before_the_first_checkpoint_says_so(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train.Run, "train_epoch", interrupted)
    outcome = invoke("train", *TRAIN, "--out", tmp_path)
    assert outcome.exit_code == 130
    assert "interrupted before the first checkpoint" in outcome.output
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_signal_stops_a_running_training_which_then_goes_on(no_loss_plot, tmp_path):
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from gatentk.cli import main; main(prog_name='gatentk')"
    options = ["--epochs", "100000", "--checkpoint-every", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-c", program, "train", *TRAIN, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    journal = tmp_path / train.LOG
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and journal.read_text().count("\n") > 5):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-0.pt", "log.jsonl"}
    done = log(tmp_path)[-1]["epoch"]
    outcome = invoke("train", *TRAIN, "--epochs", done + 2, "--resume", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert [line["epoch"] for line in log(tmp_path)[2:]] == list(range(done + 3))


def test_a_run_that_diverges_is_a_failure_that_names_the_rate(one_thread, tmp_path):
    outcome = invoke("train", *TRAIN, "--lr", "1e12", "--epochs", 50, "--out", tmp_path)
    assert outcome.exit_code == 1
    assert re.search(r"Seed 0: the loss diverged in epoch \d+; the learning rate 1e\+12 is too large", outcome.output)
    assert "Error: every run diverged; try a smaller learning rate" in outcome.output
    assert results(tmp_path)["runs"][0]["diverged"]
    assert {path.name for path in tmp_path.iterdir()} == TRAIN_FILES - {"checkpoint-0.pt"}


def test_remarks_name_what_keeps_the_loss_up(no_loss_plot, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,label\n0,0,0\n3,4,1\n1,2,1\n0,1,0\n1,1,0\n")
    options = ["--width", 4, "--depth", 1, "--epochs", 2, "--lr", 0.01, "--switch", 1]
    outcome = invoke("train", "--data", f"csv:{path}", *options, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    assert "Samples that are all zero: 1." in outcome.output
    assert "with 5 samples and width 4 the train loss jumps" in outcome.output
    assert "Warning: x: n = 5 samples are more than the width m = 4" in outcome.output
    assert results(tmp_path / "out")["data"]["classes"] == [0, 1]


def test_numbers_are_learnt_from_a_column_named_target(no_loss_plot, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,target\n0,1,0.5\n3,4,1.5\n1,2,-1\n")
    options = ["--width", 8, "--depth", 1, "--epochs", 2, "--optimizer", "gd", "--model", "relu"]
    outcome = invoke("train", "--data", f"csv:{path}", *options, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    document = results(tmp_path / "out")
    assert (document["data"]["outputs"], document["data"]["classes"]) == (1, None)
    assert document["runs"][0]["last"]["train_accuracy"] is None
    assert "accuracy" not in outcome.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nosuch"], "name: expected one of synthetic, friedman"),
        (["--data", "digits", "--model", "mlp"], "'grelu', 'relu'"),
        (["--data", "digits", "--lr", "0"], "expected auto, or different positive numbers such as 0.1"),
        (["--data", "digits", "--lr", "0.1,fast"], "expected auto, or different positive numbers"),
        (["--data", "digits", "--lr", "0.1,0.1"], "expected auto, or different positive numbers"),
        (["--data", "digits", "--diagnostics", "tau,entropy"], "expected none, all or some of tau, gradient"),
        (["--data", "digits", "--optimizer", "gd", "--batch", "5"], "full-batch gradient descent (gd) takes no"),
        (["--data", "digits", "--switch", "50"], "switch: expected an epoch before the last, 50, got 50"),
        (["--data", "digits", "--switch", "5", "--model", "relu"], "only a GReLU network switches"),
        (["--data", "digits", "--test-fraction", "1"], "Invalid value for '--test-fraction'"),
        (["--data", "digits", "--resume", "--restart"], "--resume and --restart exclude each other"),
        (
            ["--data", "synthetic", "--loss", "cross-entropy"],
            "real targets, and cross-entropy needs classes",
        ),
        (["--data", "digits", "--resume"], "holds no training to go on with"),
        ([], "Missing option '--data'"),
    ],
)
def test_errors_of_training_are_one_line_and_leave_nothing_behind(tmp_path, arguments, message):
    out = tmp_path / "out"
    outcome = invoke("train", *arguments, "--out", out)
    assert outcome.exit_code == 2
    assert message in " ".join(outcome.output.split())
    assert "Traceback" not in outcome.output
    assert outcome.output.count("Error:") == 1
    assert not out.exists()


def test_data_without_labels_is_refused_by_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n")
    outcome = invoke("train", "--data", f"csv:{path}", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert re.search(r"x\.csv has no labels to learn; expected a csv file with a header", outcome.output)


def test_results_of_another_command_are_not_overwritten(no_plots, no_loss_plot, tmp_path):
    invoke("ntk", *SMALL, "--out", tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    outcome = invoke("train", *TRAIN, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "holds results of gatentk ntk; choose another folder" in outcome.output
    assert (tmp_path / "results.json").read_bytes() == before


def test_a_network_too_large_for_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    out = tmp_path / "out"
    outcome = invoke("train", "--data", "digits", "--out", out)
    assert outcome.exit_code == 1
    assert re.search(r"needs about [\d.]+ GB of memory and 0\.0 GB are free; take a smaller --width", outcome.output)
    assert not out.exists()


# The other commands


def test_help_explains_every_command():
    for arguments in ([], ["ntk"], ["train"], ["demo"], ["info"]):
        outcome = invoke(*arguments, "--help")
        assert outcome.exit_code == 0
        assert "Usage: gatentk" in outcome.output
        assert "\b" not in outcome.output
    assert gatentk.__version__ in invoke("--version").output


def test_demo_writes_one_report_about_all_its_studies(no_plots, tmp_path, monkeypatch):
    configs = cli._demo_configs()
    assert {config.data for config in configs.values()} == {"digits", "mnist"}
    assert {config.depths for config in configs.values()} == {tuple(range(11))}
    small = {
        name: study.Config(data="digits", n=20, depths=(0, 1), width=8, seeds=1, batch=batch)
        for name, batch in (("whole", None), ("batches", 5))
    }
    monkeypatch.setattr(cli, "_demo_configs", lambda: small)
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "batches", "report.html"}
    assert {path.name for path in (tmp_path / "whole").iterdir()} == FILES
    assert outcome.output.rstrip().endswith(f"Report: {tmp_path / 'report.html'}")
    assert "digits, mini-batches of 5" in (tmp_path / "report.html").read_text()
    small["whole"] = study.Config(data="digits", n=21, depths=(0,), width=None)
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert results(tmp_path / "whole")["config"]["n"] == 21


def test_info_tells_what_is_in_use():
    outcome = invoke("info")
    assert outcome.exit_code == 0
    assert gatentk.__version__ in outcome.output
    assert gatentk.ops.isa() in outcome.output
    assert re.search(r"CUDA +(kernels for sm_|no CUDA kernels: )", outcome.output)


def test_openmp_runtimes_are_read_from_the_map_of_the_process(tmp_path):
    if Path("/proc/self/maps").exists():
        assert cli.openmp_runtimes()
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 08:01 5 /usr/lib/libgomp.so.1.0.0\n"
        "7f01-7f02 r--p 00000000 08:01 5 /usr/lib/libgomp.so.1.0.0\n"
        "7f02-7f03 r-xp 00000000 08:01 6 /opt/my libs/libgomp-a34b3233.so.1\n"
        "7f03-7f04 r-xp 00000000 08:01 7 /usr/lib/libiomp5.so\n"
        "7f04-7f05 r-xp 00000000 08:01 8 /usr/lib/libgomponent.so\n"
        "7f05-7f06 rw-p 00000000 00:00 0\n"
    )
    assert cli.openmp_runtimes(maps) == [
        "/opt/my libs/libgomp-a34b3233.so.1",
        "/usr/lib/libgomp.so.1.0.0",
        "/usr/lib/libiomp5.so",
    ]
    assert cli.openmp_runtimes(tmp_path / "missing") == []
