"""Plots and tables of times and of agreement by width."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from gatentk.papers.frame.colours import COLOURS as MODEL_COLOURS
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Plot, Table
from gatentk.papers.speed.cells import BLOCK, DENSE, INFERENCE, TRAINING, AgreementCell, BlockCell, Settings
from gatentk.papers.speed.claims import Cells, inference, ratios_of, training
from gatentk.reporting import figures, style

COLOURS = {
    **MODEL_COLOURS,
    "grelu-new": style.YELLOW,
    "relu-low-rank": style.SKY,
    "grelu-low-rank": style.PINK,
}


BLOCK_LABELS = {
    "blocks": f"GReLU, shallow gates of {BLOCK}, looked up",
    "blocks-new": f"GReLU, shallow gates of {BLOCK}, computed",
}


def plot_times(settings: Settings, results: Results) -> Plot:
    """Speed relative to a dense ReLU network."""
    rows = settings.rows
    figure, axes = figures.panels(
        [
            ("Training", f"steps of {settings.batch} samples"),
            *(("Inference", f"{n} sample{'s' if n > 1 else ''} at a time") for n in rows),
        ],
        [("Width m", "times as fast as a dense ReLU network"), *[("Width m", "")] * len(rows)],
        height=4.0,
    )
    parts: list[tuple[Cells, dict[str, str]]] = [(training(settings), TRAINING)]
    parts += [(inference(settings, n), INFERENCE) for n in rows]
    for axis, (cells, labels) in zip(axes, parts, strict=True):
        for name, label in labels.items():
            ratios = ratios_of(results, cells, name)
            axis.plot(list(ratios), list(ratios.values()), color=COLOURS[name], marker="o", markersize=3, label=label)
        axis.axhline(1, color=style.INK, linestyle=style.DOTTED, linewidth=1)
        _widths(axis, settings.widths)
        axis.set_ylim(bottom=0)
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5, frameon=False, fontsize=7.5)
    caption = (
        "Speed relative to a dense ReLU network of the same size by width, medians of ratios of the same round; above "
        "the dotted line is faster."
    )
    return Plot("speed-times", caption, figure)


def plot_agreement(settings: Settings, results: Results) -> Plot:
    """Gates of low rank by layer."""
    figure, axes = figures.panels(
        [("Gates of low rank", f"{name}, rank √m/2") for name in settings.compared],
        [("Width m", "share of gates that agree")] * len(settings.compared),
    )
    dashes = (style.SOLID, style.DASHED, style.DOTTED)
    for axis, name in zip(axes, settings.compared, strict=True):
        for model, label in (("relu", "ReLU"), ("grelu", "GReLU")):
            by_width = [results[AgreementCell(name, model, w)] for w in settings.widths]
            for layer in range(len(by_width[0].agreement)):
                axis.plot(
                    settings.widths,
                    [r.agreement[layer] for r in by_width],
                    color=COLOURS[model],
                    linestyle=dashes[layer % len(dashes)],
                    label=f"{label}, layer {layer + 1}",
                )
        axis.axhline(0.5, color=style.INK, linestyle=style.DOTTED, linewidth=1)
        axis.set_ylim(0.45, 1.0)
        axis.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
        _widths(axis, settings.widths)
    figures.legend(axes[0], ncols=2)
    caption = "Share of gates that low-rank factors predict as they are, by width and layer; dotted: coin flipping."
    return Plot("speed-agreement", caption, figure)


def _widths(axis: Any, widths: Sequence[int]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(list(widths)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(lambda v, _: f"{v:,.0f}")


def tables(settings: Settings, results: Results) -> list[Table]:
    """Times and agreement."""
    parts: list[tuple[str, Cells, dict[str, str]]] = [("training", training(settings), TRAINING)]
    parts += [(f"inference, {n}", inference(settings, n), INFERENCE) for n in settings.rows]
    shown = [
        [kind, width, label, median(times.seconds[name]), times.speedup(name)]
        for kind, cells, labels in parts
        for width, cell in cells.items()
        for times in [results[cell]]
        for name, label in {"dense": DENSE, **labels}.items()
    ]
    for width in settings.widths:
        found = results[BlockCell(width, min(BLOCK, width))]
        parts_of_blocks = {"training": found.training, **{f"inference, {n}": t for n, t in found.inference.items()}}
        shown += [
            [kind, width, label, median(times.seconds[name]), times.speedup(name)]
            for kind, times in parts_of_blocks.items()
            for name, label in BLOCK_LABELS.items()
            if name in times.seconds
        ]
    agreement = [
        [name, model, width, r.rank, layer, *values, r.error]
        for name in settings.compared
        for model in ("relu", "grelu")
        for width in settings.widths
        for r in [results[AgreementCell(name, model, width)]]
        for layer, values in enumerate(zip(r.agreement, r.estimate, strict=True), 1)
    ]
    columns = ["data", "network", "width", "rank", "layer", "agreement", "expected of the energy", "output error"]
    return [
        Table(
            "speed-times",
            "Median seconds, and the median ratio of the dense network's time in the same round",
            ["what", "width", "network", "seconds", "times as fast"],
            shown,
        ),
        Table(
            "speed-agreement",
            f"Gates of low rank; output errors on samples not fitted, {settings.agreement_samples} in all",
            columns,
            agreement,
        ),
    ]
