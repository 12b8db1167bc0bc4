import pytest
import torch

from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork
from gatentk.train import Trainable
from gatentk.train.trainable import copied_weights, outputs, set_weights


@pytest.mark.parametrize("kind", [MLP, GReLUNetwork, ReLUNetwork])
def test_weights_can_be_put_back(kind, generator):
    network: Trainable = kind(3, 8, 2, 2, generator=generator)
    x = torch.randn(4, 3, generator=generator)
    before, kept = outputs(network, x).detach(), copied_weights(network)
    with torch.no_grad():
        for weight in network.weights:
            weight.add_(1)
    assert not torch.equal(outputs(network, x), before)
    set_weights(network, kept)
    assert torch.equal(outputs(network, x), before)


def test_gates_that_were_looked_up_are_used(generator, monkeypatch):
    network = GReLUNetwork(3, 8, 2, 2, generator=generator)
    x = torch.randn(4, 3, generator=generator)
    expected, table = outputs(network, x), network.gate_table(x)
    monkeypatch.setattr(network.gate_net, "gates", None)
    assert torch.equal(outputs(network, x, table), expected)
