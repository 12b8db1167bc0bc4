"""A finished training, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gatentk.reporting.environment import environment
from gatentk.reporting.text import json_text
from gatentk.runs.results import with_digest
from gatentk.train.config import TrainingConfig
from gatentk.train.diagnostics import DIAGNOSTICS
from gatentk.train.learning_rates import Trial
from gatentk.train.record import EpochRecord
from gatentk.train.samples import TrainingSamples
from gatentk.train.schedule import best_epoch

SCHEMA = "gatentk/training/1"


@dataclass(frozen=True)
class Result:
    """All runs of a training.

    Attributes:
        config: what was trained.
        rate, trials: the learning rate, and the trials that chose it (none if it was given).
        records: of all epochs, seed by seed.
    """

    config: TrainingConfig
    rate: float
    trials: list[Trial]
    records: list[EpochRecord]

    def run(self, seed: int) -> list[EpochRecord]:
        """The records of one seed."""
        return [record for record in self.records if record.seed == seed]

    @property
    def diverged(self) -> list[EpochRecord]:
        """The last records of runs that diverged."""
        return [record for record in self.records if record.diverged]


def document_text(samples: TrainingSamples, result: Result, command: str) -> str:
    """Settings, data and the outcome of each run, machine-readable; log.jsonl has every epoch."""
    config = result.config
    document = {
        "schema": SCHEMA,
        "command": command,
        "config": asdict(config),
        "data": {
            "name": samples.name,
            "train_samples": len(samples.train),
            "test_samples": 0 if samples.test is None else len(samples.test),
            "features": samples.train.x.shape[1],
            "outputs": samples.outputs,
            "classes": samples.classes,
            "normalize": samples.normalize,
            "targets": _targets(samples),
            "zero_rows": samples.zero_rows,
            "sha256": samples.digest,
        },
        "environment": environment(),
        "diagnostics": {name: DIAGNOSTICS[name].description for name in config.diagnostics},
        "learning_rate": result.rate,
        "trials": [trial._asdict() for trial in result.trials],
        "runs": [_outcome(result.run(seed)) for seed in range(config.seeds)],
    }
    return json_text(with_digest(document))


def _targets(samples: TrainingSamples) -> dict[str, Any] | None:
    """Mean and spread of the numbers to predict, in whose unit losses are; None where they are not scaled."""
    scale = samples.train.scale
    return None if scale is None else {name: getattr(scale, name).tolist() for name in ("mean", "spread", "unit")}


def _outcome(records: Sequence[EpochRecord]) -> dict[str, Any]:
    """How one run went: its first, last and best epoch, its smallest test loss, and the switch if there was one."""
    tested = [record for record in records if record.test_loss is not None]
    best = min(tested, key=lambda record: record.test_loss or 0.0, default=None)
    return {
        "seed": records[0].seed,
        "diverged": records[-1].diverged,
        "epochs": records[-1].epoch,
        "seconds": sum(record.seconds for record in records),
        "first": asdict(records[0]),
        "last": asdict(records[-1]),
        "settled": records[-1].settled,
        "best": None if (kept := best_epoch(records)) is None else asdict(kept),
        "best_test": None if best is None else {"epoch": best.epoch, "test_loss": best.test_loss},
        "switch": next((record.switch for record in records if record.switch is not None), None),
    }
