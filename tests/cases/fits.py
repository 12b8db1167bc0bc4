"""Fits that take a fraction of a second."""

import numpy as np
import torch

from gatentk import data
from gatentk.fit.config import FitConfig
from gatentk.fit.record import DepthRecord, Outcome
from gatentk.fit.result import Fit
from gatentk.fit.run import best_fit, try_depths
from gatentk.fit.samples import prepare_fit

ENVIRONMENT = {"gatentk": "0", "threads": 1}


def small(**changes):
    """Forty digits, two depths, two ridges."""
    return FitConfig(**{"data": "digits", "n": 40, "depths": (1, 3), "ridges": (0.1, 1e-3), **changes})


def given(monkeypatch, sets, **options):
    """A configuration, and what is prepared of data sets that are given by name as (x, y), or with more fields."""

    def load(name, **_):
        x, y, *more = sets[name]
        more = more[0] if more else {}
        return data.Dataset(torch.as_tensor(x).double(), None if y is None else torch.as_tensor(y), name, **more)

    monkeypatch.setattr(data, "load", load)
    config = small(**{"data": "train", "n": None, **options})
    return config, prepare_fit(config)


def waves(n=60, seed=0):
    """Numbers to predict: samples (n, 3), and a smooth function with noise."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3))
    return x, np.sin(x).sum(axis=1) + 0.1 * generator.normal(size=n)


def finished(config, samples=None):
    """A fit without a folder."""
    samples = prepare_fit(config) if samples is None else samples
    records = list(try_depths(config, samples, ()))
    return Fit(config, samples, records, best_fit(config, samples, records), ENVIRONMENT, "gatentk fit --out DIR")


def record(**changes):
    """A depth, as a test wants it."""
    values = {"depth": 1, "scores": (0.5, 0.75), "errors": (2.0, 1.0), "relative": (0.5, 0.25)}
    return DepthRecord(**{**values, "unit": 1.0, "lmin": 0.1, "lmax": 10.0, "floor": 1e-14, **changes})


def outcome(**changes):
    """A best fit, as a test wants it."""
    values = {"depth": 1, "ridge": 1e-3, "added_ridge": 1e-3, "lmin": 0.1, "lmax": 10.0, "floor": 1e-14}
    values |= {"resolved": True, "condition": 100.0, "intercept": (0.0,)}
    return Outcome(**{**values, "left_out": (), "outputs": (), "deviations": (), **changes})
