"""How large each check is: sizes, widths, depths and seeds.

They stand here and not with the theorems, whose cells all get the settings of all checks.
"""

from __future__ import annotations

from dataclasses import dataclass

INSTALLED = {"digits": 40, "mnist": 200}  # data sets whose kernels are looked at, and how many samples


@dataclass(frozen=True)
class Table1Settings:
    """[G, Table 1] by the number of samples: the depth, the loss to be reached and the probability of failure."""

    samples: list[int]
    depth: int
    eps: float
    failure: float

    @property
    def middle(self) -> int:
        """The number of samples at which bounds are shown by depth and by loss."""
        return self.samples[len(self.samples) // 2]


@dataclass(frozen=True)
class TrainingSettings:
    """Trainings at one number of samples and several widths, and at the width n^2 L of [G, Thm 1].

    Attributes:
        samples, depths, widths: each depth with each width.
        iteration_samples: numbers of samples at width n^2 L, L the last of the depths.
        seeds: of each.
        targets: losses, relative to that at the start, in falling order.
        steps: at most.
    """

    samples: int
    depths: list[int]
    widths: list[int]
    iteration_samples: list[int]
    seeds: int
    targets: list[float]
    steps: int

    @property
    def last_depth(self) -> int:
        """L of the trainings at width n^2 L."""
        return self.depths[-1]

    def sufficient_width(self, n: int) -> int:
        """n^2 L."""
        return n**2 * self.last_depth

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """(n, depth, width) of all trainings, each once."""
        shapes = [(self.samples, depth, width) for depth in self.depths for width in self.widths]
        shapes += [(n, self.last_depth, self.sufficient_width(n)) for n in self.iteration_samples]
        return list(dict.fromkeys(shapes))


@dataclass(frozen=True)
class OneStepSettings:
    """Single steps of gradient descent, as factors of 1/lambda_max that are halved."""

    samples: int
    width: int
    depth: int
    factors: list[float]
    seeds: int


@dataclass(frozen=True)
class LiteralStepSettings:
    """Trainings at the width of [G, Thm 1] with factors of its step."""

    samples: list[int]
    depth: int
    steps: int
    seeds: int
    factors: list[float]


@dataclass(frozen=True)
class EigenvalueSettings:
    """Networks whose products of layers are looked at for `measured` of the samples."""

    samples: int
    outputs: int
    measured: int
    depth: int
    widths: list[int]
    seeds: int


@dataclass(frozen=True)
class GateSettings:
    """Gate networks."""

    samples: int
    width: int
    depth: int
    seeds: int


@dataclass(frozen=True)
class DecaySettings:
    """The last layer."""

    depth: int


@dataclass(frozen=True)
class KernelSettings:
    """Kernels at infinite width: data sets with sizes, as (name, samples, features or None), and depths."""

    data: list[tuple[str, int, int | None]]
    depths: list[int]


@dataclass(frozen=True)
class PairSettings:
    """Two samples at angles in degrees."""

    angles: list[float]
    depths: list[int]


@dataclass(frozen=True)
class NormSettings:
    """Gradients of networks at a sample of a norm."""

    inputs: int
    width: int
    depths: list[int]
    norm: float
    seeds: int


@dataclass(frozen=True)
class Settings:
    """The sizes of all checks."""

    table: Table1Settings
    training: TrainingSettings
    step: OneStepSettings
    literal: LiteralStepSettings
    spectra: EigenvalueSettings
    gates: GateSettings
    decay: DecaySettings
    kernels: KernelSettings
    pair: PairSettings
    norms: NormSettings


def at_scale(full: bool) -> Settings:
    """Small n; with `full` larger n and width."""
    widths = [64, 128, 256, 512, 1024] + ([2048, 4096] if full else [])
    many = [5, 10, 20, 40] if full else [5, 10, 20]
    return Settings(
        table=Table1Settings(samples=[5, 10, 20, 50, 100, 200, 500], depth=4, eps=1e-6, failure=0.1),
        training=TrainingSettings(
            samples=20 if full else 10,
            depths=[2, 4],
            widths=widths,
            iteration_samples=many,
            seeds=5,
            targets=[1e-2, 1e-4, 1e-6, 1e-8],
            steps=5000,
        ),
        step=OneStepSettings(samples=10, width=100, depth=3, factors=[0.5, 0.25, 0.125, 0.0625], seeds=3),
        literal=LiteralStepSettings(samples=many, depth=2, steps=100, seeds=3, factors=[1, 4]),
        spectra=EigenvalueSettings(
            samples=20 if full else 10, outputs=5, measured=3, depth=4, widths=widths, seeds=5 if full else 3
        ),
        gates=GateSettings(samples=20, width=4096 if full else 1024, depth=30, seeds=3),
        decay=DecaySettings(depth=100),
        kernels=KernelSettings(
            data=[("gaussian", 20, 400), ("gaussian", 20, 40), *((name, n, None) for name, n in INSTALLED.items())],
            depths=[1, 2, 5, 10],
        ),
        pair=PairSettings(angles=[0.01, 1.0, 10.0], depths=[0, 1, 2, 3, 5, 10, 20]),
        norms=NormSettings(inputs=10, width=256, depths=[1, 2, 4], norm=2.0, seeds=50),
    )
