"""What a training leaves behind besides its log: results.json, and sentences about the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gatentk.reporting import figures
from gatentk.reporting.environment import environment
from gatentk.reporting.text import json_text, number
from gatentk.runs.files import write_atomically
from gatentk.train.diagnostics import DIAGNOSTICS
from gatentk.train.folder import Result
from gatentk.train.plot import draw
from gatentk.train.record import EpochRecord
from gatentk.train.samples import TrainingSamples

SCHEMA = "gatentk/training/1"


def write(folder: Path, samples: TrainingSamples, result: Result, command: str) -> Path:
    """Write results.json, loss.png and loss.svg; returns the path of results.json.

    Args:
        folder: of the files.
        samples, result: what was trained, and what came out.
        command: the command line that repeats it.
    """
    figure = draw(samples, result)
    for kind in ("png", "svg"):
        write_atomically(folder / f"loss.{kind}", figures.render(figure, kind))
    path = folder / "results.json"
    write_atomically(path, document_text(samples, result, command).encode())
    return path


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
            "zero_rows": samples.zero_rows,
            "sha256": samples.digest,
        },
        "environment": environment(),
        "diagnostics": {name: DIAGNOSTICS[name].description for name in config.diagnostics},
        "learning_rate": result.rate,
        "trials": [trial._asdict() for trial in result.trials],
        "runs": [_outcome(result.run(seed)) for seed in range(config.seeds)],
    }
    return json_text(document)


def _outcome(records: Sequence[EpochRecord]) -> dict[str, Any]:
    """How one run went: its first and last epoch, its smallest test loss, and the switch if there was one."""
    tested = [record for record in records if record.test_loss is not None]
    best = min(tested, key=lambda record: record.test_loss or 0.0, default=None)
    return {
        "seed": records[0].seed,
        "diverged": records[-1].diverged,
        "epochs": records[-1].epoch,
        "seconds": sum(record.seconds for record in records),
        "first": asdict(records[0]),
        "last": asdict(records[-1]),
        "best_test": None if best is None else {"epoch": best.epoch, "test_loss": best.test_loss},
        "switch": next((record.switch for record in records if record.switch is not None), None),
    }


def headline(samples: TrainingSamples, result: Result) -> list[str]:
    """What came out, in sentences; diverged runs with what to change."""
    sentences = []
    for seed in range(result.config.seeds):
        records = result.run(seed)
        last = records[-1]
        if last.diverged:
            sentences.append(
                f"Seed {seed}: the loss diverged in epoch {last.epoch}; the learning rate {last.rate:g} is too large."
            )
        elif (last.train_loss or 0) > (records[0].train_loss or 0):
            sentences.append(
                f"Seed {seed}: the train loss rose; the learning rate {last.rate:g} is probably too large."
            )
        switch = next((record for record in records if record.switch is not None), None)
        if switch is not None and switch.switch is not None:
            sentences.append(f"Seed {seed}: {_switch_text(switch.epoch, switch.switch)}")
    return sentences


def _switch_text(epoch: int, switch: dict[str, Any]) -> str:
    losses = [switch["train_loss_before"], switch["train_loss_after"]]
    before, after = ("not finite" if loss is None else number(loss) for loss in losses)
    residual = max(layer["residual"] for layer in switch["report"]["layers"])
    return (
        f"converted to ReLU after epoch {epoch}, train loss {before} before and {after} after (layers fitted to "
        f"{number(residual, 2)} relative at worst); learning rate {switch['rate']:g} from there."
    )
