"""Training of GReLU and ReLU networks from the same start: resumable runs, learning rates by trial, full logs.

From Python, in memory:

    run = train.fit(train.TrainingConfig(data="digits", width=512, depth=2, epochs=20))
    run.network, run.records

`run_training` does the same for all seeds in a folder, with a log, checkpoints and results: what `gatentk train` calls.
`Descent` trains any network, with nothing but its losses to show.
"""

from gatentk.activations import MODELS
from gatentk.errors import TrainingError
from gatentk.train.checkpoints import checkpoint_paths, read_checkpoint, write_checkpoint
from gatentk.train.config import BATCH, DTYPES, NORMALIZATIONS, OPTIMIZERS, TrainingConfig
from gatentk.train.descent import Descent, DescentState
from gatentk.train.diagnostics import DIAGNOSTICS, Monitor, Probe
from gatentk.train.folder import FORMAT, identity, run_all, run_training
from gatentk.train.journal import JOURNAL, Journal
from gatentk.train.learning_rates import Trial, candidate_rates, choose_rate
from gatentk.train.linearisation import Linearisation
from gatentk.train.losses import LOSSES, cross_entropy, square_loss
from gatentk.train.memory import training_memory
from gatentk.train.record import EpochRecord
from gatentk.train.result import Result
from gatentk.train.run import Run, fit
from gatentk.train.samples import Split, TrainingSamples, normalised, prepare_training, split_rows
from gatentk.train.start import Start, begin, build
from gatentk.train.trainable import Trainable

LOG = JOURNAL
Log = Journal
# Shorter names, for programs that do without those of `gatentk.study`.
Config = TrainingConfig
Record = EpochRecord
Samples = TrainingSamples
prepare = prepare_training
memory_needed = training_memory
rates = candidate_rates

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
    "Split",
    "Start",
    "Trainable",
    "TrainingConfig",
    "TrainingError",
    "TrainingSamples",
    "Trial",
    "begin",
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
    "read_checkpoint",
    "run_all",
    "run_training",
    "split_rows",
    "square_loss",
    "training_memory",
    "write_checkpoint",
]
