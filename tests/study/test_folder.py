"""Studies in a folder: all files at the end, nothing where they cannot run."""

import json

import pytest
from cases.studies import all_records, small

from gatentk.errors import RunError, StudyError
from gatentk.reporting.figures import Drawn
from gatentk.runs import memory
from gatentk.runs.lines import read_lines
from gatentk.runs.results import read_results
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


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("restart", [False, True, None])
def test_a_file_of_the_users_in_the_way_is_refused_before_anything_is_computed(tmp_path, monkeypatch, name, restart):
    monkeypatch.setattr("gatentk.study.folder.run_tasks", None)
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        StudyError, match=rf"{name} (was not written by|is no journal of).*another folder .*{tmp_path}-2"
    ):
        run_study(small(), tmp_path, restart=restart)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_results_say_whether_they_are_what_was_written(no_plots, tmp_path):
    run_study(small(), tmp_path)
    path = tmp_path / "results.json"
    assert len(read_results(path)["records"]) == len(all_records(small()))
    path.write_text(path.read_text().replace('"seeds": 2', '"seeds": 3'))
    with pytest.raises(RunError, match="damaged or edited"):
        read_results(path)
    run_study(small(), tmp_path)
    assert read_results(path)["config"]["seeds"] == 2


def test_a_study_of_before_checksums_goes_on(no_plots, tmp_path):
    """Its files are replaced, if its results are results of this package, and get their checksums."""
    new, old = tmp_path / "new", tmp_path / "old"
    run_study(small(), new)
    old.mkdir()
    for path in new.iterdir():
        (old / path.name).write_bytes(path.read_bytes())
    (identity, *lines) = read_lines(new / JOURNAL).entries
    del identity["files"]
    (old / JOURNAL).write_text("".join(json.dumps(line) + "\n" for line in (identity, *lines)))
    document = json.loads((new / "results.json").read_text())
    del document["sha256"]
    (old / "results.json").write_text(json.dumps(document))
    states = []
    run_study(small(), old, report=states.append)
    assert len(states) == 1
    assert {path.name: path.read_bytes() for path in old.iterdir()} == {
        path.name: path.read_bytes() for path in new.iterdir()
    }
