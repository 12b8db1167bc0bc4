"""What to train, and how. Nothing here loads torch: the command line takes its choices and defaults from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatentk.activations import MODELS

OPTIMIZERS = ("sgd", "gd", "adam")
NORMALIZATIONS = ("auto", "unit", "standard", "none")
TARGETS = ("standard", "none")
SCHEDULES = ("plateau", "constant")
GATES = ("deep", "shallow")
DTYPES = ("float32", "float64")
# Rows of the tables in `losses` and `diagnostics`, in their order.
LOSS_NAMES = ("square", "cross-entropy")
DIAGNOSTIC_NAMES = (
    *("tau", "gradient", "gradient_norm", "patterns", "dead"),
    *("shift", "spectra", "drift", "linearised"),
)

# What says how the gates of a network are drawn, and what it is where nothing is said: as in [G], Sec. 2.
GATE_DEFAULTS = {"block": 1, "gates": "deep", "center": False}

BATCH = 128  # default size of mini-batches
LARGEST_RATE = 1e30  # float32 ends at 3e38, and adam divides the rate by 0.1 in its first step


@dataclass(frozen=True)
class TrainingConfig:
    """What to train, and how.

    Attributes:
        data, path, n, data_seed, label, index, header: the arguments of `gatentk.data.load`.
        test_fraction: share of the samples, drawn with `data_seed`, that is kept for testing.
        normalize: "unit" scales every sample to norm 1, as the theory of [G] assumes; "standard" gives every feature
            mean 0 and variance 1 on the train samples; "none" takes the samples as they are; "auto" is "unit" for
            classes and "standard" for numbers to predict.
        targets: "standard" gives numbers to predict mean 0 and, for each output, ten times the spread of the untrained
            network's outputs, by mean and standard deviation of the train samples: their unit does not matter. Losses
            are those in the unit of the data all the same (`targets.TargetScale` converts outputs). "none" takes them
            as they are. Classes are not concerned.
        model: "grelu" or "relu"; both start from the same C, B, W for the same seed.
        width, depth: of the network; depth W matrices are trained.
        loss: "square", 1/2 sum |y - label|^2 ([G], Eq. 2) with one-hot labels, or "cross-entropy". Both enter as
            means over the samples of a step.
        optimizer: "sgd", "adam" (torch's, without momentum and with its defaults) or "gd", full-batch gradient descent.
        batch: size of mini-batches, default 128; None for "gd".
        rates: learning rates. Of several, the one with the smallest train loss after `trial_epochs` epochs of seed 0
            is taken for all seeds; none at all means a grid made for the network.
            A rate after which the train loss is larger than before it is not.
        trial_epochs: length of those trials.
        schedule: "constant" keeps the rate; "plateau" goes back to the best epoch after `patience` epochs without a
            smaller test loss (train loss without test samples) and on with 0.2 of the rate; after two such cuts, and
            as many epochs again, the run ends (see `schedule.Schedule`).
        patience: epochs that "plateau" waits.
        epochs: passes over the train samples, at most; a step each for "gd".
        seeds: number of networks, seeded 0 .. seeds - 1.
        switch: epoch after which a GReLU network is converted to ReLU ([G], Thm 2) and goes on as one, with a fresh
            optimizer.
        switch_ridge: of the conversion (see `gatentk.convert.grelu_to_relu`); 0 makes it exact on the train samples,
            for at most as many as neurons in a layer, and far off on others.
        switch_rate: learning rate after the switch; None derives it from that before
            (`learning_rates.rate_after_switch`).
        diagnostics: names of `gatentk.train.diagnostics.DIAGNOSTICS`, measured after every epoch.
        diagnostic_samples: number of train samples that they are measured on, at most.
        dtype: "float32" or "float64".
        block: consecutive neurons of a GReLU network that share a gate, at most `width`; 1 is a gate for each neuron.
        gates: where they come from: "deep", a fixed ReLU network, or "shallow", half-spaces of the samples (see
            `gatentk.gates.GateNetwork`).
        center: whether the gates see the samples less the mean of the train samples.
    """

    data: str
    path: str | None = None
    n: int | None = None
    data_seed: int = 0
    test_fraction: float = 0.0
    normalize: str = "auto"
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
    label: str | None = None
    index: bool | None = None
    header: bool | None = None
    targets: str = "standard"
    schedule: str = "plateau"
    patience: int = 5
    switch_ridge: float = 0.01
    block: int = 1
    gates: str = "deep"
    center: bool = False

    def __post_init__(self) -> None:
        from gatentk.checks import check_choice, check_integer

        for name, choices in (
            ("normalize", NORMALIZATIONS),
            ("targets", TARGETS),
            ("schedule", SCHEDULES),
            ("model", MODELS),
            ("loss", LOSS_NAMES),
            ("optimizer", OPTIMIZERS),
            ("dtype", DTYPES),
            ("gates", GATES),
        ):
            check_choice(name, getattr(self, name), choices)
        for name in ("width", "depth", "trial_epochs", "patience", "epochs", "seeds", "diagnostic_samples", "block"):
            check_integer(name, getattr(self, name), 1)
        if not isinstance(self.test_fraction, (int, float)) or not 0 <= self.test_fraction < 1:
            raise ValueError(f"test_fraction: expected a share of at least 0 and below 1, got {self.test_fraction!r}")
        if len(set(self.rates)) != len(self.rates) or not all(0 < rate <= LARGEST_RATE for rate in self.rates):
            expected = f"different positive learning rates up to {LARGEST_RATE:g}"
            raise ValueError(f"rates: expected {expected}, got {self.rates}")
        for name in self.diagnostics:
            check_choice("diagnostics", name, DIAGNOSTIC_NAMES)
        self._check_gates()
        self._check_batch()
        self._check_switch()

    @property
    def has_paper_gates(self) -> bool:
        """Whether gates are drawn as in [G], Sec. 2: one for each neuron, by a deep network that shares C."""
        return all(getattr(self, name) == default for name, default in GATE_DEFAULTS.items())

    def _check_gates(self) -> None:
        if not isinstance(self.center, bool):
            raise TypeError(f"center: expected a bool, got {type(self.center).__name__}")
        if self.block > self.width:
            raise ValueError(f"block: expected at most the width, {self.width}, got {self.block}")
        for name, default in GATE_DEFAULTS.items():
            if self.model != "grelu" and (value := getattr(self, name)) != default:
                raise ValueError(f"{name}: only a GReLU network has gates, got {value!r} with model {self.model!r}")

    def _check_batch(self) -> None:
        if self.optimizer == "gd" and self.batch is not None:
            raise ValueError("batch: full-batch gradient descent (gd) takes no mini-batches; sgd does")
        if self.optimizer != "gd":
            from gatentk.checks import check_integer

            object.__setattr__(self, "batch", BATCH if self.batch is None else check_integer("batch", self.batch, 1))

    def _check_switch(self) -> None:
        if not isinstance(self.switch_ridge, (int, float)) or not 0 <= self.switch_ridge < math.inf:
            raise ValueError(f"switch_ridge: expected a number of at least 0, got {self.switch_ridge!r}")
        if self.switch_rate is not None and (self.switch is None or not 0 < self.switch_rate <= LARGEST_RATE):
            positive = f"a positive learning rate up to {LARGEST_RATE:g}"
            expected = positive if self.switch is not None else "none without a switch"
            raise ValueError(f"switch_rate: expected {expected}, got {self.switch_rate!r}")
        if self.switch is not None:
            from gatentk.checks import check_integer

            if self.model != "grelu":
                raise ValueError(f"switch: only a GReLU network switches to ReLU, got model {self.model!r}")
            check_integer("switch", self.switch, 1)
            if self.switch >= self.epochs:
                raise ValueError(f"switch: expected an epoch before the last, {self.epochs}, got {self.switch}")
