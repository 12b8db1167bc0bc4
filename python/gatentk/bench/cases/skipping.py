"""Networks of torch's own modules that skip the zeros of their ReLUs."""

from __future__ import annotations

from itertools import pairwise

import torch

from gatentk import convert
from gatentk.bench.case import Case, Job, Shape, gaussian_samples
from gatentk.bench.cases.networks import CLASSES, inference, network_work


def _skip_zeros(case: Case) -> Job:
    """Torch's own initialisation: half of the activations are zeros."""
    shape = case.shape
    widths = [shape.d, *[shape.width] * (shape.depth + 1)]
    layers: list[torch.nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for inputs, outputs in pairwise(widths):
            layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(shape.width, CLASSES)).to(case.dtype).eval()
    x = gaussian_samples(case)
    return Job(
        ours=inference(convert.skip_zeros(model), x),
        work=network_work(case, shape.depth),
        peers={"the model itself": inference(model, x)},
    )


CASES = tuple(
    Case(
        name=f"skip-zeros-{width}-f32",
        family="masked_matmul",
        ours="convert.skip_zeros of an nn.Sequential with biases",
        peer="torch, the nn.Sequential itself",
        shape=Shape(n=512, d=784, width=width, depth=4),
        quick=Shape(n=64, d=20, width=520, depth=2),
        dtype=torch.float32,
        prepare=_skip_zeros,
        at_least=at_least,
        aim=aim,
    )
    for width, at_least, aim in ((2048, 1.1, 1.3), (4096, 1.25, 1.5))
)
