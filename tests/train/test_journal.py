import os
from dataclasses import asdict

import pytest
from cases.training import record_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk.runs.lines import sealed
from gatentk.train import TrainingError, Trial
from gatentk.train.journal import JOURNAL, Journal


@settings(max_examples=40)
@given(share=st.floats(0, 1), epochs=st.integers(0, 5))
def test_a_torn_log_keeps_its_whole_lines(tmp_path_factory, share, epochs):
    folder = tmp_path_factory.mktemp("folder")
    path, identity = folder / JOURNAL, {"width": 3}
    records = [record_of(0, epoch) for epoch in range(epochs)]
    with Journal(folder, identity) as journal:
        journal.choose(0.1, [Trial(0.1, 2.0), Trial(0.2, None)])
        for record in records:
            journal.append(record)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    torn = path.read_bytes()
    lines = torn.count(b"\n")
    if lines == 0:  # no process leaves it: the first line is there as soon as the file is
        with pytest.raises(TrainingError, match="is no journal of gatentk train"):
            Journal(folder, identity, resume=True)
        assert path.read_bytes() == torn
        return
    with Journal(folder, identity, resume=True) as journal:
        assert journal.records == records[: max(0, lines - 2)]
        assert journal.rate == (0.1 if lines >= 2 else None)
        assert journal.trials == ([Trial(0.1, 2.0), Trial(0.2, None)] if lines >= 2 else [])
    assert path.read_bytes() == content[: path.stat().st_size]


def test_the_log_forgets_what_a_checkpoint_does_not_know(tmp_path):
    with Journal(tmp_path, {}) as journal:
        journal.choose(0.1, [])
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2)):
            journal.append(record_of(seed, epoch))
        assert journal.rewind(0, 1) == [record_of(0, 0), record_of(0, 1)]
        with pytest.raises(TrainingError, match="lacks epochs of seed 1 that its checkpoint has"):
            journal.rewind(1, 2)
        journal.append(record_of(0, 2))
    with Journal(tmp_path, {}, resume=True) as journal:
        assert [(r.seed, r.epoch) for r in journal.records] == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)]
        assert journal.rewind(1, -1) == []
        assert journal.rate == 0.1
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]


def test_an_interrupt_while_the_log_is_rewritten_keeps_the_old_one(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with Journal(tmp_path, {}) as journal:
        journal.choose(0.1, [])
        journal.append(record_of(0, 0))
        before = (tmp_path / JOURNAL).read_bytes()
        monkeypatch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.rewind(0, -1)
    assert [path.name for path in tmp_path.iterdir()] == [JOURNAL]
    assert (tmp_path / JOURNAL).read_bytes() == before


def test_two_processes_do_not_write_to_one_folder(tmp_path):
    with Journal(tmp_path, {}) as journal:
        with pytest.raises(TrainingError, match="another gatentk is writing"):
            Journal(tmp_path, {}, resume=True)
        journal.append(record_of(0, 0))
        journal.rewind(0, -1)
        with pytest.raises(TrainingError, match="another gatentk is writing"):
            Journal(tmp_path, {}, resume=True)


def test_a_foreign_log_is_left_alone(tmp_path):
    path = tmp_path / JOURNAL
    path.write_text('{"message": "mine"}\n')
    with pytest.raises(TrainingError, match="is no journal of gatentk train"):
        Journal(tmp_path, {}, resume=True)
    assert path.read_text() == '{"message": "mine"}\n'


CHOICE, EPOCH = {"rate": 0.1, "trials": []}, asdict(record_of(0, 0))


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"rate": 0.1},
        CHOICE | {"rate": "0.1"},
        CHOICE | {"trials": 3},
        CHOICE | {"trials": [3]},
        CHOICE | {"trials": [{"rate": 1}]},
        CHOICE | {"trials": [{"rate": "1", "train_loss": None}]},
        EPOCH | {"epoch": "1"},
        EPOCH | {"seed": None},
        EPOCH | {"train_loss": [1.0]},
        EPOCH | {"diverged": 0},
        EPOCH | {"more": 1},
        {name: value for name, value in EPOCH.items() if name != "model"},
    ],
)
def test_an_epoch_of_another_shape_is_refused_by_its_line(tmp_path, entry):
    with Journal(tmp_path, {}) as journal:
        journal.choose(0.1, [])
        journal.append(record_of(0, 0))
    path = tmp_path / JOURNAL
    with path.open("ab") as file:
        file.write(sealed(entry) if entry else b"{}\n")
    before = path.read_bytes()
    with pytest.raises(TrainingError, match=r"log.jsonl: line 4.*restart=True starts over"):
        Journal(tmp_path, {}, resume=True)
    assert path.read_bytes() == before


def test_a_training_of_before_checksums_is_refused(tmp_path):
    """Its numbers are not what the same training gives: formats differ."""
    text = b'{"training": {"format": 1, "width": 3}}\n{"rate": 0.1, "trials": []}\n'
    (tmp_path / JOURNAL).write_bytes(text)
    with pytest.raises(TrainingError, match=r"another training \(format was 1, is 2\); choose another .*restart="):
        Journal(tmp_path, {"format": 2, "width": 3}, resume=True)
    assert (tmp_path / JOURNAL).read_bytes() == text
    Journal(tmp_path, {"format": 2, "width": 3}, restart=True).close()
