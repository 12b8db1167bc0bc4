import pytest
import torch
from cases.training import DEPTH, WIDTH, drawn, small

from gatentk import gates, train
from gatentk.train.start import gate_network


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


@pytest.mark.parametrize("block", [1, 5])
@pytest.mark.parametrize("kind", ["deep", "shallow"])
@pytest.mark.parametrize("center", [False, True])
def test_gates_of_all_kinds_leave_the_weights_as_they_are(block, kind, center):
    config = small(block=block, gates=kind, center=center, test_fraction=0.2)
    samples = train.prepare_training(config)
    network, plain = train.build(config, samples, seed=7), train.build(small(model="relu"), samples, seed=7)
    assert torch.equal(network.input_weight, plain.input_weight)
    assert torch.equal(network.output_weight, plain.output_weight)
    assert all(torch.equal(a, b) for a, b in zip(network.weights, plain.weights, strict=True))
    drawn_by = network.gate_net
    assert (drawn_by.block, drawn_by.kind, drawn_by.shares_input_weight) == (block, kind, config.has_paper_gates)
    if center:
        torch.testing.assert_close(drawn_by.center, samples.train.x.mean(dim=0))
    else:
        assert drawn_by.center is None
    assert drawn_by.fingerprint != train.build(config, samples, seed=8).gate_net.fingerprint


def test_no_two_streams_of_random_numbers_begin_alike():
    """The gate network's is neither that of the weights nor that of the order of samples."""
    config = small(gates="shallow")
    samples = train.prepare_training(config)
    C = gate_network(config, samples, 0).input_weight
    for seed in (0, 2**32):
        other = torch.randn(C.shape, generator=torch.Generator().manual_seed(seed), dtype=C.dtype)
        assert not torch.allclose(C / C.std(), other / other.std(), atol=1e-3)
