"""log.jsonl: what a training has done, an epoch a line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatentk.errors import TrainingError
from gatentk.runs import journal
from gatentk.runs.plain import from_json
from gatentk.train.learning_rates import Trial
from gatentk.train.record import EpochRecord

JOURNAL = journal.TRAINING.file_name


class Journal(journal.Journal):
    """log.jsonl: what is trained, the trials of learning rates and the rate, then a line an epoch.

    A last line that is torn, by a crash or a full disk, is cut off when the journal is opened again. The folder is
    locked while it is open.

    Args:
        folder: of the results; created if it is not there.
        identity: of the training, see `folder.identity`.
        resume: whether to go on with what is there; where nothing is, it starts.
        restart: whether to forget it.
        files: names of files that the training will write.

    Attributes:
        rate, trials: as chosen; rate is None before.
        records: of all epochs.

    Raises:
        TrainingError: the folder cannot be written, or another process is writing to it; it holds anything of another
            runner or of nobody known, something of another training, or something without either flag; the log is
            damaged.
    """

    runner = journal.TRAINING
    error = TrainingError

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        *,
        resume: bool = False,
        restart: bool = False,
        files: Iterable[str] = (),
    ) -> None:
        self.rate: float | None = None
        self.trials: list[Trial] = []
        self.records: list[EpochRecord] = []
        self._resume = resume
        super().__init__(folder, identity, restart, files)

    def check_continued(self) -> None:
        """Refuse to go on by accident."""
        if not self._resume:
            raise TrainingError(
                f"{self.folder} holds this training already; resume=True goes on with it, restart=True starts over"
            )

    def take(self, entry: dict[str, Any]) -> None:
        """Remember the choice of the rate, or an epoch."""
        if "trials" in entry:
            self.rate = from_json(float | None, entry["rate"], "rate")
            self.trials = from_json(list[Trial], entry["trials"], "trials")
        else:
            self.records.append(from_json(EpochRecord, entry, "epoch"))

    def choose(self, rate: float, trials: list[Trial]) -> None:
        """Write down the learning rate and the trials that chose it."""
        self.rate, self.trials = rate, trials
        self.write(self._choice())

    def append(self, record: EpochRecord) -> None:
        """Add an epoch."""
        self.add(asdict(record))
        self.records.append(record)

    def rewind(self, seed: int, epoch: int) -> list[EpochRecord]:
        """Forget what a run did after its checkpoint, and return what it did before; a diverged run is done.

        Raises:
            TrainingError: epochs before the checkpoint are missing.
        """
        run = [record for record in self.records if record.seed == seed]
        if run and run[-1].diverged:
            return run
        kept = [record for record in run if record.epoch <= epoch]
        if [record.epoch for record in kept] != list(range(epoch + 1)):
            raise TrainingError(
                f"{self.path} lacks epochs of seed {seed} that its checkpoint has; restart=True starts over"
            )
        if len(kept) < len(run):
            self.records = [record for record in self.records if record.seed != seed or record.epoch <= epoch]
            self.rewrite([self._choice(), *(asdict(record) for record in self.records)])
        return kept

    def _choice(self) -> dict[str, Any]:
        return {"rate": self.rate, "trials": [trial._asdict() for trial in self.trials]}
