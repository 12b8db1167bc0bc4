"""Networks of every kind of gates to deploy, and samples whose gates are clear of rounding."""

from collections import OrderedDict
from functools import partial

import torch
from cases.sequences import dense, perturbed
from torch import nn

from gatentk.gates import GateNetwork
from gatentk.nn import MLP, GatedLinear, GReLUNetwork, GReLUSequential, ReLUNetwork
from gatentk.nn.skipping import SkippingLinear

D_IN, WIDTH, DEPTH, D_OUT = 7, 70, 2, 3

# Blocks that divide the width and one that does not.
FORMS = {
    "deep": {},
    "deep, centred": {"center": torch.full((D_IN,), 0.5)},
    "deep, blocks": {"block": 10},
    "shallow": {"kind": "shallow"},
    "shallow, ragged blocks, centred": {"kind": "shallow", "block": 16, "center": torch.linspace(-1, 1, D_IN)},
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gated(form, dtype=torch.float64, gate_dtype=None, **options):
    """A GReLU network with gates of a form."""
    gates = GateNetwork(D_IN, WIDTH, DEPTH, generator(), gate_dtype or dtype, **FORMS[form])
    return GReLUNetwork(D_IN, WIDTH, DEPTH, D_OUT, gates, generator(1), dtype, **options)


def samples(n=20, dtype=torch.float64, seed=2):
    return torch.randn(n, D_IN, generator=generator(seed), dtype=dtype)


def clear_samples(plain_gates, n=20, dtype=torch.float32):
    """Samples none of whose gates has a sum within rounding of zero, by the sums of `PlainGateNetwork`.

    Which gate is on is then the same for every order of additions.
    """
    x = samples(4 * n, dtype)
    sums, z = [], x.double() - (0 if plain_gates.center is None else plain_gates.center.double())
    first = z
    for k in range(plain_gates.depth + 1):
        weight = plain_gates.get_buffer(f"psi_{k}" if k else "input_weight").double()
        z = (z.relu() if k and plain_gates.kind == "deep" else first) @ weight.T
        sums.append(z)
    clear = torch.stack([z.abs().amin(1) for z in sums]).amin(0) > 1e4 * torch.finfo(dtype).eps
    assert clear.sum() >= n
    return x[clear][:n]


def saved_networks():
    """A builder of each class and form of networks that have files."""
    sizes = D_IN, WIDTH, DEPTH, D_OUT
    found = {f"grelu, {form}": partial(gated, form) for form in FORMS}
    found["grelu with ends"] = partial(gated, "shallow", torch.float32, train_ends=True)
    found["grelu in bfloat16"] = lambda: gated("deep, blocks", torch.float32).bfloat16()
    found["grelu with wider gates"] = partial(gated, "shallow", torch.float32, torch.float64)
    found["mlp"] = lambda: MLP(*sizes, generator=generator())
    found["linear mlp"] = lambda: MLP(*sizes, "linear", generator(), torch.float64)
    found["mlp of depth 0"] = lambda: MLP(D_IN, WIDTH, 0, generator=generator())
    found["relu"] = lambda: with_method(ReLUNetwork(*sizes, generator=generator()), "masked")
    found["relu without the last"] = lambda: ReLUNetwork(*sizes, False, generator(), torch.float64, train_ends=True)
    found["layer"] = lambda: GatedLinear(D_IN, WIDTH, generator=generator())
    found["deep layer of other features"] = lambda: GatedLinear(
        D_IN, WIDTH, False, 16, "deep", torch.ones(5), 5, generator(), torch.float64
    )
    for name, layers in SEQUENCES_OF_LAYERS.items():
        found[f"sequence, {name}"] = partial(gated_sequence, layers)
    found["sequence in bfloat16"] = lambda: gated_sequence(SEQUENCES_OF_LAYERS["biases"], torch.float32).bfloat16()
    found["sequence with wider gates"] = lambda: gated_sequence(SEQUENCES_OF_LAYERS["no biases"]).float()
    return found


def with_dropout_and_names():
    """A sequence of what may stand around layers, one Dropout of which is off."""
    first = OrderedDict(fc=nn.Linear(D_IN, 30, bias=False), same=nn.Identity(), act=nn.ReLU(inplace=True))
    second = nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Dropout(0.25, inplace=True).eval(), nn.Sequential())
    return nn.Sequential(nn.Flatten(), nn.Sequential(first), second, nn.Linear(20, D_OUT), nn.Dropout(0).train())


SEQUENCES_OF_LAYERS = {
    "biases": lambda: dense(D_IN, 30, 50, 20, D_OUT),
    "no biases": lambda: dense(D_IN, 30, 40, D_OUT, bias=False),
    "linear ends": lambda: nn.Sequential(
        nn.Linear(D_IN, 9), nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 4), nn.Linear(4, D_OUT)
    ),
    "no gates": lambda: dense(D_IN, D_OUT),
    "dropout and names": with_dropout_and_names,
    "a layer that skips": lambda: nn.Sequential(
        nn.Linear(D_IN, 30), nn.ReLU(), with_method(SkippingLinear(30, 20), "dense"), nn.ReLU(), nn.Linear(20, 3)
    ),
}


def gated_sequence(layers, dtype=torch.float64):
    """A trained `GReLUSequential` whose gates are of other weights than its layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = perturbed(GReLUSequential(layers().to(dtype)))
    return with_method(net, "masked")


def with_method(net, method):
    net.method = method
    return net
