import torch
from cases.training import DEPTH, WIDTH, drawn, small

from gatentk import gates, train


def test_both_models_start_from_the_same_weights():
    samples = train.prepare_training(small())
    gated, plain = (train.build(small(model=model), samples, seed=7) for model in ("grelu", "relu"))
    C, B, W, _ = drawn(64, WIDTH, DEPTH, 10, 7, "relu")
    for network in (gated, plain):
        torch.testing.assert_close(network.input_weight, C, rtol=1e-14, atol=0)
        torch.testing.assert_close(network.output_weight, B, rtol=1e-14, atol=0)
        for weight, expected in zip(network.weights, W, strict=True):
            torch.testing.assert_close(weight.detach(), expected, rtol=1e-14, atol=0)
    assert torch.equal(gated.weights[1], plain.weights[1])
    assert not torch.equal(train.build(small(), samples, seed=8).weights[0], gated.weights[0])


def test_gates_are_computed_once_and_looked_up(monkeypatch):
    calls = []
    compute = gates.GateNetwork.table
    monkeypatch.setattr(gates.GateNetwork, "table", lambda *args: calls.append(1) or compute(*args))
    monkeypatch.setattr(gates.GateNetwork, "gates", None)
    train.fit(small(test_fraction=0.2, diagnostics=("patterns", "dead")))
    assert len(calls) == 2
