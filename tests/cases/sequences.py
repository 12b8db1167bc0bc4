"""ReLU networks as `nn.Sequential`: widths that differ, with biases or without, and what is allowed around them."""

from itertools import pairwise

import torch
from torch import nn

D_IN = 6


def dense(*widths, bias=True):
    """Linear and ReLU in turn, the last without."""
    layers = [part for a, b in pairwise(widths[:-1]) for part in (nn.Linear(a, b, bias), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias))


SEQUENCES = {
    "biases": lambda: dense(D_IN, 30, 50, 20, 3),
    "no biases": lambda: dense(D_IN, 30, 40, 3, bias=False),
    "one layer": lambda: dense(D_IN, 30, 3),
    "wide end": lambda: nn.Sequential(nn.Linear(D_IN, 30), nn.ReLU(), nn.Linear(30, 40), nn.ReLU(inplace=True)),
    "bottleneck": lambda: nn.Sequential(
        nn.Linear(D_IN, 30), nn.ReLU(), nn.Linear(30, 4), nn.Linear(4, 40), nn.ReLU(), nn.Linear(40, 3)
    ),
    "linear start": lambda: nn.Sequential(nn.Linear(D_IN, 9), nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 3)),
    "nested": lambda: nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(D_IN, 30), nn.Identity(), nn.ReLU(), nn.Dropout(0.3)),
        nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Dropout()),
        nn.Linear(20, 3, bias=False),
    ),
}


def sequence(name, dtype=torch.float64, train=False):
    torch.manual_seed(1)
    return SEQUENCES[name]().to(dtype).train(train)


def perturbed(net):
    """A network whose weights are no longer those that its gates came from."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)), alpha=0.1)
    return net


def samples(n, dtype=torch.float64, seed=0):
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plain_gates(model, x):
    """The signs of what goes into each ReLU, by the modules themselves."""
    gates, z = [], x
    for part in model.modules():
        if list(part.children()):
            continue
        if isinstance(part, nn.ReLU):
            gates.append(z > 0)
            z = z.relu()
        elif not isinstance(part, nn.Dropout):
            z = part(z)
    return gates


def plain_gated(model, x, gates):
    """Outputs of the modules with gates in the place of the ReLUs, without Dropout."""
    found, t = iter(gates), x
    for part in model.modules():
        if list(part.children()) or isinstance(part, nn.Dropout):
            continue
        t = torch.where(next(found), t, 0) if isinstance(part, nn.ReLU) else part(t)
    return t
