"""A training of several seeds in a folder, which goes on where it was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatentk.checks import check_integer
from gatentk.data.entries import COLUMNS
from gatentk.errors import TrainingError
from gatentk.extras import require
from gatentk.reporting import figures
from gatentk.reporting.output import write_results
from gatentk.runs.identity import as_stored, identity_of
from gatentk.runs.memory import check_memory
from gatentk.runs.results import RESULTS
from gatentk.train.checkpoints import (
    best_path,
    checkpoint_path,
    last_checkpoint,
    previous_path,
    write_best,
    write_checkpoint,
)
from gatentk.train.config import GATE_DEFAULTS, TrainingConfig
from gatentk.train.journal import Journal
from gatentk.train.learning_rates import GrowthWarning, candidate_rates, choose_rate
from gatentk.train.memory import training_memory
from gatentk.train.plots import draw
from gatentk.train.record import EpochRecord
from gatentk.train.result import Result, document_text
from gatentk.train.run import Run
from gatentk.train.samples import TrainingSamples, prepare_training
from gatentk.train.start import TABLES, Start, begin, build, gate_files

RESULT_FILES = (RESULTS, "loss.png", "loss.svg")
FORMAT = 3  # of journal and checkpoints; raised when a run would compute something else


def run_training(
    config: TrainingConfig,
    folder: Path,
    samples: TrainingSamples | None = None,
    *,
    resume: bool = False,
    restart: bool = False,
    checkpoint_every: int = 10,
    command: str | None = None,
    report: Callable[[EpochRecord, bool], None] | None = None,
) -> Result:
    """Train all seeds as `run_all` does, and write results.json, loss.png and loss.svg.

    Args:
        config: what to train.
        folder: of the results; created if it is not there.
        samples: those of `prepare_training(config)` if left out.
        resume, restart, checkpoint_every: as for `run_all`.
        command: what repeats the training, for its files; the call of this function if left out.
        report: the `callback` of `run_all`.

    Returns:
        The learning rate and the records of all epochs; some or all runs may have diverged.

    Raises:
        MissingExtraError: a package of the extra `cli` is missing, which plots need.
        DataError, TypeError, ValueError, TrainingError: as `prepare_training`.
        MemoryError: less is free than the training needs; nothing is written.
        OSError: results.json cannot be written; what was trained is kept in the folder.
        TrainingError: as `run_all`.

    Warns:
        DrawingWarning: the plot could not be drawn; everything else is written.
    """
    require("cli", "run_training")
    samples = prepare_training(config) if samples is None else samples
    check_memory(training_memory(config, samples), remedy="take a smaller width= or depth=, or fewer samples with n=")
    checkpoint_every = check_integer("checkpoint_every", checkpoint_every, 1)
    with _opened(config, samples, folder, resume, restart, RESULT_FILES) as journal:
        result = _train(config, samples, journal, resume, checkpoint_every, report)
        command = command or f"run_training({config!r}, Path('DIR'))"
        write_results(
            folder,
            journal.put,
            {RESULTS: document_text(samples, result, command).encode()},
            lambda: figures.rendered(lambda: {"loss": draw(samples, result)}),
        )
    return result


def identity(config: TrainingConfig, samples: TrainingSamples) -> dict[str, Any]:
    """All that a run depends on. The numbers of epochs and seeds are not part of it: both may grow later.

    What came later than the format is left out where it is not asked for, so that folders without it go on.
    """
    unsaid = {**dict.fromkeys(COLUMNS), **GATE_DEFAULTS}
    return as_stored(identity_of(config, samples.digest, FORMAT, unsaid, grows=("epochs", "seeds")))


def run_all(
    config: TrainingConfig,
    samples: TrainingSamples,
    folder: Path,
    *,
    resume: bool = False,
    restart: bool = False,
    checkpoint_every: int = 10,
    callback: Callable[[EpochRecord, bool], None] | None = None,
) -> Result:
    """Train all seeds, one after another, with a log and checkpoints in a folder.

    The folder gets log.jsonl, a line an epoch, and checkpoint-SEED.pt, replaced every `checkpoint_every` epochs and
    at the end, with the one before as checkpoint-SEED.previous.pt, and best-SEED.pt, the network of the best epoch (see
    `Run.best_state`); while a GReLU network with a gate table of more than 256 MB is trained, also the table. Whatever
    interrupts it, the last checkpoint stays whole.

    Args:
        config: what to train.
        samples: of `prepare_training(config)`.
        folder: of the files; created if it is not there.
        resume: go on from the checkpoints, bit for bit as if never interrupted (with the same number of threads).
            More epochs or seeds than before continue a finished training, unless its schedule has settled. A folder
            without a training starts one.
        restart: forget what is there; removes the files of the training, no others.
        checkpoint_every: epochs between checkpoints.
        callback: called after each epoch with its record, and whether it is a trial of a learning rate; called once
            for each epoch that was done before a resume, too.

    Returns:
        The learning rate and the records of all epochs, with those that were done before a resume.

    Raises:
        OSError: a log or a checkpoint cannot be written; what was there stays.
        TrainingError: the folder holds anything of another runner, another training, one that is neither to be resumed
            nor forgotten, or a file of nobody known that this training would write; it cannot be written, or another
            process is writing to it; the loss grows for every learning rate; the log is damaged, or a checkpoint that
            has none before it.

    Warns:
        UserWarning: a checkpoint is damaged, and the training goes on from the one before; the train loss of a run grew
            after the start.
    """
    checkpoint_every = check_integer("checkpoint_every", checkpoint_every, 1)
    with _opened(config, samples, folder, resume, restart) as journal:
        return _train(config, samples, journal, resume, checkpoint_every, callback)


def _opened(
    config: TrainingConfig,
    samples: TrainingSamples,
    folder: Path,
    resume: bool,
    restart: bool,
    others: tuple[str, ...] = (),
) -> Journal:
    """The log of a training, to which checkpoints, gate tables and other files belong."""
    files = [*others]
    for seed in range(config.seeds):
        path = checkpoint_path(folder, seed)
        files += [path.name, previous_path(path).name, best_path(folder, seed).name, *gate_files(config, samples, seed)]
    return Journal(folder, identity(config, samples), resume=resume, restart=restart, files=files)


def _train(
    config: TrainingConfig,
    samples: TrainingSamples,
    journal: Journal,
    resume: bool,
    checkpoint_every: int,
    callback: Callable[[EpochRecord, bool], None] | None,
) -> Result:
    """Train all seeds into an open folder."""
    training = _Training(config, samples, journal, callback or (lambda record, trial: None))
    rate = training.rate()
    for seed in range(config.seeds):
        run = training.unfinished_run(seed, rate, resume)
        if run is not None:
            training.finish(run, checkpoint_every)
        journal.remove(gate_files(config, samples, seed))
    journal.remove(name for name in journal.files if name.endswith(TABLES))  # of a killed run of more seeds
    journal.sync()
    records = [record for record in journal.records if record.seed < config.seeds]
    return Result(config, rate, journal.trials, records)


class _Training:
    """The seeds of a training in its folder."""

    def __init__(
        self,
        config: TrainingConfig,
        samples: TrainingSamples,
        journal: Journal,
        report: Callable[[EpochRecord, bool], None],
    ) -> None:
        self.config, self.samples, self.journal, self.report = config, samples, journal, report
        self.folder = journal.folder
        self._tried: Start | None = None  # seed 0 after the trials, so that its gates are looked up once

    def rate(self) -> float:
        """The learning rate in the journal, or one that is chosen now."""
        if self.journal.rate is None:
            start = self._tried = self._start(0)
            candidates = candidate_rates(self.config, start)
            rate, trials = choose_rate(self.config, start, candidates, lambda record: self.report(record, True))
            self.journal.choose(rate, trials)
            return rate
        return self.journal.rate

    def _start(self, seed: int) -> Start:
        return begin(self.config, self.samples, seed, build(self.config, self.samples, seed), self.folder)

    def unfinished_run(self, seed: int, rate: float, resume: bool) -> Run | None:
        """The run of a seed as far as its checkpoint goes; None if it is finished. Reports the epochs done before."""
        state = last_checkpoint(self.folder, seed, self.journal.identity) if resume else None
        done = self.journal.rewind(seed, -1 if state is None else state["epoch"])
        for record in done:
            self.report(record, False)
        start, self._tried = self._tried, None
        if self._is_finished(done):
            return None
        if state is not None:
            return self._restored(state)
        return Run(self.config, start or self._start(seed), rate, keep_best=True)

    def _restored(self, state: dict[str, Any]) -> Run:
        try:
            return Run.restore(self.config, self.samples, state, self.folder)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            if "memory" in str(error):  # torch has no type of its own for that
                raise
            path = checkpoint_path(self.folder, state["seed"])
            raise TrainingError(
                f"{path}: does not fit this training ({type(error).__name__}: {error}); restart=True starts over"
            ) from error

    def _is_finished(self, done: list[EpochRecord]) -> bool:
        epochs = self.config.epochs
        if done and done[-1].epoch > epochs:
            raise TrainingError(
                f"seed {done[-1].seed} is at epoch {done[-1].epoch} already, got epochs={epochs}; give at least as "
                "many, or restart=True to start over"
            )
        return bool(done) and (done[-1].diverged or done[-1].settled or done[-1].epoch == epochs)

    def finish(self, run: Run, checkpoint_every: int) -> None:
        """Train to the last epoch; write down every epoch, and a checkpoint every few."""
        last, kept = self.config.epochs, -1
        growth = GrowthWarning([record for record in self.journal.records if record.seed == run.seed])
        for record in run.epochs(last):
            is_last = record.epoch == last or record.diverged or record.settled
            is_due = record.epoch > 0 and (is_last or record.epoch % checkpoint_every == 0)
            best = run.best_state() if is_due else None
            if best is not None and best["epoch"] != kept:  # before the epoch is written down: it may be the last
                write_best(best_path(self.folder, run.seed), {"identity": self.journal.identity, **best})
                kept = best["epoch"]
            self.journal.append(record)
            growth.observe(record)
            if is_due and not record.diverged:
                self.journal.sync()  # a checkpoint never knows of epochs that the journal has lost
                state = {"identity": self.journal.identity, **run.state()}
                write_checkpoint(checkpoint_path(self.folder, run.seed), state)
            self.report(record, False)
