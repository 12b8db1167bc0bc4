"""Training of GReLU and ReLU networks from the same start: resumable runs, learning rates by trial, full logs.

From Python, in memory:

    run = train.fit(train.TrainingConfig(data="digits", width=512, depth=2, epochs=20))
    run.network, run.records

`run_training` does the same for all seeds in a folder, with a log, checkpoints and results: what `gatentk train` calls.
`Descent` trains any network, with nothing but its losses to show.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatentk.activations import MODELS
    from gatentk.errors import TrainingError
    from gatentk.train.checkpoints import checkpoint_paths, read_best, read_checkpoint, write_checkpoint
    from gatentk.train.config import BATCH, NORMALIZATIONS, OPTIMIZERS, TrainingConfig
    from gatentk.train.config import TrainingConfig as Config
    from gatentk.train.descent import Descent, DescentState
    from gatentk.train.diagnostics import DIAGNOSTICS, Monitor, Probe
    from gatentk.train.folder import FORMAT, identity, run_all, run_training
    from gatentk.train.journal import JOURNAL as LOG
    from gatentk.train.journal import Journal as Log
    from gatentk.train.learning_rates import Trial, candidate_rates, choose_rate
    from gatentk.train.learning_rates import candidate_rates as rates
    from gatentk.train.linearisation import Linearisation
    from gatentk.train.losses import LOSSES, cross_entropy, square_loss
    from gatentk.train.memory import training_memory
    from gatentk.train.memory import training_memory as memory_needed
    from gatentk.train.record import EpochRecord
    from gatentk.train.record import EpochRecord as Record
    from gatentk.train.result import Result
    from gatentk.train.run import Run, fit
    from gatentk.train.samples import DTYPES, Split, TrainingSamples, normalised, prepare_training, split_rows
    from gatentk.train.samples import TrainingSamples as Samples
    from gatentk.train.samples import prepare_training as prepare
    from gatentk.train.schedule import BestEpoch, Schedule, best_epoch
    from gatentk.train.start import Start, begin, build
    from gatentk.train.targets import TargetScale, target_scale
    from gatentk.train.trainable import Trainable

__all__ = [
    "BATCH",
    "DIAGNOSTICS",
    "DTYPES",
    "FORMAT",
    "LOG",
    "LOSSES",
    "MODELS",
    "NORMALIZATIONS",
    "OPTIMIZERS",
    "BestEpoch",
    "Config",
    "Descent",
    "DescentState",
    "EpochRecord",
    "Linearisation",
    "Log",
    "Monitor",
    "Probe",
    "Record",
    "Result",
    "Run",
    "Samples",
    "Schedule",
    "Split",
    "Start",
    "TargetScale",
    "Trainable",
    "TrainingConfig",
    "TrainingError",
    "TrainingSamples",
    "Trial",
    "begin",
    "best_epoch",
    "build",
    "candidate_rates",
    "checkpoint_paths",
    "choose_rate",
    "cross_entropy",
    "fit",
    "identity",
    "memory_needed",
    "normalised",
    "prepare",
    "prepare_training",
    "rates",
    "read_best",
    "read_checkpoint",
    "run_all",
    "run_training",
    "split_rows",
    "square_loss",
    "target_scale",
    "training_memory",
    "write_checkpoint",
]

# Loaded at first use: configurations are known without waiting for torch.
_PLACES = {
    "gatentk.activations": ("MODELS",),
    "gatentk.errors": ("TrainingError",),
    "gatentk.train.checkpoints": ("checkpoint_paths", "read_best", "read_checkpoint", "write_checkpoint"),
    "gatentk.train.config": ("BATCH", "NORMALIZATIONS", "OPTIMIZERS", "TrainingConfig"),
    "gatentk.train.descent": ("Descent", "DescentState"),
    "gatentk.train.diagnostics": ("DIAGNOSTICS", "Monitor", "Probe"),
    "gatentk.train.folder": ("FORMAT", "identity", "run_all", "run_training"),
    "gatentk.train.journal": ("JOURNAL", "Journal"),
    "gatentk.train.learning_rates": ("Trial", "candidate_rates", "choose_rate"),
    "gatentk.train.linearisation": ("Linearisation",),
    "gatentk.train.losses": ("LOSSES", "cross_entropy", "square_loss"),
    "gatentk.train.memory": ("training_memory",),
    "gatentk.train.record": ("EpochRecord",),
    "gatentk.train.result": ("Result",),
    "gatentk.train.run": ("Run", "fit"),
    "gatentk.train.samples": ("DTYPES", "Split", "TrainingSamples", "normalised", "prepare_training", "split_rows"),
    "gatentk.train.schedule": ("BestEpoch", "Schedule", "best_epoch"),
    "gatentk.train.start": ("Start", "begin", "build"),
    "gatentk.train.targets": ("TargetScale", "target_scale"),
    "gatentk.train.trainable": ("Trainable",),
}
# Shorter names, for programs that do without those of `gatentk.study`.
_SHORT = {
    "Config": "TrainingConfig",
    "LOG": "JOURNAL",
    "Log": "Journal",
    "Record": "EpochRecord",
    "Samples": "TrainingSamples",
    "memory_needed": "training_memory",
    "prepare": "prepare_training",
    "rates": "candidate_rates",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        there = _SHORT.get(name, name)
        place = next(place for place, names in _PLACES.items() if there in names)
        return getattr(importlib.import_module(place), there)
    raise AttributeError(f"module 'gatentk.train' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
