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
from gatentk.train.learning_rates import candidate_rates, choose_rate, largest_eigenvalue, rate_after_switch
from gatentk.train.record import EpochRecord, plain
from gatentk.train.samples import Split, TrainingSamples, prepare_training
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

    Attributes:
        network: as trained so far; another one after the switch.
        epoch: number of epochs done.
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
    ) -> None:
        super().__init__(config, start.network, start.train, rate, start.seed)
        self.test, self.shuffled, self.augment = start.test, start.shuffled, augment
        self.records: list[EpochRecord] = []
        self._model = config.model
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
        """Train until epoch `last`; a record for each epoch, epoch 0 first, until the loss is not finite."""
        for state in self.losses(last):
            record = self._record(state)
            if self.epoch == self.config.switch and not record.diverged:
                record = replace(record, switch=self._switch(record), seconds=state.seconds())
            yield record

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
        self.network, report = convert.grelu_to_relu(self.network, self.train.x, self.train.gates)
        self._model = "relu"
        self.train = replace(self.train, gates=None)
        self.test = None if self.test is None else replace(self.test, gates=None)
        rate = rate_after_switch(self.config, self.rate, before, self._largest_eigenvalue()) if given is None else given
        self.descend_with(self.network, rate)
        self._watch()
        if self.monitor is not None:
            self.monitor.observe(self.network)
        return {
            "train_loss_before": record.train_loss,
            "train_loss_after": plain(self.evaluate(self.train)[0]),
            "test_loss_before": record.test_loss,
            "test_loss_after": None if self.test is None else plain(self.evaluate(self.test)[0]),
            "rate": self.rate,
            "report": plain(asdict(report)),
        }

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
        }

    @staticmethod
    def restore(
        config: TrainingConfig, samples: TrainingSamples, state: dict[str, Any], folder: Path | None = None
    ) -> Run:
        """The run that gave a state, ready to go on."""
        switched = state["model"] != config.model
        network = converted(config, samples) if switched else build(config, samples, state["seed"])
        network.load_state_dict(state["network"])
        run = Run(config, begin(config, samples, state["seed"], network, folder), state["rate"], state["reference"])
        run._model = state["model"]
        if run.monitor is not None:
            run.monitor.observe(network)
        run.optimizer.load_state_dict(state["optimizer"])
        run.order.set_state(state["order"])
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
        The finished run: `.network`, `.records`. The last record says if it diverged.

    Raises:
        DataError, TypeError, ValueError, TrainingError: as `prepare_training`, if samples are left out.
        TrainingError: a learning rate is to be chosen, and none can be derived or every one diverges.
    """
    samples = prepare_training(config) if samples is None else samples
    start = begin(config, samples, seed, build(config, samples, seed))
    if rate is None:
        rate, _ = choose_rate(config, start, candidate_rates(config, start))
    run = Run(config, start, rate)
    for record in run.epochs(config.epochs):
        run.records.append(record)
        if callback is not None:
            callback(record)
    return run
