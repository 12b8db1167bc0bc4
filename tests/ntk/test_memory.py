"""Estimates of memory: what is known exactly, and the peak that was measured."""

import pytest
import torch
from cases.peaks import peak_ratio

from gatentk import nn
from gatentk.ntk.memory import layerwise_memory, mlp_memory


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
    assert 1 / 1.6 < peak_ratio(code) < 1.6
