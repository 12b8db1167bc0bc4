"""Training of GReLU and ReLU networks from the same start: resumable runs, learning rates by trial, full logs.

From Python, in memory:

    run = train.fit(train.Config(data="digits", width=512, depth=2, epochs=20))
    run.network, run.records

`run_all` does the same for all seeds with a log and checkpoints in a folder; that is what `gatentk train` calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

import gatentk
from gatentk import convert, data
from gatentk.checks import check_choice, check_integer
from gatentk.errors import RunError
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.ops import row_bytes
from gatentk.runs.files import open_aside
from gatentk.runs.identity import array_digest, as_stored, changes_text, differing_names
from gatentk.runs.journal import Journal
from gatentk.train import diagnostics
from gatentk.train.diagnostics import Linearisation, Monitor, Network, Probe, forward

MODELS = ("grelu", "relu")
OPTIMIZERS = ("sgd", "gd", "adam")
NORMALIZATIONS = ("unit", "standard", "none")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
LOG = "log.jsonl"
FORMAT = 1  # of log and checkpoints; raised when a run would compute something else

BATCH = 128  # default size of mini-batches
BLOCK_ROWS = 2048  # samples that go through the network at a time where gradients or losses are added up
TABLE_BYTES = 256_000_000  # a larger gate table is kept in a file
RATE_SAMPLES = 256  # for the largest eigenvalue of the kernel
DESCENT_FACTORS = (0.05, 0.15, 0.5, 1.5)  # times 1 / lambda_max(K / n): gradient descent converges below 2
ADAM_FACTORS = (0.03, 0.1, 0.3, 1.0)  # times 1 / width: its first step has spectral norm up to rate * width
CLASS_LIMIT = 10_000


class TrainingError(RunError):
    """A training cannot start or go on as asked; the message says what to change."""


# Losses, summed over samples


def square_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """1/2 sum_i |y_i - label_i|^2 ([G], Eq. 2) of outputs and targets (n, d_out)."""
    return (outputs - targets).square().sum() / 2


def cross_entropy(outputs: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy of logits (n, d_out) and classes (n,), summed over samples."""
    return torch.nn.functional.cross_entropy(outputs, classes, reduction="sum")


LOSSES = {"square": square_loss, "cross-entropy": cross_entropy}


# What to train


@dataclass(frozen=True)
class Config:
    """What to train, and how.

    Attributes:
        data, path, n, data_seed: the arguments of `gatentk.data.load`.
        test_fraction: share of the samples, drawn with `data_seed`, that is kept for testing.
        normalize: "unit" scales every sample to norm 1, as the theory of [G] assumes; "standard" gives every feature
            mean 0 and variance 1 on the train samples; "none" takes the samples as they are.
        model: "grelu" or "relu"; both start from the same C, B, W for the same seed.
        width, depth: of the network; depth W matrices are trained.
        loss: "square", 1/2 sum |y - label|^2 ([G], Eq. 2) with one-hot labels, or "cross-entropy". Both enter as
            means over the samples of a step.
        optimizer: "sgd", "adam" (torch's, without momentum and with its defaults) or "gd", full-batch gradient descent.
        batch: size of mini-batches, default 128; None for "gd".
        rates: learning rates. Of several, the one with the smallest train loss after `trial_epochs` epochs of seed 0
            is taken for all seeds; none at all means a grid made for the network.
        trial_epochs: length of those trials.
        epochs: passes over the train samples; a step each for "gd".
        seeds: number of networks, seeded 0 .. seeds - 1.
        switch: epoch after which a GReLU network is converted to ReLU ([G], Thm 2) and goes on as one, with a fresh
            optimizer.
        switch_rate: learning rate after the switch. None divides it by the factor by which the switch raises the
            largest eigenvalue of the tangent kernel, or its root for "adam", because the weights that fit the
            samples exactly are large: the loss is continuous at the switch, but a step may be too long after it.
        diagnostics: names of `gatentk.train.diagnostics.NAMES`, measured after every epoch.
        diagnostic_samples: number of train samples that they are measured on, at most.
        dtype: "float32" or "float64".
    """

    data: str
    path: str | None = None
    n: int | None = None
    data_seed: int = 0
    test_fraction: float = 0.0
    normalize: str = "unit"
    model: str = "grelu"
    width: int = 1024
    depth: int = 4
    loss: str = "square"
    optimizer: str = "sgd"
    batch: int | None = None
    rates: tuple[float, ...] = ()
    trial_epochs: int = 5
    epochs: int = 50
    seeds: int = 1
    switch: int | None = None
    switch_rate: float | None = None
    diagnostics: tuple[str, ...] = ()
    diagnostic_samples: int = 256
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name, choices in (
            ("normalize", NORMALIZATIONS),
            ("model", MODELS),
            ("loss", tuple(LOSSES)),
            ("optimizer", OPTIMIZERS),
            ("dtype", tuple(DTYPES)),
        ):
            check_choice(name, getattr(self, name), choices)
        for name in ("width", "depth", "trial_epochs", "epochs", "seeds", "diagnostic_samples"):
            check_integer(name, getattr(self, name), 1)
        if not isinstance(self.test_fraction, (int, float)) or not 0 <= self.test_fraction < 1:
            raise ValueError(f"test_fraction: expected a share of at least 0 and below 1, got {self.test_fraction!r}")
        if len(set(self.rates)) != len(self.rates) or not all(0 < rate < math.inf for rate in self.rates):
            raise ValueError(f"rates: expected different positive learning rates, got {self.rates}")
        for name in self.diagnostics:
            check_choice("diagnostics", name, tuple(diagnostics.NAMES))
        if self.optimizer == "gd" and self.batch is not None:
            raise ValueError("batch: full-batch gradient descent (gd) takes no mini-batches; sgd does")
        if self.optimizer != "gd":
            object.__setattr__(self, "batch", BATCH if self.batch is None else check_integer("batch", self.batch, 1))
        if self.switch_rate is not None and (self.switch is None or not 0 < self.switch_rate < math.inf):
            expected = "a positive learning rate" if self.switch is not None else "none without a switch"
            raise ValueError(f"switch_rate: expected {expected}, got {self.switch_rate!r}")
        if self.switch is not None:
            if self.model != "grelu":
                raise ValueError(f"switch: only a GReLU network switches to ReLU, got model {self.model!r}")
            check_integer("switch", self.switch, 1)
            if self.switch >= self.epochs:
                raise ValueError(f"switch: expected an epoch before the last, {self.epochs}, got {self.switch}")


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of one side of the split, with what a loss compares outputs with.

    Attributes:
        x: (n, d).
        targets: what the loss takes: (n, d_out) numbers, or (n,) classes for cross-entropy.
        classes: (n,) numbers of the classes; None for regression.
        gates: of x, for a GReLU network.
    """

    x: Tensor
    targets: Tensor
    classes: Tensor | None
    gates: GateTable | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: Tensor) -> Split:
        """Some of the samples, by their numbers."""
        return Split(
            self.x[rows],
            self.targets[rows],
            None if self.classes is None else self.classes[rows],
            None if self.gates is None else self.gates[rows],
        )

    def blocks(self) -> Iterator[Split]:
        """All samples in their order, at most 2048 at a time."""
        if len(self) <= BLOCK_ROWS:
            yield self  # and not a copy, whose gates would lack the plans built before
            return
        for rows in torch.split(torch.arange(len(self)), BLOCK_ROWS):
            yield self.take(rows)


@dataclass(frozen=True, eq=False)
class Samples:
    """What a training works on.

    Attributes:
        train, test: the split; test is None without one.
        name: of the data set.
        outputs: of the network: the number of classes, or 1 for regression.
        classes: labels in the order of the outputs; None for regression.
        zero_rows: samples that are all zero, whose outputs are zero whatever is learnt.
        shuffled: all rows of train in random order; estimates use the first of them.
        digest: SHA-256 of the data.
    """

    train: Split
    test: Split | None
    name: str
    outputs: int
    classes: tuple[int, ...] | None
    zero_rows: int
    shuffled: Tensor
    digest: str


def prepare(config: Config) -> Samples:
    """Load the data, split it and scale the features.

    Raises:
        DataError, TypeError, ValueError: as `gatentk.data.load`.
        TrainingError: there is nothing to learn, or the loss does not fit the labels.
    """
    dataset = data.load(config.data, n=config.n, seed=config.data_seed, path=config.path)
    if dataset.y is None:
        raise TrainingError(
            f"{dataset.name} has no labels to learn; expected a csv file with a header whose last column is label, "
            "target or y, or an .npz file with an array y beside x"
        )
    classes = None if dataset.y.is_floating_point() else _classes(dataset)
    if classes is None and config.loss == "cross-entropy":
        raise TrainingError(f"{dataset.name} has real targets, and cross-entropy needs classes; use loss=square")
    train_rows, test_rows = split_rows(config, len(dataset.x), dataset.name)
    x = normalised(dataset.x, config.normalize, train_rows)
    dtype = DTYPES[config.dtype]
    whole = _targets(config, x.to(dtype), dataset.y, classes)
    train = whole.take(train_rows)
    return Samples(
        train=train,
        test=whole.take(test_rows) if len(test_rows) else None,
        name=dataset.name,
        outputs=1 if classes is None else len(classes),
        classes=classes,
        zero_rows=int((~(train.x != 0).any(dim=1)).sum()),
        shuffled=torch.from_numpy(np.random.default_rng((config.data_seed, 4)).permutation(len(train))),
        digest=array_digest(dataset.x.numpy(), dataset.y.numpy()),
    )


def _classes(dataset: data.Dataset) -> tuple[int, ...]:
    assert dataset.y is not None
    classes = tuple(torch.unique(dataset.y).tolist())
    if len(classes) < 2:
        raise TrainingError(f"{dataset.name}: expected at least two classes, all labels are {classes[0]}")
    if len(classes) > CLASS_LIMIT:
        raise TrainingError(
            f"{dataset.name}: {len(classes):,} different labels; name the column target (or store y as floats) if "
            "they are numbers to predict and not classes"
        )
    return classes


def split_rows(config: Config, n: int, name: str) -> tuple[Tensor, Tensor]:
    """Rows for training, in the order of the data, and for testing."""
    count = round(config.test_fraction * n)
    if config.test_fraction > 0 and not 0 < count < n:
        raise TrainingError(f"test_fraction={config.test_fraction:g}: {name} has {n} samples, {count} would be tests")
    order = torch.from_numpy(np.random.default_rng((config.data_seed, 3)).permutation(n))
    return order[count:].sort().values, order[:count].sort().values


def normalised(x: Tensor, how: str, train_rows: Tensor) -> Tensor:
    """Features as `Config.normalize` says; all-zero rows and constant features stay zero."""
    if how == "unit":
        norms = x.norm(dim=1, keepdim=True)
        return x / torch.where(norms > 0, norms, 1)
    if how == "standard":
        train = x[train_rows]
        spread = train.std(dim=0, correction=0)
        return (x - train.mean(dim=0)) / torch.where(spread > 0, spread, 1)
    return x


def _targets(config: Config, x: Tensor, y: Tensor, classes: tuple[int, ...] | None) -> Split:
    if classes is None:
        return Split(x, y.to(x.dtype).unsqueeze(1), None)
    numbers = torch.searchsorted(torch.tensor(classes), y)
    if config.loss == "cross-entropy":
        return Split(x, numbers, numbers)
    return Split(x, torch.nn.functional.one_hot(numbers, len(classes)).to(x.dtype), numbers)


def memory_needed(config: Config, samples: Samples) -> int:
    """Peak bytes of one network in training."""
    itemsize = DTYPES[config.dtype].itemsize
    square = config.depth * config.width**2 * itemsize
    # Weights, gradients, the step; gates' weights; moments; weights to go back to between trials or measure against.
    copies = 3 + (config.model == "grelu") + 2 * (config.optimizer == "adam") + (len(config.rates) != 1)
    copies += sum({"tau": 1, "gradient": 2, "linearised": 1}.get(name, 0) for name in config.diagnostics)
    n, d = samples.train.x.shape
    tests = 0 if samples.test is None else len(samples.test)
    rows = min(n, BLOCK_ROWS)
    activations = rows * config.width * (2 * config.depth + 2) * itemsize
    inputs = config.width * (d + samples.outputs) * itemsize
    table = _table_bytes(config, n) + _table_bytes(config, tests)
    conversion = 4 * n * config.width * itemsize if config.switch is not None else 0
    kept = (n + tests) * (d + samples.outputs) * itemsize
    return copies * square + inputs + kept + min(table, 2 * TABLE_BYTES) + max(activations, conversion)


def _table_bytes(config: Config, n: int) -> int:
    return (config.depth + 1) * n * row_bytes(config.width) if config.model == "grelu" else 0


# One run


@dataclass(frozen=True)
class Record:
    """One epoch of one run: a line of the log.

    Attributes:
        seed, epoch: which; epoch 0 is the start.
        model: "grelu" or "relu", as trained in this epoch.
        rate: the learning rate.
        train_loss, test_loss: mean over all train and test samples after the epoch; None without a test set, and
            where it is not finite.
        train_accuracy, test_accuracy: share of samples whose largest output is that of their class; None for
            regression.
        seconds: of the epoch, with measuring.
        diverged: the loss is not finite; the run ends here.
        switch: losses before and after the conversion to ReLU and its report, at the epoch where it was made.
        diagnostics: values by name.
    """

    seed: int
    epoch: int
    model: str
    rate: float
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    diverged: bool = False
    switch: dict[str, Any] | None = None
    diagnostics: dict[str, Any] = field(default_factory=dict)


class Trial(NamedTuple):
    """A learning rate and the train loss after the trial epochs; None if it diverged."""

    rate: float
    train_loss: float | None


@dataclass(eq=False)
class Start:
    """A network with the samples that it learns, their gates looked up once and for all."""

    seed: int
    network: Network
    train: Split
    test: Split | None
    shuffled: Tensor


def build(config: Config, samples: Samples, seed: int) -> Network:
    """The untrained network of a seed: the same C, B and W for both models."""
    sizes = (samples.train.x.shape[1], config.width, config.depth, samples.outputs)
    generator, dtype = torch.Generator().manual_seed(seed), DTYPES[config.dtype]
    if config.model == "grelu":
        return GReLUNetwork(*sizes, generator=generator, dtype=dtype)
    return ReLUNetwork(*sizes, generator=generator, dtype=dtype)


def begin(config: Config, samples: Samples, seed: int, network: Network, folder: Path | None = None) -> Start:
    """Compute the gate tables, large ones into files of the folder (where the same tables may be replaced)."""

    def gated(split: Split, name: str) -> Split:
        if not isinstance(network, GReLUNetwork):
            return split
        large = folder is not None and _table_bytes(config, len(split)) > TABLE_BYTES
        path = folder / f"{name}-{seed}.gates" if large and folder is not None else None
        return replace(split, gates=network.gate_table(split.x, path=path))

    test = None if samples.test is None else gated(samples.test, "test")
    return Start(seed, network, gated(samples.train, "train"), test, samples.shuffled)


class Run:
    """One network in training: everything that a checkpoint holds, and what it is trained on.

    The order of samples comes from a generator of its own, seeded 2^32 + seed: `randperm(n).split(batch)` are the
    mini-batches of an epoch, for GReLU and ReLU the same.

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

    def __init__(
        self,
        config: Config,
        start: Start,
        rate: float,
        reference: list[Tensor] | None = None,
        augment: Callable[[], Tensor] | None = None,
    ) -> None:
        self.config, self.seed, self.rate, self.augment = config, start.seed, rate, augment
        self.train, self.test, self.shuffled = start.train, start.test, start.shuffled
        self.loss = LOSSES[config.loss]
        self.order = torch.Generator().manual_seed(2**32 + start.seed)
        self.epoch = 0
        self.records: list[Record] = []
        self._take(start.network, reference)

    def _take(self, network: Network, reference: list[Tensor] | None = None) -> None:
        """Train this network from here on; diagnostics compare it with the reference."""
        self.network = network
        kind = torch.optim.Adam if self.config.optimizer == "adam" else torch.optim.SGD
        self.optimizer: torch.optim.Optimizer = kind(network.weights, lr=self.rate)
        self.reference: list[Tensor] | None = None
        self.monitor: Monitor | None = None
        if not self.config.diagnostics:
            return
        now = [weight.detach().clone() for weight in network.weights]
        self.reference = now if reference is None else reference
        part = self.train.take(self.shuffled[: self.config.diagnostic_samples])
        _set_weights(network, self.reference)
        self.monitor = Monitor(self.config.diagnostics, Probe(part.x, part.targets, self.loss, part.gates), network)
        _set_weights(network, now)

    @property
    def model(self) -> str:
        """What is trained now, "grelu" or "relu"."""
        return "grelu" if isinstance(self.network, GReLUNetwork) else "relu"

    def epochs(self, last: int) -> Iterator[Record]:
        """Train until epoch `last`; a record for each epoch, epoch 0 first, until the loss is not finite."""
        if self.epoch == 0:
            yield self._record(time.perf_counter(), finite=True)
        while self.epoch < last:
            begun = time.perf_counter()
            finite = self.train_epoch()
            self.epoch += 1
            record = self._record(begun, finite)
            if self.epoch == self.config.switch and not record.diverged:
                record = replace(record, switch=self._switch(record), seconds=time.perf_counter() - begun)
            yield record
            if record.diverged:
                return

    def train_epoch(self) -> bool:
        """One pass over the train samples; False if a loss was not finite, and the step was not taken."""
        for part in self._steps(self._samples()):
            self.optimizer.zero_grad()
            total = 0.0
            for block in part.blocks():
                loss = self.loss(forward(self.network, block.x, block.gates), block.targets) / len(part)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
            if not math.isfinite(total):
                return False
            self.optimizer.step()
        return True

    def _samples(self) -> Split:
        """What the next epoch learns from."""
        if self.augment is None:
            return self.train
        x = self.augment()
        return replace(
            self.train, x=x, gates=self.network.gate_table(x) if isinstance(self.network, GReLUNetwork) else None
        )

    def _steps(self, samples: Split) -> Iterator[Split]:
        """The samples of each step."""
        if self.config.batch is None:
            yield samples
            return
        order = torch.randperm(len(samples), generator=self.order)
        for rows in torch.split(order, self.config.batch):
            yield samples.take(rows)

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[float, float | None]:
        """Mean loss, and the share of samples in their right class (None for regression)."""
        loss, right = 0.0, 0
        for block in split.blocks():
            outputs = forward(self.network, block.x, block.gates)
            loss += float(self.loss(outputs, block.targets))
            if block.classes is not None:
                right += int((outputs.argmax(dim=1) == block.classes).sum())
        return loss / len(split), None if split.classes is None else right / len(split)

    def _record(self, begun: float, finite: bool) -> Record:
        train, test = self.evaluate(self.train) if finite else (math.nan, None), None
        diverged = not math.isfinite(train[0])
        if self.test is not None and not diverged:
            test = self.evaluate(self.test)
        values = {} if diverged or self.monitor is None else self.monitor.measure(self.network)
        return Record(
            seed=self.seed,
            epoch=self.epoch,
            model=self.model,
            rate=self.rate,
            train_loss=None if diverged else train[0],
            train_accuracy=None if diverged else train[1],
            test_loss=None if test is None else _plain(test[0]),
            test_accuracy=None if test is None else test[1],
            seconds=time.perf_counter() - begun,
            diverged=diverged,
            diagnostics=_plain(values),
        )

    def _switch(self, record: Record) -> dict[str, Any]:
        """Convert to ReLU ([G], Thm 2); the losses around it and the report of the conversion."""
        assert isinstance(self.network, GReLUNetwork)
        before = self._largest_eigenvalue() if self.config.switch_rate is None else 0.0
        network, report = convert.grelu_to_relu(self.network, self.train.x, self.train.gates)
        self.train = replace(self.train, gates=None)
        self.test = None if self.test is None else replace(self.test, gates=None)
        self.network = network
        if self.config.switch_rate is not None:
            self.rate = self.config.switch_rate
        else:
            growth = max(1.0, self._largest_eigenvalue() / before) if before else 1.0
            self.rate = _rounded(self.rate / (math.sqrt(growth) if self.config.optimizer == "adam" else growth))
        self._take(network)
        if self.monitor is not None:
            self.monitor.observe(network)
        return {
            "train_loss_before": record.train_loss,
            "train_loss_after": _plain(self.evaluate(self.train)[0]),
            "test_loss_before": record.test_loss,
            "test_loss_after": None if self.test is None else _plain(self.evaluate(self.test)[0]),
            "rate": self.rate,
            "report": _plain(asdict(report)),
        }

    def _largest_eigenvalue(self) -> float:
        """Of the tangent kernel of at most 256 train samples, divided by their number."""
        part = self.train.take(self.shuffled[:RATE_SAMPLES])
        return Linearisation(self.network, part.x, part.gates).largest_eigenvalue()

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
    def restore(config: Config, samples: Samples, state: dict[str, Any], folder: Path | None = None) -> Run:
        """The run that gave a state, ready to go on."""
        network = _restored_network(config, samples, state)
        start = begin(config, samples, state["seed"], network, folder)
        run = Run(config, start, state["rate"], state["reference"])
        if run.monitor is not None:
            run.monitor.observe(network)
        run.optimizer.load_state_dict(state["optimizer"])
        run.order.set_state(state["order"])
        run.epoch = state["epoch"]
        return run


def _restored_network(config: Config, samples: Samples, state: dict[str, Any]) -> Network:
    if state["model"] == config.model:
        network = build(config, samples, state["seed"])
    else:  # it has switched
        sizes = (samples.train.x.shape[1], config.width, config.depth, samples.outputs)
        network = ReLUNetwork(*sizes, last_relu=False, generator=torch.Generator(), dtype=DTYPES[config.dtype])
    network.load_state_dict(state["network"])
    return network


@torch.no_grad()
def _set_weights(network: Network, values: list[Tensor]) -> None:
    for weight, value in zip(network.weights, values, strict=True):
        weight.copy_(value)


def _plain(value: Any) -> Any:
    """For JSON: tensors as lists, None for what is not finite."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# Learning rates


def rates(config: Config, start: Start) -> tuple[float, ...]:
    """The learning rates to try, in two digits where they were not given.

    For gradient descent and SGD 0.05, 0.15, 0.5 and 1.5 times 1 / lambda_max(K / n), K the tangent kernel of (at
    most 256) train samples at the start; for Adam 0.03, 0.1, 0.3 and 1 times 1 / width.

    Raises:
        TrainingError: the outputs do not depend on the weights, for instance because all samples are zero.
    """
    if config.rates:
        return config.rates
    if config.optimizer == "adam":
        return tuple(_rounded(factor / config.width) for factor in ADAM_FACTORS)
    part = start.train.take(start.shuffled[:RATE_SAMPLES])
    largest = Linearisation(start.network, part.x, part.gates).largest_eigenvalue()
    if not 0 < largest < math.inf:
        raise TrainingError(
            "no learning rate can be derived: the outputs do not depend on the weights; give one by rates="
        )
    return tuple(_rounded(factor / largest) for factor in DESCENT_FACTORS)


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")


def choose_rate(
    config: Config, start: Start, candidates: tuple[float, ...], callback: Callable[[Record], None] | None = None
) -> tuple[float, list[Trial]]:
    """The learning rate with the smallest finite train loss after the trial epochs, and all trials.

    Afterwards the network of `start` is as it was before. A single candidate is taken without a trial.

    Raises:
        TrainingError: every one of them diverges.
    """
    if len(candidates) == 1:
        return candidates[0], []
    weights = [weight.detach().clone() for weight in start.network.weights]
    trials = []
    trial_config, trial_start = (
        replace(config, diagnostics=(), switch=None, switch_rate=None),
        replace(start, test=None),
    )
    try:
        for rate in candidates:
            losses = []
            for record in Run(trial_config, trial_start, rate).epochs(config.trial_epochs):
                losses.append(record.train_loss)
                if callback is not None and record.epoch:
                    callback(record)
            _set_weights(start.network, weights)
            trials.append(Trial(rate, losses[-1]))
    finally:
        _set_weights(start.network, weights)
    finite = [trial for trial in trials if trial.train_loss is not None]
    if not finite:
        tried = ", ".join(f"{rate:g}" for rate in candidates)
        raise TrainingError(
            f"the loss diverged for every learning rate ({tried}): they are too large; try smaller ones"
        )
    return min(finite, key=lambda trial: trial.train_loss or 0.0).rate, trials


def fit(
    config: Config,
    samples: Samples | None = None,
    seed: int = 0,
    rate: float | None = None,
    callback: Callable[[Record], None] | None = None,
) -> Run:
    """Train one network in memory.

    Args:
        config: what to train.
        samples: those of `prepare(config)` if left out.
        seed: of the network and of the order of samples.
        rate: the learning rate; chosen as `config.rates` says if left out.
        callback: called with the record of every epoch, not with those of trials.

    Returns:
        The finished run: `.network`, `.records`. The last record says if it diverged.
    """
    samples = prepare(config) if samples is None else samples
    start = begin(config, samples, seed, build(config, samples, seed))
    if rate is None:
        rate, _ = choose_rate(config, start, rates(config, start))
    run = Run(config, start, rate)
    for record in run.epochs(config.epochs):
        run.records.append(record)
        if callback is not None:
            callback(record)
    return run


# Runs in a folder


@dataclass(frozen=True)
class Result:
    """All runs of a training.

    Attributes:
        config: what was trained.
        rate, trials: the learning rate, and the trials that chose it (none if it was given).
        records: of all epochs, seed by seed.
    """

    config: Config
    rate: float
    trials: list[Trial]
    records: list[Record]

    def run(self, seed: int) -> list[Record]:
        """The records of one seed."""
        return [record for record in self.records if record.seed == seed]

    @property
    def diverged(self) -> list[Record]:
        """The last records of runs that diverged."""
        return [record for record in self.records if record.diverged]


def identity(config: Config, samples: Samples) -> dict[str, Any]:
    """All that a run depends on. The numbers of epochs and seeds are not part of it: both may grow later."""
    kept = {name: value for name, value in asdict(config).items() if name not in ("epochs", "seeds")}
    return as_stored({"format": FORMAT, "version": gatentk.__version__, **kept, "sha256": samples.digest})


def run_all(
    config: Config,
    samples: Samples,
    folder: Path,
    *,
    resume: bool = False,
    restart: bool = False,
    checkpoint_every: int = 10,
    callback: Callable[[Record, bool], None] | None = None,
) -> Result:
    """Train all seeds, one after another, with a log and checkpoints in a folder.

    The folder gets log.jsonl, a line an epoch, and checkpoint-SEED.pt, replaced every `checkpoint_every` epochs and
    at the end; while a GReLU network with a gate table of more than 256 MB is trained, also the table. Whatever
    interrupts it, the last checkpoint stays whole.

    Args:
        config: what to train.
        samples: of `prepare(config)`.
        folder: of the files; it exists.
        resume: go on from the checkpoints, bit for bit as if never interrupted (with the same number of threads).
            More epochs or seeds than before continue a finished training.
        restart: forget what is there.
        checkpoint_every: epochs between checkpoints.
        callback: called after each epoch with its record, and whether it is a trial of a learning rate; called once
            for each epoch that was done before a resume, too.

    Raises:
        TrainingError: the folder holds another training, or one that is neither to be resumed nor forgotten; every
            learning rate diverges; a checkpoint is damaged.
    """
    checkpoint_every = check_integer("checkpoint_every", checkpoint_every, 1)
    who = identity(config, samples)

    def tell(record: Record, trial: bool = False) -> None:
        if callback is not None:
            callback(record, trial)

    with Log(folder, who, resume=resume, restart=restart) as log:
        if restart:
            for path in folder.glob("checkpoint-*.pt"):
                path.unlink()
        start = None
        if log.rate is None:
            start = begin(config, samples, 0, build(config, samples, 0), folder)
            candidates = rates(config, start)
            log.choose(*choose_rate(config, start, candidates, lambda record: tell(record, trial=True)))
        assert log.rate is not None
        for seed in range(config.seeds):
            state = read_checkpoint(_checkpoint_path(folder, seed), who) if resume else None
            done = log.rewind(seed, -1 if state is None else state["epoch"])
            for record in done:
                tell(record)
            if not _is_finished(config, done):
                if state is not None:
                    run = Run.restore(config, samples, state, folder)
                else:
                    start = start or begin(config, samples, seed, build(config, samples, seed), folder)
                    run = Run(config, start, log.rate)
                start = state = None
                for record in run.epochs(config.epochs):
                    log.append(record)
                    if _is_due(record, config.epochs, checkpoint_every):
                        log.sync()  # a checkpoint never knows of epochs that the log has lost
                        write_checkpoint(_checkpoint_path(folder, seed), {"identity": who, **run.state()})
                    tell(record)
            for path in folder.glob(f"*-{seed}.gates"):
                path.unlink()
        log.sync()
        return Result(config, log.rate, log.trials, [record for record in log.records if record.seed < config.seeds])


def _is_finished(config: Config, done: list[Record]) -> bool:
    if done and done[-1].epoch > config.epochs:
        raise TrainingError(
            f"seed {done[-1].seed} is at epoch {done[-1].epoch} already, got epochs={config.epochs}; give at least "
            "as many, or restart=True to start over"
        )
    return bool(done) and (done[-1].diverged or done[-1].epoch == config.epochs)


def _is_due(record: Record, last: int, every: int) -> bool:
    """Whether a checkpoint is written after this epoch."""
    return record.epoch > 0 and not record.diverged and (record.epoch == last or record.epoch % every == 0)


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints in a folder."""
    return sorted(folder.glob("checkpoint-*.pt"))


def _checkpoint_path(folder: Path, seed: int) -> Path:
    return folder / f"checkpoint-{seed}.pt"


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays whole until then."""
    with open_aside(path) as file:
        torch.save(state, file)


def read_checkpoint(path: Path, who: dict[str, Any]) -> dict[str, Any] | None:
    """The state in a checkpoint; None if there is no such file. Nothing but tensors and plain values is unpickled.

    Raises:
        TrainingError: it is damaged, or of another configuration than `who` (see `identity`).
    """
    if not path.exists():
        return None
    with path.open("rb") as file:
        try:
            state = torch.load(file, weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # torch answers damage with a dozen exceptions, OSError among them
            raise TrainingError(f"{path}: damaged, or not a checkpoint; restart=True starts over") from error
    if not isinstance(state, dict) or not isinstance(state.get("identity"), dict):
        raise TrainingError(f"{path}: not a checkpoint of gatentk train")
    if names := differing_names(state["identity"], who):
        changes = changes_text(state["identity"], who, names)
        raise TrainingError(
            f"{path} is of another training ({changes}); choose another folder with folder=, or restart=True to start "
            "over"
        )
    return state


class Log(Journal):
    """log.jsonl: what is trained, the trials of learning rates and the rate, then a line an epoch.

    A line that is torn, by a crash or a full disk, is cut off when the log is opened again. The file is locked while
    open.

    Args:
        folder: of the log; it exists.
        who: the `identity` of the training.
        resume: whether to go on with what is there.
        restart: whether to forget it.

    Attributes:
        rate, trials: as chosen; rate is None before.
        records: of all epochs.

    Raises:
        TrainingError: another process writes to the folder; there is nothing to resume, something of another
            training, or something without either flag.
    """

    file_name = LOG
    kind = "training"
    error = TrainingError

    def __init__(self, folder: Path, who: dict[str, Any], *, resume: bool = False, restart: bool = False) -> None:
        self.rate: float | None = None
        self.trials: list[Trial] = []
        self.records: list[Record] = []
        if resume and not (folder / LOG).exists():
            raise TrainingError(f"{folder} holds no training to go on with; resume=False starts one")
        super().__init__(folder, who, restart)
        if self.continued and not resume:
            self._file.close()
            raise TrainingError(
                f"{folder} holds this training already; resume=True goes on with it, restart=True starts over"
            )

    def take(self, entry: dict[str, Any]) -> None:
        """Remember the choice of the rate, or an epoch."""
        if "trials" in entry:
            self.rate, self.trials = entry["rate"], [Trial(**trial) for trial in entry["trials"]]
        else:
            self.records.append(Record(**entry))

    def identity_in(self, line: dict[str, Any]) -> dict[str, Any] | None:
        """The identity of the training."""
        identity = super().identity_in(line)
        if identity is None:
            raise TrainingError(f"{self.path} is not a log of gatentk train; choose another folder with folder=")
        return identity

    def choose(self, rate: float, trials: list[Trial]) -> None:
        """Write down the learning rate and how it was found."""
        self.rate, self.trials = rate, trials
        self._file.write(self._choice())
        self.sync()

    def append(self, record: Record) -> None:
        """Add an epoch."""
        self._file.write(asdict(record))
        self.records.append(record)

    def sync(self) -> None:
        """Wait until the disk has all of it."""
        self._file.sync()

    def rewind(self, seed: int, epoch: int) -> list[Record]:
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
            entries = [self.first_line(), self._choice(), *(asdict(record) for record in self.records)]
            self._file.replace(entries)
        return kept

    def _choice(self) -> dict[str, Any]:
        return {"rate": self.rate, "trials": [trial._asdict() for trial in self.trials]}
