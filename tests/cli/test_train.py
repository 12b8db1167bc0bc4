"""The command `gatentk train`: a training written, stopped and resumed, errors in one line that names flags."""

import json
import re

import click
import numpy as np
import pytest
import torch
from cases.commands import SMALL_STUDY, interrupted, interrupted_process, invoke, results
from cases.commands import SMALL_TRAINING as TRAIN

from gatentk import train
from gatentk.cli import main
from gatentk.reporting import figures
from gatentk.reporting.figures import Drawn
from gatentk.runs import memory
from gatentk.study.result import Study
from gatentk.train import diagnostics, folder, learning_rates

TRAIN_FILES = {"best-0.pt", "checkpoint-0.pt", "log.jsonl", "loss.png", "loss.svg", "results.json"}


@pytest.fixture
def one_thread():
    """Products this small only get slower by more threads, on a busy machine a hundred times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def log(folder):
    """The log without its checksums."""
    lines = map(json.loads, (folder / train.LOG).read_text().splitlines())
    return [{name: value for name, value in line.items() if name != "crc"} for line in lines]


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
        "normalize": "unit",
        "targets": None,
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
    monkeypatch.setattr(folder, "draw", lambda *_: None)
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
        del document["sha256"]
        for run in document["runs"]:
            del run["seconds"], run["first"]["seconds"], run["last"]["seconds"]
    assert first == second
    assert re.search(r"Seed 0: converted to ReLU after epoch 1, train loss \S+ before and \S+ after", outcome.output)


def test_gates_of_blocks_are_asked_for_by_three_options(no_loss_plot, tmp_path):
    gates = ["--block", "5", "--gates", "shallow", "--center", "--normalize", "standard"]
    outcome = invoke("train", *TRAIN, *gates, "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    document = results(tmp_path)
    assert " --block 5 --gates shallow --center " in document["command"]
    assert {name: document["config"][name] for name in ("block", "gates", "center")} == {
        "block": 5,
        "gates": "shallow",
        "center": True,
    }
    assert "Gates: half-spaces of the samples less their mean, one for every 5 neurons" in " ".join(
        outcome.output.split()
    )
    assert "Standardised samples have mean 0 already: --center changes next to nothing." in outcome.output
    assert invoke("train", *TRAIN, *gates, "--resume", "--out", tmp_path).exit_code == 0
    other = invoke("train", *TRAIN, *gates[:3], "deep", *gates[4:], "--resume", "--out", tmp_path)
    assert other.exit_code != 0
    assert "gates was" in other.output


def test_ctrl_c_keeps_the_checkpoint_and_resume_goes_on(no_loss_plot, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    invoke("train", *TRAIN, "--out", whole)
    step, calls = train.Run.train_epoch, []

    def interrupted_third(run):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(run)

    monkeypatch.setattr(train.Run, "train_epoch", interrupted_third)
    outcome = invoke("train", *TRAIN, "--checkpoint-every", 2, "--out", parts)
    assert outcome.exit_code == 130
    assert "interrupted; checkpoint-0.pt in" in outcome.output
    assert "--resume goes on from there" in outcome.output
    assert {path.name for path in parts.iterdir()} == {"best-0.pt", "checkpoint-0.pt", "log.jsonl"}
    outcome = invoke("train", *TRAIN, "--out", parts)
    assert outcome.exit_code == 2
    assert "--resume goes on with it, --restart starts over" in outcome.output
    outcome = invoke("train", *TRAIN, "--resume", "--out", parts)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in parts.iterdir()} == TRAIN_FILES | {"checkpoint-0.previous.pt"}
    assert [{**line, "seconds": 0} for line in log(parts)] == [{**line, "seconds": 0} for line in log(whole)]


def test_ctrl_c_before_the_first_checkpoint_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(train.Run, "train_epoch", interrupted)
    outcome = invoke("train", *TRAIN, "--out", tmp_path)
    assert outcome.exit_code == 130
    assert "interrupted before the first checkpoint" in outcome.output
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_signal_stops_a_running_training_which_then_goes_on(no_loss_plot, tmp_path):
    options = ["--epochs", 100000, "--checkpoint-every", 1, "--out", tmp_path]
    code, output = interrupted_process(["train", *TRAIN, *options], tmp_path / train.LOG, 5)
    assert code == 130, output
    assert "Traceback" not in output
    left = {path.name for path in tmp_path.iterdir()} - {"checkpoint-0.previous.pt"}
    assert left == {"best-0.pt", "checkpoint-0.pt", "log.jsonl"}
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
    options = ["--width", 4, "--depth", 1, "--epochs", 2, "--lr", 0.01, "--switch", 1, "--switch-ridge", 0]
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


def test_resume_where_nothing_is_starts_a_training_and_says_so(no_loss_plot, tmp_path):
    first = invoke("train", *TRAIN, "--resume", "--out", tmp_path / "new")
    assert first.exit_code == 0, first.output
    assert "holds no training yet: it starts there." in first.output
    again = invoke("train", *TRAIN, "--resume", "--out", tmp_path / "new")
    assert again.exit_code == 0, again.output
    assert "holds no training yet" not in again.output


@pytest.mark.parametrize("unit", [1e-6, 1, 1e6])
def test_house_prices_are_learnt_in_any_unit_and_shown_in_it(no_loss_plot, tmp_path, unit):
    generator = np.random.default_rng(0)
    area, age, place = generator.lognormal(4.6, 0.4, 300), generator.gamma(2, 18, 300), generator.random((300, 2))
    centre, noise = np.exp(-8 * ((place - 0.5) ** 2).sum(1)), np.exp(generator.normal(0, 0.1, 300))
    price = unit * area * (1500 + 2600 * centre) * (1 - 0.004 * np.minimum(age, 80)) * noise
    rows = [",".join(map(repr, row)) for row in np.column_stack([area, age, place, price]).tolist()]
    path = tmp_path / "houses.csv"
    path.write_text("\n".join(["area,age,north,east,target", *rows]))
    out, options = tmp_path / "out", ["--test-fraction", 0.2, "--width", 128, "--depth", 2]
    outcome = invoke("train", "--data", f"csv:{path}", *options, "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert "in their own" in " ".join(outcome.output.split())
    document = results(out)
    (run,) = document["runs"]
    variance = document["data"]["targets"]["spread"][0] ** 2
    assert run["last"]["test_loss"] <= 1.1 * run["best"]["loss"]
    assert run["best"]["loss"] < 0.25 * variance / 2
    assert 1e4 * unit < document["data"]["targets"]["spread"][0] < 1e6 * unit
    assert re.search(r"R² 0\.[789]\d\d; ", outcome.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nosuch"], "--data: expected one of synthetic, friedman"),
        (["--data", "digits", "--model", "mlp"], "'grelu', 'relu'"),
        (["--data", "digits", "--lr", "0"], "expected auto, or different positive numbers such as 0.1"),
        (["--data", "digits", "--lr", "0.1,fast"], "expected auto, or different positive numbers"),
        (["--data", "digits", "--lr", "0.1,0.1"], "expected auto, or different positive numbers"),
        (["--data", "digits", "--diagnostics", "tau,entropy"], "expected none, all or some of tau, gradient"),
        (["--data", "digits", "--optimizer", "gd", "--batch", "5"], "full-batch gradient descent (gd) takes no"),
        (["--data", "digits", "--switch", "50"], "--switch: expected an epoch before the last, 50, got 50"),
        (["--data", "digits", "--switch", "5", "--model", "relu"], "only a GReLU network switches"),
        (["--data", "digits", "--test-fraction", "1"], "Invalid value for '--test-fraction'"),
        (["--data", "digits", "--width", "512", "--block", "513"], "--block: expected at most the width, 512, got 513"),
        (["--data", "digits", "--block", "0"], "Invalid value for '--block'"),
        (["--data", "digits", "--gates", "wide"], "'deep', 'shallow'"),
        (["--data", "digits", "--center", "--model", "relu"], "--center: only a GReLU network has gates"),
        (["--data", "digits", "--resume", "--restart"], "--resume and --restart exclude each other"),
        (
            ["--data", "synthetic", "--loss", "cross-entropy"],
            "real targets, and cross-entropy needs classes",
        ),
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


def test_the_label_is_the_column_that_an_option_names(no_loss_plot, tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("price,a,kind\n1.5,0,good\n2.5,3,bad\n-1,1,good\n")
    options = ["--data", f"csv:{path}", "--width", 8, "--depth", 1, "--epochs", 2, "--lr", 0.01]
    for label, drop, said in (("kind", 0, "classes bad = 0, good = 1"), ("price", 1, "numbers")):
        path.write_text(path.read_text() if not drop else "price,a\n1.5,0\n2.5,3\n-1,1\n")
        out = tmp_path / label
        outcome = invoke("train", *options, "--label", label, "--out", out)
        assert outcome.exit_code == 0, outcome.output
        assert f"({label}) is y: {said}" in outcome.output
        assert f"--label {label} " in results(out)["command"]
    outcome = invoke("train", "--data", "digits", "--label", "x", "--out", tmp_path / "none")
    assert outcome.exit_code == 2
    assert "--label: only csv files have columns" in outcome.output


def test_data_without_labels_is_refused_by_name(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n")
    outcome = invoke("train", "--data", f"csv:{path}", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert re.search(r"x\.csv has no labels to learn; expected a csv file with a column called label", outcome.output)


def test_results_of_another_command_are_not_overwritten(no_loss_plot, tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "drawn", Drawn({"angle.svg": b"<svg></svg>", "condition.svg": b"<svg></svg>"}, []))
    invoke("ntk", *SMALL_STUDY, "--out", tmp_path)
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


def help_of(name):
    """What --help says of an option."""
    parameters = main.get_command(click.Context(main), "train").params
    return next(option.help for option in parameters if option.name == name)


def test_help_says_what_the_tables_have():
    explained = help_of("diagnostics").partition(": ")[2]
    assert re.findall(r"(\w+) \(", explained.replace("(of G^T G and F F^T)", "()")) == list(train.DIAGNOSTICS)
    assert (diagnostics.KERNEL_SAMPLES, diagnostics.SPECTRA_SAMPLES) == (128, 2)
    assert "drift takes up to 128 of them, spectra two" in help_of("diagnostic_samples")
    *first, last = map(str, learning_rates.DESCENT_FACTORS)
    assert f"auto tries {', '.join(first)} and {last} over the largest eigenvalue" in help_of("rates")
    smallest, *_, largest = learning_rates.ADAM_FACTORS
    assert f"(adam: {smallest:g} to {largest:g} over width)" in help_of("rates")
