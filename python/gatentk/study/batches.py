"""Mini-batches of a study: how many there are, how large, and of which rows."""

from __future__ import annotations

import numpy as np
import torch

from gatentk.study.config import StudyConfig


def batch_shape(config: StudyConfig, n: int) -> tuple[int, int]:
    """How many kernels n samples give, and of how many samples each is; mini-batches leave out a remainder."""
    return (1, n) if config.batch is None else (n // config.batch, config.batch)


def drawn(config: StudyConfig, x: torch.Tensor) -> torch.Tensor:
    """(count, size, d): all samples as they are, or random disjoint mini-batches."""
    if config.batch is None:
        return x.unsqueeze(0)
    count, size = batch_shape(config, len(x))
    order = np.random.default_rng((config.data_seed, 2)).permutation(len(x))
    return x[torch.from_numpy(order[: count * size]).view(count, size)]
