"""Samples drawn from random numbers: no download, and as many as wanted.

- `friedman`: y = 10 sin(pi x_1 x_2) + 20 (x_3 - 1/2)^2 + 10 x_4 + 5 x_5 + a standard Gaussian; x_6 to x_10 do not
  matter (Friedman, Multivariate Adaptive Regression Splines, 1991, Sec. 4.3). It may be as large as `sgemm`.
- `ackley`: y = sum_j x_{d+1-j} (log|x_j| (cos x_j + x_j^3 sin x_j) + sqrt|x_j|), j = 1..d, of Gaussian rows that are
  divided by their norms after that (Noy et al., arXiv 2101.04243, Sec. 6.1, which does not say when).

numpy fills row by row from one stream, so fewer samples are a prefix of more (not of `ackley`, whose n also decides
d = 2n); torch.randn promises neither that nor the same values on another instruction set.
"""

from __future__ import annotations

from gatentk.data.entries import Generated, Row, Source
from gatentk.runs.memory import check_memory

_SYNTHETIC_FEATURES = 5
_FRIEDMAN_FEATURES = 10


def _check_size(name: str, n: int, numbers: int) -> None:
    """Refuse more numbers than fit before any is drawn; a system that promises memory would end the process later.

    Raises:
        MemoryError: they do not fit beside the copies that are made of them.
    """
    check_memory(3 * 8 * numbers, f"{name} with n={n}", "take a smaller n=")


def _synthetic(n: int, seed: int) -> Source:
    import numpy as np

    _check_size("synthetic", n, n * (_SYNTHETIC_FEATURES + 1))
    draws = np.random.default_rng(seed).standard_normal((n, _SYNTHETIC_FEATURES + 1))
    return Source(draws[:, :-1], draws[:, -1])


def _friedman(n: int, seed: int) -> Source:
    import numpy as np

    _check_size("friedman", n, n * (_FRIEDMAN_FEATURES + 2))
    features, noise = np.random.default_rng(seed).spawn(2)
    x = features.random((n, _FRIEDMAN_FEATURES))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return Source(x, y + noise.standard_normal(n))


def _ackley(n: int, seed: int) -> Source:
    import numpy as np

    _check_size("ackley", n, 5 * n * n)
    x = np.random.default_rng(seed).standard_normal((n, 2 * n))
    size = np.abs(x)
    terms = np.log(size) * (np.cos(x) + x**3 * np.sin(x)) + np.sqrt(size)
    y = (x[:, ::-1] * terms).sum(axis=1)
    return Source(x / np.linalg.norm(x, axis=1, keepdims=True), y)


ENTRIES = (
    Generated(
        name="synthetic",
        place=10,
        rows=(Row("synthetic", "2000 x 5", "independent standard Gaussians", "standard Gaussian targets"),),
        draw=_synthetic,
        default=2000,
    ),
    Generated(
        name="friedman",
        place=20,
        rows=(Row("friedman", "2000 x 10", "independent, uniform in [0, 1]", "Friedman #1"),),
        draw=_friedman,
        default=2000,
    ),
    Generated(
        name="ackley",
        place=30,
        rows=(Row("ackley", "100 x 200", "Gaussian rows of norm 1; always n x 2n", "Ackley-like"),),
        draw=_ackley,
        default=100,
    ),
)
