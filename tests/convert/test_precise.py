"""Conversions under autocast, in bfloat16, and of networks that compute something else than they seem to."""

import pytest
import torch
from cases.conversions import network, relative, samples
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils import parametrize, prune

import gatentk as gt
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


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def forward(net):
    old = net.forward
    net.forward = lambda x: old(x).sin()


def forward_hook(net):
    net.register_forward_hook(lambda module, inputs, output: 2 * output)


def forward_pre_hook(net):
    net.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 1, *inputs[1:]))


def hook_that_writes(net):
    net.register_forward_hook(lambda module, inputs, output: torch.Tensor.neg_(output))


def other_outputs(net):
    net.register_forward_hook(lambda module, inputs, output: output[:, :1])


def values(net):
    old = net._values
    net._values = lambda *inputs: (2 * value for value in old(*inputs))


def call(net):
    old = net._call_impl
    net._call_impl = lambda *inputs, **keywords: 2 * old(*inputs, **keywords)


def kind_of_network(net):
    kind = type(net)

    class Odd(kind):
        def forward(self, x, *gates):
            return kind.forward(self, x, *gates) + 1

    net.__class__ = Odd


REPLACED = {
    forward: "with forward replaced on the instance",
    forward_hook: "with hooks",
    forward_pre_hook: "with hooks",
    hook_that_writes: "with hooks",
    other_outputs: "with hooks",
    values: "with _values replaced on the instance",
    call: "with _call_impl replaced on the instance",
    kind_of_network: "",
}


def converters(kind, x):
    """(name of the network in messages, function of a network that gives a network for x) of all conversions."""
    whole = (
        ("gnet", lambda net: convert.grelu_to_relu(net, x)[0]) if kind == "grelu" else ("rnet", convert.relu_to_grelu)
    )
    return [whole, ("net", lambda net: convert.low_rank_gates(net, x, net.width)[0])]


@KINDS
@pytest.mark.parametrize("change", REPLACED, ids=lambda change: change.__name__)
def test_networks_that_compute_something_else_are_refused_by_name(kind, change, generator):
    net, x = network(kind, 6, 30, 2, generator), samples(10, 6, generator)
    change(net)
    for name, conversion in converters(kind, x):
        with pytest.raises(gt.UnsupportedModuleError, match=f"^{name}: .*{REPLACED[change]} gives other outputs"):
            conversion(net)


@KINDS
def test_hooks_of_all_modules_count(kind, generator):
    net, x = network(kind, 6, 30, 2, generator), samples(10, 6, generator)
    handle = torch_modules.register_module_forward_hook(lambda module, inputs, output: 3 * output)
    try:
        for name, conversion in converters(kind, x):
            with pytest.raises(gt.UnsupportedModuleError, match=f"^{name}: .* with global hooks gives other outputs"):
                conversion(net)
    finally:
        handle.remove()


def looking_hook(net):
    net.register_forward_hook(lambda module, inputs, output: None)


def gradient_hook(net):
    net.weights[0].register_hook(lambda gradient: 2 * gradient)


def parametrized_weight(net):
    parametrize.register_parametrization(net.weights, "0", Doubled())


def parametrized_ends(net):
    parametrize.register_parametrization(net, "input_weight", Doubled())
    parametrize.register_parametrization(net, "output_weight", Doubled())


def pruned_weight(net):
    prune.l1_unstructured(net.weights, "1", 0.5)


def own_method(net):
    class Named(type(net)):
        def name(self):
            return "mine"

    net.__class__ = Named


def compiled_in_place(net):
    net.compile(backend="eager")


def doubling_list(net):
    class Doubling(nn.ParameterList):
        def __iter__(self):
            return (2 * super(Doubling, self).__getitem__(k) for k in range(len(self)))

    net.weights = Doubling(list(net.weights))


@KINDS
@pytest.mark.parametrize(
    "change",
    [
        looking_hook,
        gradient_hook,
        parametrized_weight,
        parametrized_ends,
        pruned_weight,
        own_method,
        compiled_in_place,
        doubling_list,
    ],
    ids=lambda change: change.__name__,
)
def test_what_changes_the_matrices_or_no_values_is_honoured(kind, change, generator):
    net, x = network(kind, 6, 30, 2, generator), samples(10, 6, generator)
    change(net)
    with torch.no_grad():
        expected = net(x)
        for _, conversion in converters(kind, x):
            assert relative(conversion(net)(x), expected) < 1e-9


def test_other_gates_are_honoured_where_a_conversion_asks_for_them(generator):
    class Opposite(gt.gates.GateNetwork):
        def _activations(self, x):
            return super()._activations(-x)

    net, x = network("grelu", 6, 30, 2, generator), samples(10, 6, generator)
    net.gate_net.__class__ = Opposite
    with torch.no_grad():
        assert relative(convert.grelu_to_relu(net, x)[0](x), net(x)) < 1e-9
    with pytest.raises(gt.UnsupportedModuleError, match=r"^net: GReLUNetwork gives other outputs"):
        convert.low_rank_gates(net, x)


@KINDS
def test_a_network_with_more_weights_than_its_depth_is_refused(kind, generator):
    net, x = network(kind, 6, 30, 2, generator), samples(10, 6, generator)
    net.weights.append(nn.Parameter(torch.eye(30, dtype=torch.float64)))
    for name, conversion in converters(kind, x):
        with pytest.raises(ValueError, match=rf"^{name}.weights: expected 2, the depth of the network, got 3"):
            conversion(net)
