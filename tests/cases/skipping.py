"""Networks whose Linear layers are fed by ReLUs, or are not, and which of them are to skip zeros."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

WIDTH = 520  # layers of 512 neurons and more are worth a look for zeros


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Network(nn.Module):
    """Two layers with something between them that a function says."""

    def __init__(self, between):
        super().__init__()
        self.first, self.second = nn.Linear(6, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self.first(x)))


class InPlace(Network):
    """What is read is what was written, not what was returned."""

    def forward(self, x):
        h = self.first(x)
        self.between(h)
        return self.second(h)


class Shared(nn.Module):
    """One layer for what comes from a ReLU and for what does not."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = nn.Linear(6, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.shared(self.shared(self.first(x)).relu())


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        h = self.first(x)
        return self.third(h + self.second(h.relu()).relu())


class Nested(nn.Module):
    """Modules in modules, options with defaults, a layer that is never called, and conditions on the mode."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(w, WIDTH), nn.ReLU()) for w in (6, WIDTH))
        self.heads = nn.ModuleDict({"a": nn.Linear(WIDTH, 3), "b": nn.Linear(WIDTH, 3)})
        self.unused = nn.Linear(2, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x, scale=1.0, features=False, head=None):
        self.calls += 1
        for block in self.blocks:
            x = block(x)
        if self.training:
            x = functional.dropout(x, 0.5, self.training)
        if features:
            return x
        return scale * self.heads["a" if head is None else head](x.reshape(-1, WIDTH))


def sequential(*between):
    return nn.Sequential(nn.Linear(6, WIDTH), *between, nn.Linear(WIDTH, WIDTH))


def tied():
    net = sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    net[4].weight = net[2].weight
    return net


def parametrized():
    net = sequential(nn.ReLU())
    parametrizations.weight_norm(net[2])
    return net


@dataclass(frozen=True)
class Built:
    build: object
    skipping: tuple[str, ...]


NETWORKS = {
    "ReLU": Built(lambda: sequential(nn.ReLU()), ("2",)),
    "in place": Built(lambda: sequential(nn.ReLU(inplace=True)), ("2",)),
    "Identity": Built(lambda: sequential(nn.Identity(), nn.ReLU(), nn.Identity()), ("4",)),
    "Flatten": Built(lambda: sequential(nn.Unflatten(1, (4, -1)), nn.ReLU(), nn.Flatten()), ("4",)),
    "Dropout": Built(lambda: sequential(nn.ReLU(), nn.Dropout()), ("3",)),
    "torch.relu": Built(lambda: Network(torch.relu), ("second",)),
    "torch.relu_": Built(lambda: Network(torch.relu_), ("second",)),
    "functional": Built(lambda: Network(functional.relu), ("second",)),
    "functional in place": Built(lambda: Network(lambda h: functional.relu(h, True)), ("second",)),
    "method": Built(lambda: Network(lambda h: h.relu().view(h.shape[0], -1).contiguous()), ("second",)),
    "functional dropout": Built(lambda: Network(lambda h: functional.dropout(h.relu(), 0.5, False)), ("second",)),
    "written": Built(lambda: InPlace(torch.relu_), ("second",)),
    "written by the function": Built(lambda: InPlace(lambda h: functional.relu(h, inplace=True)), ("second",)),
    "written by the module": Built(lambda: InPlace(nn.ReLU(inplace=True)), ("second",)),
    "shared": Built(Shared, ("shared",)),
    "tied": Built(tied, ("2", "4")),
    "residual": Built(Residual, ("second",)),
    "nested": Built(Nested, ("blocks.1.0", "heads.a")),
    "parametrized": Built(parametrized, ("2",)),
}

# Nothing to skip, or nothing that is known for sure.
WITHOUT_ZEROS = {
    "LeakyReLU": lambda: sequential(nn.LeakyReLU()),
    "GELU": lambda: sequential(nn.GELU()),
    "LayerNorm": lambda: sequential(nn.ReLU(), nn.LayerNorm(WIDTH)),
    "AlphaDropout": lambda: sequential(nn.ReLU(), nn.AlphaDropout()),
    "sum": lambda: Network(lambda h: h.relu() + h),
    "product": lambda: Network(lambda h: h.relu().exp()),
    "no activation": lambda: sequential(),
    "only a layer": lambda: nn.Linear(6, 6),
    "copy of a ReLU": lambda: InPlace(torch.relu),
}
