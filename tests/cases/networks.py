"""The networks of [G] by seed, their samples, and their values in plain torch."""

import pytest
import torch

from gatentk import reference
from gatentk.nn import GReLUNetwork, ReLUNetwork

KINDS = pytest.mark.parametrize("kind", [GReLUNetwork, ReLUNetwork])


def build(kind, d_in=7, width=70, depth=3, d_out=2, seed=0, **options):
    return kind(d_in, width, depth, d_out, generator=torch.Generator().manual_seed(seed), **options)


def rows(n, d_in=7, seed=1, dtype=torch.float32):
    return torch.randn(n, d_in, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gates_in_plain_torch(net, x):
    """z_0 = relu(C x), z_k = relu(Psi_k z_{k-1}), D_k = [z_k > 0]."""
    z, gates = torch.relu(x @ net.gate_net.input_weight.T), []
    for psi in (*net.gate_net.weights, None):
        gates.append(z > 0)
        z = z if psi is None else torch.relu(z @ psi.T)
    return gates


def plain(net, x):
    """Output and intermediate values of either network in plain torch."""
    if isinstance(net, GReLUNetwork):
        gates = gates_in_plain_torch(net, x)
        ends = net.input_weight, net.output_weight
        values = [gates[0] * (x @ net.input_weight.T)]
        for gate, weight in zip(gates[1:], net.weights, strict=True):
            values.append(gate * (values[-1] @ weight.T))
        return reference.grelu_network(x, gates, list(net.weights), *ends), values
    values = [x @ net.input_weight.T]
    for weight in net.weights:
        values.append(torch.relu(values[-1]) @ weight.T)
    last = torch.relu(values[-1]) if net.last_relu else values[-1]
    return last @ net.output_weight.T, values
