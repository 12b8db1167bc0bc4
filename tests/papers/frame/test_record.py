"""The journal of an experiment: what it keeps, what it refuses, and that it survives torn lines."""

import json
from dataclasses import replace

import pytest
from cases.experiments import Toy, ToyCell, ToyNumbers, ToySettings

import gatentk
from gatentk.papers.frame.experiment import PaperError
from gatentk.papers.frame.record import JOURNAL, Journal
from gatentk.runs.lines import sealed

CELL = ToyCell(0)
ONE, OTHER = ToySettings(cells=3), ToySettings(cells=4)
NUMBERS = ToyNumbers(0.1, (1, None), {3: 0.1 + 0.2})


@pytest.fixture
def toy():
    return Toy()


def test_what_is_appended_is_there_when_the_journal_is_opened_again(toy, tmp_path):
    with Journal(tmp_path, toy, ONE) as journal:
        assert journal.numbers == {}
        journal.append(CELL, NUMBERS, 2.5)
        assert (journal.numbers, journal.seconds) == ({"cell 0": NUMBERS}, {"cell 0": 2.5})
    with Journal(tmp_path, toy, ONE) as journal:
        assert (journal.numbers, journal.seconds) == ({"cell 0": NUMBERS}, {"cell 0": 2.5})


def test_numbers_are_the_same_whether_computed_now_or_read_back(toy, tmp_path):
    with Journal(tmp_path, toy, ONE) as journal:
        journal.append(CELL, NUMBERS, 1.0)
        now = dict(journal.numbers)
    with Journal(tmp_path, toy, ONE) as journal:
        assert now == journal.numbers == {"cell 0": ToyNumbers(0.1, (1, None), {3: 0.30000000000000004})}
    last = json.loads((tmp_path / JOURNAL).read_text().splitlines()[-1])
    assert last["numbers"] == {"value": 0.1, "pair": [1, None], "by": {"3": 0.30000000000000004}}


def test_numbers_that_are_not_finite_are_refused(toy, tmp_path):
    with Journal(tmp_path, toy, ONE) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append(CELL, replace(NUMBERS, value=float("nan")), 1.0)
        assert journal.numbers == {}
    assert (tmp_path / JOURNAL).read_text().count("\n") == 1


@pytest.mark.parametrize("torn", ['{"cell": "cell 1", "sec', '{"cell": "cell 1", "seconds": 1, "numbers": {}}', "\x00"])
def test_a_torn_last_line_is_forgotten(toy, tmp_path, torn):
    with Journal(tmp_path, toy, ONE) as journal:
        journal.append(CELL, NUMBERS, 1.0)
    with open(tmp_path / JOURNAL, "a") as file:
        file.write(torn)
    with Journal(tmp_path, toy, ONE) as journal:
        assert list(journal.numbers) == ["cell 0"]
        journal.append(ToyCell(1), replace(NUMBERS, value=2.0), 1.0)
    with Journal(tmp_path, toy, ONE) as journal:
        assert journal.numbers == {"cell 0": NUMBERS, "cell 1": replace(NUMBERS, value=2.0)}


@pytest.mark.parametrize("line", ['{"paper": "to', '{"paper": "toy", "version": "1", "settings": {}, "mine": 1}\n'])
def test_a_first_line_that_no_experiment_writes_is_left_alone(toy, tmp_path, line):
    (tmp_path / JOURNAL).write_text(line)
    for restart in (False, True):
        with pytest.raises(PaperError, match="is no journal of gatentk paper"):
            Journal(tmp_path, toy, ONE, restart)
    assert (tmp_path / JOURNAL).read_text() == line


@pytest.mark.parametrize(
    ("name", "settings", "different"),
    [("toy", OTHER, "settings"), ("tea", ONE, "paper"), ("tea", OTHER, "paper and settings")],
)
def test_a_folder_of_other_numbers_is_refused_and_kept(toy, tmp_path, name, settings, different):
    with Journal(tmp_path, toy, ONE) as journal:
        journal.append(CELL, NUMBERS, 1.0)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(PaperError, match=f"another {different}; choose another folder with folder=, .*or restart=True"):
        Journal(tmp_path, Toy(name), settings)
    assert (tmp_path / JOURNAL).read_bytes() == before
    with Journal(tmp_path, toy, ONE) as journal:  # the refusal has released the file
        assert journal.numbers == {"cell 0": NUMBERS}


def test_a_folder_of_another_version_is_refused(toy, tmp_path, monkeypatch):
    Journal(tmp_path, toy, ONE).__exit__(None, None, None)
    monkeypatch.setattr(gatentk, "__version__", "99.0")
    with pytest.raises(PaperError, match="another version"):
        Journal(tmp_path, toy, ONE)


def test_restart_forgets_what_is_there(toy, tmp_path):
    with Journal(tmp_path, toy, ONE) as journal:
        journal.append(CELL, NUMBERS, 1.0)
    with Journal(tmp_path, toy, OTHER, restart=True) as journal:
        assert journal.numbers == {}
    with Journal(tmp_path, toy, OTHER) as journal:
        assert journal.numbers == {}


@pytest.mark.parametrize("restart", [False, True])
def test_two_processes_do_not_write_to_one_folder(toy, tmp_path, restart):
    with Journal(tmp_path, toy, ONE) as journal:
        with pytest.raises(PaperError, match="another gatentk is writing"):
            Journal(tmp_path, toy, ONE, restart=restart)
        journal.append(CELL, NUMBERS, 1.0)
    with Journal(tmp_path, toy, ONE) as journal:
        assert list(journal.numbers) == ["cell 0"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"cell": "cell 9", "seconds": 1.0, "numbers": {}}, "no cell 'cell 9'"),
        ({"cell": "cell 1", "seconds": 1.0, "numbers": {"value": 0.5, "by": {}}}, "cell 1: missing 'pair'"),
        (
            {"cell": "cell 1", "seconds": 1.0, "numbers": {"value": "x", "pair": [1, None], "by": {}}},
            "cell 1.value: expected float, got 'x'",
        ),
    ],
)
def test_numbers_of_another_shape_are_refused(toy, tmp_path, entry, message):
    with Journal(tmp_path, toy, ONE) as journal:
        journal.append(CELL, NUMBERS, 1.0)
    with open(tmp_path / JOURNAL, "ab") as file:
        file.write(sealed(entry))
    with pytest.raises(PaperError, match=message):
        Journal(tmp_path, toy, ONE)
