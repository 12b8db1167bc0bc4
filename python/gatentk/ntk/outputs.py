"""Which outputs of a network a kernel is of."""

from __future__ import annotations

import numpy as np

from gatentk.checks import check_integer, describe

OUTPUTS = ("trace", "diag", "full")


def check_outputs(outputs: object) -> None:
    """Refuse what is neither a name nor a number."""
    if isinstance(outputs, str):
        if outputs not in OUTPUTS:
            raise ValueError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {outputs!r}")
    elif isinstance(outputs, bool) or not isinstance(outputs, (int, np.integer)):
        raise TypeError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {describe(outputs)}")


def check_index(outputs: int | str, d_out: int) -> None:
    """Refuse the number of an output that a network with `d_out` of them does not have."""
    if not isinstance(outputs, str):
        check_integer("outputs", outputs, 0)
        if outputs >= d_out:
            raise ValueError(f"outputs: expected an output below {d_out}, got {outputs}")
