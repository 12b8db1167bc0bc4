import os
from types import SimpleNamespace

import pytest
import torch
from cases.training import small
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import train
from gatentk.train import TrainingError


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
