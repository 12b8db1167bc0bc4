"""The trainings that [G, Thm 1, Thm 3, Cor. 4, Eq. 5, Table 1] are held against: each is done once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from gatentk import ntk
from gatentk.nn import GReLUNetwork
from gatentk.papers.bounds.problem import SMALL, descend, network, scaled_ackley
from gatentk.papers.bounds.settings import Settings
from gatentk.papers.frame.experiment import Cell, Results
from gatentk.papers.kernel_descent import KernelDescent, promised_loss
from gatentk.train import quantities
from gatentk.train.linearisation import Linearisation

DIVERGED = 1e3  # times the loss at the start


@dataclass(frozen=True)
class TrainingNumbers:
    """What came of one training; losses are relative to that at the start.

    Attributes:
        lmin, lmax: extreme eigenvalues of the kernel at the start.
        converged: whether the smallest target was reached.
        iterations: steps to each target, None if it was not reached.
        predicted: the same for a constant kernel.
        worst_rate: largest ratio of the loss after t > 0 steps and (1 - 1/kappa)^t.
        drift, linearised, tau: largest distances from the start, as `Distances`.
    """

    lmin: float
    lmax: float
    converged: bool
    iterations: list[int | None]
    predicted: list[int | None]
    worst_rate: float
    drift: float
    linearised: float
    tau: float

    def steps_to(self, target: int) -> int:
        """Steps to the target of that index in a training that converged."""
        steps = self.iterations[target]
        assert steps is not None
        return steps


@dataclass(frozen=True)
class Distances:
    """How far a network is from its start and from its linearisation.

    Attributes:
        drift: of the kernel, relative, in Frobenius norm ([G], Cor. 4).
        linearised: of the outputs from those of the linearised network, relative ([G], Thm 3).
        tau: of the weights, in spectral norm ([G], Eq. 5).
    """

    drift: float = 0.0
    linearised: float = 0.0
    tau: float = 0.0

    def largest(self, other: Distances) -> Distances:
        """The larger of each."""
        return Distances(max(self.drift, other.drift), max(self.linearised, other.linearised), max(self.tau, other.tau))


def distances(net: GReLUNetwork, x: Tensor, linear: Linearisation, K: Tensor, outputs: Tensor) -> Distances:
    """How far a network with these outputs is from the start, where it was linearised and its kernel was K."""
    weights = list(net.weights)
    return Distances(
        drift=quantities.kernel_drift(ntk.empirical(net, x), K),
        linearised=float((outputs - linear(weights)).norm() / outputs.norm()),
        tau=quantities.tau(weights, linear.weights),
    )


@dataclass(frozen=True)
class Training(Cell[Settings, TrainingNumbers]):
    """Gradient descent with step 1/lambda_max until the loss is the smallest target."""

    KEY = "training n {n} depth {depth} width {width} seed {seed}"

    n: int
    depth: int
    width: int
    seed: int

    def cost(self, settings: Settings) -> float:
        """The work of about 300 steps, each of which moves the weights through the memory some ten times."""
        return SMALL + 300 * 10 * self.depth * self.width**2

    def compute(self, settings: Settings) -> TrainingNumbers:
        """Losses at every step, distances at powers of two and at the end."""
        part = settings.training
        x, labels = scaled_ackley(self.n, self.width)
        net = network(self.n, self.width, self.depth, self.seed)
        gates = net.gate_table(x)
        K = ntk.empirical(net, x)
        linear = Linearisation(net, x, gates)
        residual = linear.outputs - labels
        start, kernel = float(residual.square().sum()), KernelDescent(K, residual)
        largest, losses = Distances(), list[float]()
        for t in range(part.steps + 1):
            outputs = net(x, gates=gates)
            losses.append(float((outputs.detach() - labels).square().sum()) / start)
            last = losses[-1] <= min(part.targets) or not losses[-1] < DIVERGED or t == part.steps
            if last or t & (t - 1) == 0:
                largest = largest.largest(distances(net, x, linear, K, outputs.detach()))
            if last:
                break
            descend(net, outputs, labels, 1 / kernel.lmax)
        share = kernel.lmin / kernel.lmax
        return TrainingNumbers(
            lmin=kernel.lmin,
            lmax=kernel.lmax,
            converged=losses[-1] <= min(part.targets),
            iterations=[next((t for t, loss in enumerate(losses) if loss <= e), None) for e in part.targets],
            predicted=[kernel.steps_to(e, part.steps) for e in part.targets],
            worst_rate=max(loss / max(promised_loss(share, t), 1e-300) for t, loss in enumerate(losses[1:], 1)),
            drift=largest.drift,
            linearised=largest.linearised,
            tau=largest.tau,
        )


def cells(settings: Settings) -> Iterator[Training]:
    """All of them."""
    for shape in settings.training.shapes:
        for seed in range(settings.training.seeds):
            yield Training(*shape, seed)


def seeds(settings: Settings, results: Results, n: int, depth: int, width: int) -> list[TrainingNumbers]:
    """The trainings of one shape."""
    return [results[Training(n, depth, width, seed)] for seed in range(settings.training.seeds)]


def at_sufficient_width(settings: Settings, results: Results) -> dict[int, list[TrainingNumbers]]:
    """Those of width n^2 L, by n."""
    part = settings.training
    return {n: seeds(settings, results, n, part.last_depth, part.sufficient_width(n)) for n in part.iteration_samples}
