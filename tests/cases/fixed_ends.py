"""Networks with fixed ends, and their patterns and products by the definitions of [G]."""

import torch
from torch.autograd.functional import jacobian

from gatentk.nn import GReLUNetwork, ReLUNetwork

N, D, WIDTH, DEPTH, OUTPUTS = 7, 4, 12, 3, 2


KINDS = ("grelu", "relu", "relu without the last")


def network(kind, seed=0, width=WIDTH, d=D, outputs=OUTPUTS, depth=DEPTH):
    generator = torch.Generator().manual_seed(seed)
    if kind == "grelu":
        return GReLUNetwork(d, width, depth, outputs, generator=generator, dtype=torch.float64)
    last_relu = kind == "relu"
    return ReLUNetwork(d, width, depth, outputs, last_relu=last_relu, generator=generator, dtype=torch.float64)


def samples(n=N, d=D, outputs=OUTPUTS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return x, torch.randn(n, outputs, generator=generator, dtype=torch.float64)


def masks(net, x):
    """D_0 .. D_L, (L + 1, n, width), by the definitions of [G], Sec. 2."""
    if isinstance(net, GReLUNetwork):
        z, found = torch.relu(x @ net.input_weight.T), []
        found.append(z > 0)
        for psi in net.gate_net.weights:
            z = torch.relu(z @ psi.T)
            found.append(z > 0)
        return torch.stack(found).double()
    h, found = x @ net.input_weight.T, []
    for weight in net.weights:
        found.append((h > 0).double())
        h = (found[-1] * h) @ weight.T
    found.append((h > 0).double() if net.last_relu else torch.ones_like(h))
    return torch.stack(found).detach()


def products(net, mask):
    """G_0 .. G_L and F_1 .. F_{L+1} of one sample with patterns mask (L + 1, width)."""
    W = [w.detach() for w in net.weights]
    diagonal = [torch.diag(row) for row in mask]
    G = [diagonal[0] @ net.input_weight]
    for k, weight in enumerate(W, 1):
        G.append(diagonal[k] @ weight @ G[-1])
    F = []
    for k in range(len(mask)):
        product = torch.eye(net.width, dtype=torch.float64)
        for layer in range(k + 1, len(mask)):
            product = diagonal[layer] @ W[layer - 1] @ product
        F.append(net.output_weight @ product @ diagonal[k])
    return G, F


def moved(net, size=0.1, seed=5):
    """The same network a little further on."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.weights:
            weight += size * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return net


def full_jacobian(net, x):
    """(n d_out, parameters) by automatic differentiation."""
    names = [name for name, _ in net.named_parameters()]

    def outputs(*weights):
        return torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (x,)).flatten()

    parts = jacobian(outputs, tuple(p.detach() for p in net.parameters()))
    return torch.cat([part.flatten(1) for part in parts], dim=1)
