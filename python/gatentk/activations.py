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


@dataclass(frozen=True)
class Activation:
    """What sets one activation apart.

    Attributes:
        name: as arguments and files have it, such as "relu".
        label: as sentences, tables and figures have it, such as "ReLU".
        function: f, elementwise; None where gates that do not depend on the layer's input take its place.
        derivative: f', elementwise, bool where it is only 0 or 1; None where it is 1 everywhere.
        gain: 1 / E[f(g)^2] for a standard normal g, which keeps the mean square from layer to layer.
        fixed_ends: the first and the last matrix are not trained, so that a network without hidden layers has nothing
            to train.
        kernel: quantity of `gatentk.ops.infinite_ntk` that is the kernel of infinite width; None where that kernel
            is the Gram matrix times the number of trained matrices, whatever the depth.
        components: quantity that keeps the trained matrices apart; None where all their kernels are equal.
        angle: quantity that is the angle between gradients; where `kernel` is None, that of depth 0 at any depth.
    """

    name: str
    label: str
    function: Callable[[Tensor], Tensor] | None
    derivative: Callable[[Tensor], Tensor] | None
    gain: int
    fixed_ends: bool
    kernel: str | None
    components: str | None
    angle: str

    @property
    def smallest_depth(self) -> int:
        """Hidden layers of the smallest network that has something to train."""
        return 1 if self.fixed_ends else 0

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of `gatentk.ops.infinite_ntk` that belong to this activation alone."""
        return tuple(q for q in (self.kernel, self.components, self.kernel and self.angle) if q)

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
        Activation("relu", "ReLU", _relu, _is_positive, 2, False, "relu", "relu_components", "relu_angle"),
        Activation("linear", "linear", _identity, None, 1, False, None, None, "embedding_angle"),
        Activation("grelu", "GReLU", None, None, 2, True, "grelu", None, "grelu_angle"),
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

# Those of `gatentk.nn.MLP`, which a study compares.
FUNCTIONS = tuple(name for name, row in ACTIVATIONS.items() if row.function is not None)

# Networks with fixed ends that `gatentk.train` trains, the gated one first.
MODELS = ("grelu", "relu")
