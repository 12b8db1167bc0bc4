"""The command `gatentk fit`: a fit written, stopped and continued, errors in one line that names flags."""

import csv
import re

import numpy as np
import pytest
from cases.commands import SMALL_FIT as SMALL
from cases.commands import interrupted, invoke, results

from gatentk.cli.fit import command_line, parse_ridges
from gatentk.fit import folder, run
from gatentk.fit.config import FitConfig
from gatentk.fit.journal import JOURNAL


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes a second a fit."""
    monkeypatch.setattr(folder, "draw", lambda found: {})


@pytest.fixture
def houses(tmp_path):
    """Prices by two features, and houses without a price, in another order of columns."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 2))
    y = 2e5 + 1e5 * x[:, 0]
    lines = [f"{a},{b},{price}" for (a, b), price in zip(x, y, strict=True)]
    (tmp_path / "train.csv").write_text("\n".join(["size,age,price", *lines]))
    (tmp_path / "test.csv").write_text("age,size\n0,1\n0,-1\n")
    return [f"--data=csv:{tmp_path}/train.csv", f"--test=csv:{tmp_path}/test.csv", "--label=price", "--depths=1,2"]


def test_one_command_writes_everything_and_names_the_report(tmp_path):
    out = tmp_path / "new" / "folder"
    outcome = invoke("fit", *SMALL, "--out", out)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in out.iterdir()} == {*folder.FILES, JOURNAL}
    assert outcome.output.rstrip().endswith(f"Report: {out / 'report.html'}")
    assert "leave-one-out chooses depth" in outcome.output
    assert "On 8 test samples" in outcome.output


def test_prices_are_predicted_whatever_the_order_of_columns(no_plots, tmp_path, houses):
    outcome = invoke("fit", *houses, "--out", tmp_path / "out")
    assert outcome.exit_code == 0, outcome.output
    assert "2 test samples without targets are predicted in predictions.csv" in outcome.output
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["target"] for row in rows] == ["", ""]
    assert [float(row["prediction"]) for row in rows] == pytest.approx([3e5, 1e5], rel=0.1)


def test_the_printed_command_repeats_the_fit(no_plots, tmp_path):
    options = ["--kernel", "nngp", "--activation", "leaky_relu", "--slope", 0.2, "--w-std", 1.5, "--b-std", 0.3]
    options += ["--normalize", "standard", "--no-constant", "--test-fraction", 0.3, "--data-seed", 3]
    outcome = invoke("fit", *SMALL, *options, "--out", tmp_path / "a")
    assert outcome.exit_code == 0, outcome.output
    first = results(tmp_path / "a")
    words = first["command"].replace("DIR", str(tmp_path / "b")).split()
    assert words[:2] == ["gatentk", "fit"]
    assert invoke(*words[1:]).exit_code == 0
    assert results(tmp_path / "b") == first


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(no_plots, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(folder, "best_fit", interrupted)
        outcome = invoke("fit", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 130
    assert "interrupted; 2 of 3 steps are kept" in outcome.output
    monkeypatch.setattr(run, "tried", None)
    outcome = invoke("fit", *SMALL, "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert "2 of 3 steps are done already" in outcome.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nosuch"], "--data: expected one of synthetic, friedman"),
        (["--data", "digits", "--test", "nosuch"], "--test: expected one of synthetic, friedman"),
        (["--data", "digits", "--test", "friedman"], "--test friedman: expected 64 features as digits has, got"),
        (["--data", "digits", "--test", "digits", "--test-fraction", "0.5"], "--test-fraction: expected none beside"),
        (["--data", "digits", "-n", "10", "--test-fraction", "0.01"], "--test-fraction 0.01: digits has 10 samples"),
        (["--data", "digits", "--ridges", "-1"], "expected auto, or numbers of at least 0"),
        (["--data", "digits", "--ridges", "nan"], "expected auto, or numbers of at least 0"),
        (["--data", "digits", "--depths", "3:1"], "expected a:b[:step] with a <= b"),
        (["--data", "digits", "--w-std", "0"], "Invalid value for '--w-std'"),
        (["--data", "digits", "--b-std", "-1"], "Invalid value for '--b-std'"),
        (["--data", "digits", "--kernel", "rbf"], "'ntk', 'nngp'"),
        (["--data", "digits", "--label", "x"], "--label: only csv files have columns to choose"),
        (["--data", "digits", "-n", "40", "--slope", "0.5"], "--slope: expected"),
        (["--data", "digits", "-n", "40", "--activation", "leaky_relu", "--slope", "nan"], "--slope: expected"),
        (["--data", "digits", "-n", "40", "--activation", "grelu", "--depths", "0:2"], "--depths: expected at least 1"),
        ([], "Missing option '--data'"),
    ],
)
def test_errors_are_one_line_and_leave_nothing_behind(tmp_path, arguments, message):
    out = tmp_path / "out"
    outcome = invoke("fit", *arguments, "--out", out)
    assert outcome.exit_code == 2
    assert message in outcome.output
    assert outcome.output.count("Error:") == 1
    assert not out.exists()


def test_a_file_without_targets_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n")
    outcome = invoke("fit", "--data", f"csv:{tmp_path}/x.csv", "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert (
        "x.csv has no targets to fit (no column is called label, class, target or y, so there is no y)"
        in outcome.output
    )
    assert "that --label names" in outcome.output


def test_whole_numbers_are_classes_if_one_says_so(no_plots, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 2))
    lines = [f"{a},{b},{int(a > 0)}" for a, b in x]
    (tmp_path / "x.csv").write_text("\n".join(["a,b,target", *lines]))
    arguments = ["fit", "--data", f"csv:{tmp_path}/x.csv", "--depths", "1"]
    outcome = invoke(*arguments, "--out", tmp_path / "numbers")
    assert "they are classes, say so by --predict classes" in " ".join(outcome.output.split())
    assert "R² is" in outcome.output
    outcome = invoke(*arguments, "--predict", "classes", "--out", tmp_path / "classes")
    assert "are right" in outcome.output
    assert "say so" not in outcome.output
    assert "--predict classes" in results(tmp_path / "classes")["command"]


def test_a_test_file_may_keep_an_empty_column_for_what_is_predicted(no_plots, tmp_path, houses):
    (tmp_path / "test.csv").write_text("age,size,price\n0,1,\n0,-1,?\n")
    outcome = invoke("fit", *houses, "--out", tmp_path / "out")
    assert "column 3 (price) has no values, so there is no y" in outcome.output
    assert "2 test samples without targets are predicted in predictions.csv" in outcome.output


def test_ridges_that_are_all_below_the_noise_floor_are_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,label\n1,2,0\n1,2,1\n3,4,0\n4,1,1\n")
    outcome = invoke("fit", "--data", f"csv:{path}", "--ridges", 0, "--test-fraction", 0, "--out", tmp_path / "out")
    assert outcome.exit_code == 2
    assert re.search("^Error: --ridges: the kernel has eigenvalues below its noise floor", outcome.output, re.MULTILINE)


def test_ridges_fall_and_are_there_once():
    assert parse_ridges(None, None, " 1e-3,1,0.001,0") == (1.0, 1e-3, 0.0)
    assert parse_ridges(None, None, "Auto") == FitConfig.ridges


def test_the_command_of_a_fit_has_what_differs_from_the_defaults():
    assert command_line(FitConfig("digits")) == "gatentk fit --data digits --depths 1:10 --out DIR"
    config = FitConfig("csv:a b.csv", test="csv:c.csv", ridges=(0.1, 1e-5), constant=True)
    assert command_line(config, "x") == (
        "gatentk fit --data 'csv:a b.csv' --test csv:c.csv --constant --depths 1:10 --ridges 0.1,1e-05 --out x"
    )
