from dataclasses import replace

import pytest
from cases.training import record_of, small

from gatentk import train
from gatentk.train.sentences import headline


@pytest.fixture
def trained(tmp_path):
    """Samples and the result of a training of two seeds that switches."""
    config = small(width=100, seeds=2, switch=2)
    samples = train.prepare_training(config)
    return samples, train.run_all(config, samples, tmp_path)


def test_the_switch_is_told_in_a_sentence(trained):
    sentences = headline(*trained)
    assert len(sentences) == 2
    assert sentences[1].startswith("Seed 1: converted to ReLU after epoch 2, train loss ")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_loss": 2.0}, "Seed 0: the train loss rose; the learning rate 0.1 is probably too large."),
        ({"train_loss": None, "diverged": True}, "Seed 0: the loss diverged in epoch 1; the learning rate 0.1 is too"),
        ({}, None),
    ],
)
def test_a_rate_that_is_too_large_is_named(trained, changes, sentence):
    records = [record_of(0, 0), replace(record_of(0, 1), **changes)]
    sentences = headline(trained[0], train.Result(small(), 0.1, [], records))
    assert len(sentences) == (sentence is not None)
    assert all(found.startswith(sentence) for found in sentences)
