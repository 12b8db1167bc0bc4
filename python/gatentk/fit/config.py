"""What to fit. Nothing here loads torch: the command line takes its choices and defaults from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatentk.activations import ACTIVATIONS
from gatentk.kernel_machines.defaults import DEPTHS, RIDGES

KERNELS = ("ntk", "nngp")
NORMALIZATIONS = ("auto", "unit", "standard", "none")
PREDICTED = ("auto", "classes", "numbers")
TEST_FRACTION = 0.2  # where there is no test set
MOST_PAIRS = 100_000  # their scores stay in memory, and on the page


@dataclass(frozen=True)
class FitConfig:
    """What to fit, and how.

    Attributes:
        data, path, n, data_seed, label, index, header: the arguments of `gatentk.data.load`.
        test: name of a data set for testing, as `data`; its targets may be missing, and are then only predicted.
            Columns of csv files that have names are matched by them.
        test_fraction: without `test`, the share of the samples, drawn with `data_seed`, that is kept for testing; None
            for 0.2, or for none where there is a test set.
        normalize: "unit" scales every sample to norm 1; "standard" gives every feature mean 0 and variance 1 on the
            train samples; "none" takes the samples as they are; "auto" is "unit" for classes of what looks like images
            (`gatentk.fit.samples.resembles_images`), "standard" for other samples and for numbers to predict.
        constant: whether samples get a feature that is 1, which is a bias of the first layer; None where features are
            standardised and no `b_std` is given.
        kernel: "ntk", all weights of the network are trained, or "nngp", only those of the last layer.
        depths: numbers of hidden layers to choose from, ascending.
        ridges: to choose from, falling, in units of the kernel's mean diagonal.
        activation, w_std, b_std, slope: of the network, as in `gatentk.ntk.infinite`.
        predict: what y is: "classes", "numbers", or "auto", what `gatentk.data.load` takes it for.
    """

    data: str
    path: str | None = None
    test: str | None = None
    test_fraction: float | None = None
    n: int | None = None
    data_seed: int = 0
    label: str | None = None
    index: bool | None = None
    header: bool | None = None
    normalize: str = "auto"
    constant: bool | None = None
    kernel: str = "ntk"
    depths: tuple[int, ...] = DEPTHS
    ridges: tuple[float, ...] = RIDGES[::-1]
    activation: str = "relu"
    w_std: float | None = None
    b_std: float | None = None
    slope: float | None = None
    predict: str = "auto"

    def __post_init__(self) -> None:
        from gatentk.checks import check_choice, check_integer

        for name, choices in (
            ("normalize", NORMALIZATIONS),
            ("kernel", KERNELS),
            ("predict", PREDICTED),
            ("activation", tuple(ACTIVATIONS)),
        ):
            check_choice(name, getattr(self, name), choices)
        if not self.depths or list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths: expected different depths in ascending order, got {self.depths}")
        check_integer("depths", self.depths[0], 0)
        if not self.ridges or list(self.ridges) != sorted(set(self.ridges), reverse=True):
            raise ValueError(f"ridges: expected different ridges in falling order, got {self.ridges}")
        if not all(0 <= ridge < math.inf for ridge in self.ridges):
            raise ValueError(f"ridges: expected finite numbers of at least 0, got {self.ridges}")
        if len(self.depths) * len(self.ridges) > MOST_PAIRS:
            pairs = len(self.depths) * len(self.ridges)
            raise ValueError(f"depths: expected at most {MOST_PAIRS:,} pairs of depth and ridge, got {pairs:,}")
        if self.constant is not None and not isinstance(self.constant, bool):
            raise TypeError(f"constant: expected True, False or None, got {self.constant!r}")
        self._check_test()

    def _check_test(self) -> None:
        if self.test is not None and not isinstance(self.test, str):
            raise TypeError(f"test: expected the name of a data set, got {self.test!r}")
        if self.test_fraction is None:
            return
        if self.test is not None:
            raise ValueError(f"test_fraction: expected none beside a test set, got {self.test_fraction!r}")
        if not isinstance(self.test_fraction, (int, float)) or not 0 <= self.test_fraction < 1:
            raise ValueError(f"test_fraction: expected a share of at least 0 and below 1, got {self.test_fraction!r}")

    @property
    def share(self) -> float:
        """Of the samples, what is kept for testing."""
        if self.test is not None:
            return 0.0
        return TEST_FRACTION if self.test_fraction is None else self.test_fraction
