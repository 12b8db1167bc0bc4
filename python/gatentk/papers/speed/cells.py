"""What is measured: times of training and of inference, and how well gates of low rank agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any

import torch
from torch import Tensor

from gatentk import convert, data
from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.papers.frame.experiment import Cell
from gatentk.scaling import unit_rows
from gatentk.train.losses import square_loss
from gatentk.train.trainable import Trainable, outputs

DENSE = "ReLU, dense"  # what all times are compared with
TRAINING = {"relu": "ReLU, zeros skipped", "grelu": "GReLU, gates looked up"}
INFERENCE = {
    "relu": "ReLU, zeros skipped",
    "grelu": "GReLU, gates looked up",
    "grelu-new": "GReLU, gates computed",
    "relu-low-rank": "ReLU, gates of low rank",
    "grelu-low-rank": "GReLU, gates of low rank",
}
OUTPUTS = 10
BLOCK = 64  # neurons that share a gate, where they do


@dataclass(frozen=True)
class Settings:
    """Networks by width.

    Attributes:
        data: what they are fed.
        depth: of all.
        batch: samples of a step of training, and of the fit of gates of low rank.
        rows: numbers of samples of inference.
        widths: of the networks.
        rounds: how often a variant is timed.
        agreement_samples: half of them are fitted, and half held back.
    """

    data: str
    depth: int
    batch: int
    rows: tuple[int, ...]
    widths: tuple[int, ...]
    rounds: int
    agreement_samples: int

    @property
    def compared(self) -> tuple[str, str]:
        """The samples whose gates are predicted."""
        return self.data, "isotropic"

    def products(self, width: int) -> float:
        """Floating-point operations of a network for a sample."""
        return 2.0 * self.depth * width**2


@lru_cache(maxsize=4)
def samples(name: str, n: int) -> Tensor:
    """Unit rows in float32: of a data set, or isotropic ones with as many features as MNIST."""
    if name == "isotropic":
        x = torch.randn(n, 784, generator=torch.Generator().manual_seed(0))
    else:
        x = data.load(name, n=n).x.float()
    return unit_rows(x)


def alternate(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant by round; they take turns, after one call of each that is not counted."""
    for call in variants.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def _networks(x: Tensor, width: int, depth: int) -> tuple[GReLUNetwork, ReLUNetwork, GateTable]:
    """Both networks with the same C, B and W, and the gates of the samples."""
    gnet = GReLUNetwork(x.shape[1], width, depth, OUTPUTS, generator=torch.Generator().manual_seed(0))
    rnet = ReLUNetwork(x.shape[1], width, depth, OUTPUTS, generator=torch.Generator().manual_seed(0))
    return gnet, rnet, gnet.gate_table(x)


def _step(net: Trainable, x: Tensor, targets: Tensor, gates: GateTable | None) -> None:
    """Forward, backward and an update so small that the network stays what it is."""
    for weight in net.weights:
        weight.grad = None
    loss = square_loss(outputs(net, x, gates), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for weight in net.weights:
            assert weight.grad is not None
            weight.sub_(weight.grad, alpha=1e-30)


def _by_method(net: ReLUNetwork, method: str, call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        net.method = method
        return call()

    return run


@dataclass(frozen=True)
class Times:
    """Seconds by variant and round."""

    seconds: dict[str, list[float]]

    def speedup(self, name: str) -> float:
        """Median over rounds of how many times as long the dense ReLU network takes."""
        return median(dense / own for dense, own in zip(self.seconds["dense"], self.seconds[name], strict=True))


@dataclass(frozen=True)
class TrainingTimes(Times):
    """Times of a step, and seconds of the table of all gates."""

    table: float


@dataclass(frozen=True)
class TrainingCell(Cell[Settings, TrainingTimes]):
    """Training at one width."""

    width: int

    KEY = "training width {width}"

    def cost(self, settings: Settings) -> float:
        """Floating-point operations."""
        return settings.products(self.width) * settings.batch * 3 * 2.5 * (settings.rounds + 1)

    def compute(self, settings: Settings) -> TrainingTimes:
        """Steps of a dense ReLU network, of one that skips zeros, and of a GReLU network."""
        x = samples(settings.data, settings.batch)
        gnet, rnet, table = _networks(x, self.width, settings.depth)
        targets = torch.zeros(len(x), OUTPUTS)
        seconds = alternate(
            {
                "dense": _by_method(rnet, "dense", lambda: _step(rnet, x, targets, None)),
                "relu": _by_method(rnet, "auto", lambda: _step(rnet, x, targets, None)),
                "grelu": lambda: _step(gnet, x, targets, table),
            },
            settings.rounds,
        )
        begun = time.perf_counter()
        gnet.gate_table(x)
        return TrainingTimes(seconds, time.perf_counter() - begun)


@dataclass(frozen=True)
class InferenceTimes(Times):
    """Times of a call, and the relative difference of outputs where zeros are skipped."""

    difference: float


@dataclass(frozen=True)
class InferenceCell(Cell[Settings, InferenceTimes]):
    """Inference at one width, of so many samples at a time."""

    width: int
    rows: int

    KEY = "inference width {width} rows {rows}"

    def _rounds(self, settings: Settings) -> int:
        # Calls with few samples are so short that other work of the machine disturbs them more.
        return settings.rounds * (1 if self.rows > 8 else 5)

    def cost(self, settings: Settings) -> float:
        """Floating-point operations."""
        calls = max(self.rows, 8) * len(INFERENCE) * (self._rounds(settings) + 1)
        return settings.products(self.width) * (4 * settings.batch + calls)

    @torch.no_grad()
    def compute(self, settings: Settings) -> InferenceTimes:
        """Times with gates looked up, computed and predicted."""
        x = samples(settings.data, settings.batch)
        gnet, rnet, table = _networks(x, self.width, settings.depth)
        predicted = {name: convert.low_rank_gates(net, x)[0] for name, net in (("relu", rnet), ("grelu", gnet))}
        rows, gates = x[: self.rows], table[: self.rows]
        calls: dict[str, Callable[[], Tensor]] = {
            "dense": _by_method(rnet, "dense", lambda: rnet(rows)),
            "relu": _by_method(rnet, "auto", lambda: rnet(rows)),
            "grelu": lambda: gnet(rows, gates=gates),
            "grelu-new": lambda: gnet(rows),
            "relu-low-rank": _by_method(rnet, "auto", lambda: predicted["relu"](rows)),
            "grelu-low-rank": lambda: predicted["grelu"](rows),
        }
        exact, skipped = calls["dense"](), calls["relu"]()
        return InferenceTimes(
            seconds=alternate(calls, self._rounds(settings)),
            difference=float((exact - skipped).norm() / exact.norm()),
        )


@dataclass(frozen=True)
class BlockTimes:
    """Times with shallow gates that blocks of neurons share, of a step and of inference by numbers of samples."""

    training: Times
    inference: dict[int, Times]


@dataclass(frozen=True)
class BlockCell(Cell[Settings, BlockTimes]):
    """A network whose neurons share gates, beside a dense ReLU network."""

    width: int
    block: int

    KEY = "blocks of {block} width {width}"

    def cost(self, settings: Settings) -> float:
        """Floating-point operations."""
        rows = sum(settings.rows) * 3
        return settings.products(self.width) * (settings.batch * 3 + rows) * 1.5 * (settings.rounds + 1)

    def compute(self, settings: Settings) -> BlockTimes:
        """Times of a step, and of inference with gates looked up and computed."""
        x = samples(settings.data, settings.batch)
        sizes, generator = (x.shape[1], self.width, settings.depth), torch.Generator().manual_seed(0)
        gates = GateNetwork(*sizes, generator, x.dtype, block=self.block, kind="shallow")
        gnet = GReLUNetwork(*sizes, OUTPUTS, gates=gates, generator=generator, dtype=x.dtype)
        rnet = ReLUNetwork(*sizes, OUTPUTS, generator=generator, dtype=x.dtype)
        rnet.method = "dense"
        table, targets = gnet.gate_table(x), torch.zeros(len(x), OUTPUTS)
        training = alternate(
            {"dense": lambda: _step(rnet, x, targets, None), "blocks": lambda: _step(gnet, x, targets, table)},
            settings.rounds,
        )
        with torch.no_grad():
            inference = {n: self._inference(settings, gnet, rnet, x[:n], table[:n]) for n in settings.rows}
        return BlockTimes(Times(training), inference)

    def _inference(
        self, settings: Settings, gnet: GReLUNetwork, rnet: ReLUNetwork, rows: Tensor, gates: GateTable
    ) -> Times:
        calls: dict[str, Callable[[], Tensor]] = {
            "dense": lambda: rnet(rows),
            "blocks": lambda: gnet(rows, gates=gates),
            "blocks-new": lambda: gnet(rows),
        }
        return Times(alternate(calls, settings.rounds * (1 if len(rows) > 8 else 5)))


@dataclass(frozen=True)
class Agreement:
    """How well gates of low rank agree with the exact ones, by layer, on samples that were not fitted.

    Attributes:
        rank: of the factors.
        agreement: share of gates.
        estimate: what the captured energy lets expect.
        error: of the outputs, relative.
    """

    rank: int
    agreement: list[float]
    estimate: list[float]
    error: float


@dataclass(frozen=True)
class AgreementCell(Cell[Settings, Agreement]):
    """Gates of low rank of one network."""

    data: str
    model: str
    width: int

    KEY = "agreement {data} {model} width {width}"

    def cost(self, settings: Settings) -> float:
        """Floating-point operations."""
        return settings.products(self.width) * settings.agreement_samples * 2

    @torch.no_grad()
    def compute(self, settings: Settings) -> Agreement:
        """Fit half of the samples."""
        x = samples(self.data, settings.agreement_samples)
        gnet, rnet, _ = _networks(x[:1], self.width, settings.depth)
        net = gnet if self.model == "grelu" else rnet
        fitted, held = x[: len(x) // 2], x[len(x) // 2 :]
        fast, report = convert.low_rank_gates(net, fitted)
        exact = net(held)
        return Agreement(
            rank=report.rank,
            agreement=[layer.agreement for layer in report.layers],
            estimate=[layer.estimate for layer in report.layers],
            error=float((fast(held) - exact).norm() / exact.norm()),
        )


def cells(settings: Settings) -> Iterator[TrainingCell | InferenceCell | AgreementCell | BlockCell]:
    """Narrow networks first; in each width training, inference and agreement."""
    for width in settings.widths:
        yield TrainingCell(width)
        yield from (InferenceCell(width, rows) for rows in settings.rows)
        yield from (AgreementCell(name, model, width) for name in settings.compared for model in ("relu", "grelu"))
    # No part of the settings, so that folders of runs without them go on.
    yield from (BlockCell(width, min(BLOCK, width)) for width in settings.widths)
