"""Curves against time, all networks where they end, condition numbers; and the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from gatentk.papers.blocks import claims
from gatentk.papers.blocks.comparisons import Comparison
from gatentk.papers.blocks.learning import Score
from gatentk.papers.blocks.settings import LABELS, RELU, Network
from gatentk.papers.frame.colours import COLOURS, shades
from gatentk.papers.frame.findings import Plot, Table
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.reporting import figures, style

MARKERS = ("v", "s", "o", "D", "^")  # by width


def plots(compared: Comparison) -> Iterator[Plot]:
    """Against time, then condition numbers."""
    yield _against_time(compared)
    yield _conditions(compared)


def _missed(compared: Comparison, score: Score) -> float:
    """What is plotted of test samples, the smaller the better."""
    return score.loss if score.accuracy is None else 1 - score.accuracy


def _against_time(compared: Comparison) -> Plot:
    width = max(network.width for network in compared.main)
    what = "share of test samples in a wrong class" if compared.has_classes else "unexplained variance, test"
    figure, (tests, train, ends) = figures.panels(
        [
            ("Test samples by time", f"{compared.data}, width {width:,}"),
            ("Train loss by time", f"{LABELS[compared.main[0].kind]} gates, mean over seeds"),
            ("All networks at their end", f"{compared.task.epochs} epochs; marks: widths"),
        ],
        [("Seconds of steps", what), ("Seconds of steps", "train loss"), ("Seconds of steps", what)],
        height=4.2,
    )
    blocks = sorted({network.block for network in compared.main})
    colours = dict(zip(blocks, shades(len(blocks)), strict=True))
    shown = [n for n in compared.task.networks if n.kind == RELU or n in compared.main]
    for network in shown:
        is_relu = network.kind == RELU
        colour = COLOURS[RELU] if is_relu else colours[network.block]
        label = f"dense ReLU, width {network.width:,}" if is_relu else f"g = {network.block}"
        if network.width == width:
            _curves(compared, network, (tests, train), {"color": colour, "label": label})
    narrower = compared.relu_of_time(min(compared.whole(n) for n in compared.main if n.width == width))
    if narrower is not None and narrower.width != width:
        label = f"dense ReLU, width {narrower.width:,}"
        options = {"color": COLOURS[RELU], "linestyle": style.DASHED, "label": label}
        _curves(compared, narrower, (tests, train), options)
    _ends(compared, ends, colours)
    for axes in (tests, train, ends):
        axes.set_xscale("log")
        figures.logarithmic(axes)
    figures.legend(tests)
    figures.legend(ends)
    caption = (
        f"{compared.data}: what is wrong of the test samples, and the train loss, against the time of the steps of "
        f"training at width {width:,}, each network at its own best learning rate; dashed: the dense ReLU network that "
        "is through in the time of the quickest blocks. On the right all networks where they end, the narrow ones on "
        "the left; below and left is better."
    )
    return Plot(f"blocks-{compared.data}", caption, figure)


def _mean(compared: Comparison, network: Network, name: str) -> list[float]:
    """What is plotted of test or train samples by epoch, as far as no seed diverged."""
    curves = [getattr(curve, name) for curve in compared.trained(network).curves]
    value = (lambda score: score.loss) if name == "train" else (lambda score: _missed(compared, score))
    return [fmean(map(value, scores)) for scores in zip(*curves, strict=False)]


def _curves(compared: Comparison, network: Network, axes: Sequence[Any], options: dict[str, Any]) -> None:
    clock = compared.clock(network)
    for panel, name in zip(axes, ("test", "train"), strict=True):
        values = _mean(compared, network, name)
        panel.plot(clock[1 : len(values)], values[1:], marker=".", markersize=4, linewidth=1.2, **options)


def _ends(compared: Comparison, axes: Any, colours: dict[int, Any]) -> None:
    groups: list[tuple[list[Network], Any, str]] = [(compared.task.having(RELU), COLOURS[RELU], LABELS[RELU])]
    for block, colour in colours.items():
        groups.append(([n for n in compared.main if n.block == block], colour, f"g = {block}"))
    for networks, colour, label in groups:
        points = [(compared.whole(n), abs(_end(compared, n))) for n in networks]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.8, marker="o", markersize=3.5, label=label)


def _end(compared: Comparison, network: Network) -> float:
    value = compared.end(network).value
    return 1 - value if compared.has_classes else -value


def _conditions(compared: Comparison) -> Plot:
    figure, (axes,) = figures.panels(
        [("Condition number at the start", f"{compared.data}, {compared.settings.kernel_samples} samples")],
        [("Gates of a layer, m/g", "λmax / λmin")],
    )
    colours = dict(zip(compared.kinds, (style.ORANGE, style.SKY, style.PINK), strict=False))
    widths = sorted({network.width for network in compared.task.networks if network.kind != RELU})
    for kind, colour in colours.items():
        limit = claims.closed(compared, kind)
        axes.axhline(limit.values[0], color=colour, linestyle=style.DASHED, linewidth=1)
        label: str | None = LABELS[kind]
        for width, marker in zip(widths, MARKERS, strict=False):
            networks = [network for network in compared.task.having(kind) if network.width == width]
            points = [(n.units, geometric_mean(claims.measured(compared, n).values)) for n in networks]
            if points:
                axes.plot(
                    *zip(*points, strict=True), color=colour, marker=marker, markersize=3.5, linewidth=0.8, label=label
                )
                label = None
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figures.logarithmic(axes)
    figures.legend(axes)
    caption = (
        f"{compared.data}: condition numbers of the kernels of untrained networks by gates of a layer, a line a width; "
        "dashed: the closed form of infinitely many gates."
    )
    return Plot(f"blocks-{compared.data}-kernels", caption, figure)


def tables(compared: Sequence[Comparison]) -> list[Table]:
    """All networks, all epochs, all learning rates."""
    return [
        Table(
            "blocks",
            "All networks after all epochs; seconds are of steps, ratios to the dense ReLU network of the same width",
            [
                *("data", "network", "width", "block", "gates of a layer", "rate", "seconds a step", "times as fast"),
                *("seconds", "train loss", "test loss", "test accuracy", "dense ReLU in that time", "condition"),
                "closed form",
            ],
            [_row(each, network) for each in compared for network in each.task.networks],
        ),
        Table(
            "blocks-epochs",
            "All trainings by epoch; losses of numbers are relative to their variance",
            ["data", "network", "width", "block", "seed", "epoch", "seconds", "train loss", "test loss", "accuracy"],
            [row for each in compared for network in each.task.networks for row in _epochs(each, network)],
        ),
        Table(
            "blocks-rates",
            "Trials of learning rates on samples held back; no loss where one diverged",
            ["data", "network", "width", "block", "rate", "rate × width", "loss", "accuracy", "taken"],
            [row for each in compared for network in each.task.networks for row in _rates(each, network)],
        ),
    ]


def _named(compared: Comparison, network: Network) -> list[Any]:
    is_relu = network.kind == RELU
    return [compared.data, LABELS[network.kind], network.width, None if is_relu else network.block]


def _row(compared: Comparison, network: Network) -> list[Any]:
    is_relu = network.kind == RELU
    trained, seconds = compared.trained(network), compared.whole(network)
    last = {name: [getattr(curve, name)[-1] for curve in trained.curves if not curve.diverged] for name in TRACKED}
    losses = [fmean(score.loss for score in last[name]) if last[name] else None for name in TRACKED]
    rights = [score.accuracy for score in last["test"] if score.accuracy is not None]
    best, standing = compared.best_relu(seconds)
    rival = None if is_relu else f"{standing.text} (width {best.width:,})"
    return [
        *_named(compared, network),
        None if is_relu else network.units,
        trained.rate,
        compared.times.seconds(network),
        compared.times.speedup(network, compared.relu(network.width)),
        seconds,
        *losses,
        fmean(rights) if rights else None,
        rival,
        claims.condition_text(claims.measured(compared, network)),
        None if is_relu else claims.condition_text(claims.closed(compared, network.kind)),
    ]


TRACKED = ("train", "test")


def _epochs(compared: Comparison, network: Network) -> Iterator[list[Any]]:
    clock = compared.clock(network)
    for seed, curve in enumerate(compared.trained(network).curves):
        for epoch, (train, test) in enumerate(zip(curve.train, curve.test, strict=True)):
            yield [*_named(compared, network), seed, epoch, clock[epoch], train.loss, test.loss, test.accuracy]


def _rates(compared: Comparison, network: Network) -> Iterator[list[Any]]:
    trained = compared.trained(network)
    for trial in trained.trials:
        score = trial.validation
        found = [None, None] if score is None else [score.loss, score.accuracy]
        rate = [trial.rate, trial.rate * network.width]
        yield [*_named(compared, network), *rate, *found, trial.rate == trained.rate]
