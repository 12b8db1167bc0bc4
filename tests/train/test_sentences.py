from dataclasses import replace

import pytest
import torch
from cases.training import of_data, record_of, small

from gatentk import train
from gatentk.train.sentences import gates_text, headline


@pytest.fixture
def trained(tmp_path):
    """Samples and the result of a training of two seeds that switches."""
    config = small(width=100, seeds=2, switch=2)
    samples = train.prepare_training(config)
    return samples, train.run_all(config, samples, tmp_path)


def test_the_switch_is_told_in_a_sentence(trained):
    sentences = headline(*trained)
    assert len(sentences) == 4
    assert sentences[2].startswith("Seed 1: converted to ReLU after epoch 2, train loss ")


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
    *sentences, best = headline(trained[0], train.Result(small(), 0.1, [], records))
    assert len(sentences) == (sentence is not None)
    assert all(found.startswith(sentence) for found in sentences)
    assert best.startswith("Seed 0: best epoch ")


def test_the_best_epoch_is_told_with_its_measure_and_the_variance_it_explains(monkeypatch):
    x, y = torch.randn(40, 3, dtype=torch.float64), 1e5 * torch.randn(40, dtype=torch.float64)
    config, samples = of_data(monkeypatch, x, y, test_fraction=0.25, seeds=1)
    test = y[train.split_rows(config, 40, "given")[1]]
    loss = float(test.var(correction=0)) / 8
    records = [replace(record_of(0, epoch), test_loss=value) for epoch, value in enumerate([1e20, loss, 2 * loss])]
    records[-1] = replace(records[-1], settled=True)
    (sentence,) = headline(samples, train.Result(config, 0.1, [], records))
    assert sentence.startswith("Seed 0: best epoch 1 of 2, test loss ")
    assert "by which it was chosen" in sentence
    assert "R² 0.750; ended there, as the test loss fell no further" in sentence
    assert sentence.endswith("Its network is in best-0.pt.")


def test_gates_that_are_not_the_papers_are_told_first(tmp_path):
    config = small(epochs=1, block=5, gates="shallow", center=True)
    samples = train.prepare_training(config)
    first, *_ = headline(samples, train.run_all(config, samples, tmp_path))
    assert first == (
        "Gates: half-spaces of the samples less their mean, one for every 5 neurons: 4 a layer, the last of 1 neuron."
    )


def test_gates_of_every_neuron_are_not_counted():
    text = "Gates: those of a fixed ReLU network on the samples less their mean, one for every neuron."
    assert gates_text(small(center=True)) == text
