"""Moments of activations and their derivatives against derivatives in 60 digits."""

import math

import pytest
import torch
from cases import exact_networks as exact

from gatentk.ntk.moments import Erf, Gelu, PiecewiseLinear

mp = exact.mp
MOMENTS = [
    ("relu", PiecewiseLinear(0.0), 0.0),
    ("leaky_relu", PiecewiseLinear(0.3), 0.3),
    ("leaky_relu", PiecewiseLinear(-0.4), -0.4),
    ("abs", PiecewiseLinear(-1.0), -1.0),
    ("erf", Erf(), None),
    ("gelu", Gelu(), None),
]
EVERY = pytest.mark.parametrize(("name", "moments", "slope"), MOMENTS, ids=lambda value: str(value)[:12])
# Variances and angles.
PAIRS = [(1.3, 0.7, 1.0), (1.3, 0.7, 2.5), (2.0, 2.1, 1e-3), (30.0, 20.0, 0.5), (1e-3, 2e-3, 0.7), (1e3, 1e3, 1e-3)]


def number(value):
    return torch.tensor([value], dtype=torch.float64)


def derivatives(function, at, orders):
    return mp.diff(function, at, orders)


@EVERY
@pytest.mark.parametrize(("p", "r", "theta"), PAIRS)
def test_moments_of_pairs_and_their_derivatives_are_exact(name, moments, slope, p, r, theta):
    both = exact.moments(name, slope)
    found = moments.of_pair(
        moments.of_one(number(p)), moments.of_one(number(r)), number(2 * math.sin(theta / 2) ** 2), number(theta)
    )
    p, r = mp.mpf(p), mp.mpf(r)
    at = p, mp.sqrt(p * r) * mp.cos(mp.mpf(theta)), r

    def mean(*arguments):
        return both(*arguments)[0]

    right = {
        "mean": mean(*at),
        "slope": derivatives(mean, at, (0, 1, 0)),
        "mean_p": p * derivatives(mean, at, (1, 0, 0)),
        "mean_r": r * derivatives(mean, at, (0, 0, 1)),
        "mean_c": derivatives(mean, at, (0, 1, 0)),
        "slope_c": derivatives(mean, at, (0, 2, 0)),
        "slope_p": p * derivatives(mean, at, (1, 1, 0)),
        "slope_r": r * derivatives(mean, at, (0, 1, 1)),
        "eps": 1 - mean(*at) / mp.sqrt(mean(p, p, p) * mean(r, r, r)),
    }
    for field, value in right.items():
        error = abs(mp.mpf(float(getattr(found, field))) - value)
        # What is left of 1 - cos where two samples nearly coincide is no more than rounded numbers leave.
        assert error <= 1e-14 * abs(value) + (3e-16 if field == "eps" else 0), field


@EVERY
@pytest.mark.parametrize("p", [1e-3, 1.7, 40.0, 1e6])
def test_moments_of_one_are_exact(name, moments, slope, p):
    both = exact.moments(name, slope)
    found = moments.of_one(number(p))
    p = mp.mpf(p)
    assert float(found.variance) == float(p)
    assert abs(float(found.mean) - both(p, p, p)[0]) <= 1e-15 * p
    rise = mp.diff(lambda q: both(q, q, q)[0], p)
    assert abs(float(found.rise) - rise) <= 1e-14 * abs(rise)


@EVERY
def test_pairs_that_coincide_have_the_moments_of_one_and_finite_derivatives(name, moments, slope):
    """`rise` follows the diagonal: all three derivatives together."""
    one = moments.of_one(torch.logspace(-3, 3, 7, dtype=torch.float64))
    zero = torch.zeros_like(one.variance)
    found = moments.of_pair(one, one, zero, zero)
    torch.testing.assert_close(found.mean, one.mean, rtol=1e-14, atol=0)
    along = found.mean_c + (found.mean_p + found.mean_r) / one.variance
    torch.testing.assert_close(along, one.rise, rtol=1e-12, atol=0)
    assert all(bool(value.isfinite().all()) for value in found)
    assert found.eps.max() <= 1e-15


@pytest.mark.parametrize(("name", "moments", "slope"), MOMENTS[-2:], ids=["erf", "gelu"])
@pytest.mark.parametrize("theta", [0.0, math.pi])
def test_large_parallel_pairs_have_derivatives_along_themselves(name, moments, slope, theta):
    """Of which those by c take part, so that nothing large cancels."""
    both, sign = exact.moments(name, slope), 1 if theta == 0 else -1
    for p, r in ((2.0, 30.0), (1e6, 1e6), (1e9, 3e8)):
        eps = number(1.0 - sign)
        found = moments.of_pair(moments.of_one(number(p)), moments.of_one(number(r)), eps, number(theta))

        def along(t, other, which, sign=sign):
            return both(t, sign * mp.sqrt(t * other), other)[which]

        assert found.slope_c == 0
        for own, fixed, at in ((p, r, "p"), (r, p, "r")):
            for which, field in ((0, "mean"), (1, "slope")):
                if (name, field) == ("gelu", "mean"):
                    continue  # its slope is at most 1, and nothing cancels
                right = own * mp.diff(lambda t, fixed=fixed, which=which: along(t, mp.mpf(fixed), which), mp.mpf(own))
                value = float(getattr(found, f"{field}_{at}"))
                assert abs(value - right) <= 1e-13 * abs(right), (field, at, p, r)


def test_opposite_and_vanishing_samples_have_finite_moments():
    for _, moments, _ in MOMENTS:
        one = moments.of_one(number(1.0))
        found = moments.of_pair(one, one, number(2.0), number(math.pi))
        assert all(bool(value.isfinite().all()) for value in found)
    for moments in (Erf(), Gelu()):
        found = moments.of_pair(moments.of_one(number(0.0)), moments.of_one(number(1.0)), number(0.3), number(0.8))
        assert all(bool(value.isfinite().all()) for value in found)
        assert found.mean == 0
