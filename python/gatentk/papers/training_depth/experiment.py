"""The experiment: data sets and sizes, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatentk import data
from gatentk.errors import DataError
from gatentk.ntk.memory import layerwise_memory
from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Findings
from gatentk.papers.training_depth.cells import DataSet, GradientDescent, Settings, cells
from gatentk.papers.training_depth.findings import Speed, descent_table, entropy_table, remarks

DEFAULT = {"digits": 40, "mnist": 12}  # epochs
FULL = {"digits": 2000, "mnist": 500, "fashion-mnist": 500}
FACTORS = (32.0, 64.0, 128.0)  # of the learning rates, times 1 / lambda_max(K / n)
SPEED = 2e10  # multiply-adds a second, in float32


class TrainingDepth(Experiment[Settings]):
    """Networks of [S], Eq. 1-3, in NTK parametrisation, all weights trained from the same seed."""

    name = "training-depth"
    title = "Deeper ReLU networks have a better condition number: do they train faster?"
    source = "[S, Fig. 3]"

    def settings(self, scale: Scale) -> Settings:
        """Few epochs, or those of [S] on all data that are there.

        Raises:
            DataError: a path was given, and there is no such data set.
        """
        epochs = FULL if scale.full else DEFAULT
        sets, missing = datasets.present(epochs, scale, lambda name, path: _describe(name, path, epochs[name]), {})
        return Settings(
            sets=sets,
            missing=missing,
            depths=tuple(range(1, 11)),
            width=512 if scale.full else 256,
            batch=500,
            factors=FACTORS,
            descent=GradientDescent(rows=256 if scale.full else 64, width=512, steps=3000 if scale.full else 300),
            target=0.1,
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """One for each data set, loss and depth, and for each learning rate of cross-entropy."""
        return list(cells(settings))

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The data, the weights with their gradients and in float64, and the kernel that a descent is compared with."""
        kept = sum(8 * chosen.n * chosen.features for chosen in settings.sets.values())
        width, depth = settings.descent.width, settings.depths[-1]
        weights = 16 * depth * max(width, settings.width) ** 2
        kernel = layerwise_memory(settings.descent.rows, width, depth, itemsize=8)
        return kept + weights + kernel, sum(cell.cost(settings) for cell in cells(settings)) / SPEED

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Whether depth helps, with both losses, and whether the rates of condition numbers hold."""
        speeds = [Speed(settings, results, name) for name in settings.sets]
        return Findings(
            [claim for speed in speeds for claim in speed.claims()],
            lambda: [speed.plot() for speed in speeds],
            [entropy_table(speeds), descent_table(speeds)],
            [*remarks(settings, speeds), *datasets.left_out(settings.missing)],
        )


def _describe(name: str, path: Path | None, epochs: int) -> DataSet:
    """A data set; a file of the user's for `mnist` holds arrays x and y."""
    source = datasets.source(name, path)
    dataset = data.load(source, path=path)
    if dataset.y is None:
        raise DataError(f"{path}: expected an .npz file with arrays x and y, got one without y")
    n, features = dataset.x.shape
    return DataSet(source, datasets.setting(path), n, features, len(set(dataset.y.tolist())), epochs)


EXPERIMENT = TrainingDepth()
