"""Activations: a row for each, with what networks, kernels of infinite width, the command line and reports ask of it.

Names, choices, labels, scales and quantities come from here and stand nowhere else. Nothing here loads torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def _relu(z: Tensor) -> Tensor:
    return z.relu()


def _is_positive(z: Tensor) -> Tensor:
    return z > 0


def _identity(z: Tensor) -> Tensor:
    return z


# What a leaky ReLU multiplies negative numbers by where nothing else is said, as torch.
SLOPE = 0.01


def _leaky_relu(z: Tensor) -> Tensor:
    return z.clamp(min=0) + SLOPE * z.clamp(max=0)


def _leaky_step(z: Tensor) -> Tensor:
    return SLOPE + (1 - SLOPE) * (z > 0).to(z.dtype)


def _abs(z: Tensor) -> Tensor:
    return z.abs()


def _sign(z: Tensor) -> Tensor:
    return z.sign()


def _erf(z: Tensor) -> Tensor:
    return z.erf()


def _bell(z: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * (-z.square()).exp()


def _gelu(z: Tensor) -> Tensor:
    return 0.5 * z * (1 + (z / math.sqrt(2)).erf())


def _gelu_slope(z: Tensor) -> Tensor:
    return 0.5 * (1 + (z / math.sqrt(2)).erf()) + z * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Activation:
    """What sets one activation apart.

    Attributes:
        name: as arguments and files have it, such as "relu".
        label: as sentences, tables and figures have it, such as "ReLU".
        function: f, elementwise; None where gates that do not depend on the layer's input take its place.
        derivative: f', elementwise, bool where it is only 0 or 1; None where it is 1 everywhere.
        gain: 1 / E[f(g)^2] for a standard normal g, which keeps the mean square from layer to layer; of leaky ReLU
            `gain_of` has it for any slope.
        fixed_ends: the first and the last matrix are not trained, so that a network without hidden layers has nothing
            to train.
        kernel: quantity of `gatentk.ops.infinite_ntk` that is the kernel of infinite width; None where that kernel
            is the Gram matrix times the number of trained matrices, whatever the depth.
        components: quantity that keeps the trained matrices apart; None where all their kernels are equal.
        angle: quantity that is the angle between gradients; where `kernel` is None, that of depth 0 at any depth. None
            where there is no such quantity: then kernels of infinite width are all that there is of the activation.
        network: quantity of `gatentk.ops.infinite_network` that is the kernel of any weight and bias variances; with
            "_nngp" behind it the covariance. None where there is none.
        slope: of negative numbers, of piecewise linear activations that `network` knows as leaky ReLU.
    """

    name: str
    label: str
    function: Callable[[Tensor], Tensor] | None
    derivative: Callable[[Tensor], Tensor] | None
    gain: float
    fixed_ends: bool
    kernel: str | None
    components: str | None
    angle: str | None
    network: str | None = None
    slope: float | None = None

    @property
    def smallest_depth(self) -> int:
        """Hidden layers of the smallest network that has something to train."""
        return 1 if self.fixed_ends else 0

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of `gatentk.ops.infinite_ntk` that belong to this activation alone."""
        return tuple(q for q in (self.kernel, self.components, self.kernel and self.angle) if q)

    @property
    def network_quantities(self) -> tuple[str, ...]:
        """Those of `gatentk.ops.infinite_network` that go by this activation's name."""
        return (self.name, f"{self.name}_nngp") if self.network == self.name else ()

    def gain_of(self, slope: float | None) -> float:
        """`gain` where negative numbers are multiplied by `slope`, if that is not None."""
        return self.gain if slope is None else 2 / (1 + slope * slope)

    def trained(self, depth: int) -> int:
        """Trained matrices of a network of `depth` hidden layers."""
        return depth if self.fixed_ends else depth + 1

    def scale(self, width: int) -> float:
        """Factor of a hidden layer in NTK parametrisation ([S], Eq. 1-3): sqrt(gain / width)."""
        return math.sqrt(self.gain / width)


# In the order in which choices, tables and figures show them.
ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        Activation(
            "relu", "ReLU", _relu, _is_positive, 2, False, "relu", "relu_components", "relu_angle", "leaky_relu", 0.0
        ),
        Activation("linear", "linear", _identity, None, 1, False, None, None, "embedding_angle"),
        Activation("grelu", "GReLU", None, None, 2, True, "grelu", None, "grelu_angle"),
        Activation(
            *("leaky_relu", "leaky ReLU", _leaky_relu, _leaky_step, 2 / (1 + SLOPE**2), False),
            *(None, None, None, "leaky_relu", SLOPE),
        ),
        Activation("abs", "absolute value", _abs, _sign, 1, False, None, None, None, "leaky_relu", -1.0),
        Activation("erf", "erf", _erf, _bell, math.pi / (2 * math.asin(2 / 3)), False, None, None, None, "erf"),
        Activation(
            *("gelu", "GELU", _gelu, _gelu_slope, 1 / (1 / 3 + 1 / (2 * math.sqrt(3) * math.pi)), False),
            *(None, None, None, "gelu"),
        ),
    )
}


@dataclass(frozen=True)
class GateKind:
    """What sets one kind of gates of a GReLU network apart, where its kernel of infinite width is asked for.

    Attributes:
        name: as arguments have it, such as "shallow".
        label: as tables and figures have it, behind the activation's.
        kernel: quantity of `gatentk.ops.infinite_ntk` that is the kernel of gates of the samples themselves.
        deficit: quantity by which the inner product of two samples falls short of their kernel, for gates of the
            samples' differences from a center; None where the gates share the network's first matrix, and so have none.
    """

    name: str
    label: str
    kernel: str
    deficit: str | None

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of `gatentk.ops.infinite_ntk` that belong to this kind."""
        return (self.kernel,) if self.deficit is None else (self.kernel, self.deficit)


GATE_KINDS: dict[str, GateKind] = {
    row.name: row
    for row in (
        GateKind("paper", "as in [G]", "grelu", None),
        GateKind("deep", "deep gates", "grelu_deep", "grelu_deep_deficit"),
        GateKind("shallow", "shallow gates", "grelu_shallow", "grelu_shallow_deficit"),
    )
}

LABELS = {name: row.label for name, row in ACTIVATIONS.items()}

# Those whose gradients have angles of infinite width.
WITH_ANGLES = tuple(name for name, row in ACTIVATIONS.items() if row.angle is not None)

# Those of `gatentk.nn.MLP`, which a study compares.
FUNCTIONS = tuple(name for name in WITH_ANGLES if ACTIVATIONS[name].function is not None)

# Networks with fixed ends that `gatentk.train` trains, the gated one first.
MODELS = ("grelu", "relu")
