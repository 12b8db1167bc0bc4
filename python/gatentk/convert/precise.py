"""Which networks are converted: those whose values are accurate enough for what a conversion promises."""

from __future__ import annotations

from gatentk.checks import FLOATS
from gatentk.nn import GReLUNetwork, ReLUNetwork


def check_precise(name: str, net: GReLUNetwork | ReLUNetwork) -> None:
    """Refuse a network whose weights are not float32 or float64."""
    dtype = net.input_weight.dtype
    if dtype not in FLOATS:
        raise TypeError(f"{name}: expected a network in float32 or float64, got {dtype}; use {name}.float()")
