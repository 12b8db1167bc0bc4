"""Conversions of networks that are trained in fewer digits: under autocast, or in bfloat16."""

import pytest
import torch
from cases.conversions import network, samples

from gatentk import convert

KINDS = pytest.mark.parametrize("kind", ["grelu", "relu"])


def test_autocast_changes_no_bit_of_a_conversion(generator):
    gnet = network("grelu", 10, 80, 2, generator, torch.float32)
    x = samples(30, 10, generator, torch.float32)
    expected, report = convert.grelu_to_relu(gnet, x)
    back = convert.relu_to_grelu(expected)
    with torch.autocast("cpu"):
        found, found_report = convert.grelu_to_relu(gnet, x)
        found_back = convert.relu_to_grelu(found)
    assert found_report == report
    for a, b in ((found, expected), (found_back, back)):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name


@KINDS
def test_autocast_changes_no_bit_of_the_factors_and_gates(kind, generator):
    net = network(kind, 10, 80, 2, generator, torch.float32)
    x = samples(30, 10, generator, torch.float32)
    expected, report = convert.low_rank_gates(net, x, 9)
    with torch.autocast("cpu"):
        found, found_report = convert.low_rank_gates(net, x, 9)
        out, bits = found.outputs_and_gates(x)
        with torch.autocast("cpu", enabled=False):
            assert torch.equal(found(x), expected(x))
    assert found_report == report
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert out.dtype == torch.bfloat16
    exact, exact_bits = expected.outputs_and_gates(x)
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.05 * float(exact.abs().max()))
    # Those of a ReLU network are read off activations, which autocast rounds.
    assert torch.equal(bits[0], exact_bits[0])
    if kind == "grelu":
        assert all(torch.equal(a, b) for a, b in zip(bits, exact_bits, strict=True))


@KINDS
def test_networks_in_bfloat16_are_refused_by_name(kind, generator):
    net = network(kind, 10, 80, 2, generator).bfloat16()
    x = samples(30, 10, generator, torch.float32)
    whole = (convert.grelu_to_relu, "gnet", x) if kind == "grelu" else (convert.relu_to_grelu, "rnet")
    for call, name, *arguments in (whole, (convert.low_rank_gates, "net", x)):
        with pytest.raises(TypeError, match=rf"^{name}: expected a network in float32 or float64, got torch.bfloat16"):
            call(net, *arguments)
