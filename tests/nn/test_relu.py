import pytest
import torch
from cases.networks import build, rows

from gatentk.nn import GReLUNetwork, ReLUNetwork


@pytest.mark.parametrize("last_relu", [True, False])
def test_activations_are_what_the_next_weight_is_applied_to(last_relu, generator):
    net = ReLUNetwork(3, 8, 2, 2, last_relu=last_relu, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    values = net.activations(x)
    assert torch.equal(values[0], torch.relu(x @ net.input_weight.T))
    for before, weight, after in zip(values, net.weights, values[1:], strict=False):
        product = before @ weight.T
        expected = product if after is values[-1] and not last_relu else torch.relu(product)
        torch.testing.assert_close(after, expected)
    torch.testing.assert_close(net(x), values[-1] @ net.output_weight.T)
    assert torch.equal(net.patterns(x).to_bool(), torch.stack([v > 0 for v in values[: 3 if last_relu else 2]]))
    assert net.gate_table(x) is None


def test_gates_are_not_for_relu_networks():
    net, x = build(ReLUNetwork), rows(6)
    for method in (net.activations, net.patterns):
        with pytest.raises(TypeError, match="gates: expected None, as a ReLU network has no gates"):
            method(x, build(GReLUNetwork).gate_table(x))


def test_last_relu_is_a_bool():
    with pytest.raises(TypeError, match="last_relu: expected a bool, got int 1"):
        ReLUNetwork(7, 70, 3, last_relu=1)
