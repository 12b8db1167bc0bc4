"""Samples and targets for kernel machines, and their fits by dense algebra."""

import numpy as np
import torch

from gatentk import ntk


def samples(n, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def targets(x, outputs=None, seed=1):
    """Smooth in x, with noise: (n,) or (n, outputs)."""
    generator = np.random.default_rng(seed)
    size = () if outputs is None else (outputs,)
    y = np.cos(x @ generator.normal(size=(x.shape[1], *size))) + 3
    return y + 0.1 * generator.normal(size=y.shape)


def kernel(x, z=None, depth=2):
    return ntk.infinite(x, z, depth)


def dense_fit(K, ridge, y, with_intercept=True):
    """Weights and intercept of kernel ridge regression from the conditions for a smallest value, as one system."""
    n = len(K)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = K + ridge * np.eye(n)
    system[n, n] = 1
    if with_intercept:
        system[:n, n] = system[n, :n] = 1
        system[n, n] = 0
    right = np.concatenate([y, np.zeros_like(y[:1])])
    found = np.linalg.solve(system, right)
    return found[:n], found[n]


def tensor(array):
    return torch.from_numpy(np.array(array, dtype=np.float64))
