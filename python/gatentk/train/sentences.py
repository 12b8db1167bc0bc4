"""What came out of a training, in words."""

from __future__ import annotations

from typing import Any

from gatentk.reporting.text import number
from gatentk.train.result import Result
from gatentk.train.samples import TrainingSamples


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
