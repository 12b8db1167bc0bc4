"""The experiment: data sets and sizes, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatentk import data
from gatentk.papers.conditioning.by_depth import Curves, lines, table
from gatentk.papers.conditioning.by_width import Widths
from gatentk.papers.conditioning.cells import ByWidth, DataSet, Rows, Settings, depth_cells, samples_of, width_cells
from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Findings

LARGEST_BATCH = 512  # of mini-batches, as in the scripts of [S]; half of the features where that is less
SUBSET = 2000  # samples of data sets that are too large for a laptop
DEFAULT: dict[str, int | None] = {"synthetic": 2000, "digits": 1797, "mnist": 5000, "fashion-mnist": SUBSET}
FULL: dict[str, int | None] = {**DEFAULT, "fashion-mnist": None, "svhn": None, "librispeech": None}
# Data sets that are left out if the user has no files of them: the option that brings them. The words are settings,
# which a journal keeps: as they are, or the folders of earlier runs are refused.
BROUGHT = {
    "svhn": "the user's files, by --path svhn=FOLDER",
    "librispeech": "features that another program computed, by --path librispeech=FEATURES.npy",
}
SPEED = 8e9  # multiply-adds a second, of kernels and spectra together
UNRESOLVED = (
    "With more samples than features the kernel of a linear network is singular, and its condition number infinite. "
    "Where the smallest eigenvalue is below the rounding noise, the figures have an arrow that starts at the least "
    "that the condition number can be, and mini-batches of at most half as many samples as features stand beside. A "
    "comparison is undecided where that bound leaves it open, or where means contradict it and the ranges over seeds "
    "overlap."
)


@dataclass(frozen=True)
class Limits:
    """How many samples each part of the experiment takes of a data set, at most.

    Attributes:
        everything: for one kernel at infinite width.
        subset: for one kernel of networks of finite width.
        batches: number of mini-batches.
        batch_samples: of all mini-batches together.
    """

    everything: int
    subset: int
    batches: int
    batch_samples: int


LAPTOP = Limits(everything=5000, subset=300, batches=12, batch_samples=800)
PUBLISHED = Limits(everything=20_000, subset=5000, batches=10_000, batch_samples=1_000_000)


def describe(name: str, n: int | None, path: Path | None, limits: Limits) -> DataSet:
    """Where a data set comes from, its sizes, and how many samples each part of the experiment takes.

    Raises:
        DataError: it is not there.
    """
    source = datasets.source(name, path)
    file = datasets.setting(path)
    if n is None or path is not None:
        available = len(data.load(source, path=file).x)
        n = available if n is None else min(n, available)
    x = samples_of(source, file, n).x
    available, features = x.shape
    batch = max(2, min(LARGEST_BATCH, features // 2, available))
    count = max(1, min(available // batch, limits.batches, limits.batch_samples // batch))
    rows = Rows(min(available, limits.everything), min(available, limits.subset), batches=count * batch)
    return DataSet(source, file, n, features, batch, rows)


class Conditioning(Experiment[Settings]):
    """Kernels of networks of infinite and of finite width, with all weights trained."""

    name = "conditioning"
    title = "ReLU and depth separate gradients and improve the condition number of tangent kernels"
    source = "[S, Fig. 2, Sec. 7, Thm 3.1, 4.5, 5.1, 5.2]"

    def settings(self, scale: Scale) -> Settings:
        """All samples or a part of them; a data set that is not there is left out.

        Raises:
            DataError: a path was given, and there is no such data set.
        """
        wanted = dict(FULL if scale.full else DEFAULT)
        wanted |= {name: SUBSET for name in BROUGHT if name in scale.paths and not scale.full}
        limits = PUBLISHED if scale.full else LAPTOP
        sets, missing = datasets.present(
            wanted, scale, lambda name, path: describe(name, wanted[name], path, limits), BROUGHT
        )
        by_width = ByWidth(
            set="digits" if "digits" in sets else next(iter(sets)),
            rows=200,
            depths=(1, 3, 10),
            widths=(32, 64, 128, 256, 512, 1024, *((2048, 4096) if scale.full else ())),
        )
        return Settings(sets, missing, depths=tuple(range(11)), width=512, seeds=5, by_width=by_width)

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """A data set, activation and depth with all seeds; several depths in one where they are quick."""
        return [*(cell for name in settings.sets for cell in depth_cells(settings, name)), *width_cells(settings)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The data, and the largest kernel with what its spectrum takes or the weights of the widest network."""
        sets, by_width = settings.sets.values(), settings.by_width
        kernel = int(2.1 * 8 * max(chosen.rows.all for chosen in sets) ** 2)
        kernel = max(kernel, 32 * max(chosen.rows.subset for chosen in sets) ** 2)
        weights = 8 * by_width.depths[-1] * by_width.widths[-1] ** 2
        kept = sum(16 * chosen.n * chosen.features for chosen in sets)
        return kept + max(kernel, weights), sum(cell.cost(settings) for cell in self.cells(settings)) / SPEED

    def findings(self, settings: Settings, results: Results) -> Findings:
        """What [S] reads from its figure, by data set, and the convergence with width."""
        curves = {name: Curves(name, chosen, lines(settings, results, name)) for name, chosen in settings.sets.items()}
        widths = Widths(settings, results)
        return Findings(
            [*(claim for curve in curves.values() for claim in curve.claims(settings)), widths.claim()],
            lambda: [*(curve.plot(settings) for curve in curves.values()), widths.plot()],
            [table(settings, curves), widths.table()],
            [*datasets.left_out(settings.missing), UNRESOLVED],
        )


EXPERIMENT = Conditioning()
