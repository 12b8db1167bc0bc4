"""Training losses of one network: with cross-entropy by epoch, and with the square loss by step of gradient descent."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gatentk import nn, ntk, train
from gatentk.papers.frame.experiment import Cell, UserFile
from gatentk.papers.kernel_descent import KernelDescent
from gatentk.spectra import spectrum

RATE_SAMPLES = 256  # for lambda_max


@dataclass(frozen=True)
class DataSet:
    """Where a data set comes from, its sizes, and how many epochs are trained with cross-entropy."""

    source: str
    path: UserFile | None
    n: int
    features: int
    outputs: int
    epochs: int

    def weights(self, width: int, depth: int) -> int:
        """How many weights a network has."""
        return self.features * width + (depth - 1) * width**2 + width * self.outputs


@dataclass(frozen=True)
class GradientDescent:
    """Training on the square loss: how many samples, the width of the networks, and the steps."""

    rows: int
    width: int
    steps: int


@dataclass(frozen=True)
class Settings:
    """Networks by depth, on several data sets.

    Attributes:
        sets, missing: data sets, and what those need that are left out.
        depths: of the networks.
        width, batch, factors: with cross-entropy; learning rates are these factors of 1 / lambda_max(K / n).
        descent: with the square loss.
        target: square loss, relative to that at the start, up to which steps are counted.
    """

    sets: Mapping[str, DataSet]
    missing: Mapping[str, str]
    depths: tuple[int, ...]
    width: int
    batch: int
    factors: tuple[float, ...]
    descent: GradientDescent
    target: float


@lru_cache(maxsize=4)
def samples_of(source: str, path: str | None) -> train.TrainingSamples:
    """All samples of a data set, with unit rows and classes as targets, in float32."""
    return train.prepare_training(
        train.TrainingConfig(source, path=path, normalize="unit", model="relu", loss="cross-entropy", optimizer="sgd")
    )


def network(features: int, width: int, depth: int, outputs: int) -> nn.MLP:
    """The untrained network of seed 0."""
    return nn.MLP(features, width, depth, outputs, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


@dataclass(frozen=True)
class EntropyLosses:
    """Cross-entropy by epoch, the last None if it diverged, at a learning rate; the last accuracy."""

    rate: float
    losses: list[float | None]
    accuracy: float | None


@dataclass(frozen=True)
class EntropyCell(Cell[Settings, EntropyLosses]):
    """Cross-entropy at the learning rate `factor` / lambda_max(K / n), K the kernel at infinite width."""

    name: str
    depth: int
    factor: float

    KEY = "{name} cross-entropy depth {depth} rate {factor:g}"

    def cost(self, settings: Settings) -> float:
        """Multiply-adds."""
        chosen = settings.sets[self.name]
        return 3.0 * chosen.epochs * chosen.n * chosen.weights(settings.width, self.depth)

    def compute(self, settings: Settings) -> EntropyLosses:
        """Train in mini-batches."""
        chosen = settings.sets[self.name]
        samples = samples_of(chosen.source, chosen.path)
        few = samples.train.x[samples.shuffled[:RATE_SAMPLES]].double()
        rate = self.factor * len(few) / float(spectrum(ntk.infinite(few, depth=self.depth)).lmax)
        config = train.TrainingConfig(
            chosen.source, model="relu", loss="cross-entropy", optimizer="sgd", batch=settings.batch, depth=self.depth
        )
        net = network(chosen.features, settings.width, self.depth, samples.outputs)
        epochs = list(train.Descent(config, net, samples.train, rate).losses(chosen.epochs))
        return EntropyLosses(rate, [epoch.loss for epoch in epochs], epochs[-1].accuracy)


@dataclass(frozen=True)
class DescentLosses:
    """Square losses by step, relative to that at the start, of a network and of its linearisation.

    Attributes:
        rows: number of samples.
        lmin, lmax: extreme eigenvalues of the kernel at the start.
        infinite_condition: at infinite width; None where it is not resolved.
        losses: of the network; None where they are not finite.
        linearised: of the linearised network.
    """

    rows: int
    lmin: float
    lmax: float
    infinite_condition: float | None
    losses: list[float | None]
    linearised: list[float]

    @property
    def condition(self) -> float | None:
        """The condition number of the kernel of the network that is trained; None where it is not resolved."""
        floor = self.rows * torch.finfo(torch.float64).eps * self.lmax
        return self.lmax / self.lmin if self.lmin > floor else None


@dataclass(frozen=True)
class DescentCell(Cell[Settings, DescentLosses]):
    """Square loss by step of full gradient descent with step 1/lambda_max.

    The network has one output, which learns to change by +1 for the upper half of the classes and by -1 for the lower:
    the error at the start is the same at every depth, and not that of random outputs.
    """

    name: str
    depth: int

    KEY = "{name} square depth {depth}"

    def cost(self, settings: Settings) -> float:
        """Multiply-adds."""
        limits = settings.descent
        return (3.0 * limits.rows + 20) * limits.steps * settings.sets[self.name].weights(limits.width, self.depth)

    def compute(self, settings: Settings) -> DescentLosses:
        """Train, and follow the linearised network."""
        chosen, limits = settings.sets[self.name], settings.descent
        samples = samples_of(chosen.source, chosen.path)
        part = samples.train.take(samples.shuffled[: limits.rows])
        signs = torch.where(part.targets >= samples.outputs / 2, 1.0, -1.0).unsqueeze(1)
        net = network(chosen.features, limits.width, self.depth, 1)
        exact, x = copy.deepcopy(net).double(), part.x.double()
        linear = KernelDescent(ntk.empirical(exact, x), signs.double().flatten())
        with torch.no_grad():
            targets = net(part.x) + signs
        infinite = spectrum(ntk.infinite(x, depth=self.depth))
        return DescentLosses(
            rows=len(x),
            lmin=linear.lmin,
            lmax=linear.lmax,
            infinite_condition=float(infinite.condition) if infinite.resolved else None,
            losses=_descend(net, part.x, targets, 1 / linear.lmax, limits.steps),
            linearised=linear.losses(limits.steps),
        )


def _descend(net: nn.MLP, x: Tensor, targets: Tensor, rate: float, steps: int) -> list[float | None]:
    """Losses before the first and after every step, relative to the first; None where they are not finite."""
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    losses = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = train.square_loss(net(x), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        losses.append(float(loss.detach()))
        optimizer.step()
    return [loss / losses[0] if math.isfinite(loss) else None for loss in losses]


def cells(settings: Settings) -> Iterator[EntropyCell | DescentCell]:
    """One for each data set, loss and depth, and for each learning rate of cross-entropy."""
    for name in settings.sets:
        yield from (EntropyCell(name, depth, factor) for depth in settings.depths for factor in settings.factors)
        yield from (DescentCell(name, depth) for depth in settings.depths)
