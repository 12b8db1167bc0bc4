"""Estimates of memory: what is known exactly, and the peak that was measured."""

import pytest
import torch
from cases.peaks import peak_ratio

from gatentk import nn
from gatentk.ntk.memory import Footprint, Term, layerwise_memory, mlp_memory


@pytest.mark.parametrize("sizes", [(3, 7, 0, 1), (3, 7, 1, 2), (5, 16, 4, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_weights_are_counted_exactly(sizes, dtype):
    d_in, width, depth, d_out = sizes
    weights = nn.MLP(d_in, width, depth, d_out, dtype=dtype).weights
    assert mlp_memory(d_in, width, depth, dtype.itemsize, d_out) == sum(w.nbytes for w in weights)


def test_a_kernel_needs_more_than_its_activations_and_itself():
    n, width, depth = 300, 500, 3
    assert layerwise_memory(n, width, depth, 8) > 8 * (2 * depth * n * width + n * n)
    assert layerwise_memory(n, width, depth, 8, outputs=10) > 8 * 11 * depth * n * width


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "width", "depth", "outputs"),
    [
        (50, 4000, 4, 1),
        (1000, 2000, 2, 1),
        (2000, 500, 8, 1),
        (100, 400_000, 1, 1),
        (4000, 16, 4, 1),
        (128, 1500, 2, 10),
    ],
    ids=str,
)
def test_the_estimate_is_within_a_factor_of_the_peak(n, width, depth, outputs):
    code = f"""
from gatentk import nn, ntk
from gatentk.ntk.memory import layerwise_memory
x = torch.randn({n}, 64, dtype=torch.float64)
net = nn.MLP(64, {width}, {depth}, {outputs}, dtype=x.dtype)
estimate = layerwise_memory({n}, {width}, {depth}, 8, {outputs})
run = lambda: ntk.empirical(net, x)
"""
    assert 1 / 1.5 < peak_ratio(code) < 1.5


def test_chunks_are_as_large_as_the_limit_lets_them_be():
    parts = Footprint(8, 10**9, 10**9, 500, 400, 300, (Term(0, 300, 1),), 8)
    for rows, columns in ((1000, 0), (1000, 50), (50, 1000)):
        for limit in (10**4, 10**5, 10**6, 10**9):
            chunk = parts.chunk(rows, columns, limit)

            def peak(count, rows=rows, columns=columns):
                alone = count >= rows and not columns
                return parts.of_samples(min(count, rows), 0 if alone else min(count, columns or rows))

            assert peak(chunk) <= limit if chunk else peak(1) > limit
            assert chunk == max(rows, columns) or peak(chunk + 1) > limit


# Of networks by their layers: what is said before, in a process of its own, against the peak that was measured.

MEASURED = """
from torch import nn
from gatentk.ntk import captured
from gatentk.ntk.outputs import chosen_outputs


class Attention(nn.Module):
    def __init__(self, width, outputs):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.last = nn.Linear(width, outputs)

    def forward(self, x):
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return self.last((x + self.out(torch.softmax(q @ k.mT, -1) @ v)).mean(1))


def chain(width, outputs):
    return nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs))


def convolutions(width, outputs):
    first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, stride=2), nn.ReLU())
    return nn.Sequential(*first, nn.Flatten(), nn.Linear(25 * width, outputs))


kind, n, width, outputs, limit, layout = {settings}
build, shape = {{
    "chain": (chain, (64,)), "convolutions": (convolutions, (3, 12, 12)), "attention": (Attention, (16, width)),
}}[kind]
net, x = build(width, outputs).double(), torch.randn(n, *shape, dtype=torch.float64)
run = lambda: gt.ntk.empirical(net, x, outputs=layout, method="layerwise", memory_limit=limit)
gt.ntk.empirical(net, x[:4], outputs=layout, method="layerwise")
with torch.no_grad():
    parts = captured._check_gradients(net, captured._layers_of(net), x[:3], chosen_outputs(layout, outputs, x))
chunk = parts.chunk(n, 0, limit)
result = n * n * 8 * {{"trace": 1, "diag": outputs, "full": outputs**2}}[layout]
estimate = parts.peak(chunk, 0 if chunk >= n else chunk) + result
"""


def test_what_layers_take_is_known_before():
    assert 1 / 1.5 < peak_ratio(MEASURED.format(settings=("convolutions", 200, 32, 1, 1 << 40, "trace"))) < 1.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ("chain", 2000, 1000, 1, 1 << 40, "trace"),
        ("chain", 300, 3000, 1, 1 << 40, "trace"),
        ("chain", 600, 500, 10, 1 << 40, "trace"),
        ("chain", 3000, 1000, 1, 100 << 20, "trace"),
        ("chain", 500, 500, 8, 1 << 40, "diag"),
        ("chain", 300, 500, 6, 1 << 40, "full"),
        ("convolutions", 1000, 16, 3, 1 << 40, "trace"),
        ("convolutions", 1000, 32, 1, 200 << 20, "trace"),
        ("attention", 500, 64, 1, 1 << 40, "trace"),
        ("attention", 1000, 64, 1, 100 << 20, "trace"),
        ("attention", 100, 128, 3, 1 << 40, "trace"),
    ],
    ids=str,
)
def test_what_layers_of_many_networks_take_is_known_before(settings):
    assert 1 / 1.5 < peak_ratio(MEASURED.format(settings=settings)) < 1.5
