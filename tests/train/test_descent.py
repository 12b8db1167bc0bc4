import pytest
import torch
from cases.training import small

from gatentk import train


@pytest.mark.parametrize("optimizer", ["gd", "sgd"])
def test_large_steps_are_added_up_block_by_block(monkeypatch, optimizer):
    config = small(optimizer=optimizer, batch=None if optimizer == "gd" else 20)
    whole = train.fit(config)
    monkeypatch.setattr("gatentk.train.samples.BLOCK_ROWS", 7)
    parts = train.fit(config)
    assert parts.records[-1].train_loss == pytest.approx(whole.records[-1].train_loss, rel=1e-10)
    torch.testing.assert_close(parts.network.weights[0], whole.network.weights[0], rtol=1e-9, atol=1e-12)
