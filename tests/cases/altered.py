"""Networks that compute something else than their classes say, each by another means of torch or of Python."""

import copy
import functools

import torch
from cases.kernels import D_IN
from torch import nn
from torch.nn.utils import parametrizations, prune

from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork


def sequential(first=nn.Linear, activation=nn.ReLU):
    return nn.Sequential(first(D_IN, 6), activation(), nn.Linear(6, 2))


class DoublingLinear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class LeakyReLU(nn.ReLU):
    def forward(self, x):
        return super().forward(x) + 0.1 * x


class Linear(nn.Linear):
    """Named like torch's."""

    def forward(self, x):
        return super().forward(x).sin()


class BufferedLinear(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("factor", torch.tensor(3.0))

    def forward(self, x):
        return self.factor * super().forward(x)


class ScaledReLU(nn.ReLU):
    def __call__(self, x):
        return 3 * super().__call__(x)


def altered(change, build=sequential):
    """A builder of networks that `change` was done to."""

    @functools.wraps(change)
    def builder():
        net = build()
        change(net)
        return net

    return builder


def forward_of_a_layer(net):
    old = net[0].forward
    net[0].forward = lambda z: old(2 * z)


def forward_with_captured_parameters(net):
    weight, bias = net[0].weight, net[0].bias
    net[0].forward = lambda z: nn.functional.linear(z, weight, bias).sin()


def forward_of_an_activation(net):
    net[1].forward = torch.tanh


def forward_of_the_network(net):
    old = net.forward
    net.forward = lambda z: old(z).sin()


def call_of_a_layer(net):
    old = net[2]._call_impl
    net[2]._call_impl = lambda z: 2 * old(z)


def own_linear_function(net):
    net[0].weight_norms = net[0].weight.detach().norm(dim=1)
    net[0].forward = lambda z: nn.functional.linear(z, net[0].weight / net[0].weight_norms[:, None], net[0].bias)


def forward_hook(net):
    net[0].register_forward_hook(lambda module, inputs, output: output * output)


def forward_hook_with_keywords(net):
    net[0].register_forward_hook(lambda module, inputs, keywords, output: 2 * output, with_kwargs=True)


def forward_pre_hook(net):
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0].sin(),))


def full_backward_hook(net):
    net[2].register_full_backward_hook(lambda module, into, out: tuple(3 * g for g in into))


def full_backward_pre_hook(net):
    net[2].register_full_backward_pre_hook(lambda module, out: tuple(3 * g for g in out))


def hook_on_a_gradient(net):
    mask = torch.ones_like(net[0].weight).triu()
    net[0].weight.register_hook(lambda gradient: gradient * mask)


def weight_hidden_by_an_attribute(net):
    net[0].__dict__["weight"] = torch.eye(6, D_IN, dtype=torch.float64)


def weight_computed_from_another_parameter(net):
    weight = net[2].weight
    del net[2].weight
    net[2].register_parameter("scale", nn.Parameter(torch.tensor([0.7])))
    net[2].register_parameter("direction", nn.Parameter(weight.detach()))
    net[2].register_forward_pre_hook(lambda module, inputs: setattr(module, "weight", module.scale * module.direction))
    net[2].weight = weight.detach()


def old_spectral_norm(net):
    nn.utils.spectral_norm(net[0])


def weight_norm(net):
    parametrizations.weight_norm(net[0])


def spectral_norm(net):
    parametrizations.spectral_norm(net[0])


def orthogonal(net):
    parametrizations.orthogonal(net[2])


class Positive(nn.Module):
    def forward(self, x):
        return x.exp()


def parametrization(net):
    nn.utils.parametrize.register_parametrization(net[0], "bias", Positive())


def pruning(net):
    prune.l1_unstructured(net[0], "weight", 0.5)


def forward_of_an_mlp(net):
    net.forward = lambda x: MLP.forward(net, x).sin()


def hook_on_a_weight_of_an_mlp(net):
    net.weights[1].register_hook(lambda gradient: 2 * gradient)


def parametrized_mlp(net):
    nn.utils.parametrize.register_parametrization(net.weights, "0", Positive())


def trained_input_weight(net):
    net.input_weight = nn.Parameter(net.input_weight.detach().clone())


def values_of_a_relu_network(net):
    net._values = lambda x: (2 * h for h in ReLUNetwork._values(net, x))


def compiled():
    return torch.compile(sequential(), backend="eager")


def forward_hook_of_all(net):
    net.register_forward_hook(lambda module, inputs, output: 2 * output)


def mlp():
    return MLP(D_IN, 8, 1, 2)


def relu_network():
    return ReLUNetwork(D_IN, 8, 1, 2)


def grelu_network():
    return GReLUNetwork(D_IN, 8, 1, 2, generator=torch.Generator().manual_seed(2))


# Name: (builder, the layerwise kernel's refusal, whether Jacobians take one backward pass each).
ALTERED = {
    "forward of a layer": (altered(forward_of_a_layer), "^0: .* Linear with forward replaced on the instance", False),
    "forward that captures parameters": (altered(forward_with_captured_parameters), "^0: .* with forward", True),
    "forward that divides by a held tensor": (altered(own_linear_function), "^0: .* with forward", False),
    "forward of an activation": (altered(forward_of_an_activation), "^1: .* ReLU with forward", False),
    "forward of the network": (altered(forward_of_the_network), "^net: .* Sequential with forward", False),
    "call of a layer": (altered(call_of_a_layer), "^2: .* with _call_impl replaced", False),
    "forward hook": (altered(forward_hook), "^0: .* Linear with hooks", False),
    "forward hook with keywords": (altered(forward_hook_with_keywords), "^0: .* Linear with hooks", False),
    "forward pre-hook": (altered(forward_pre_hook), "^2: .* Linear with hooks", False),
    "full backward hook": (altered(full_backward_hook), "^2: .* Linear with hooks", True),
    "full backward pre-hook": (altered(full_backward_pre_hook), "^2: .* Linear with hooks", True),
    "hook on a gradient": (altered(hook_on_a_gradient), "^0: .* with a hook on the gradient of weight", True),
    "hidden weight": (altered(weight_hidden_by_an_attribute), "^0: .* with weight replaced on the instance", False),
    "computed weight": (altered(weight_computed_from_another_parameter), "^2: .* Linear with hooks", False),
    "old spectral norm": (altered(old_spectral_norm), "^0: .* Linear with hooks", False),
    "weight norm": (altered(weight_norm), "^0: .* for ParametrizedLinear", False),
    "spectral norm": (altered(spectral_norm), "^0: .* for ParametrizedLinear", False),
    "orthogonal weight": (altered(orthogonal), "^2: .* for ParametrizedLinear", False),
    "parametrized bias": (altered(parametrization), "^0: .* for ParametrizedLinear", False),
    "pruned weight": (altered(pruning), "^0: .* Linear with hooks", False),
    "subclass of Linear": (lambda: sequential(DoublingLinear), "^0: .* for DoublingLinear", False),
    "subclass of Linear with its name": (lambda: sequential(Linear), "^0: .* for Linear", False),
    "subclass of Linear with a buffer": (lambda: sequential(BufferedLinear), "^0: .* for BufferedLinear", False),
    "subclass of ReLU": (lambda: sequential(activation=LeakyReLU), "^1: .* for LeakyReLU", False),
    "subclass of ReLU by its call": (lambda: sequential(activation=ScaledReLU), "^1: .* for ScaledReLU", False),
    "hook on a compiled network": (
        altered(forward_hook_of_all, compiled),
        "^net: .* OptimizedModule with hooks",
        False,
    ),
    "forward of an MLP": (altered(forward_of_an_mlp, mlp), "^net: .* MLP with forward replaced", False),
    "hook on a weight of an MLP": (
        altered(hook_on_a_weight_of_an_mlp, mlp),
        "^net.weights.1: .* hook on the gradient",
        True,
    ),
    "parametrized MLP": (altered(parametrized_mlp, mlp), "^net.weights: .* for ParametrizedParameterList", False),
    "trained input weight": (altered(trained_input_weight, relu_network), "^net: .* input_weight is no buffer", False),
    "trained input weight of a gated network": (
        altered(trained_input_weight, grelu_network),
        "^net: .* input_weight is no buffer",
        False,
    ),
    "values of a ReLU network": (altered(values_of_a_relu_network, relu_network), "^net: .* with _values", False),
}


def state_of(net):
    """Everything that tensors of a network are, by place and bits."""
    return {
        (name, key): (id(tensor), copy.deepcopy(tensor.detach()))
        for name, module in net.named_modules()
        for place in (module._parameters, module._buffers, vars(module))
        for key, tensor in place.items()
        if isinstance(tensor, torch.Tensor)
    }


def assert_same_state(net, before):
    after = state_of(net)
    assert after.keys() == before.keys()
    for key, (place, values) in after.items():
        assert place == before[key][0], key
        assert torch.equal(values, before[key][1]), key
