"""The experiment: data sets, networks and sizes, and what is shown of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatentk.ntk.memory import layerwise_memory
from gatentk.papers.blocks import claims, plots
from gatentk.papers.blocks.cells import cells
from gatentk.papers.blocks.comparisons import Comparison
from gatentk.papers.blocks.settings import LABELS, RELU, Network, Settings, Task, gated, samples
from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Cell, Experiment, Results, Scale
from gatentk.papers.frame.findings import Findings
from gatentk.reporting.text import number
from gatentk.train.memory import gate_weights

BLOCKS = (1, 8, 16, 32, 64)
# Of dense ReLU networks there is one for every halving of the work.
RELU_WIDTHS = (512, 704, 1024, 1472, 2048, 2880, 4096)
IMAGES, NUMBERS = ("mnist", "fashion-mnist"), ("friedman",)
# (kinds, widths, blocks) of the gates by data set.
DEFAULT = {
    "mnist": (
        (("centred",), (512, 1024), BLOCKS),
        (("centred",), (2048,), (16, 64)),
        (("deep", "shallow"), (512,), BLOCKS),
    ),
    "fashion-mnist": ((("centred",), (512,), BLOCKS),),
    "friedman": ((("deep", "shallow"), (512,), BLOCKS),),
}
FULL = {
    "mnist": ((("deep", "shallow", "centred"), (512, 1024, 2048, 4096), BLOCKS),),
    "fashion-mnist": ((("deep", "shallow", "centred"), (512, 1024, 2048, 4096), BLOCKS),),
    "friedman": ((("deep", "shallow"), (512, 1024, 2048, 4096), BLOCKS),),
}
DISTURBED = 1.5  # times the time of the steps in turns, from which on a remark says so


class Blocks(Experiment[Settings]):
    """Dense ReLU networks beside GReLU networks of all kinds of gates, each at its own best learning rate."""

    name = "blocks"
    title = "What gates of blocks cost and save"
    source = "goes beyond both papers; compare [G, Sec. 2 and 4.4]"

    def settings(self, scale: Scale) -> Settings:
        """Few epochs and seeds at widths up to 2,048; up to 4,096 and more of both with `full`.

        Raises:
            DataError: a path was given, and there is no such data set.
        """
        there, missing = datasets.present((*IMAGES, *NUMBERS), scale, lambda name, path: _task(name, path, scale), {})
        return Settings(
            tasks=there,
            missing=missing,
            depth=3,
            seeds=5 if scale.full else 2,
            rounds=31 if scale.full else 15,
            kernel_samples=400,
            kernel_seeds=3 if scale.full else 2,
        )

    def cells(self, settings: Settings) -> Sequence[Cell[Settings, Any]]:
        """Times and trainings by data set, then condition numbers."""
        return list(cells(settings))

    def needs(self, settings: Settings) -> tuple[int, float]:
        """Weights with gradients and moments of each width at a time, all gate networks, a kernel; seconds."""
        kept = 0
        for task in settings.tasks.values():
            n, d = samples(task, 1).train.x.shape
            widths = {network.width for network in task.networks}
            trained = sum(4 * 4 * settings.depth * width**2 for width in widths)
            gates = sum(4 * gate_weights(network.config(task, settings.depth), d) for network in task.networks)
            ends = sum(4 * network.width * d for network in task.networks)
            kernel = layerwise_memory(settings.kernel_samples, max(widths), settings.depth, itemsize=8)
            kept = max(kept, trained + gates + ends + kernel + 8 * n * d)
        return kept, sum(cell.cost(settings) for cell in cells(settings))

    def findings(self, settings: Settings, results: Results) -> Findings:
        """What a step costs, what is learnt in the same epochs and in the same time, and condition numbers."""
        compared = [Comparison(settings, results, data) for data in settings.tasks]
        return Findings(
            [claim for each in compared for claim in claims.claims(each)],
            lambda: [plot for each in compared for plot in plots.plots(each)],
            plots.tables(compared),
            [*_remarks(settings, compared), *datasets.left_out(settings.missing)],
        )


def _task(name: str, path: Path | None, scale: Scale) -> Task:
    """What is learnt of a data set; images are as many as install from the registry."""
    sizes = FULL if scale.full else DEFAULT
    networks = [network for part in sizes[name] for network in gated(*part)]
    widest = max(network.width for network in networks)
    relu = [Network(RELU, width) for width in RELU_WIDTHS if width <= max(widest, 704)]
    is_image = name in IMAGES
    task = Task(
        source=datasets.source(name, path),
        path=datasets.setting(path),
        n=5000 if is_image and not scale.full else None,
        normalize="unit" if is_image else "standard",
        loss="cross-entropy" if is_image else "square",
        epochs=20 if scale.full else 8,
        trial_epochs=10 if scale.full else 4,
        batch=128,
        factors=(0.1, 0.3, 0.7, 1.5, 3.0) if scale.full else (0.3, 0.7, 1.5) if is_image else (0.3, 1.0, 3.0),
        networks=(*relu, *networks),
    )
    samples(task, 1)
    return task


def _remarks(settings: Settings, compared: Sequence[Comparison]) -> list[str]:
    remarks = [
        (
            f"Networks have {settings.depth} trained layers between fixed ones, and learn in mini-batches by Adam "
            "(torch's fused one), at the learning rate whose trial does best on a fifth of the train samples held "
            f"back; {settings.seeds} seeds. A dense ReLU network is computed by torch's own products."
        ),
        (
            "Times are of the steps alone: looking up samples and gates, forward, backward and update. Steps of all "
            "networks of a data set take turns; the median over rounds, times the steps, is the time of a training, "
            "and gates add once what the table of all samples takes. Losses are of the seeds, times of the machine."
        ),
        "Differences count as clear from two standard errors on, of seeds and test samples together.",
    ]
    for each in compared:
        if ends := each.at_end_of_grid():
            shown = ", ".join(f"{LABELS[n.kind]} {n.width:,}" + ("" if n.kind == RELU else f"/{n.block}") for n in ends)
            remarks.append(f"{each.data}: the best learning rate is at an end of the grid for {shown} (width/block).")
        if (factor := each.disturbance()) > DISTURBED:
            remarks.append(
                f"{each.data}: while networks were trained an epoch took up to {number(factor, 2)} times as long as "
                "its steps in turns: other work disturbed the machine, which the times shown leave out."
            )
    return remarks


EXPERIMENT = Blocks()
