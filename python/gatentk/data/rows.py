"""Rows that repeat: a kernel that holds two equal ones is singular."""

from __future__ import annotations

import torch


def first_occurrences(x: torch.Tensor) -> torch.Tensor:
    """Indices of the rows of x (n, d) that equal no earlier row, in their order; 0.0 and -0.0 are equal."""
    seen: dict[bytes, int] = {}
    for index, row in enumerate((x + 0.0).numpy()):  # + 0.0 makes -0.0 equal to 0.0
        seen.setdefault(row.tobytes(), index)
    return torch.tensor(list(seen.values()))
