"""Networks by seed, and their kernels from one backward pass an output."""

import torch
from torch import nn

from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork

D_IN = 5


def samples(n, seed=0, dtype=torch.float64):
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def jacobians(net, x):
    """(n, d_y, size) for each trained parameter, one backward pass an output."""
    trained = [p for p in net.parameters() if p.requires_grad]
    rows = [
        [
            torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True)
            for value in net(sample[None].clone())[0]
        ]
        for sample in x
    ]
    return [
        torch.stack([torch.stack([zero_for_none(g[i], p).flatten() for g in sample]) for sample in rows])
        for i, p in enumerate(trained)
    ]


def zero_for_none(gradient, parameter):
    return torch.zeros_like(parameter) if gradient is None else gradient


def brute_force(net, x, z=None):
    """(parameters, n, d_y, n_z, d_y)."""
    left = jacobians(net, x)
    right = left if z is None else jacobians(net, z)
    return torch.stack([torch.einsum("npk,mqk->npmq", a, b) for a, b in zip(left, right, strict=True)])


def reduced(full, outputs):
    """The form of `outputs` from (..., n, d_y, n_z, d_y)."""
    if outputs == "full":
        return full
    each = full.diagonal(dim1=-3, dim2=-1).movedim(-1, -3)  # (..., d_y, n, n_z)
    if outputs == "diag":
        return each
    return each.sum(-3) if outputs == "trace" else each[..., outputs, :, :]


def assert_equal_kernels(result, expected, tolerance=1e-10):
    assert result.shape == expected.shape
    assert float((result - expected).abs().max()) <= tolerance * float(expected.abs().max())


def seeded(build):
    """The module with double weights that do not depend on the order of tests."""
    net = build().double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return net


def shared_layer():
    layer = nn.Linear(D_IN, D_IN)
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(D_IN, 2))


def shared_block():
    block = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU())
    return nn.Sequential(block, block, nn.Linear(D_IN, 1, bias=False))


def tied_weights():
    net = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, 2))
    net[2].weight = net[0].weight
    return net


def tied_biases():
    net = nn.Sequential(nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, D_IN), nn.ReLU(), nn.Linear(D_IN, 2))
    net[2].bias = net[0].bias
    return net


def frozen(*indices_and_names):
    def build():
        net = nn.Sequential(nn.Linear(D_IN, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 2))
        for index, name in indices_and_names:
            getattr(net[index], name).requires_grad_(False)
        return net

    return build


def fixed_ends(kind, width, depth, *frozen_layers, **options):
    """A network of [G]; its gates are those of float32 weights also when the rest is float64."""

    def build():
        net = kind(D_IN, width, depth, 2, generator=torch.Generator().manual_seed(2), **options)
        for layer in frozen_layers:
            net.weights[layer].requires_grad_(False)
        return net

    return build


NETWORKS = {
    "one layer": lambda: nn.Sequential(nn.Linear(D_IN, 3)),
    "two layers": lambda: nn.Sequential(nn.Linear(D_IN, 9), nn.ReLU(), nn.Linear(9, 3)),
    "no bias": lambda: nn.Sequential(nn.Linear(D_IN, 9, bias=False), nn.ReLU(), nn.Linear(9, 2, bias=False)),
    "mixed bias": lambda: nn.Sequential(nn.Linear(D_IN, 9, bias=False), nn.ReLU(), nn.Linear(9, 4), nn.ReLU()),
    "nested": lambda: nn.Sequential(
        nn.Sequential(nn.Linear(D_IN, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 7))), nn.ReLU(), nn.Linear(7, 2)
    ),
    "consecutive linear": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)),
    "leading relu": lambda: nn.Sequential(nn.ReLU(), nn.Linear(D_IN, 6), nn.ReLU(), nn.Linear(6, 2)),
    "trailing relu": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(), nn.Linear(6, 3), nn.ReLU()),
    "double relu": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, 2)),
    "relu in place": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.ReLU(inplace=True), nn.Linear(6, 2)),
    "identity": lambda: nn.Sequential(nn.Identity(), nn.Linear(D_IN, 6), nn.Identity(), nn.ReLU(), nn.Linear(6, 2)),
    "shared layer": shared_layer,
    "shared block": shared_block,
    "tied weights": tied_weights,
    "tied biases": tied_biases,
    "frozen first layer": frozen((0, "weight"), (0, "bias")),
    "frozen bias": frozen((2, "bias")),
    "frozen weight beside its bias": frozen((0, "weight"), (2, "weight")),
    "only the last weight": frozen((0, "weight"), (0, "bias"), (2, "weight"), (2, "bias"), (4, "bias")),
}
for kind in (GReLUNetwork, ReLUNetwork):
    for depth in (1, 2, 4):
        NETWORKS[f"{kind.__name__} of depth {depth}"] = fixed_ends(kind, 9, depth)
    NETWORKS[f"wide {kind.__name__}"] = fixed_ends(kind, 150, 2)
    NETWORKS[f"{kind.__name__} with frozen ends"] = fixed_ends(kind, 9, 4, 0, 3)
    NETWORKS[f"{kind.__name__} with a frozen middle"] = fixed_ends(kind, 9, 3, 1)


def gated(width, depth, **kind):
    """A gated network with gates of another kind than the paper's."""

    def build():
        generator = torch.Generator().manual_seed(2)
        gates = GateNetwork(D_IN, width, depth, generator, torch.float64, **kind)
        return GReLUNetwork(D_IN, width, depth, 2, gates, generator, torch.float64)

    return build


NETWORKS["GReLUNetwork with blocks"] = gated(23, 3, block=4)
NETWORKS["GReLUNetwork with shallow centred blocks"] = gated(
    150, 2, block=64, kind="shallow", center=torch.full((D_IN,), 0.3)
)
NETWORKS["ReLUNetwork without last relu"] = fixed_ends(ReLUNetwork, 9, 2, last_relu=False)
for activation in ("relu", "linear"):
    for depth in range(5):
        NETWORKS[f"{activation} MLP of depth {depth}"] = lambda a=activation, k=depth: MLP(D_IN, 8, k, 2, a)


class Residual(nn.Module):
    """Convolution, normalisation and a skip connection: no layerwise rule."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(1, 2, 3, padding=1)
        self.norm = nn.LayerNorm(2 * D_IN)
        self.head = nn.Linear(2 * D_IN, 3)

    def forward(self, x):
        y = torch.tanh(self.convolution(x.unsqueeze(1))).flatten(1)
        return self.head(y + self.norm(y))


OTHER = {
    "residual": Residual,
    "tanh": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.Tanh(), nn.Linear(6, 2)),
    "normalised": lambda: nn.Sequential(nn.Linear(D_IN, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)),
}


class Recurrent(nn.Module):
    """Of which no layer has a rule."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(D_IN, 3)

    def forward(self, x):
        return self.cell(x)


def hooked(which):
    net = nn.Sequential(nn.Linear(D_IN, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 1)))
    part = {"net": net, "0": net[0], "2": net[2], "2.0": net[2][0]}[which]
    part.register_forward_hook(lambda module, inputs, output: 2 * output)
    return net
