"""Rows of samples: those that repeat, which make a kernel singular, and those that are kept for testing."""

from __future__ import annotations

import numpy as np
import torch


def first_occurrences(x: torch.Tensor) -> torch.Tensor:
    """Indices of the rows of x (n, d) that equal no earlier row, in their order; 0.0 and -0.0 are equal."""
    seen: dict[bytes, int] = {}
    for index, row in enumerate((x + 0.0).numpy()):  # + 0.0 makes -0.0 equal to 0.0
        seen.setdefault(row.tobytes(), index)
    return torch.tensor(list(seen.values()))


def shared_rows(x: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Indices of the rows of x (n, d) that equal a row of others (m, d); 0.0 and -0.0 are equal.

    >>> shared_rows(torch.tensor([[1.0], [2.0], [-0.0]]), torch.tensor([[0.0], [1.0]])).tolist()
    [0, 2]
    """
    known = {row.tobytes() for row in (others + 0.0).numpy()}
    found = [index for index, row in enumerate((x + 0.0).numpy()) if row.tobytes() in known]
    return torch.tensor(found, dtype=torch.int64)


def split_rows(n: int, tests: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows for training and for testing, drawn at random, both in the order of the data.

    >>> train, test = split_rows(5, tests=2, seed=0)
    >>> sorted(train.tolist() + test.tolist()), len(test)
    ([0, 1, 2, 3, 4], 2)
    """
    order = torch.from_numpy(np.random.default_rng((seed, 3)).permutation(n))
    return order[tests:].sort().values, order[:tests].sort().values
