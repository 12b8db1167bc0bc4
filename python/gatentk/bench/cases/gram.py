"""Gram matrices summed layer by layer, alone and in kernels of networks of finite width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from gatentk import nn, ntk, ops
from gatentk.bench import torch_peers
from gatentk.bench.case import Case, Job, Shape, Work, gaussian, gaussian_samples, random_mask, tensor
from gatentk.bench.process import Request


def _gram_work(case: Case, density: float) -> Work:
    shape = case.shape
    dense = shape.depth * 2 * shape.n**2 * (2 * shape.width + 1)
    moved = case.dtype.itemsize * shape.n * (2 * shape.depth * shape.width + shape.n)
    return Work(dense, dense * density * (shape.n + 1) / (2 * shape.n), moved)


def _gram(case: Case, density: float = 0.5, peers: Mapping[str, Callable[..., Tensor]] = torch_peers.LAYERWISE) -> Job:
    """Gaussian factors under random masks, one for A and Delta of a layer; our side finds the zeros itself."""
    shape = case.shape
    acts: list[Tensor] = []
    deltas: list[Tensor] = []
    for layer in range(shape.depth):
        mask = random_mask(case, density, shape.n, shape.width, seed=layer)
        for factors, seed in ((acts, 100 + layer), (deltas, 200 + layer)):
            factors.append(gaussian(case, shape.n, shape.width, seed=seed).mul_(mask))
    return Job(
        ours=lambda: ops.gram_ntk(acts, deltas),
        work=_gram_work(case, density),
        peers={name: partial(peer, acts, deltas) for name, peer in peers.items()},
    )


def _network(case: Case) -> tuple[nn.MLP, Tensor]:
    shape = case.shape
    generator = torch.Generator().manual_seed(1)
    net = nn.MLP(shape.d, shape.width, shape.depth, generator=generator, dtype=case.dtype)
    return net.to(case.device), gaussian_samples(case)


def _empirical_work(case: Case) -> Work:
    """Forward, backward and Gram products; half of the neurons are on for ReLU and Gaussian weights."""
    shape = case.shape
    widths = [shape.d, *[shape.width] * shape.depth, 1]
    inner = sum(a * b for a, b in pairwise(widths))
    passes = 2 * shape.n * (2 * inner - widths[0] * widths[1])  # no derivative by the samples
    hidden = 2 * shape.n**2 * 2 * shape.width * shape.depth
    ends = 2 * shape.n**2 * (shape.d + 1 + shape.depth + 1)
    half = (shape.n + 1) / (2 * shape.n)
    return Work(passes + hidden + ends, passes + half * (0.5 * hidden + ends))


def _empirical(case: Case) -> Job:
    net, x = _network(case)
    weights = {f"weight{layer}": weight for layer, weight in enumerate(net.weights)}
    return Job(
        ours=lambda: tensor(ntk.empirical(net, x)),
        work=_empirical_work(case),
        request=Request("empirical", {"x": x, **weights}, case.shape.depth),
    )


def _empirical_layerwise(case: Case) -> Job:
    net, x = _network(case)

    def run(peer: Callable[..., Tensor]) -> Tensor:
        with torch.no_grad():
            return peer(*torch_peers.mlp_factors(net, x))

    return Job(
        ours=lambda: tensor(ntk.empirical(net, x)),
        work=_empirical_work(case),
        peers={name: partial(run, peer) for name, peer in torch_peers.LAYERWISE.items()},
    )


_LAYERWISE = "torch, layerwise"
_MASKED = "ops.gram_ntk, masks at 50%"

CASES = (
    Case(
        name="gram-f32",
        family="gram",
        ours=_MASKED,
        peer=_LAYERWISE,
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=torch.float32,
        prepare=_gram,
        at_least=3.5,
        aim=5,
    ),
    Case(
        name="gram-f64",
        family="gram",
        ours=_MASKED,
        peer=_LAYERWISE,
        shape=Shape(n=5000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=torch.float64,
        prepare=_gram,
        at_least=3,
        aim=5,
    ),
    Case(
        name="gram-triangle-f32",
        family="gram",
        ours=_MASKED,
        peer="torch, layerwise, blocks of one triangle",
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=torch.float32,
        prepare=partial(_gram, peers={"triangle blocks": torch_peers.triangle_blocks}),
    ),
    Case(
        name="gram-dense-f32",
        family="gram",
        ours="ops.gram_ntk, no zeros",
        peer=_LAYERWISE,
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=torch.float32,
        prepare=partial(_gram, density=1.0),
    ),
    Case(
        name="empirical-f64",
        family="gram",
        ours="ntk.empirical, ReLU network",
        peer="neural-tangents, jit, the fastest of its implementations that runs",
        shape=Shape(n=500, d=5, width=512, depth=10),
        quick=Shape(n=40, d=5, width=16, depth=3),
        dtype=torch.float64,
        prepare=_empirical,
        at_least=2.5,
        aim=4,
        most_repeats=2,
    ),
    Case(
        name="empirical-2000-f64",
        family="gram",
        ours="ntk.empirical, ReLU network",
        peer="neural-tangents, jit, structured derivatives",
        shape=Shape(n=2000, d=5, width=512, depth=10),
        quick=Shape(n=40, d=5, width=16, depth=3),
        dtype=torch.float64,
        prepare=_empirical,
        at_least=3.5,
        aim=6,
    ),
    Case(
        name="empirical-layerwise-f64",
        family="gram",
        ours="ntk.empirical, ReLU network",
        peer=_LAYERWISE,
        shape=Shape(n=2000, d=5, width=512, depth=10),
        quick=Shape(n=40, d=5, width=16, depth=3),
        dtype=torch.float64,
        prepare=_empirical_layerwise,
    ),
)
