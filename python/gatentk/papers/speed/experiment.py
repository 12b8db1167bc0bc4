"""The experiment: widths and samples, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Findings
from gatentk.papers.speed.cells import Settings, cells, samples
from gatentk.papers.speed.claims import claims
from gatentk.papers.speed.plots import plot_agreement, plot_times, tables

BATCH = 128


class Speed(Experiment[Settings]):
    """Ratios of times, and how well gates of low rank agree; the same seed gives the same numbers but for times."""

    name = "speed"
    title = "What gates save in training and inference"
    source = "[G, Sec. 4.4, Remark 4]"

    def settings(self, scale: Scale) -> Settings:
        """MNIST at widths up to 4096; with `full` up to 16,384.

        Raises:
            DataError: MNIST is not installed.
        """
        samples("mnist", BATCH)
        return Settings(
            data="mnist",
            depth=3,
            batch=BATCH,
            rows=(1, 128),
            widths=(512, 1024, 2048, 4096, *((8192, 16384) if scale.full else ())),
            rounds=5,
            agreement_samples=1000,
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """Narrow networks first; in each width training, inference and agreement."""
        return list(cells(settings))

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Weights and gradients of both networks, the gates' weights, a layer in float64; seconds at 30 GFLOP/s."""
        matrices = 5 * settings.depth + 4
        seconds = sum(cell.cost(settings) for cell in cells(settings)) / 3e10
        return 4 * matrices * max(settings.widths) ** 2, seconds

    def findings(self, settings: Settings, results: Results) -> Findings:
        """Ratios of times by width, agreement by width."""
        times = (
            "Times are of the machine and the load that they were measured under; ratios of the same round are "
            "compared, and their medians shown."
        )
        networks = (
            f"Networks are untrained, in float32, with {settings.depth} trained layers, {settings.batch} samples a "
            "step."
        )
        return Findings(
            claims(settings, results),
            lambda: [plot_times(settings, results), plot_agreement(settings, results)],
            tables(settings, results),
            [times, networks],
        )


EXPERIMENT = Speed()
