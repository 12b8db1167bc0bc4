"""Finished tasks of a study: interrupted and continued, never mixed."""

import json
import os

import pytest
from cases.studies import all_records, small

from gatentk.errors import StudyError
from gatentk.runs.lines import read_lines, sealed
from gatentk.study.config import StudyConfig
from gatentk.study.folder import identity
from gatentk.study.journal import JOURNAL, Journal
from gatentk.study.run import StudyRecord, run_tasks
from gatentk.study.samples import prepare_study


def run_into(folder, config, limit=None):
    """Run at most `limit` tasks into a journal and return its records."""
    samples = prepare_study(config)
    with Journal(folder, identity(config, samples)) as journal:
        for count, (task, records) in enumerate(run_tasks(config, samples, journal.done)):
            if count == limit:
                break
            journal.append(task, records)
        return list(journal.records)


def test_an_interrupted_study_continues_to_the_same_results(tmp_path):
    config = small(n=30, subset=15)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = run_into(tmp_path / "whole", config)
    assert len(run_into(tmp_path / "parts", config, limit=5)) == 5
    assert len(run_into(tmp_path / "parts", config, limit=4)) == 9
    assert run_into(tmp_path / "parts", config) == whole
    assert run_into(tmp_path / "parts", config, limit=0) == whole


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_line_is_computed_again(tmp_path, cut):
    config = small()
    whole = run_into(tmp_path, config)
    path = tmp_path / JOURNAL
    os.truncate(path, path.stat().st_size - cut)
    assert run_into(tmp_path, config, limit=0) == whole[:-1]
    assert run_into(tmp_path, config) == whole
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("change", [{"seeds": 3}, {"data_seed": 1, "n": 19}, {"depths": (0, 1)}])
def test_another_study_in_the_folder_is_not_mixed_in(tmp_path, change):
    run_into(tmp_path, small(), limit=2)
    before = (tmp_path / JOURNAL).read_bytes()
    with pytest.raises(StudyError, match=rf"another study \(.*{next(iter(change))} was .*restart=True"):
        run_into(tmp_path, small(**change))
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_changed_data_is_another_study(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("1,2\n3,4\n5,7\n")
    config = StudyConfig(data=f"csv:{path}", depths=(0,), width=None)
    run_into(tmp_path, config)
    path.write_text("1,2\n3,4\n5,8\n")
    with pytest.raises(StudyError, match="sha256"):
        run_into(tmp_path, config)


def test_restart_starts_over(tmp_path):
    run_into(tmp_path, small(), limit=3)
    config = small(seeds=1)
    with Journal(tmp_path, identity(config, prepare_study(config)), restart=True) as journal:
        assert journal.records == []
    assert len((tmp_path / JOURNAL).read_text().splitlines()) == 1


def test_a_foreign_journal_is_left_alone(tmp_path):
    (tmp_path / JOURNAL).write_text('{"something": "else"}\n')
    with pytest.raises(StudyError, match="is no journal of gatentk ntk"):
        run_into(tmp_path, small())
    assert (tmp_path / JOURNAL).read_text() == '{"something": "else"}\n'


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    config = small()
    samples = prepare_study(config)
    with (
        Journal(tmp_path, identity(config, samples)),
        pytest.raises(StudyError, match="another gatentk is writing"),
    ):
        Journal(tmp_path, identity(config, samples))


def test_records_survive_the_journal_bit_by_bit(tmp_path):
    config = small(certify=True, seeds=1)
    fresh = all_records(config)
    run_into(tmp_path, config)
    assert run_into(tmp_path, config, limit=0) == fresh
    assert all(isinstance(record, StudyRecord) for record in fresh)


@pytest.mark.parametrize(
    "change",
    [
        {"task": None},
        {"task": ["a"]},
        {"records": None},
        {"records": [3]},
        {"records": [{}]},
        {"records": [{"lmin": "1.0"}]},
        {"records": [{"resolved": 1}]},
        {"records": [{"more": 1}]},
    ],
    ids=str,
)
def test_a_task_of_another_shape_is_refused_by_its_line(tmp_path, change):
    run_into(tmp_path, small(), limit=2)
    path = tmp_path / JOURNAL
    entry = read_lines(path).entries[-1] | change
    if change in ({"records": [{"lmin": "1.0"}]}, {"records": [{"resolved": 1}]}, {"records": [{"more": 1}]}):
        entry["records"] = [read_lines(path).entries[-1]["records"][0] | change["records"][0]]
    with path.open("ab") as file:
        file.write(sealed({name: value for name, value in entry.items() if value is not None}))
    before = path.read_bytes()
    with pytest.raises(StudyError, match=r"records.jsonl: line 4"):
        run_into(tmp_path, small())
    assert path.read_bytes() == before
