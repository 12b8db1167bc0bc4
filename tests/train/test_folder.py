import json
import os
import resource
from dataclasses import replace

import pytest
import torch
from cases.training import assert_same_state, log_lines, small, without_times

from gatentk import train
from gatentk.runs import memory
from gatentk.train import DIAGNOSTICS, TrainingError


def interrupted_after(seed, epoch):
    def callback(record, trial):
        if not trial and (record.seed, record.epoch) == (seed, epoch):
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize(
    ("options", "seed", "epoch"),
    [
        ({"optimizer": "sgd", "diagnostics": tuple(DIAGNOSTICS)}, 0, 5),
        ({"optimizer": "adam", "model": "relu", "seeds": 2, "diagnostics": ("gradient", "patterns")}, 1, 3),
        ({"optimizer": "gd", "rates": (0.01, 0.05), "loss": "cross-entropy", "test_fraction": 0.2}, 0, 2),
        ({"optimizer": "adam", "rates": (1e-3,), "width": 100, "switch": 2, "diagnostics": tuple(DIAGNOSTICS)}, 0, 1),
        ({"optimizer": "adam", "rates": (1e-3,), "width": 100, "switch": 2, "diagnostics": tuple(DIAGNOSTICS)}, 0, 3),
        ({"optimizer": "adam", "patience": 1, "rates": (0.003,), "test_fraction": 0.5, "epochs": 12}, 0, 7),
        ({"optimizer": "sgd", "width": 100, "switch": 2, "test_fraction": 0.2}, 0, 5),
        ({"block": 5, "gates": "shallow", "center": True, "diagnostics": tuple(DIAGNOSTICS)}, 0, 3),
        ({"optimizer": "adam", "rates": (1e-3,), "width": 100, "block": 8, "center": True, "switch": 2}, 0, 3),
    ],
)
def test_a_resumed_run_is_bit_for_bit_the_uninterrupted_one(tmp_path, options, seed, epoch):
    config = small(**{"epochs": 6, "dtype": "float32", "trial_epochs": 1, **options})
    samples = train.prepare_training(config)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train.run_all(config, samples, whole, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train.run_all(config, samples, parts, checkpoint_every=2, callback=interrupted_after(seed, epoch))
    result = train.run_all(config, samples, parts, checkpoint_every=2, resume=True)
    assert without_times(result.records) == without_times(expected.records)
    assert (result.rate, result.trials) == (expected.rate, expected.trials)
    assert sorted(path.name for path in parts.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in train.checkpoint_paths(whole):
        ours, theirs = (torch.load(folder / path.name, weights_only=True) for folder in (parts, whole))
        assert_same_state(ours, theirs)
    for ours, theirs in zip(log_lines(parts), log_lines(whole), strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


def test_a_finished_training_goes_on_with_more_epochs_and_seeds(tmp_path):
    short, long = small(epochs=2), small(epochs=4, seeds=2)
    samples = train.prepare_training(short)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train.run_all(long, samples, whole)
    train.run_all(short, samples, parts)
    result = train.run_all(long, samples, parts, resume=True)
    assert without_times(result.records) == without_times(expected.records)
    again = train.run_all(long, samples, parts, resume=True)
    assert again.records == result.records
    with pytest.raises(TrainingError, match="seed 0 is at epoch 4 already, got epochs=3"):
        train.run_all(small(epochs=3), samples, parts, resume=True)


def test_a_resume_computes_nothing_twice(tmp_path, monkeypatch):
    config = small(rates=(0.01, 0.02), seeds=2)
    samples = train.prepare_training(config)
    first = train.run_all(config, samples, tmp_path)
    monkeypatch.setattr(train.Run, "train_epoch", None)
    seen = []
    again = train.run_all(config, samples, tmp_path, resume=True, callback=lambda record, trial: seen.append(record))
    assert again == first
    assert seen == first.records


def test_a_diverged_run_is_not_repeated_and_does_not_stop_the_others(tmp_path):
    config = small(rates=(1e12,), seeds=2, epochs=50)
    samples = train.prepare_training(config)
    result = train.run_all(config, samples, tmp_path)
    assert [record.seed for record in result.diverged] == [0, 1]
    assert train.run_all(config, samples, tmp_path, resume=True) == result


def test_another_configuration_is_refused_by_the_names_of_what_differs(tmp_path):
    config = small(epochs=1)
    samples = train.prepare_training(config)
    train.run_all(config, samples, tmp_path)
    other = replace(config, width=8, optimizer="adam")
    with pytest.raises(
        TrainingError, match=r'holds another training \(width was 16, is 8, optimizer was "sgd", is "adam"'
    ):
        train.run_all(other, samples, tmp_path, resume=True)
    changed = replace(samples, digest="0" * 64)
    with pytest.raises(TrainingError, match="sha256 was"):
        train.run_all(config, changed, tmp_path, resume=True)
    assert train.run_all(config, samples, tmp_path, resume=True).rate == 0.05


GATES = {"block": 4, "gates": "shallow", "center": True}


def test_gates_are_a_part_of_the_identity_only_where_they_are_asked_for():
    """So a folder of a training that knew no kinds of gates goes on."""
    samples = train.prepare_training(small())
    assert not GATES.keys() & train.identity(small(), samples).keys()
    for name, value in GATES.items():
        assert train.identity(small(**{name: value}), samples)[name] == value


@pytest.mark.parametrize("name", GATES)
def test_a_folder_of_other_gates_is_refused(tmp_path, name):
    config = small(epochs=1)
    samples = train.prepare_training(config)
    train.run_all(config, samples, tmp_path)
    with pytest.raises(TrainingError, match=rf"holds another training \({name} was null, is "):
        train.run_all(replace(config, **{name: GATES[name]}), samples, tmp_path, resume=True)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    config, other = small(epochs=1), small(epochs=1, depth=3)
    samples = train.prepare_training(config)
    train.run_all(config, samples, mine)
    train.run_all(other, samples, theirs)
    os.replace(theirs / "checkpoint-0.pt", mine / "checkpoint-0.pt")
    with pytest.raises(TrainingError, match=r"checkpoint-0.pt is of another training \(depth was 3, is 2\)"):
        train.run_all(config, samples, mine, resume=True)


def test_a_folder_is_neither_overwritten_nor_resumed_by_accident(tmp_path):
    config = small(epochs=1)
    samples = train.prepare_training(config)
    train.run_all(config, samples, tmp_path, resume=True)  # nothing is there: it starts
    before = (tmp_path / train.LOG).read_bytes()
    with pytest.raises(TrainingError, match="resume=True goes on with it, restart=True starts over"):
        train.run_all(config, samples, tmp_path)
    assert (tmp_path / train.LOG).read_bytes() == before
    other = replace(config, seeds=1, depth=1)
    result = train.run_all(other, samples, tmp_path, restart=True)
    assert [record.epoch for record in result.records] == [0, 1]
    assert log_lines(tmp_path)[0]["training"]["depth"] == 1


def test_a_restart_forgets_the_checkpoints(tmp_path):
    samples = train.prepare_training(small())
    train.run_all(small(seeds=2, epochs=1), samples, tmp_path)
    train.run_all(small(seeds=1, epochs=1), samples, tmp_path, restart=True)
    assert [path.name for path in train.checkpoint_paths(tmp_path)] == ["checkpoint-0.pt"]


def test_large_gate_tables_live_in_a_file_while_they_are_needed(tmp_path, monkeypatch):
    config = small(test_fraction=0.2, epochs=2)
    samples = train.prepare_training(config)
    expected = train.fit(config, samples).records
    monkeypatch.setattr("gatentk.train.start.TABLE_BYTES", 0)
    seen = []
    result = train.run_all(
        config, samples, tmp_path, callback=lambda *_: seen.append({path.name for path in tmp_path.glob("*.gates")})
    )
    assert seen == [{"train-0.gates", "test-0.gates"}] * 3
    assert not list(tmp_path.glob("*.gates"))
    assert without_times(result.records) == without_times(expected)


USERS = ("checkpoint-best.pt", "mnist-width512-0.gates", "train-1.gates", ".results.json.mine.tmp", "notes.txt")


@pytest.mark.parametrize("large", [False, True])
def test_files_of_the_users_beside_a_training_stay(tmp_path, monkeypatch, large):
    """Whatever their names are like, in a training that is restarted with fewer seeds, too."""
    if large:
        monkeypatch.setattr("gatentk.train.start.TABLE_BYTES", 0)
    for name in USERS:
        (tmp_path / name).write_text("mine")
    for options in ({}, {"resume": True}, {"restart": True}):
        train.run_all(small(epochs=1), train.prepare_training(small()), tmp_path, **options)
    for name in USERS:
        assert (tmp_path / name).read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {*USERS, "log.jsonl", "checkpoint-0.pt", "best-0.pt"}


TAKEN = (
    "results.json",
    "loss.png",
    "loss.svg",
    "checkpoint-0.pt",
    "checkpoint-0.previous.pt",
    "best-0.pt",
    "log.jsonl",
)


@pytest.mark.parametrize("name", [*TAKEN, "train-0.gates"])
@pytest.mark.parametrize("options", [{}, {"restart": True}])
def test_a_file_of_the_users_in_the_way_is_refused_before_anything_is_trained(tmp_path, monkeypatch, name, options):
    monkeypatch.setattr("gatentk.train.start.TABLE_BYTES", 0)
    monkeypatch.setattr(train.Run, "train_epoch", None)
    (tmp_path / name).write_text("mine")
    free = f"{tmp_path}-2"
    with pytest.raises(TrainingError, match=rf"{name} (was not written by|is no journal of).*another folder .*{free}"):
        train.run_training(small(), tmp_path, **options)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_table_that_a_killed_training_left_is_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("gatentk.train.start.TABLE_BYTES", 0)
    config = small(epochs=2)
    samples = train.prepare_training(config)

    def kill(record, trial):
        if record.epoch == 1:
            os._exit(9)

    pid = os.fork()
    if pid == 0:
        train.run_all(config, samples, tmp_path, callback=kill)
    os.waitpid(pid, 0)
    (tmp_path / ".train-0.gates.0123abcd.gatentk-tmp").touch()  # of a kill while it was written
    assert (tmp_path / "train-0.gates").exists()
    train.run_all(config, samples, tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "checkpoint-0.pt", "best-0.pt"}


def test_a_table_of_a_seed_that_is_not_trained_again_is_removed(tmp_path, monkeypatch):
    """A training of two seeds was killed in the second; it goes on with one."""
    monkeypatch.setattr("gatentk.train.start.TABLE_BYTES", 0)
    samples = train.prepare_training(small())

    def kill(record, trial):
        if record.seed == 1:
            os._exit(9)

    pid = os.fork()
    if pid == 0:
        train.run_all(small(epochs=1, seeds=2), samples, tmp_path, callback=kill)
    os.waitpid(pid, 0)
    assert (tmp_path / "train-1.gates").exists()
    train.run_all(small(epochs=1), samples, tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "checkpoint-0.pt", "best-0.pt"}


def test_a_full_disk_at_any_time_is_one_error_and_loses_nothing(tmp_path):
    """By a limit of the process on the size of its files, raised until the training ends."""
    config = small(epochs=3, width=4, depth=1)
    samples = train.prepare_training(config)
    expected = train.run_training(config, tmp_path / "whole", samples, checkpoint_every=1)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    folder, limits, resume = tmp_path / "parts", resource.getrlimit(resource.RLIMIT_FSIZE), False
    for size in (100, 900, 1100, *(size - 1 for size in sizes)):
        before = {path.name: path.read_bytes() for path in folder.glob("*.pt")}
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            with pytest.raises(
                (OSError, TrainingError, UserWarning), match=r"errno 27|Errno 27|File too large"
            ) as caught:
                train.run_training(config, folder, samples, resume=resume, checkpoint_every=1)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert str(folder) in str(caught.value)
        assert before.keys() <= {path.name for path in folder.glob("*.pt")}
        assert not list(folder.glob("*.gatentk-tmp"))
        resume = (folder / "log.jsonl").exists()
    result = train.run_training(config, folder, samples, resume=True, checkpoint_every=1)
    assert without_times(result.records) == without_times(expected.records)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}


# The runner


def test_a_runner_makes_the_folder_and_writes_everything(tmp_path):
    folder, seen = tmp_path / "new" / "folder", []
    config = small(epochs=2)
    result = train.run_training(config, folder, report=lambda record, trial: seen.append(record))
    files = {"best-0.pt", "checkpoint-0.pt", "log.jsonl", "loss.png", "loss.svg", "results.json"}
    assert {path.name for path in folder.iterdir()} == files
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (folder / "loss.svg").read_text()
    assert seen == result.records
    samples = train.prepare_training(config)
    assert without_times(result.records) == without_times(train.fit(config, samples).records)
    document = json.loads((folder / "results.json").read_text())
    assert document["command"].startswith("run_training(TrainingConfig(data='digits'")
    assert document["runs"][0]["last"]["train_loss"] == result.records[-1].train_loss
    longer = train.run_training(small(epochs=3), folder, samples, resume=True, command="the same, longer")
    assert longer.records[:3] == result.records
    assert json.loads((folder / "results.json").read_text())["command"] == "the same, longer"


def test_nothing_is_written_where_memory_does_not_suffice(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"take a smaller width= or depth=, or fewer samples with n="):
        train.run_training(small(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
