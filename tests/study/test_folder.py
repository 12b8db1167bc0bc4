"""Studies in a folder: all files at the end, nothing where they cannot run."""

import json

import pytest
from cases.studies import all_records, small

from gatentk.errors import StudyError
from gatentk.reporting.figures import Drawn
from gatentk.runs import memory
from gatentk.study.folder import run_study
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


def test_a_runner_makes_the_folder_and_writes_everything(no_plots, tmp_path):
    states = []
    study = run_study(small(), tmp_path / "new" / "folder", report=states.append)
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == FILES
    assert study.records == all_records(small())
    assert [state.done for state in states] == list(range(states[0].parts + 1))
    assert (states[0].work, states[0].last, states[-1].work) == (0, None, 1)
    assert (
        "run_study(StudyConfig(data='digits'"
        in json.loads((tmp_path / "new" / "folder" / "results.json").read_text())["command"]
    )


def test_a_stopped_runner_goes_on_where_it_stopped(no_plots, tmp_path):
    def stop(progress):
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(small(), tmp_path / "parts", report=stop)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [JOURNAL]
    states = []
    run_study(small(), tmp_path / "parts", report=states.append)
    run_study(small(), tmp_path / "whole")
    assert states[0].done == 3
    for name in FILES:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_nothing_is_written_where_memory_does_not_suffice(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"take fewer samples with n= \(or subset=.*batch="):
        run_study(small(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_by_its_argument(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match=f"^folder: cannot write to {folder}"):
            run_study(small(), folder)
