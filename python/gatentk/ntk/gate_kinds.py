"""Which gates the kernel of an infinitely wide GReLU network is of, and the samples as these gates see them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatentk.activations import GATE_KINDS, GateKind
from gatentk.checks import check_choice, describe
from gatentk.gates import GateNetwork
from gatentk.scaling import BalancedRows

# The argument where nothing is chosen, which is all that a network without gates takes.
DEFAULT = "paper"


class ChosenGates(NamedTuple):
    """A kind of gates.

    Attributes:
        kind: its quantities.
        center: (d,), what the gates see samples from; the origin if None.
    """

    kind: GateKind
    center: Tensor | None


def chosen_gates(gates: object, activation: str, features: int) -> ChosenGates:
    """The kind and center that an argument `gates` names.

    Args:
        gates: the name of a kind, or a gate network.
        activation: of the network whose kernel is asked for.
        features: of the samples.

    Raises:
        ValueError: gates for a network without them, an unknown name, a gate network of other samples.
    """
    if activation != "grelu" and not (isinstance(gates, str) and gates == DEFAULT):
        raise ValueError(f"gates: expected none for {activation}, whose networks have no gates, got {_name(gates)}")
    if not isinstance(gates, GateNetwork):
        if not isinstance(gates, str):
            raise TypeError(f"gates: expected a GateNetwork or one of {', '.join(GATE_KINDS)}, got {describe(gates)}")
        return ChosenGates(GATE_KINDS[check_choice("gates", gates, tuple(GATE_KINDS))], None)
    if gates.d_in != features:
        raise ValueError(f"gates: expected a network of {features} features as in x, got d_in={gates.d_in}")
    name = "paper" if gates.shares_input_weight else gates.kind
    return ChosenGates(GATE_KINDS[name], gates.center)


def _name(gates: object) -> str:
    return repr(gates) if isinstance(gates, (str, GateNetwork)) else describe(gates)


def from_center(x: Tensor, z: Tensor | None, center: Tensor, dtype: torch.dtype) -> BalancedRows:
    """Samples minus a center, rounded once, as rows that have a direction.

    Raises:
        ValueError: a sample that equals the center, or is so far from it that the difference overflows.
    """
    center = center.to(x.device, torch.float64)
    sides = [side.to(torch.float64) - center for side in (x, z) if side is not None]
    for name, side in zip("xz", sides, strict=False):
        peaks = side.abs().amax(-1)
        for wrong, what in (
            (peaks == 0, "equals the center, so that all its gates are off and its kernel is undefined"),
            (torch.isinf(peaks), f"is so far from the center that their difference overflows {side.dtype}"),
        ):
            if bool(wrong.any()):
                index = tuple(int(i) for i in wrong.nonzero()[0])
                raise ValueError(f"{name}: row {index[0] if len(index) == 1 else index} {what}")
    return BalancedRows(sides[0], None if z is None else sides[1], dtype)
