import json
from dataclasses import asdict

import pytest
from cases.training import small

from gatentk import train
from gatentk.train.result import document_text


@pytest.fixture
def trained(tmp_path):
    """Samples and the result of a training of two seeds that switches."""
    config = small(width=100, seeds=2, switch=2, test_fraction=0.2, diagnostics=("dead",))
    samples = train.prepare_training(config)
    return samples, train.run_all(config, samples, tmp_path)


def test_the_document_has_settings_data_and_outcomes(trained):
    samples, result = trained
    document = json.loads(document_text(samples, result, "gatentk train"))
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
