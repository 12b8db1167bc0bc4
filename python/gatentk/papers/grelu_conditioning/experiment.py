"""The experiment: data sets, sizes, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale, UserFile
from gatentk.papers.frame.findings import Claim, Findings
from gatentk.papers.grelu_conditioning import comparisons, gates
from gatentk.papers.grelu_conditioning.cells import COMPARED, Limit, LimitCell, Settings, kernel_cells, unit_rows
from gatentk.papers.grelu_conditioning.plots import plots, table

# Train loss that gradient descent on the kernel has to reach, relative to that at the start.
TARGET = 0.01
SPEED = 3e9  # of the cells' cost, samples to the third power, in a second

# At the published size, beside those of the default: data sets, those that the user brings, how many samples of each.
PUBLISHED = ("mnist", "fashion-mnist", "svhn", "cifar10", "librispeech")
BROUGHT = ("svhn", "cifar10", "librispeech")
MANY = 5000


class GreluConditioning(Experiment[Settings]):
    """Kernels of the two kinds of network on the same unit rows."""

    name = "grelu-conditioning"
    title = "GReLU kernels are better conditioned than ReLU kernels"
    source = "closed forms that go beyond both papers; compare [S, Fig. 2] and [G, Thm 5]"

    def settings(self, scale: Scale) -> Settings:
        """Infinite width on all samples up to a limit, finite width on some; with `full` all data sets that are there.

        Raises:
            DataError: a path was given, and there is no such data set.
        """
        sizes = {"digits": 1797, "synthetic": 2000}
        for name, n in sizes.items():
            unit_rows(name, n, 0)
        names = {(datasets.cifar10(scale) if name == "cifar10" else name): name in BROUGHT for name in PUBLISHED}
        # The words are settings, which a journal keeps: as they are, or the folders of earlier runs are refused.
        brought = {name: f"the user's files, by --path {name}=PATH" for name, is_brought in names.items() if is_brought}
        there, missing = datasets.present(
            names if scale.full else (),
            scale,
            lambda name, path: unit_rows(name, MANY, 0, datasets.setting(path)),
            brought,
        )
        return Settings(
            samples=sizes | dict.fromkeys(there, MANY),
            paths={name: UserFile(scale.paths[name]) for name in there if name in scale.paths},
            missing=missing,
            depths=(*range(1, 11), *([20] if scale.full else [])),
            width=2048 if scale.full else 1024,
            finite_samples=200,
            finite_depths=(1, 2, 3, 5),
            seeds=5 if scale.full else 3,
            target=TARGET,
            limit=Limit("synthetic", n=500, depths=(1, 10, 100, 1000, 10_000)),
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """One for each data set, activation, depth and kind of gates; finite networks by seed too."""
        limits = [LimitCell(activation, depth) for depth in settings.limit.depths for activation in COMPARED]
        return [*limits, *kernel_cells(settings), *gates.gate_cells(settings)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The kernel, its eigenvectors and what LAPACK needs for them; all cells."""
        largest = max(settings.samples.values())
        return 5 * 8 * largest**2, sum(cell.cost(settings) for cell in self.cells(settings)) / SPEED

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Comparisons by data set."""
        claims: list[Claim] = [comparisons.limits(settings, results)]
        for name in settings.samples:
            claims += [
                comparisons.condition(settings, results, name),
                comparisons.speed(settings, results, name),
                comparisons.finite(settings, results, name),
                gates.better_gates(settings, results, name),
                gates.faster_gates(settings, results, name),
                gates.shared_gates(settings, results, name),
            ]
        remarks = datasets.left_out(settings.missing)
        return Findings(
            claims,
            lambda: [*plots(settings, results), *gates.plots(settings, results)],
            [table(settings, results), gates.table(settings, results)],
            remarks,
        )


EXPERIMENT = GreluConditioning()
