"""Numbers to predict, brought to the size that a network learns, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gatentk.errors import TrainingError

# Spread of what is learnt over that of the outputs at the start, which nobody asked for and which training takes away
# on the train samples only. R^2 on test samples after 30 epochs at width 1024, spreads 1/45, 1, 3, 10 and 30 times as
# large: friedman -521, 0.64, 0.87, 0.90, 0.92; house prices -555, 0.57, 0.82, 0.86, 0.88; from 30 on half of the
# learning rates that are tried diverge.
SPREAD = 10.0
_SQUARABLE = 1e150  # spreads from the inverse of this to this have squares in float64


@dataclass(frozen=True, eq=False)
class TargetScale:
    """What a network learns of given targets: (given - mean) / unit, for each output.

    Attributes:
        mean: (d_out,) float64, of the train samples.
        spread: (d_out,) float64, their standard deviation; 1 where all are the same.
        unit: (d_out,) float64, of the given targets, for 1 of the learnt ones.

    >>> scale = TargetScale(torch.tensor([250e3]), torch.tensor([100e3]), torch.tensor([1e3]))
    >>> scale.learnt(torch.tensor([[300e3]])).item(), scale.given(torch.tensor([[50.0]])).item()
    (50.0, 300000.0)
    """

    mean: Tensor
    spread: Tensor
    unit: Tensor

    def learnt(self, targets: Tensor) -> Tensor:
        """Given targets (n, d_out) as the network learns them, float64."""
        return (targets.double() - self.mean) / self.unit

    def given(self, outputs: Tensor) -> Tensor:
        """Outputs (n, d_out) of the network in the units of the given targets, float64."""
        return outputs.double() * self.unit + self.mean


def target_scale(targets: Tensor, x: Tensor, width: int) -> TargetScale:
    """What brings targets to ten times the spread of a network's outputs at the start.

    The outputs of an untrained network with fixed ends have variance 2 m |x|^2 / d ([G], Sec. 2, with C of variance
    2/d and B of 2/d_out, over all outputs), whatever the targets are: much smaller targets would be lost in them.

    Args:
        targets: (n, d_out) of the train samples, as given.
        x: (n, d) their features.
        width: m, of the network.

    Raises:
        TrainingError: the squares of the targets overflow or underflow.

    >>> scale = target_scale(torch.tensor([[1e5], [3e5]]), torch.eye(2), 4)
    >>> scale.mean, scale.spread, scale.learnt(torch.tensor([[3e5]])).item()
    (tensor([200000.], dtype=torch.float64), tensor([100000.], dtype=torch.float64), 20.0)
    """
    values = targets.double()
    same = (values == values[0]).all(dim=0)
    magnitude = math.ldexp(1.0, math.frexp(float(values.abs().max()))[1] - 1) or 1.0  # so that no square overflows
    scaled = values / magnitude
    mean = torch.where(same, values[0], scaled.mean(dim=0) * magnitude)
    spread = torch.where(same, 1.0, scaled.std(dim=0, correction=0) * magnitude)
    if not bool(((spread >= 1 / _SQUARABLE) & (spread <= _SQUARABLE)).all()):
        raise TrainingError(
            f"targets: a spread of {float(spread.max()):g} has no square in float64; give them in another unit"
        )
    start = math.sqrt(2 * width * float(x.double().square().sum(dim=1).mean()) / x.shape[1])
    return TargetScale(mean, spread, spread / (SPREAD * start if start else 1.0))
