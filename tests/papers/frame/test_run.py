"""Running an experiment in a folder: order, what is kept, reports on the way, files."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from cases.experiments import Toy, finished

from gatentk.papers.frame.experiment import PaperError, Scale, UserFile
from gatentk.papers.frame.record import JOURNAL
from gatentk.papers.frame.run import Job, prepare, run_experiment, write
from gatentk.runs.results import read_results


@pytest.fixture
def toy():
    return Toy()


def keys(toy):
    return [cell.key for cell in toy.cells(toy.settings(Scale()))]


def test_cells_run_one_after_another_in_their_order_and_are_reported(toy, tmp_path):
    states = []

    def report(state):
        states.append((state.done, state.work, state.last, list(toy.computed)))

    run_experiment(prepare(toy, Scale()), tmp_path, report=report)
    assert states == [
        (0, 0.0, None, []),
        (1, 1 / 6, "cell 0", ["cell 0"]),
        (2, 3 / 6, "cell 1", ["cell 0", "cell 1"]),
        (3, 1.0, "cell 2", ["cell 0", "cell 1", "cell 2"]),
    ]


def test_cells_that_are_done_are_not_computed_again(toy, tmp_path):
    whole = run_experiment(prepare(toy, Scale()), tmp_path)
    lines = (tmp_path / JOURNAL).read_text().splitlines(keepends=True)
    (tmp_path / JOURNAL).write_text(lines[0] + lines[2])
    toy.computed.clear()
    again = run_experiment(prepare(toy, Scale()), tmp_path)
    assert toy.computed == ["cell 0", "cell 2"]
    assert again.numbers == whole.numbers


def test_nothing_is_computed_where_all_is_done(toy, tmp_path):
    run_experiment(prepare(toy, Scale()), tmp_path)
    toy.computed.clear()
    run_experiment(prepare(toy, Scale()), tmp_path)
    assert toy.computed == []


def test_results_name_the_call_that_repeats_them(toy, tmp_path):
    result = run_experiment(prepare(toy, Scale()), tmp_path)
    assert result.command == "run_experiment(prepare(experiment('toy'), Scale(full=False, paths={})), Path('DIR'))"
    assert run_experiment(prepare(toy, Scale()), tmp_path, command="make toy").command == "make toy"


def test_an_experiment_reads_the_files_that_its_settings_hold():
    @dataclass(frozen=True)
    class Settings:
        name: str
        sets: dict[str, tuple[UserFile | None, ...]]

    paths = {"sgemm": Path("a"), "svhn": Path("b"), "cifar10": Path("relu")}
    settings = Settings("relu", {"x": (None, UserFile("b"))})
    assert Job(Toy(), Scale(paths=paths), settings, 0, 0.0).files == {"svhn": Path("b")}


def test_the_folder_is_made_and_holds_numbers_as_json(toy, tmp_path):
    result = run_experiment(prepare(toy, Scale()), tmp_path / "a" / "b")
    document = json.loads((tmp_path / "a" / "b" / "results.json").read_text())
    assert document["numbers"]["cell 2"] == {
        "value": result.numbers["cell 2"].value,
        "pair": [2, None],
        "by": {"2": 1.5},
    }


def test_all_files_are_written(toy, tmp_path):
    write(tmp_path, finished(toy))
    names = {"results.json", "toy-values.csv", "toy-long.csv", "toy-plot.png", "toy-plot.svg", "report.html"}
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / "toy-plot.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert b"<svg" in (tmp_path / "toy-plot.svg").read_bytes()


def test_the_same_numbers_give_the_same_files(toy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, finished(Toy()))
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", ["results.json", "report.html", "cells.jsonl"])
@pytest.mark.parametrize("restart", [False, True])
def test_a_file_of_the_users_in_the_way_is_refused_before_anything_is_computed(toy, tmp_path, name, restart):
    (tmp_path / name).write_text("mine")
    with pytest.raises(PaperError, match=f"{name} (was not written by|is no journal of).*another folder"):
        run_experiment(prepare(toy, Scale()), tmp_path, restart)
    assert toy.computed == []
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_table_of_the_users_is_found_when_ours_is_known_and_nothing_is_lost(toy, tmp_path):
    """What an experiment shows depends on its numbers."""
    (tmp_path / "toy-values.csv").write_text("mine")
    with pytest.raises(
        PaperError,
        match=r"toy-values.csv was not written by this run of gatentk paper,.*; move it, or choose another folder",
    ):
        run_experiment(prepare(toy, Scale()), tmp_path)
    assert (tmp_path / "toy-values.csv").read_text() == "mine"
    assert len(read_results(tmp_path / "results.json")["numbers"]) == len(keys(toy))
    (tmp_path / "toy-values.csv").rename(tmp_path / "mine.csv")
    toy.computed.clear()
    run_experiment(prepare(toy, Scale()), tmp_path)
    assert toy.computed == []
    assert (tmp_path / "toy-values.csv").exists()


def test_another_experiment_takes_only_what_the_first_has_written(toy, tmp_path):
    run_experiment(prepare(toy, Scale()), tmp_path)
    (tmp_path / "mine.csv").write_text("mine")
    run_experiment(prepare(Toy("tea"), Scale()), tmp_path, restart=True)
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert read_results(tmp_path / "results.json")["name"] == "tea"
