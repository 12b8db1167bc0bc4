"""What came out of a training, in words."""

from __future__ import annotations

from typing import Any

from gatentk.reporting.text import number
from gatentk.train.config import TrainingConfig
from gatentk.train.memory import gate_units
from gatentk.train.record import EpochRecord
from gatentk.train.result import Result
from gatentk.train.samples import Split, TrainingSamples
from gatentk.train.schedule import BestEpoch, best_epoch


def headline(samples: TrainingSamples, result: Result) -> list[str]:
    """What came out, in sentences; diverged runs with what to change, the best epoch and how well it predicts."""
    config = result.config
    sentences = [] if config.model != "grelu" or config.has_paper_gates else [gates_text(config)]
    for seed in range(config.seeds):
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
        best = best_epoch(records)
        if best is not None:
            sentences.append(f"Seed {seed}: {_best_text(samples, best, last)}")
    return sentences


def gates_text(config: TrainingConfig) -> str:
    """How the gates of a network were drawn.

    >>> gates_text(TrainingConfig("digits", width=100, block=32, gates="shallow", center=True))
    'Gates: half-spaces of the samples less their mean, one for every 32 neurons: 4 a layer, the last of 4 neurons.'
    """
    seen = "the samples less their mean" if config.center else "the samples"
    source = f"half-spaces of {seen}" if config.gates == "shallow" else f"those of a fixed ReLU network on {seen}"
    units, ragged = gate_units(config), config.width % config.block
    if config.block == 1:
        return f"Gates: {source}, one for every neuron."
    last = f", the last of {ragged} neuron{'s' if ragged > 1 else ''}" if ragged else ""
    return f"Gates: {source}, one for every {config.block:,} neurons: {units:,} a layer{last}."


def _best_text(samples: TrainingSamples, best: BestEpoch, last: EpochRecord) -> str:
    """Which epoch was best, by what, and what came after it."""
    of_test = best.measure == "test_loss"
    by = "test loss" if of_test else "train loss"
    chosen = ", by which it was chosen: on other samples expect a little more" if of_test else ""
    text = f"best epoch {best.epoch} of {last.epoch}, {by} {number(best.loss)}{chosen}"
    split = samples.test if of_test else samples.train
    if split is not None and split.classes is None and (variance := _variance(split)) > 0:
        text += f"; R² {1 - 2 * best.loss / variance:.3f}"
    if last.settled:
        text += f"; ended there, as the {by} fell no further at any learning rate"
    return f"{text}. Its network is in best-{last.seed}.pt."


def _variance(split: Split) -> float:
    """Of the targets around their mean, summed over outputs, in the unit of losses."""
    values = split.targets.double() * (1.0 if split.scale is None else split.scale.unit)
    return float(values.var(dim=0, correction=0).sum())


def _switch_text(epoch: int, switch: dict[str, Any]) -> str:
    losses = [switch["train_loss_before"], switch["train_loss_after"]]
    before, after = ("not finite" if loss is None else number(loss) for loss in losses)
    residual = max(layer["residual"] for layer in switch["report"]["layers"])
    return (
        f"converted to ReLU after epoch {epoch}, train loss {before} before and {after} after (layers fitted to "
        f"{number(residual, 2)} relative at worst); learning rate {switch['rate']:g} from there."
    )
