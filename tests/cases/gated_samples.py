"""Samples and random networks that tests of kernels between gates share."""

import torch

from gatentk.gates import GateNetwork
from gatentk.nn import GReLUNetwork


def samples(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hard_samples():
    """Norms from 0.1 to 10, a pair 1e-9 apart, one of equal direction, one opposite, one orthogonal."""
    x = samples(7, 3) * torch.tensor([0.1, 1, 10, 1, 3, 0.5, 1], dtype=torch.float64).unsqueeze(-1)
    x[3] = x[1] + 1e-9 * samples(1, 3, seed=1)
    x[4] = 2 * x[2]
    x[5] = -x[0]
    x[6] = torch.linalg.cross(x[0], x[1])
    return x


def gates_of(kind, center=None, d=3):
    """A gate network of that kind, as the argument of a kernel."""
    return GateNetwork(d, 2, 0, kind=kind, center=center, block=2, dtype=torch.float64)


def random_network(x, width, depth, seed, **gates):
    """A network with three outputs, gates of its own, and all its weights drawn from one seed."""
    generator = torch.Generator().manual_seed(seed)
    gate_net = GateNetwork(x.shape[1], width, depth, generator, torch.float64, **gates)
    return GReLUNetwork(x.shape[1], width, depth, 3, gate_net, generator, torch.float64)


def measured(net, x):
    """The mean kernel of its outputs by trained matrix, in units of m^2/(d_x d_y), by plain torch ([G, Eq. 9-10])."""
    gates = net.gate_table(x).expand().to_bool().double()
    weights = [w.detach() for w in net.weights]
    t = [gates[0] * (x @ net.input_weight.T)]
    for gate, weight in zip(gates[1:-1], weights[:-1], strict=True):
        t.append(gate * (t[-1] @ weight.T))
    back = [net.output_weight.expand(len(x), *net.output_weight.shape) * gates[-1].unsqueeze(1)]
    for gate, weight in zip(gates[1:-1].flip(0), weights[:0:-1], strict=True):
        back.insert(0, gate.unsqueeze(1) * (back[0] @ weight))
    parts = [(a @ a.T) * torch.einsum("ipk,jpk->ij", b, b) for a, b in zip(t, back, strict=True)]
    m, d_x = net.input_weight.shape
    return torch.stack(parts) * (d_x / m**2)


def within_standard_errors(draws, expected, count=4):
    """Whether the mean of independent draws is the expectation, as far as they can tell."""
    error = draws.std(0) / len(draws) ** 0.5
    return bool(((draws.mean(0) - expected).abs() <= count * error).all())
