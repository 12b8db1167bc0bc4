"""The command `gatentk demo`."""

import importlib

from cases.commands import invoke, results

from gatentk.reporting.figures import Drawn
from gatentk.study.config import StudyConfig
from gatentk.study.result import Study

demo = importlib.import_module("gatentk.cli.demo")
PLOTS = dict.fromkeys(("angle.png", "angle.svg", "condition.png", "condition.svg"), b"<svg></svg>")


def test_demo_writes_one_report_about_all_its_studies(tmp_path, monkeypatch):
    monkeypatch.setattr(Study, "drawn", Drawn(PLOTS, []))
    configs = demo.configurations()
    assert {config.data for config in configs.values()} == {"digits", "mnist"}
    assert {config.depths for config in configs.values()} == {tuple(range(11))}
    small = {
        name: StudyConfig(data="digits", n=20, depths=(0, 1), width=8, seeds=1, batch=batch)
        for name, batch in (("whole", None), ("batches", 5))
    }
    monkeypatch.setattr(demo, "configurations", lambda: small)
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "batches", "report.html", "demo.jsonl"}
    assert {path.name for path in (tmp_path / "whole").iterdir()} == {
        *PLOTS,
        "records.jsonl",
        "report.html",
        "results.csv",
        "results.json",
    }
    assert outcome.output.rstrip().endswith(f"Report: {tmp_path / 'report.html'}")
    assert "digits, mini-batches of 5" in (tmp_path / "report.html").read_text()
    small["whole"] = StudyConfig(data="digits", n=21, depths=(0,), width=None)
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 0, outcome.output
    assert results(tmp_path / "whole")["config"]["n"] == 21


def test_a_report_of_the_users_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "configurations", dict)
    (tmp_path / "report.html").write_text("mine")
    outcome = invoke("demo", "--out", tmp_path)
    assert outcome.exit_code == 2
    text = (
        "report.html was not written by this run of gatentk demo, which writes a file of that name; move it, or choose"
    )
    assert f"{text} another folder with --out, such as {tmp_path}-2" in outcome.output
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("report.html", "mine")]
