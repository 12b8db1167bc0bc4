"""Which networks learn what, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gatentk import train
from gatentk.papers.frame.experiment import UserFile
from gatentk.train import TrainingConfig, TrainingSamples

RELU = "relu"
# How gates are drawn: what `TrainingConfig` calls gates and center.
KINDS = {"deep": ("deep", False), "shallow": ("shallow", False), "centred": ("shallow", True)}
LABELS = {RELU: "dense ReLU", "deep": "deep", "shallow": "shallow", "centred": "shallow, centred"}
PAPER = "deep"  # with a gate for each neuron: the network of [G]


@dataclass(frozen=True)
class Network:
    """A dense ReLU network, or a GReLU network of some kind of gates.

    Attributes:
        kind: "relu", or one of `KINDS`.
        width: neurons of a layer.
        block: of them that share a gate; 1 for a ReLU network, which has none.
    """

    kind: str
    width: int
    block: int = 1

    @property
    def name(self) -> str:
        """Unique among networks: "centred width 1024 block 16"."""
        return f"{self.kind} width {self.width}" + ("" if self.kind == RELU else f" block {self.block}")

    @property
    def units(self) -> int:
        """Gates of a layer."""
        return -(-self.width // self.block)

    def config(self, task: Task, depth: int, dtype: str = "float32") -> TrainingConfig:
        """The training of this network."""
        gates, center = KINDS.get(self.kind, ("deep", False))
        return TrainingConfig(
            **task.samples_options,
            model=RELU if self.kind == RELU else "grelu",
            width=self.width,
            depth=depth,
            optimizer="adam",
            batch=task.batch,
            rates=(1.0,),
            schedule="constant",
            block=self.block,
            gates=gates,
            center=center,
            dtype=dtype,
        )


@dataclass(frozen=True)
class Task:
    """What is learnt from one data set.

    Attributes:
        source, path, n: of the data set, as for `gatentk.data.load`.
        normalize, loss: as for `TrainingConfig`.
        epochs: of the trainings.
        trial_epochs: of the trials of learning rates.
        batch: samples of a step.
        factors: learning rates that are tried, times 1 / width.
        networks: what is trained.
    """

    source: str
    path: UserFile | None
    n: int | None
    normalize: str
    loss: str
    epochs: int
    trial_epochs: int
    batch: int
    factors: tuple[float, ...]
    networks: tuple[Network, ...]

    @property
    def samples_options(self) -> dict[str, Any]:
        """What the samples depend on."""
        given = {name: getattr(self, name) for name in ("path", "n", "normalize", "loss")}
        return {"data": self.source, "test_fraction": TEST_SHARE, **given}

    def having(self, kind: str) -> list[Network]:
        """The networks of a kind, narrow ones first."""
        return [network for network in self.networks if network.kind == kind]


TEST_SHARE = 0.2
VALIDATION_SHARE = 0.2  # of the train samples, in trials of learning rates


@dataclass(frozen=True)
class Settings:
    """Networks by data set.

    Attributes:
        tasks: by the name of the data set.
        missing: what the data sets need that are left out.
        depth: of all networks.
        seeds: trainings of a network.
        rounds: how often a step of each network is timed.
        kernel_samples: of the condition numbers.
        kernel_seeds: networks whose kernels are measured.
    """

    tasks: Mapping[str, Task]
    missing: Mapping[str, str]
    depth: int
    seeds: int
    rounds: int
    kernel_samples: int
    kernel_seeds: int


def samples(task: Task, width: int) -> TrainingSamples:
    """The samples of a task; what numbers are learnt depends on the width."""
    return _samples(tuple(task.samples_options.items()), width if task.loss == "square" else 1)


@lru_cache(maxsize=8)
def _samples(options: tuple[tuple[str, Any], ...], width: int) -> TrainingSamples:
    return train.prepare_training(TrainingConfig(**dict(options), width=width))


def gated(kinds: Sequence[str], widths: Sequence[int], blocks: Sequence[int]) -> Iterator[Network]:
    """GReLU networks, narrow ones first."""
    for width in widths:
        for kind in kinds:
            yield from (Network(kind, width, block) for block in blocks if block <= width)
