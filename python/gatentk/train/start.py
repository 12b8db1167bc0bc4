"""The untrained network of a seed, with the samples that it learns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gatentk.gates import GateNetwork
from gatentk.nn import FixedEndsNetwork, GReLUNetwork, ReLUNetwork
from gatentk.train.config import TrainingConfig
from gatentk.train.memory import TABLE_BYTES, table_bytes
from gatentk.train.samples import DTYPES, Split, TrainingSamples

GATE_SEED = 2**31  # added to that of the network: torch looks at 32 bits of a seed, and no seed is as large
TABLES = ".gates"  # ends the names of files of gate tables


@dataclass(eq=False)
class Start:
    """A network with the samples that it learns, their gates looked up once and for all."""

    seed: int
    network: FixedEndsNetwork
    train: Split
    test: Split | None
    shuffled: Tensor


def build(config: TrainingConfig, samples: TrainingSamples, seed: int) -> FixedEndsNetwork:
    """The untrained network of a seed: the same C, B and W for both models and all kinds of gates."""
    sizes = (samples.train.x.shape[1], config.width, config.depth, samples.outputs)
    generator, dtype = torch.Generator().manual_seed(seed), DTYPES[config.dtype]
    if config.model != "grelu":
        return ReLUNetwork(*sizes, generator=generator, dtype=dtype)
    if config.has_paper_gates:
        return GReLUNetwork(*sizes, generator=generator, dtype=dtype)
    return GReLUNetwork(*sizes, gates=gate_network(config, samples, seed), generator=generator, dtype=dtype)


def gate_network(config: TrainingConfig, samples: TrainingSamples, seed: int) -> GateNetwork:
    """The gate network of a seed where it is not that of [G], which shares C: drawn from a seed of its own."""
    x = samples.train.x
    return GateNetwork(
        x.shape[1],
        config.width,
        config.depth,
        torch.Generator().manual_seed(GATE_SEED + seed),
        DTYPES[config.dtype],
        block=config.block,
        kind=config.gates,
        center=x.double().mean(dim=0).to(x.dtype) if config.center else None,
    )


def converted(config: TrainingConfig, samples: TrainingSamples) -> ReLUNetwork:
    """A network of the form that the switch to ReLU gives, with weights that mean nothing yet."""
    sizes = (samples.train.x.shape[1], config.width, config.depth, samples.outputs)
    return ReLUNetwork(*sizes, last_relu=False, generator=torch.Generator(), dtype=DTYPES[config.dtype])


def gate_files(config: TrainingConfig, samples: TrainingSamples, seed: int) -> list[str]:
    """Names of the files for the gate tables of a seed: of those that are too large for memory."""
    splits = {"train": samples.train, "test": samples.test}
    if config.model != "grelu":
        return []
    return [
        f"{name}-{seed}{TABLES}"
        for name, split in splits.items()
        if split is not None and table_bytes(config, len(split)) > TABLE_BYTES
    ]


def begin(
    config: TrainingConfig,
    samples: TrainingSamples,
    seed: int,
    network: FixedEndsNetwork,
    folder: Path | None = None,
) -> Start:
    """Compute the gate tables, large ones into files of the folder (where the same tables may be replaced)."""
    in_files = gate_files(config, samples, seed)

    def gated(split: Split, name: str) -> Split:
        path = folder / name if folder is not None and name in in_files else None
        return replace(split, gates=network.gate_table(split.x, path=path))

    test = None if samples.test is None else gated(samples.test, f"test-{seed}{TABLES}")
    return Start(seed, network, gated(samples.train, f"train-{seed}{TABLES}"), test, samples.shuffled)
