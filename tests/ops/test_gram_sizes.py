"""Kernels of factors of every size are the scaled kernels of the factors at ordinary size."""

import numpy as np
import pytest
import torch
from cases.tensors import DTYPES

import gatentk as gt
from gatentk import ops

N, WIDTH = 9, 20


def factors(dtype, count=4, n=N):
    generator = torch.Generator().manual_seed(0)
    whole = [torch.randint(-9, 10, (n, WIDTH), generator=generator).to(dtype) for _ in range(count)]
    return [t.relu() if index % 2 else t for index, t in enumerate(whole)]


def times(tensor, power):
    return torch.from_numpy(np.ldexp(tensor.numpy(), power))


def powers_of(dtype):
    """(acts, deltas) whose kernel is a normal number, though products of the acts or deltas are not."""
    if dtype == torch.float32:
        return [(-149, 123), (-80, 76), (-72, 30), (70, -60), (120, -130), (-60, 0), (0, 50), (40, -40)]
    return [(-1074, 1000), (-600, 580), (-540, 200), (600, -590), (1000, -1010), (-400, -60), (0, 490), (300, -300)]


@DTYPES
@pytest.mark.parametrize("components", [False, True])
def test_what_one_factor_loses_the_other_gives_back(isa, dtype, components):
    a, d, a2, d2 = factors(dtype)
    bits = ops.pack_bits(torch.rand(N, WIDTH, generator=torch.Generator().manual_seed(1)) < 0.5)
    plain = ops.gram_ntk([a, a2], [d, d2], gates=[bits, None], components=components)
    right = ops.gram_ntk([a, a2], [d, d2], [a2[:5], a[:5]], [d2[:5], d[:5]], components=components)
    for by_acts, by_deltas in powers_of(dtype):
        acts, deltas = [times(a, by_acts), times(a2, by_acts)], [times(d, by_deltas), times(d2, by_deltas)]
        power = 2 * (by_acts + by_deltas)
        out = ops.gram_ntk(acts, deltas, gates=[bits, None], components=components)
        assert torch.equal(out, times(plain, power)), (by_acts, by_deltas)
        out = ops.gram_ntk(
            acts, deltas, [acts[1][:5], acts[0][:5]], [deltas[1][:5], deltas[0][:5]], components=components
        )
        assert torch.equal(out, times(right, power)), (by_acts, by_deltas)


@DTYPES
def test_layers_of_different_size_are_summed(isa, dtype):
    a, d, a2, d2 = factors(dtype)
    low, high = (-80, 78) if dtype == torch.float32 else (-600, 598)
    plain = ops.gram_ntk([a], [d]).double() / 16 + ops.gram_ntk([a2], [d2]).double()
    out = ops.gram_ntk([times(a, low), a2], [times(d, high), d2])
    torch.testing.assert_close(out.double(), plain, rtol=torch.finfo(dtype).eps, atol=0)


@DTYPES
def test_a_bias_stands_beside_factors_of_every_size(isa, dtype):
    a, d, *_ = factors(dtype)
    low, high = (-80, 50) if dtype == torch.float32 else (-600, 490)
    beside_small = ops.gram_ntk([times(a, low)], [times(d, high)], bias=[1.0])
    assert torch.equal(beside_small, times(ops.gram_ntk([a[:, :0]], [d], bias=[1.0]), 2 * high))
    beside_large = ops.gram_ntk([times(a, high + 10)], [times(d, -high - 10)], bias=[1.0])
    torch.testing.assert_close(beside_large, ops.gram_ntk([a], [d]))


@DTYPES
def test_a_plain_product_of_extreme_factors_is_not_changed(isa, dtype):
    a, weight, *_ = factors(dtype)
    for low, high in ((-30, 30), (-70, 60), (-100, 20)):
        out = ops.gram_ntk([times(a, low)], [a[:, :0]], [times(weight, high)], [weight[:, :0]])
        assert torch.equal(out, times(a @ weight.mT, low + high))


@DTYPES
def test_zeros_and_what_is_not_finite_stay_what_they_are(isa, dtype):
    a, d, *_ = factors(dtype)
    assert (ops.gram_ntk([a * 0], [d]) == 0).all()
    assert (ops.gram_ntk([a], [d * 0]) == 0).all()
    a[2] = 0
    out = ops.gram_ntk([a], [d])
    assert (out[2] == 0).all()
    assert (out[:, 2] == 0).all()
    a[1, 1] = torch.inf
    assert not torch.isfinite(ops.gram_ntk([a], [d.abs() + 1])[1]).all()
    assert ops.gram_ntk([a[:0]], [d[:0]]).shape == (0, 0)


@DTYPES
@pytest.mark.parametrize("below", [0, 3])
def test_a_kernel_below_the_normal_numbers_says_that_it_lost_digits(isa, dtype, below):
    a, d, *_ = factors(dtype)
    power = (-126 if dtype == torch.float32 else -1022) // 2 - below - 10
    with pytest.warns(RuntimeWarning, match=rf"the largest entry of a kernel, .* smallest normal number of {dtype}"):
        out = ops.gram_ntk([times(a, power)], [d])
    torch.testing.assert_close(out, times(ops.gram_ntk([a], [d]), 2 * power))


@pytest.mark.parametrize("method", ["layerwise", "jacobian"])
@pytest.mark.parametrize("power", [-65, -60, -40, 40, 50])
def test_the_condition_number_of_a_network_without_biases_does_not_change_with_the_samples(power, method):
    generator = torch.Generator().manual_seed(0)
    net, x = gt.nn.MLP(12, 40, 2, generator=generator), torch.randn(10, 12, generator=generator)
    plain = gt.spectrum(gt.ntk.empirical(net, x, method=method))
    scaled = gt.spectrum(gt.ntk.empirical(net, x * 2.0**power, method=method))
    assert scaled.condition == pytest.approx(plain.condition, rel=1e-4) if scaled.resolved else power < -60
    assert scaled.condition_bound <= plain.condition * 1.01
