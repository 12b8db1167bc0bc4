"""Networks to convert, their values in plain torch, and what their gate networks read."""

import torch
from cases.tables import neurons

from gatentk.gates import GateNetwork
from gatentk.nn import GReLUNetwork, ReLUNetwork

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}


def grelu(d, m, depth, generator, dtype=torch.float64, d_out=3):
    return GReLUNetwork(d, m, depth, d_out, generator=generator, dtype=dtype)


def samples(n, d, generator, dtype=torch.float64):
    return torch.randn(n, d, generator=generator, dtype=dtype)


def plain_gates(net, x):
    """D_0 .. D_L as bools (n, width), by plain products in float64."""
    gate_net = net.gate_net
    x = x.double() if gate_net.center is None else x.double() - gate_net.center.double()
    z, gates = x, []
    for weight in (gate_net.input_weight, *gate_net.weights):
        z = ((x if gate_net.kind == "shallow" else z) @ weight.double().T).relu()
        gates.append(neurons(z > 0, net.width, gate_net.block))
    return gates


# Other gates than those of the paper: of blocks, shallow, of centred samples.
GATE_KINDS = [
    {"block": 9},
    {"kind": "shallow"},
    {"block": 16, "kind": "shallow", "center": True},
]


def grelu_of_kind(options, d, m, depth, generator, dtype=torch.float64):
    """A network with gates of a kind, and a center of halves where one is asked for."""
    center = torch.full((d,), 0.5) if options.get("center") else None
    gates = GateNetwork(d, m, depth, generator, dtype, **{**options, "center": center})
    return GReLUNetwork(d, m, depth, 3, gates, generator, dtype)


def plain_grelu(net, x):
    """t_0 .. t_L in float64."""
    gates = plain_gates(net, x)
    t = [gates[0] * (x.double() @ net.input_weight.double().T)]
    for gate, weight in zip(gates[1:], net.weights, strict=True):
        t.append(gate * (t[-1] @ weight.detach().double().T))
    return t


def plain_relu(net, x):
    """h_0 .. h_L in float64."""
    h = [x.double() @ net.input_weight.double().T]
    for weight in net.weights:
        h.append(h[-1].relu() @ weight.detach().double().T)
    return h


def relative(a, b):
    return float((a - b).norm() / b.norm())


def network(kind, d, m, depth, generator, dtype=torch.float64, last_relu=True):
    if kind == "grelu":
        return grelu(d, m, depth, generator, dtype)
    return ReLUNetwork(d, m, depth, 3, last_relu, generator, dtype)


def gate_inputs(net, x):
    """Psi_k and the z_{k-1} it is applied to, layer by layer, in plain float64."""
    if isinstance(net, GReLUNetwork):
        c, psi = net.gate_net.input_weight, net.gate_net.weights
    else:
        c, psi = net.input_weight, list(net.weights)
    z, pairs = (x @ c.T).relu(), []
    for weight in psi:
        pairs.append((weight.detach(), z))
        z = (z @ weight.detach().T).relu()
    return pairs
