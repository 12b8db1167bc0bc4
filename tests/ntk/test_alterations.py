"""Whatever changes what a module computes is honoured by Jacobians and refused by name by the layerwise kernel."""

import warnings
from contextlib import nullcontext

import pytest
import torch
from cases.altered import ALTERED, assert_same_state, sequential, state_of
from cases.kernels import D_IN, assert_equal_kernels, brute_force, reduced, samples, seeded
from torch import nn
from torch.nn.modules import module as torch_modules

import gatentk as gt
from gatentk.nn import MLP, GReLUNetwork
from gatentk.ntk import empirical
from gatentk.ntk.alterations import alteration, parameter_alteration, uncompiled
from gatentk.ntk.stages import stages_of

# Changed are parts that have none, whose gradient is as it is called.
WITHOUT_PARAMETERS = ("subclass of ReLU", "subclass of ReLU by its call")


@pytest.mark.parametrize("name", ALTERED)
def test_the_layerwise_kernel_names_what_was_changed(name):
    build, message, slow = ALTERED[name]
    net, x = seeded(build).eval(), samples(3)
    with pytest.raises(gt.UnsupportedModuleError, match=f'{message}.*method="jacobian"'):
        stages_of(net)
    expected = reduced(brute_force(net, x).sum(0), "trace")
    if name in WITHOUT_PARAMETERS:
        assert_equal_kernels(empirical(net, x, method="layerwise"), expected)
        return
    with pytest.raises(gt.UnsupportedModuleError, match=r'^(net|\d.*): .*method="jacobian"'):
        empirical(net, x, method="layerwise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = empirical(net, x)
    assert_equal_kernels(result, expected)
    assert "its kernel is made of Jacobians" in str(caught[0].message)
    assert slow == any("torch.func cannot make" in str(warning.message) for warning in caught)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", ALTERED)
def test_jacobians_are_of_what_the_network_computes(name):
    build, _, slow = ALTERED[name]
    net, x = seeded(build).eval(), samples(4)
    expected = brute_force(net, x).sum(0)
    before = state_of(net)
    for outputs in ("trace", "full", 1):
        with pytest.warns(UserWarning, match="net: torch.func cannot make") if slow else nullcontext():
            result = empirical(net, x, outputs=outputs, method="jacobian")
        assert_equal_kernels(result, reduced(expected, outputs))
    assert_same_state(net, before)


@pytest.mark.parametrize(
    ("register", "slow"),
    [
        (lambda: torch_modules.register_module_forward_hook(lambda module, inputs, output: output.sin()), False),
        (lambda: torch_modules.register_module_forward_pre_hook(lambda module, inputs: (inputs[0].sin(),)), False),
        (
            lambda: torch_modules.register_module_full_backward_hook(
                lambda m, i, o: tuple(None if g is None else 2 * g for g in i)
            ),
            True,
        ),
        (lambda: torch_modules.register_module_full_backward_pre_hook(lambda m, o: tuple(2 * g for g in o)), True),
    ],
    ids=["forward", "forward pre", "backward", "backward pre"],
)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_hooks_of_all_modules_count(register, slow):
    net, x = seeded(sequential), samples(4)
    handle = register()
    try:
        expected = reduced(brute_force(net, x).sum(0), "trace")
        with pytest.raises(gt.UnsupportedModuleError, match=r"^net: .* Sequential with global hooks"):
            empirical(net, x, method="layerwise")
        with pytest.raises(gt.UnsupportedModuleError, match=r"^net: .* MLP with global hooks"):
            empirical(MLP(D_IN, 8, 1, dtype=torch.float64), x, method="layerwise")
        with pytest.warns(UserWarning, match="net: torch.func cannot make") if slow else nullcontext():
            result = empirical(net, x, method="jacobian")
    finally:
        handle.remove()
    assert_equal_kernels(result, expected)
    assert float((empirical(net, x) - expected).abs().max()) > 0.1 * float(expected.abs().max())


@pytest.mark.parametrize(
    ("where", "name", "replacement"),
    [
        (nn.Linear, "forward", lambda self, x: 2 * nn.functional.linear(x, self.weight, self.bias)),
        (nn.ReLU, "forward", lambda self, x: x.tanh()),
        (nn.Sequential, "forward", lambda self, x: 2 * self[2](self[1](self[0](x)))),
        (nn.functional, "relu", lambda x, inplace=False: x.tanh()),
    ],
    ids=["Linear", "ReLU", "Sequential", "functional"],
)
def test_a_replaced_method_of_a_class_is_noticed(monkeypatch, where, name, replacement):
    net, x = seeded(sequential), samples(4)
    monkeypatch.setattr(where, name, replacement)
    with pytest.raises(gt.UnsupportedModuleError, match=r"^net: Sequential gives other outputs than its layers"):
        empirical(net, x, method="layerwise")
    with pytest.warns(UserWarning, match="net: Sequential gives other outputs than its layers do, .* of Jacobians"):
        empirical(net, x)
    assert_equal_kernels(empirical(net, x, method="jacobian"), reduced(brute_force(net, x).sum(0), "trace"))


def test_a_gate_network_of_another_kind_is_refused():
    class OtherGates(gt.gates.GateNetwork):
        pass

    net = GReLUNetwork(D_IN, 6, 1, gates=OtherGates(D_IN, 6, 1)).double()
    with pytest.raises(gt.UnsupportedModuleError, match=r"^net.gate_net: .* for OtherGates"):
        stages_of(net)
    net = GReLUNetwork(D_IN, 6, 1).double()
    net.gate_net.table = None
    with pytest.raises(gt.UnsupportedModuleError, match=r"^net.gate_net: .* with table replaced on the instance"):
        stages_of(net)


def test_modules_compiled_in_place_compute_the_same():
    net, x = seeded(sequential), samples(4)
    expected = empirical(net, x)
    net.compile(backend="eager")
    net[0].compile(backend="eager")
    assert torch.equal(empirical(net, x), expected)
    assert_equal_kernels(empirical(net, x, method="jacobian"), expected)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_compiled_networks_are_those_that_they_were_made_of(activation):
    net, x = seeded(lambda: sequential(activation=activation)), samples(4)
    expected = empirical(net, x)
    whole = torch.compile(net, backend="eager")
    inside = nn.Sequential(torch.compile(net[:2], backend="eager"), *net[2:])
    for compiled in (whole, inside):
        for method in ("auto", "layerwise", "jacobian"):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert_equal_kernels(empirical(compiled, x, method=method), expected)
    assert (stages_of(whole) == stages_of(net)) if activation is nn.ReLU else uncompiled(whole) is net


def test_a_scripted_network_goes_by_backward_passes():
    net, x = seeded(sequential), samples(4)
    expected = empirical(net, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(net, x)
    with pytest.warns(UserWarning, match="net: torch.func cannot make its Jacobians .*Jitted"):
        assert_equal_kernels(empirical(traced, x, method="jacobian"), expected)


def test_hooks_that_only_look_change_nothing_in_jacobians():
    net, x, seen = seeded(sequential), samples(4), []
    expected = empirical(net, x)
    net[0].weight.register_hook(lambda gradient: seen.append(gradient.shape))
    assert_equal_kernels(empirical(net, x, method="jacobian"), expected)
    assert seen


def test_what_a_class_builds_itself_is_no_alteration():
    for part in (*sequential(), sequential(), MLP(D_IN, 3, 1), GReLUNetwork(D_IN, 3, 1), nn.ParameterList()):
        assert alteration(part) == ""
    assert parameter_alteration(nn.Linear(2, 2, bias=False), "bias") == ""
