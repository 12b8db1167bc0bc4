"""One network in training, from its start to its last epoch, with a record of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gatentk import convert
from gatentk.nn import FixedEndsNetwork, GReLUNetwork
from gatentk.train.config import TrainingConfig
from gatentk.train.descent import Descent, DescentState
from gatentk.train.diagnostics import Monitor, Probe
from gatentk.train.learning_rates import (
    GrowthWarning,
    candidate_rates,
    choose_rate,
    largest_eigenvalue,
    rate_after_cut,
    rate_after_switch,
)
from gatentk.train.record import EpochRecord, plain
from gatentk.train.samples import Split, TrainingSamples, prepare_training
from gatentk.train.schedule import CUTS, Schedule
from gatentk.train.start import Start, begin, build, converted
from gatentk.train.trainable import copied_weights, set_weights


class Run(Descent):
    """One network in training: everything that a checkpoint holds, and what it is trained on.

    Args:
        config: what to do.
        start: the network, which is trained in place, and its samples.
        rate: the learning rate.
        reference: weights that diagnostics compare with, if not those of the network as it is.
        augment: gives changed features (n, d) of the train samples, in their order, for the steps of one epoch; their
            gates are looked up anew. Losses, diagnostics and the switch are of the samples as they are. A checkpoint
            does not hold it.
        keep_best: keep the weights of the best epoch also where the schedule does not need them.

    Attributes:
        network: as trained so far; another one after the switch.
        epoch: number of epochs done.
        schedule: with the best epoch and its weights; None where they are not kept.
        records: of this run, if `fit` made it.
    """

    network: FixedEndsNetwork

    def __init__(
        self,
        config: TrainingConfig,
        start: Start,
        rate: float,
        reference: list[Tensor] | None = None,
        augment: Callable[[], Tensor] | None = None,
        keep_best: bool = False,
    ) -> None:
        super().__init__(config, start.network, start.train, rate, start.seed)
        self.test, self.shuffled, self.augment = start.test, start.shuffled, augment
        self.records: list[EpochRecord] = []
        self._model = config.model
        self.schedule: Schedule | None = None
        if keep_best or config.schedule != "constant":
            self.schedule = Schedule(config, "train_loss" if self.test is None else "test_loss")
        self._watch(reference)

    @property
    def model(self) -> str:
        """What is trained now, "grelu" or "relu"."""
        return self._model

    def _watch(self, reference: list[Tensor] | None = None) -> None:
        """Compare the network with the reference, or with itself as it is, from here on."""
        self.reference: list[Tensor] | None = None
        self.monitor: Monitor | None = None
        if not self.config.diagnostics:
            return
        now = copied_weights(self.network)
        self.reference = now if reference is None else reference
        part = self.train.take(self.shuffled[: self.config.diagnostic_samples])
        probe = Probe(part.x, part.targets, self.loss, part.gates)
        set_weights(self.network, self.reference)
        self.monitor = Monitor(self.config.diagnostics, probe, self.network)
        set_weights(self.network, now)

    def epochs(self, last: int) -> Iterator[EpochRecord]:
        """Train until epoch `last`; a record for each epoch, epoch 0 first.

        It ends before where the loss is not finite, and where the schedule has settled.
        """
        for state in self.losses(last):
            record = self._record(state)
            if self.epoch == self.config.switch and not record.diverged:
                record = replace(record, switch=self._switch(record), seconds=state.seconds())
            elif self.schedule is not None and not record.diverged:
                record = self._scheduled(record, self.schedule)
            yield record
            if record.settled:
                return

    def _scheduled(self, record: EpochRecord, schedule: Schedule) -> EpochRecord:
        """Do what the schedule says after an epoch."""
        schedule.observe(record.epoch, getattr(record, schedule.measure), self.network)
        if not schedule.plateau:
            return record
        if schedule.cuts == CUTS:
            is_to_switch = self.config.switch is not None and record.epoch < self.config.switch
            return replace(record, settled=not is_to_switch)
        epoch = schedule.go_back(self.network)
        self.descend_with(self.network, rate_after_cut(self.rate))
        if self.monitor is not None:
            self.monitor.observe(self.network)
        return replace(record, returned_to=epoch)

    def epoch_samples(self) -> Split:
        """What the next epoch learns from: changed samples with their gates, if there are changes."""
        if self.augment is None:
            return self.train
        x = self.augment()
        return replace(self.train, x=x, gates=self.network.gate_table(x))

    def _record(self, state: DescentState) -> EpochRecord:
        test = None if self.test is None or state.diverged else self.evaluate(self.test)
        values = {} if state.diverged or self.monitor is None else self.monitor.measure(self.network)
        return EpochRecord(
            seed=self.seed,
            epoch=self.epoch,
            model=self.model,
            rate=self.rate,
            train_loss=state.loss,
            train_accuracy=state.accuracy,
            test_loss=None if test is None else plain(test[0]),
            test_accuracy=None if test is None else test[1],
            seconds=state.seconds(),
            diverged=state.diverged,
            diagnostics=plain(values),
        )

    def _switch(self, record: EpochRecord) -> dict[str, Any]:
        """Convert to ReLU ([G], Thm 2); the losses around it and the report of the conversion."""
        assert isinstance(self.network, GReLUNetwork)
        given = self.config.switch_rate
        before = self._largest_eigenvalue() if given is None else 0.0
        self.network, report = convert.grelu_to_relu(
            self.network, self.train.x, self.train.gates, self.config.switch_ridge
        )
        self._model = "relu"
        self.train = replace(self.train, gates=None)
        self.test = None if self.test is None else replace(self.test, gates=None)
        rate = rate_after_switch(self.config, self.rate, before, self._largest_eigenvalue()) if given is None else given
        self.descend_with(self.network, rate)
        self._watch()
        if self.monitor is not None:
            self.monitor.observe(self.network)
        losses = {
            "train_loss_before": record.train_loss,
            "train_loss_after": plain(self.evaluate(self.train)[0]),
            "test_loss_before": record.test_loss,
            "test_loss_after": None if self.test is None else plain(self.evaluate(self.test)[0]),
        }
        if self.schedule is not None:
            self.schedule.begin()
            self.schedule.observe(self.epoch, losses[f"{self.schedule.measure}_after"], self.network)
        return {**losses, "rate": self.rate, "report": plain(asdict(report))}

    def _largest_eigenvalue(self) -> float:
        return largest_eigenvalue(self.network, self.train, self.shuffled)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on besides config and samples."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "rate": self.rate,
            "model": self.model,
            "network": dict(self.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "reference": self.reference,
            "schedule": None if self.schedule is None else self.schedule.state(),
        }

    def best_state(self) -> dict[str, Any] | None:
        """The network of the best epoch, with what its outputs mean; None if there is none yet, or none is kept.

        `network` is a state_dict of the model that is named, `mean` and `unit` what brings its outputs to the unit of
        the data (None where they are in it).
        """
        if self.schedule is None or self.schedule.best is None:
            return None
        weights = {f"weights.{k}": weight for k, weight in enumerate(self.schedule.weights)}
        scale = self.train.scale
        return {
            "seed": self.seed,
            **asdict(self.schedule.best),
            "model": self.model,
            "network": dict(self.network.state_dict()) | weights,
            "mean": None if scale is None else scale.mean,
            "unit": None if scale is None else scale.unit,
        }

    @staticmethod
    def restore(
        config: TrainingConfig, samples: TrainingSamples, state: dict[str, Any], folder: Path | None = None
    ) -> Run:
        """The run that gave a state, ready to go on."""
        switched = state["model"] != config.model
        network = converted(config, samples) if switched else build(config, samples, state["seed"])
        network.load_state_dict(state["network"])
        start, keep_best = begin(config, samples, state["seed"], network, folder), state["schedule"] is not None
        run = Run(config, start, state["rate"], state["reference"], keep_best=keep_best)
        run._model = state["model"]
        if run.monitor is not None:
            run.monitor.observe(network)
        run.optimizer.load_state_dict(state["optimizer"])
        run.order.set_state(state["order"])
        if run.schedule is not None:
            run.schedule.restore(state["schedule"])
        run.epoch = state["epoch"]
        return run


def fit(
    config: TrainingConfig,
    samples: TrainingSamples | None = None,
    seed: int = 0,
    rate: float | None = None,
    callback: Callable[[EpochRecord], None] | None = None,
) -> Run:
    """Train one network in memory.

    Args:
        config: what to train.
        samples: those of `prepare_training(config)` if left out.
        seed: of the network and of the order of samples.
        rate: the learning rate; chosen as `config.rates` says if left out.
        callback: called with the record of every epoch, not with those of trials.

    Returns:
        The finished run: `.network` as trained last, `.records`, the last of which says if it diverged, and
        `.schedule` with `.best` epoch and its `.weights`.

    Warns:
        UserWarning: the train loss grew after the start.

    Raises:
        DataError, TypeError, ValueError, TrainingError: as `prepare_training`, if samples are left out.
        TrainingError: a learning rate is to be chosen, and none can be derived or the loss grows for every one.
    """
    samples = prepare_training(config) if samples is None else samples
    start = begin(config, samples, seed, build(config, samples, seed))
    if rate is None:
        rate, _ = choose_rate(config, start, candidate_rates(config, start))
    run, growth = Run(config, start, rate, keep_best=True), GrowthWarning()
    for record in run.epochs(config.epochs):
        run.records.append(record)
        growth.observe(record)
        if callback is not None:
            callback(record)
    return run
