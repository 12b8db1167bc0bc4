"""What happens inside a GReLU or ReLU network while it trains: the quantities of [G], Sec. 4-6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatentk import ntk
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork

Network = GReLUNetwork | ReLUNetwork
Loss = Callable[[Tensor, Tensor], Tensor]

NAMES = {
    "tau": "largest change of a weight matrix in spectral norm",
    "gradient": "change of the loss gradient since the epoch before, in 2-norm",
    "gradient_norm": "2-norm of the loss gradient",
    "patterns": "share of neurons by layer that switched since the epoch before",
    "dead": "share of neurons by layer that are off for every sample",
    "shift": "mean activation by layer",
    "spectra": "extreme eigenvalues of G^T G and F F^T by layer",
    "drift": "relative change of the neural tangent kernel",
    "linearised": "relative distance of the outputs from those of the linearised network",
}
KERNEL_SAMPLES = 128  # a kernel of n samples costs O(n^2 width depth)
SPECTRA_SAMPLES = 2  # G is a (width, d) product of all layers for each sample

_DENSE_NORM = 256  # below this size a full decomposition is as quick as Lanczos


def forward(net: Network, x: Tensor, gates: GateTable | None = None) -> Tensor:
    """Outputs (n, d_out); `gates` is for GReLU networks only, which compute them if they are left out."""
    outputs: Tensor = net(x, gates=gates) if isinstance(net, GReLUNetwork) else net(x)
    return outputs


def intermediate(net: Network, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
    """t_0 .. t_L of a GReLU network, h_0 .. h_L (before the ReLU) of a ReLU network, each (n, width)."""
    return net.intermediate(x, gates=gates) if isinstance(net, GReLUNetwork) else net.intermediate(x)


def activations(net: Network, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
    """What the next layer gets, each (n, width): t_0 .. t_L, or relu(h_0) .. relu(h_L) of a ReLU network."""
    values = intermediate(net, x, gates)
    if isinstance(net, GReLUNetwork):
        return values
    last = values[-1].relu() if net.last_relu else values[-1]
    return [*(h.relu() for h in values[:-1]), last]


def patterns(net: Network, x: Tensor, gates: GateTable | None = None) -> GateTable:
    """Which neurons are on: D_0 .. D_L of a GReLU network, h_k > 0 wherever a ReLU network has a ReLU."""
    if isinstance(net, GReLUNetwork):
        return net.gate_table(x) if gates is None else gates
    values = net.intermediate(x)
    return GateTable.from_bool(torch.stack([h > 0 for h in (values if net.last_relu else values[:-1])]))


def tau(weights: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """max_k |W_{t,k} - W_{1,k}|_2 ([G], Eq. 5)."""
    return max(spectral_norm(now.detach() - before) for now, before in zip(weights, reference, strict=True))


def spectral_norm(matrix: Tensor) -> float:
    """Largest singular value, by Lanczos from a fixed start where the matrix is large."""
    if not bool(matrix.any()):
        return 0.0
    if min(matrix.shape) <= _DENSE_NORM:
        return float(torch.linalg.matrix_norm(matrix, ord=2))
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    return float(svds(matrix.numpy(), k=1, v0=start, return_singular_vectors=False)[0])


def gradient(net: Network, x: Tensor, targets: Tensor, loss: Loss, gates: GateTable | None = None) -> Tensor:
    """Gradient of the mean loss by all trained weights, one vector; `loss` gives a sum over samples."""
    with torch.enable_grad():
        value = loss(forward(net, x, gates), targets) / len(x)
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, list(net.weights))])


def dead_neurons(table: GateTable) -> list[float]:
    """Share of neurons by layer that are off for every sample ([G], Remark 3)."""
    return [float((~layer.any(dim=0)).double().mean()) for layer in table.to_bool()]


def mean_shift(values: Sequence[Tensor]) -> list[float]:
    """E[t_k] by layer, the mean over samples and neurons ([G], Remark 3)."""
    return [float(value.detach().double().mean()) for value in values]


def extreme_eigenvalues(net: Network, x: Tensor, gates: GateTable | None = None) -> dict[str, list[list[float]]]:
    """[lambda_min, lambda_max] over samples of G_k^T G_k (d, d) and F_{k+1} F_{k+1}^T (d_out, d_out), k = 0..L.

    For a sample with patterns D_0 .. D_L, G_k = D_k W_k ... D_1 W_1 D_0 C and F_{k+1} = B D_L W_L ... W_{k+1} D_k,
    so that its output is F_{k+1} W_k G_{k-1} x ([G], Eq. 9-10). [G], Thm 5 places the eigenvalues of wide
    networks at their start in [m/(12 d), 27 m/(4 d)], m the width and d the number of inputs (for G) or outputs (F).

    Args:
        net: the network; D_k of a ReLU network is its own pattern, the identity where it has no ReLU.
        x: (n, d) samples; the cost is n products of (width, width) and (width, d) matrices a layer.
        gates: of x, for a GReLU network.

    Returns:
        "G" and "F", each a list of pairs by k.
    """
    masks = _masks(net, x, gates)
    with torch.no_grad():
        spans = [_sample_spans(net, [mask[row] for mask in masks]) for row in range(len(x))]
    return {
        name: [
            [min(span[name][k][0] for span in spans), max(span[name][k][1] for span in spans)]
            for k in range(len(masks))
        ]
        for name in ("G", "F")
    }


def _sample_spans(net: Network, masks: list[Tensor]) -> dict[str, list[tuple[float, float]]]:
    """Extreme eigenvalues of one sample by k; masks (width,), D_0 .. D_L."""
    G, F = masks[0].unsqueeze(1) * net.input_weight, net.output_weight * masks[-1]
    spans = {"G": [_extremes(G.T @ G)], "F": [_extremes(F @ F.T)]}
    for weight, mask in zip(net.weights, masks[1:], strict=True):
        G = mask.unsqueeze(1) * (weight @ G)
        spans["G"].append(_extremes(G.T @ G))
    for weight, mask in zip(reversed(list(net.weights)), reversed(masks[:-1]), strict=True):
        F = (F @ weight) * mask
        spans["F"].insert(0, _extremes(F @ F.T))
    return spans


def _extremes(gram: Tensor) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a positive semidefinite matrix; rounding does not make them negative."""
    values = torch.linalg.eigvalsh(gram.double())
    return max(0.0, float(values[0])), float(values[-1])


def kernel_drift(now: Tensor, reference: Tensor) -> float:
    """|K_t - K_1|_F / |K_1|_F ([G], Cor. 4)."""
    return float((now.double() - reference.double()).norm() / reference.double().norm())


def _masks(net: Network, x: Tensor, gates: GateTable | None) -> list[Tensor]:
    """D_0 .. D_L as numbers, each (n, width); ones where a ReLU network ends without a ReLU."""
    masks = list(patterns(net, x, gates).to_bool().to(x.dtype))
    return masks if len(masks) == net.depth + 1 else [*masks, torch.ones_like(masks[0])]


class Linearisation:
    """A network linearised at its current weights: y^NTK = y + J dW, J the Jacobian by W_1 .. W_L ([G], Sec. 4).

    Args:
        net: the network; its weights are copied.
        x: (n, d) samples.
        gates: of x, for a GReLU network.
    """

    def __init__(self, net: Network, x: Tensor, gates: GateTable | None = None) -> None:
        with torch.no_grad():
            self.weights = [weight.detach().clone() for weight in net.weights]
            self.output_weight = net.output_weight.detach()
            self.activations = activations(net, x, gates)
            self.masks = _masks(net, x, gates)
            self.outputs = self.activations[-1] @ self.output_weight.T

    @torch.no_grad()
    def tangent(self, change: Sequence[Tensor]) -> Tensor:
        """J dW, (n, d_out): s_k = D_k (W_k s_{k-1} + dW_k t_{k-1}), y = B s_L."""
        s = torch.zeros_like(self.activations[0])
        for k, (weight, step) in enumerate(zip(self.weights, change, strict=True)):
            s = self.masks[k + 1] * (s @ weight.T + self.activations[k] @ step.T)
        return s @ self.output_weight.T

    @torch.no_grad()
    def cotangent(self, residual: Tensor) -> list[Tensor]:
        """J^T r for r (n, d_out): the gradient by each weight matrix."""
        delta = (residual @ self.output_weight) * self.masks[-1]
        parts: list[Tensor] = []
        for k in reversed(range(len(self.weights))):
            parts.insert(0, delta.T @ self.activations[k])
            delta = (delta @ self.weights[k]) * self.masks[k]
        return parts

    def __call__(self, weights: Sequence[Tensor]) -> Tensor:
        """Outputs (n, d_out) of the linearised network at other weights."""
        return self.outputs + self.tangent([now.detach() - w for now, w in zip(weights, self.weights, strict=True)])

    def largest_eigenvalue(self, iterations: int = 20) -> float:
        """Largest eigenvalue of J J^T / n, all outputs together, from below by power iteration.

        Gradient descent on the mean square loss of the linearised network converges for steps below twice its
        inverse.
        """
        generator = torch.Generator().manual_seed(0)
        v = torch.randn(self.outputs.shape, generator=generator, dtype=self.outputs.dtype)
        value = 0.0
        for _ in range(iterations):
            v = self.tangent(self.cotangent(v / v.norm())) / len(v)
            value = float(v.norm())
            if value == 0:  # every output is constant
                break
        return value


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
        names: some of `NAMES`.
        probe: the samples.
        net: the network at its start.
    """

    def __init__(self, names: Iterable[str], probe: Probe, net: Network) -> None:
        with torch.no_grad():
            self._measures = {name: _MEASURES[name](probe, net) for name in names}

    def observe(self, net: Network) -> None:
        """Take the network, as it is, for the epoch before the next measurement."""
        for measure in self._measures.values():
            if isinstance(measure, _Successive):
                measure.observe(net)

    def measure(self, net: Network) -> dict[str, Any]:
        """All quantities by name, and `observe`; None where there is no epoch before."""
        with torch.no_grad():
            return {name: measure(net) for name, measure in self._measures.items()}


Measure = Callable[[Network], Any]


class _Successive:
    """Distance between values of successive epochs."""

    def __init__(self, value: Callable[[Network], Any], distance: Callable[[Any, Any], Any]) -> None:
        self.value, self.distance = value, distance
        self.before: Any = None

    def observe(self, net: Network) -> None:
        self.before = self.value(net)

    def __call__(self, net: Network) -> Any:
        before = self.before
        self.observe(net)
        return None if before is None else self.distance(self.before, before)


def _measure_tau(probe: Probe, net: Network) -> Measure:
    start = [weight.detach().clone() for weight in net.weights]
    return lambda now: tau(list(now.weights), start)


def _measure_gradient(probe: Probe, net: Network) -> Measure:
    return _Successive(
        lambda now: gradient(now, probe.x, probe.targets, probe.loss, probe.gates),
        lambda now, before: float(torch.dist(now, before)),
    )


def _measure_gradient_norm(probe: Probe, net: Network) -> Measure:
    return lambda now: float(gradient(now, probe.x, probe.targets, probe.loss, probe.gates).norm())


def _measure_patterns(probe: Probe, net: Network) -> Measure:
    return _Successive(
        lambda now: patterns(now, probe.x, probe.gates), lambda now, before: now.hamming(before).tolist()
    )


def _measure_dead(probe: Probe, net: Network) -> Measure:
    return lambda now: dead_neurons(patterns(now, probe.x, probe.gates))


def _measure_shift(probe: Probe, net: Network) -> Measure:
    return lambda now: mean_shift(activations(now, probe.x, probe.gates))


def _measure_spectra(probe: Probe, net: Network) -> Measure:
    few = slice(0, SPECTRA_SAMPLES)
    gates = None if probe.gates is None else probe.gates[few]
    return lambda now: extreme_eigenvalues(now, probe.x[few], gates)


def _measure_drift(probe: Probe, net: Network) -> Measure:
    x = probe.x[:KERNEL_SAMPLES]
    start = ntk.empirical(net, x)
    return lambda now: kernel_drift(ntk.empirical(now, x), start)


def _measure_linearised(probe: Probe, net: Network) -> Measure:
    linear = Linearisation(net, probe.x, probe.gates)

    def distance(now: Network) -> float:
        outputs = forward(now, probe.x, probe.gates)
        return float((outputs - linear(list(now.weights))).norm() / outputs.norm())

    return distance


_MEASURES: dict[str, Callable[[Probe, Network], Measure]] = {
    "tau": _measure_tau,
    "gradient": _measure_gradient,
    "gradient_norm": _measure_gradient_norm,
    "patterns": _measure_patterns,
    "dead": _measure_dead,
    "shift": _measure_shift,
    "spectra": _measure_spectra,
    "drift": _measure_drift,
    "linearised": _measure_linearised,
}
