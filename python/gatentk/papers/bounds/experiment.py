"""The experiment: what the theorems' modules compute and claim, in the order of the papers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gatentk import data
from gatentk.papers.bounds import (
    convergence,
    distance,
    eigenvalues,
    gate_overlap,
    kernels,
    norms,
    one_step,
    pairs,
    table1,
    training,
)
from gatentk.papers.bounds.settings import INSTALLED, Settings, at_scale
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Claim, Findings, Plot, Table
from gatentk.reporting.text import given

CELLS: tuple[Callable[[Settings], Iterable[Cell[Settings, Any]]], ...] = (
    table1.cells,
    training.cells,
    one_step.cells,
    convergence.literal_cells,
    eigenvalues.cells,
    gate_overlap.cells,
    kernels.cells,
    pairs.cells,
    norms.cells,
)
CLAIMS: tuple[Callable[[Settings, Results], Iterable[Claim]], ...] = (
    table1.claims,  # [G, Table 1]
    convergence.claims,  # [G, Thm 1]
    convergence.literal_claims,  # [G, Thm 1]
    one_step.claims,  # [G, Lemmas 1-3]
    distance.claims,  # [G, Eq. 5, Cor. 4, Thm 3]
    eigenvalues.claims,  # [G, Thm 5]
    gate_overlap.claims,  # [G, Lemma 4, Thm 6]
    kernels.proposition_2_2,  # [S, Prop. 2.2]
    norms.claims,  # [S, Thm 3.1, 4.4]
    pairs.theorem_4_5,  # [S, Thm 4.5]
    kernels.theorem_5_1,  # [S, Thm 5.1]
    pairs.theorem_5_2,  # [S, Thm 5.2]
    kernels.theorem_5_2,  # [S, Thm 5.2]
)
PLOTS: tuple[Callable[[Settings, Results], Plot], ...] = (
    table1.plot_by_samples,
    table1.plot_by_depth_and_loss,
    distance.plot,
    eigenvalues.plot,
    gate_overlap.plot,
)
TABLES: tuple[Callable[[Settings, Results], Table], ...] = (
    table1.table_by_samples,
    table1.table_by_depth_and_loss,
    convergence.table,
    kernels.table,
)


class Bounds(Experiment[Settings]):
    """Table 1 of [G] as functions of (n, L, d, eps), and what the theorems say against what is measured."""

    name = "bounds"
    title = "What the theorems bound, and what is measured"
    source = "[G, Table 1, Thm 1, 3, 5, 6, Lemmas 1-4, Cor. 4; S, Prop. 2.2, Thm 3.1, 4.5, 5.1, 5.2]"

    def settings(self, scale: Scale) -> Settings:
        """Small n; with `full` larger n and width.

        Raises:
            DataError: digits or MNIST are not installed.
        """
        for name, n in INSTALLED.items():
            data.load(name, n=n)
        return at_scale(scale.full)

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """All cells by theorem, then by what varies in it."""
        return [cell for cells in CELLS for cell in cells(settings)]

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Weights, gradients, gates' weights and copies of the widest network; seconds on one core."""
        depth = max(settings.training.depths)
        widest = max(width for _, _, width in settings.training.shapes)
        work = sum(cell.cost(settings) for cell in self.cells(settings))
        return 7 * 8 * depth * widest**2, work / 1e9

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Claims in the order of [G], then of [S]."""
        table_1 = (
            "The rows of Table 1 are printed up to constants, and are drawn with constants 1; Du's needs the smallest "
            "eigenvalue of the limiting two-layer kernel, computed here for each n, and a probability of failure, "
            f"{given(settings.table.failure)}."
        )
        labels = (
            "Labels are scaled to mean square m / d_x, the size of the outputs at the start, so that widths compare."
        )
        lemmas = (
            "Lemmas 1 to 3 of [G] enter through the identities that they rest on: the kernel of Eq. 9 and 10, and the "
            "change of outputs in one step."
        )
        return Findings(
            [claim for claims in CLAIMS for claim in claims(settings, results)],
            lambda: [plot(settings, results) for plot in PLOTS],
            [table(settings, results) for table in TABLES],
            [table_1, labels, lemmas],
        )


EXPERIMENT = Bounds()
