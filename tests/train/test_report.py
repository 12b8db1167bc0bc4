import json
from dataclasses import asdict, replace

import pytest
from cases.training import record_of, small

from gatentk import train
from gatentk.train import report


@pytest.fixture
def trained(tmp_path):
    """Samples and the result of a training of two seeds that switches."""
    config = small(width=100, seeds=2, switch=2, test_fraction=0.2, diagnostics=("dead",))
    samples = train.prepare_training(config)
    return samples, train.run_all(config, samples, tmp_path)


def test_the_document_has_settings_data_and_outcomes(trained):
    samples, result = trained
    document = json.loads(report.document_text(samples, result, "gatentk train"))
    assert (document["schema"], document["command"]) == ("gatentk/training/1", "gatentk train")
    assert document["config"]["width"] == 100
    assert (document["data"]["train_samples"], document["data"]["test_samples"]) == (32, 8)
    assert document["diagnostics"] == {"dead": train.DIAGNOSTICS["dead"].description}
    assert (document["learning_rate"], document["trials"]) == (0.05, [])
    for seed, run in enumerate(document["runs"]):
        records = result.run(seed)
        assert run["first"] == asdict(records[0])
        assert run["last"] == asdict(records[-1])
        assert run["best_test"]["test_loss"] == min(record.test_loss for record in records)
        assert run["switch"] == records[2].switch


def test_files_are_written(trained, tmp_path):
    path = report.write(tmp_path, *trained, "gatentk train")
    assert path == tmp_path / "results.json"
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "loss.svg").read_text()


def test_the_switch_is_told_in_a_sentence(trained):
    sentences = report.headline(*trained)
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
    sentences = report.headline(trained[0], train.Result(small(), 0.1, [], records))
    assert len(sentences) == (sentence is not None)
    assert all(found.startswith(sentence) for found in sentences)
