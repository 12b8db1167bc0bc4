"""What is measured of a network after every epoch: a row of `DIAGNOSTICS` each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatentk import ntk
from gatentk.gates import GateTable
from gatentk.nn import FixedEndsNetwork
from gatentk.train.linearisation import Linearisation
from gatentk.train.losses import Loss
from gatentk.train.quantities import (
    dead_neurons,
    extreme_eigenvalues,
    gradient,
    kernel_drift,
    mean_shift,
    tau,
)
from gatentk.train.trainable import copied_weights, outputs

KERNEL_SAMPLES = 128  # a kernel of n samples costs O(n^2 width depth)
SPECTRA_SAMPLES = 2  # G is a (width, d) product of all layers for each sample


@dataclass(frozen=True, eq=False)
class Probe:
    """What diagnostics are measured on.

    Attributes:
        x: (n, d) samples; "drift" takes the first 128 of them, "spectra" the first two.
        targets: of x, as `loss` takes them.
        loss: sum of the losses of (outputs, targets).
        gates: of x, for a GReLU network.
    """

    x: Tensor
    targets: Tensor
    loss: Loss
    gates: GateTable | None = None


class Monitor:
    """Measures a network epoch by epoch, against its start and against the epoch before.

    Args:
        names: some of `DIAGNOSTICS`.
        probe: the samples.
        net: the network at its start.
    """

    def __init__(self, names: Iterable[str], probe: Probe, net: FixedEndsNetwork) -> None:
        with torch.no_grad():
            self._measures = {name: DIAGNOSTICS[name].begin(probe, net) for name in names}

    def observe(self, net: FixedEndsNetwork) -> None:
        """Take the network, as it is, for the epoch before the next measurement."""
        for measure in self._measures.values():
            if isinstance(measure, _Successive):
                measure.observe(net)

    def measure(self, net: FixedEndsNetwork) -> dict[str, Any]:
        """All quantities by name, and `observe`; None where there is no epoch before."""
        with torch.no_grad():
            return {name: measure(net) for name, measure in self._measures.items()}


Measure = Callable[[FixedEndsNetwork], Any]


class _Successive:
    """Distance between values of successive epochs."""

    def __init__(self, value: Callable[[FixedEndsNetwork], Any], distance: Callable[[Any, Any], Any]) -> None:
        self.value, self.distance = value, distance
        self.before: Any = None

    def observe(self, net: FixedEndsNetwork) -> None:
        self.before = self.value(net)

    def __call__(self, net: FixedEndsNetwork) -> Any:
        before = self.before
        self.observe(net)
        return None if before is None else self.distance(self.before, before)


def _begin_tau(probe: Probe, net: FixedEndsNetwork) -> Measure:
    start = copied_weights(net)
    return lambda now: tau(list(now.weights), start)


def _begin_gradient(probe: Probe, net: FixedEndsNetwork) -> Measure:
    return _Successive(
        lambda now: gradient(now, probe.x, probe.targets, probe.loss, probe.gates),
        lambda now, before: float(torch.dist(now, before)),
    )


def _begin_gradient_norm(probe: Probe, net: FixedEndsNetwork) -> Measure:
    return lambda now: float(gradient(now, probe.x, probe.targets, probe.loss, probe.gates).norm())


def _begin_patterns(probe: Probe, net: FixedEndsNetwork) -> Measure:
    return _Successive(lambda now: now.patterns(probe.x, probe.gates), lambda now, before: now.hamming(before).tolist())


def _begin_dead(probe: Probe, net: FixedEndsNetwork) -> Measure:
    return lambda now: dead_neurons(now.patterns(probe.x, probe.gates))


def _begin_shift(probe: Probe, net: FixedEndsNetwork) -> Measure:
    return lambda now: mean_shift(now.activations(probe.x, probe.gates))


def _begin_spectra(probe: Probe, net: FixedEndsNetwork) -> Measure:
    few = slice(0, SPECTRA_SAMPLES)
    gates = None if probe.gates is None else probe.gates[few]
    return lambda now: extreme_eigenvalues(now, probe.x[few], gates)


def _begin_drift(probe: Probe, net: FixedEndsNetwork) -> Measure:
    x = probe.x[:KERNEL_SAMPLES]
    start = ntk.empirical(net, x)
    return lambda now: kernel_drift(ntk.empirical(now, x), start)


def _begin_linearised(probe: Probe, net: FixedEndsNetwork) -> Measure:
    linear = Linearisation(net, probe.x, probe.gates)

    def distance(now: FixedEndsNetwork) -> float:
        values = outputs(now, probe.x, probe.gates)
        return float((values - linear(list(now.weights))).norm() / values.norm())

    return distance


class Diagnostic(NamedTuple):
    """A quantity that is measured after every epoch.

    Attributes:
        description: what it is.
        begin: takes the samples and the network at its start and gives what measures the network later.
        weight_copies: how many times the size of the trained weights it keeps.
    """

    description: str
    begin: Callable[[Probe, FixedEndsNetwork], Measure]
    weight_copies: int = 0


DIAGNOSTICS = {
    "tau": Diagnostic("largest change of a weight matrix in spectral norm", _begin_tau, 1),
    "gradient": Diagnostic("change of the loss gradient since the epoch before, in 2-norm", _begin_gradient, 2),
    "gradient_norm": Diagnostic("2-norm of the loss gradient", _begin_gradient_norm),
    "patterns": Diagnostic("share of neurons by layer that switched since the epoch before", _begin_patterns),
    "dead": Diagnostic("share of neurons by layer that are off for every sample", _begin_dead),
    "shift": Diagnostic("mean activation by layer", _begin_shift),
    "spectra": Diagnostic("extreme eigenvalues of G^T G and F F^T by layer", _begin_spectra),
    "drift": Diagnostic("relative change of the neural tangent kernel", _begin_drift),
    "linearised": Diagnostic(
        "relative distance of the outputs from those of the linearised network", _begin_linearised, 1
    ),
}
