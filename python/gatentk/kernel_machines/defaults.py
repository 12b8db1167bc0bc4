"""Depths and ridges that machines choose from where nothing else is said. Nothing here loads torch."""

from __future__ import annotations

DEPTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
RIDGES = tuple(10.0 ** (k / 2) for k in range(-16, 3))  # 1e-8 to 10
