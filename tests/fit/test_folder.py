"""Fits in a folder: all files at the end, nothing where they cannot run."""

import pytest
from cases.fits import small

from gatentk.errors import FitError
from gatentk.fit import folder
from gatentk.fit.folder import run_fit
from gatentk.fit.journal import JOURNAL
from gatentk.runs import memory
from gatentk.runs.results import read_results

TABLES = {"results.json", "predictions.csv", "left_out.csv", "scores.csv"}
PLOTS = {"scores.png", "scores.svg", "predictions.png", "predictions.svg"}
WRITTEN = {JOURNAL, "report.html", *TABLES}
FILES = {*WRITTEN, *PLOTS}


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes a second a fit."""
    monkeypatch.setattr(folder, "draw", lambda found: {})


def test_a_runner_makes_the_folder_and_writes_everything(tmp_path):
    states = []
    found = run_fit(small(), tmp_path / "new" / "folder", report=states.append)
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == FILES
    assert [state.done for state in states] == [0, 1, 2, 3]
    assert (states[0].work, states[0].last, states[-1].work, states[-1].last) == (0, None, 1, "best fit")
    document = read_results(tmp_path / "new" / "folder" / "results.json")
    assert document["leave_one_out"]["score"] == found.left_out_score
    assert "run_fit(FitConfig(data='digits'" in document["command"]


def test_without_test_samples_there_are_no_predictions(no_plots, tmp_path):
    run_fit(small(test_fraction=0), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == WRITTEN - {"predictions.csv"}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_runner_goes_on_where_it_stopped(no_plots, tmp_path, stop):
    def interrupt(progress):
        if progress.done == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit(small(), tmp_path / "parts", report=interrupt)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == [JOURNAL]
    states = []
    run_fit(small(), tmp_path / "parts", report=states.append)
    run_fit(small(), tmp_path / "whole")
    assert states[0].done == stop
    for name in WRITTEN:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_fit_computes_nothing(no_plots, tmp_path, monkeypatch):
    run_fit(small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(folder, "try_depths", None)
    monkeypatch.setattr(folder, "best_fit", None)
    run_fit(small(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(FitError, match=r"holds another fit \(kernel was \"ntk\", is \"nngp\"\)"):
        run_fit(small(kernel="nngp"), tmp_path)


def test_nothing_is_written_where_memory_does_not_suffice(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="take fewer samples with n="):
        run_fit(small(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("restart", [False, True, None])
def test_a_file_of_the_users_in_the_way_is_refused_before_anything_is_computed(tmp_path, monkeypatch, name, restart):
    monkeypatch.setattr(folder, "try_depths", None)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FitError, match=rf"{name} (was not written by|is no journal of).*another folder .*{tmp_path}-2"):
        run_fit(small(), tmp_path, restart=restart)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
