"""Rows and columns of every size, against mpmath and against the same rows at ordinary size."""

import math

import mpmath
import pytest
import torch

from gatentk import scaling

DTYPES = (torch.float32, torch.float64)


def samples(dtype, n=6, d=5):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def extreme_exponents(dtype):
    """Powers of two from the smallest number of a dtype, which keeps nothing but ones, to the largest."""
    limit = 128 if dtype == torch.float32 else 1024
    return [*range(-limit + 24, limit - 3, limit // 8), limit - 3]


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_every_size_get_norm_one(dtype):
    x = samples(dtype)
    expected = x / x.norm(dim=1, keepdim=True)
    for exponent in extreme_exponents(dtype):
        scaled = scaling.times_power_of_two(x, exponent)
        assert torch.equal(scaling.unit_rows(scaled), expected), exponent


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_all_sizes_stand_beside_each_other(dtype):
    powers = torch.tensor([-(149 if dtype == torch.float32 else 1074), -60, 0, 40, 127, 1])
    x = scaling.times_power_of_two(torch.ones(6, 1, dtype=dtype), powers.unsqueeze(1)).expand(6, 4).contiguous()
    x[5] = 0
    assert scaling.unit_rows(x)[:5].eq(0.5).all()
    assert scaling.unit_rows(x)[5].eq(0).all()


@pytest.mark.parametrize("value", [5e-324, 3e-310, 1e-160, 1e153, 1e154, 1e200, 1.7e308])
def test_norms_agree_with_mpmath(value):
    row = torch.tensor([[value, value / 3, -value / 7, value / 1e3]], dtype=torch.float64)
    entries = [mpmath.mpf(v) for v in row[0].tolist()]
    norm = mpmath.sqrt(sum(v * v for v in entries))
    expected = [float(v / norm) for v in entries]
    assert scaling.unit_rows(row)[0].tolist() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns_of_every_size_are_standardised(dtype):
    x, rows = samples(dtype, n=9), torch.arange(6)
    expected = scaling.standard_columns(x, rows)
    torch.testing.assert_close(expected[rows].std(dim=0, correction=0), torch.ones(5, dtype=dtype))
    for exponent in extreme_exponents(dtype):
        scaled = scaling.times_power_of_two(x, exponent)
        assert torch.equal(scaling.standard_columns(scaled, rows), expected), exponent


def test_a_column_is_scaled_by_the_rows_that_are_measured():
    x = torch.tensor([[1e-200], [3e-200], [1e10]], dtype=torch.float64)
    assert scaling.standard_columns(x, torch.tensor([0, 1])).flatten().tolist() == pytest.approx([-1, 1, 1e210])


def test_what_is_constant_or_zero_stays():
    x = torch.tensor([[0.0, 1e-310, 7e200, 0.1, 1e17 / 3]], dtype=torch.float64).expand(7, 5)
    assert scaling.standard_columns(x, torch.arange(7)).eq(0).all()


def test_rows_of_ordinary_size_keep_their_bits():
    for dtype in DTYPES:
        x = samples(dtype, 50, 7)
        assert scaling.exponents(x, 1) is None
        assert scaling.in_range(x, 1) is x


def test_what_is_not_finite_is_left_alone():
    x = torch.tensor([[math.inf, 1.0], [1e30, math.nan]])
    assert scaling.exponents(x, 1) is None
    assert scaling.exponents(x[:0], 1) is None


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_of_two_are_exact_from_end_to_end(dtype):
    numbers = torch.finfo(dtype)
    digits, top = (149, 128) if dtype == torch.float32 else (1074, 1024)
    smallest = torch.tensor(numbers.smallest_normal * numbers.eps, dtype=dtype)
    assert scaling.times_power_of_two(smallest, digits + top - 1) == 2.0 ** (top - 1)
    assert scaling.times_power_of_two(torch.tensor(2.0 ** (top - 1), dtype=dtype), 1 - digits - top) == smallest
    assert scaling.times_power_of_two(torch.zeros(2, dtype=dtype), 5000).eq(0).all()
    for power in range(-digits, top):
        assert scaling.times_power_of_two(torch.ones((), dtype=dtype), power) == 2.0**power
