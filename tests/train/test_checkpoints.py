import errno
import os
import resource
import sys
from types import SimpleNamespace

import pytest
import torch
from cases.damage import flipped, flips
from cases.training import assert_same_state, small, without_times
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import train
from gatentk.train import TrainingError
from gatentk.train.checkpoints import previous_path, state_digest


@pytest.mark.parametrize("step", ["save", "fsync", "replace"])
def test_an_interrupted_write_leaves_the_checkpoint_before_valid(tmp_path, monkeypatch, step):
    config = small(epochs=4)
    samples = train.prepare_training(config)
    saves, save, fsync, replace_file = [], torch.save, os.fsync, os.replace

    def interrupt_second(state, file):
        saves.extend([1] if "optimizer" in state else [])  # a checkpoint, and not the network of the best epoch
        if len(saves) == 2 and step == "save":
            file.write(b"half a checkpoint")
            raise KeyboardInterrupt
        save(state, file)

    def interrupt(function):
        def wrapped(*arguments):
            if len(saves) == 2:
                raise KeyboardInterrupt
            return function(*arguments)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", interrupt_second)
        if step == "fsync":
            patch.setattr(os, "fsync", interrupt(fsync))
        if step == "replace":
            patch.setattr(os, "replace", interrupt(replace_file))
        with pytest.raises(KeyboardInterrupt):
            train.run_all(config, samples, tmp_path, checkpoint_every=2)
    left = {path.name for path in tmp_path.iterdir()} - {"checkpoint-0.previous.pt"}
    assert left == {"best-0.pt", "checkpoint-0.pt", "log.jsonl"}
    state = train.read_checkpoint(tmp_path / "checkpoint-0.pt", train.identity(config, samples))
    assert state["epoch"] == 2
    result = train.run_all(config, samples, tmp_path, resume=True)
    assert [record.epoch for record in result.records] == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Path of a checkpoint and the identity of its training."""
    folder = tmp_path_factory.mktemp("checkpoint")
    config = small(epochs=1, width=4, depth=1)
    samples = train.prepare_training(config)
    train.run_all(config, samples, folder)
    return folder / "checkpoint-0.pt", train.identity(config, samples)


@settings(max_examples=40)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_checkpoint_is_damaged(tmp_path, checkpoint, share):
    whole, identity = checkpoint
    content, path = whole.read_bytes(), tmp_path / "checkpoint-0.pt"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TrainingError, match="damaged, or not a checkpoint; restart=True starts over"):
        train.read_checkpoint(path, identity)


def test_foreign_files_are_no_checkpoints(tmp_path, checkpoint):
    path = tmp_path / "checkpoint-0.pt"
    assert train.read_checkpoint(path, checkpoint[1]) is None
    torch.save([1, 2], path)
    with pytest.raises(TrainingError, match="not a checkpoint of gatentk train"):
        train.read_checkpoint(path, checkpoint[1])
    torch.save({"identity": {}, "code": SimpleNamespace()}, path)  # nothing but plain values is unpickled
    with pytest.raises(TrainingError, match="damaged, or not a checkpoint"):
        train.read_checkpoint(path, checkpoint[1])


# Damage


@pytest.mark.parametrize("count", [120, pytest.param(4000, marks=pytest.mark.slow)])
def test_no_flipped_bit_is_resumed_as_another_state(tmp_path, checkpoint, count):
    """Refused by the file's name, or the same to the last bit; the kinds of what is not said by values, too."""
    whole, identity = checkpoint
    content, path = whole.read_bytes(), tmp_path / "checkpoint-0.pt"
    expected, same = train.read_checkpoint(whole, identity), 0
    for bit in flips(content, count):
        path.write_bytes(flipped(content, bit))
        try:
            state = train.read_checkpoint(path, identity)
        except TrainingError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 (it need not be raised)
        else:
            assert_same_state(state, expected)
            same += 1
    assert same < count  # names, times and padding of the archive


EDITS = {
    "seed": 1,
    "epoch": 7,
    "rate": 0.5,
    "model": "relu",
    "identity": {},
    "order": torch.zeros(5056, dtype=torch.uint8),
    "more": None,
}


@pytest.mark.parametrize("name", EDITS)
def test_nothing_can_be_edited_in(tmp_path, checkpoint, name):
    path = tmp_path / "checkpoint-0.pt"
    torch.save(torch.load(checkpoint[0], weights_only=True) | {name: EDITS[name]}, path)
    with pytest.raises(TrainingError, match="does not fit its checksum"):
        train.read_checkpoint(path, checkpoint[1])


def test_a_checkpoint_without_a_checksum_is_none(tmp_path, checkpoint):
    path = tmp_path / "checkpoint-0.pt"
    state = torch.load(checkpoint[0], weights_only=True)
    del state["sha256"]
    torch.save(state, path)
    with pytest.raises(TrainingError, match="does not fit its checksum"):
        train.read_checkpoint(path, checkpoint[1])


def test_a_checksum_is_of_kinds_sizes_order_and_every_bit():
    t = torch.arange(4.0)
    states = [t, t.view(2, 2), t.double(), t.bfloat16(), t.int(), t.view(torch.uint8), -0.0 * t, torch.tensor(0.0)]
    states += [0.0, -0.0, 0, False, None, "", "0.0", [], (), {}, [[], []], [[[]]], [(), ()], {"a": 1, "b": 2}]
    states += [{"b": 2, "a": 1}, {"a": "1", "b": 2}, {1: "a"}, {"1": "a"}, ["a", "b"], ["ab"], ["ab", ""], "\udce9"]
    assert len({state_digest(state) for state in states}) == len(states)
    assert state_digest(t.view(2, 2).T) == state_digest(t.view(2, 2).T.contiguous())
    with pytest.raises(TypeError, match="state: expected tensors and plain values, got set"):
        state_digest({"a": {1}})


def interrupted_training(folder, epochs=3):
    """A training with checkpoints of epochs 1 and 2, its samples, and what it would have given."""
    config = small(epochs=epochs)
    samples = train.prepare_training(config)

    def interrupt(record, trial):
        if record.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run_all(config, samples, folder, checkpoint_every=1, callback=interrupt)
    return config, samples


def test_the_checkpoint_before_a_damaged_one_is_taken_with_a_warning(tmp_path):
    folder, whole = tmp_path / "parts", tmp_path / "whole"
    config, samples = interrupted_training(folder)
    expected = train.run_all(config, samples, whole, checkpoint_every=1)
    path = folder / "checkpoint-0.pt"
    path.write_bytes(flipped(path.read_bytes(), 8 * (path.stat().st_size // 2)))
    with pytest.warns(UserWarning, match=rf"{path}: damaged; going on from the checkpoint before it, of epoch 1"):
        result = train.run_all(config, samples, folder, checkpoint_every=1, resume=True)
    assert without_times(result.records) == without_times(expected.records)
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in folder.iterdir()} == names == {*NAMES, "best-0.pt", "log.jsonl"}
    for name in NAMES:
        ours, theirs = (torch.load(each / name, weights_only=True) for each in (folder, whole))
        assert_same_state(ours, theirs)


NAMES = ("checkpoint-0.pt", "checkpoint-0.previous.pt")


@pytest.mark.parametrize("missing", [False, True])
def test_two_damaged_checkpoints_are_refused_and_what_to_do_is_said(tmp_path, missing):
    config, samples = interrupted_training(tmp_path)
    last, before = (tmp_path / name for name in NAMES)
    last.write_bytes(b"damaged")
    if missing:
        before.unlink()
    else:
        before.write_bytes(b"damaged")
    message = (
        r"there is none before it: without the file seed 0 is trained from its start" if missing else "previous.pt: "
    )
    with pytest.raises(TrainingError, match=message):
        train.run_all(config, samples, tmp_path, resume=True)
    assert last.read_bytes() == b"damaged"
    if missing:
        last.unlink()
        result = train.run_all(config, samples, tmp_path, resume=True)
        assert without_times(result.records) == without_times(train.fit(config, samples).records)


def test_the_checkpoint_before_is_taken_where_a_kill_left_only_that(tmp_path, monkeypatch):
    """On a file system without links, between two renames."""

    def without_links(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", without_links)
    config, samples = interrupted_training(tmp_path)
    last, before = (tmp_path / name for name in NAMES)
    os.replace(last, before)
    result = train.run_all(config, samples, tmp_path, resume=True)
    assert without_times(result.records) == without_times(train.fit(config, samples).records)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    config = small(seeds=2, epochs=1)
    samples = train.prepare_training(config)
    train.run_all(config, samples, tmp_path)
    os.replace(tmp_path / "checkpoint-1.pt", tmp_path / "checkpoint-0.pt")
    with pytest.raises(TrainingError, match=r"checkpoint-0.pt: the checkpoint of seed 1, not of seed 0"):
        train.run_all(config, samples, tmp_path, resume=True)


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


SHAPES = {
    "network": [None, {}, {"weights.0": torch.zeros(3)}, [1]],
    "optimizer": [None, {}, {"state": {}, "param_groups": []}, {"state": 3, "param_groups": [{}]}],
    "order": [None, torch.zeros(3), torch.zeros(3, dtype=torch.uint8)],
    "rate": [None, "0.1", [0.1]],
    "epoch": [None, "1", 1.5],
    "model": [None, "linear", 3],
    "schedule": [3, {}],
    "reference": [3, [torch.zeros(3)]],
    "seed": ["0", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SHAPES.items() for value in values])
@pytest.mark.parametrize("diagnostics", [(), ("tau",)])
def test_a_state_of_another_shape_is_refused_by_the_files_name(tmp_path, name, value, diagnostics):
    if name == "reference" and not diagnostics:
        return
    config = small(epochs=1, diagnostics=diagnostics)
    samples = train.prepare_training(config)
    train.run_all(config, samples, tmp_path)
    path = tmp_path / "checkpoint-0.pt"
    state = train.read_checkpoint(path, train.identity(config, samples)) | {name: value}
    train.write_checkpoint(path, state)
    (tmp_path / "checkpoint-0.previous.pt").unlink()
    with pytest.raises(TrainingError, match=r"checkpoint-0.pt: "):
        train.run_all(small(epochs=2, diagnostics=diagnostics), samples, tmp_path, resume=True)


def test_a_state_that_is_nested_too_deeply_is_refused(tmp_path, checkpoint):
    path = tmp_path / "checkpoint-0.pt"
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(20_000)
        torch.save(nested(3000), path)
    finally:
        sys.setrecursionlimit(limit)
    with pytest.raises(TrainingError, match=r"checkpoint-0.pt: "):
        train.read_checkpoint(path, checkpoint[1])


def test_a_full_disk_is_named_and_the_checkpoint_before_stays(tmp_path, checkpoint):
    """By a limit of the process, at every part of the file; torch itself says "unexpected pos"."""
    whole, identity = checkpoint
    state, path = train.read_checkpoint(whole, identity), tmp_path / "checkpoint-0.pt"
    train.write_checkpoint(path, state)
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in range(0, len(before), len(before) // 30):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
            with pytest.raises(OSError, match=str(path)) as caught:
                train.write_checkpoint(path, state | {"epoch": 2})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert caught.value.errno == errno.EFBIG
        assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-0.pt"]
    assert path.read_bytes() == before


def test_only_checkpoints_are_listed(tmp_path):
    for name in ("checkpoint-0.pt", "checkpoint-10.pt", "checkpoint-best.pt", "checkpoint-0.previous.pt"):
        (tmp_path / name).touch()
    assert [path.name for path in train.checkpoint_paths(tmp_path)] == ["checkpoint-0.pt", "checkpoint-10.pt"]
    assert train.checkpoint_paths(tmp_path / "missing") == []


@pytest.mark.parametrize("name", ["link", "replace"])
def test_a_checkpoint_that_cannot_be_kept_leaves_the_last_two(tmp_path, monkeypatch, name):
    """A folder without space for another name."""
    config = small(epochs=3, width=4, depth=1)
    train.run_all(config, train.prepare_training(config), tmp_path, checkpoint_every=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    path = tmp_path / "checkpoint-0.pt"
    state = train.read_checkpoint(path, train.identity(config, train.prepare_training(config)))

    def fail(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        with pytest.raises(OSError, match="No space left on device"):
            train.write_checkpoint(path, state)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for _ in range(2):
        train.write_checkpoint(path, state)
    assert {path.name for path in tmp_path.iterdir()} == before.keys()
    assert previous_path(path).read_bytes() == path.read_bytes()
