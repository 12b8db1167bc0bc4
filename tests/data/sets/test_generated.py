import math

import numpy as np
import pytest
import torch
from cases.datasets import is_dataset

from gatentk import data


def test_synthetic():
    ds = data.load("synthetic")
    assert is_dataset(ds, 2000, 5, torch.float64)
    assert ds.name == "synthetic"
    columns = torch.cat([ds.x, ds.y[:, None]], dim=1)
    # five standard errors of a mean, a variance and a correlation of 2000 Gaussians
    assert columns.mean(dim=0).abs().max() < 5 / math.sqrt(2000)
    assert (torch.cov(columns.T) - torch.eye(6)).abs().max() < 5 * math.sqrt(2 / 2000)


def test_synthetic_depends_on_the_seed_only():
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    small, large = data.load("synthetic", n=17, seed=3), data.load("synthetic", n=3000, seed=3)
    assert is_dataset(large, 3000, 5, torch.float64)
    assert torch.equal(small.x, large.x[:17])
    assert torch.equal(small.y, large.y[:17])
    assert not torch.equal(small.x, data.load("synthetic", n=17, seed=4).x)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_friedman():
    ds = data.load("friedman", seed=1)
    assert is_dataset(ds, 2000, 10, torch.float64)
    assert ds.x.min() >= 0
    assert ds.x.max() < 1
    # five standard errors of a mean and a correlation of 2000 uniform numbers
    assert (ds.x.mean(dim=0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / 2000)
    assert (torch.corrcoef(ds.x.T) - torch.eye(10)).abs().max() < 5 / math.sqrt(2000)
    noise = ds.y - torch.tensor([
        10 * math.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e for a, b, c, d, e, *_ in ds.x.tolist()
    ])  # fmt: skip
    assert abs(noise.mean()) < 5 / math.sqrt(2000)
    assert abs(noise.var() - 1) < 5 * math.sqrt(2 / 2000)
    assert (torch.corrcoef(torch.cat([ds.x, noise[:, None]], dim=1).T)[-1, :-1]).abs().max() < 5 / math.sqrt(2000)


def test_friedman_depends_on_the_seed_only():
    small, large = data.load("friedman", n=17, seed=3), data.load("friedman", n=3000, seed=3)
    assert torch.equal(small.x, large.x[:17])
    assert torch.equal(small.y, large.y[:17])
    assert not torch.equal(small.y, data.load("friedman", n=17, seed=4).y)


@pytest.mark.parametrize("n", [1, 2, 7, None])
def test_ackley_by_its_formula(n):
    ds = data.load("ackley", n=n, seed=5)
    n = n or 100
    d = 2 * n
    assert is_dataset(ds, n, d, torch.float64)
    gaussian = np.random.default_rng(5).standard_normal((n, d))
    for raw, row, y in zip(gaussian.tolist(), ds.x.tolist(), ds.y.tolist(), strict=True):
        terms = [
            raw[d - 1 - j] * (math.log(abs(v)) * (math.cos(v) + v**3 * math.sin(v)) + math.sqrt(abs(v)))
            for j, v in enumerate(raw)
        ]
        assert y == pytest.approx(math.fsum(terms), rel=0, abs=1e-14 * math.fsum(map(abs, terms)))
        assert row == pytest.approx([v / math.hypot(*raw) for v in raw], rel=1e-14)
    assert torch.equal(ds.y, data.load("ackley", n=n, seed=5).y)
    assert not torch.equal(ds.y, data.load("ackley", n=n, seed=6).y)
