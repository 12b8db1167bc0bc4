"""Which networks are converted: accurate enough for what a conversion promises, and computing what their class does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gatentk import ops
from gatentk.checks import FLOATS
from gatentk.convert.predicted_gates import gate_activations
from gatentk.errors import UnsupportedModuleError
from gatentk.gates import GateLayer, GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.ntk.alterations import alteration
from gatentk.ntk.calls import as_not_compiled

COMPARED = 64  # samples whose outputs are compared, so that it costs little beside any conversion


def check_precise(name: str, net: GReLUNetwork | ReLUNetwork) -> None:
    """Refuse a network whose weights are not float32 or float64, or not as many as its depth."""
    dtype = net.input_weight.dtype
    if dtype not in FLOATS:
        raise TypeError(f"{name}: expected a network in float32 or float64, got {dtype}; use {name}.float()")
    if len(net.weights) != net.depth:
        raise ValueError(f"{name}.weights: expected {net.depth}, the depth of the network, got {len(net.weights)}")


def check_as_built(
    name: str,
    net: GReLUNetwork | ReLUNetwork,
    x: Tensor,
    gates: GateTable | None = None,
    layers: Sequence[GateLayer] | None = None,
) -> None:
    """Refuse a network that computes something else than its matrices say, by hooks, replaced methods or a subclass.

    Conversions read the matrices. What is compared are outputs, so that hooks which only look are no reason.

    Args:
        name: of the network in a message.
        net: the network.
        x: checked samples; the first ones are taken.
        gates: for a call of a GReLU network.
        layers: gates of x for what its matrices give, layer by layer; those of its gate network if left out.
    """
    rows = x[:COMPARED]
    taken = None if layers is None else [GateLayer(layer.bits[:COMPARED], net.width, layer.block) for layer in layers]
    keywords = {} if gates is None else {"gates": gates[:COMPARED]}
    with as_not_compiled(net):
        found = net(rows.clone(), **keywords)
    last = _grelu_values(net, rows, taken) if isinstance(net, GReLUNetwork) else _relu_values(net, rows)
    expected = ops.masked_linear(last, net.output_weight, method=net.method)
    if not bool(torch.isfinite(expected).all()):
        return  # a network that diverged: products that skip and those that do not differ in what is not finite
    # What the last product adds up, before anything cancels.
    scale = float((last.abs() @ net.output_weight.abs().mT).max())
    tolerance = torch.finfo(rows.dtype).eps ** 0.5 * scale
    fits = isinstance(found, Tensor) and found.shape == expected.shape and found.dtype == expected.dtype
    if not (fits and torch.allclose(found, expected, rtol=0.0, atol=tolerance)):
        changed = alteration(net) or (alteration(net.gate_net) if isinstance(net, GReLUNetwork) else "")
        raise UnsupportedModuleError(
            f"{name}: {type(net).__name__}{changed} gives other outputs than its matrices do, so something replaces "
            "what they compute; convert the network without that"
        )


def _grelu_values(net: GReLUNetwork, x: Tensor, layers: Sequence[GateLayer] | None) -> Tensor:
    """t_depth, by the matrices of the network."""
    if layers is None:
        bits = [ops.pack_bits(z > 0) for z in gate_activations(net, x)]
        layers = [GateLayer(layer, net.width, net.gate_net.block) for layer in bits]
    t = ops.masked_linear(x, net.input_weight, None, layers[0], net.method)
    for k, weight in enumerate(net.weights):
        t = ops.masked_linear(t, weight, layers[k], layers[k + 1], net.method)
    return t


def _relu_values(net: ReLUNetwork, x: Tensor) -> Tensor:
    """What B is applied to, by the matrices of the network."""
    h = ops.masked_linear(x, net.input_weight, method=net.method)
    for weight in net.weights:
        h = ops.masked_linear(torch.relu(h), weight, method=net.method)
    return torch.relu(h) if net.last_relu else h
