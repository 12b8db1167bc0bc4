"""What is said of blocks, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from statistics import fmean

from scipy.stats import spearmanr

from gatentk.papers.blocks.cells import ClosedCell, Condition, MeasuredCell
from gatentk.papers.blocks.comparisons import CLEAR, Comparison, Standing, decided
from gatentk.papers.blocks.settings import LABELS, PAPER, Network
from gatentk.papers.frame.findings import Claim, held
from gatentk.papers.frame.statistics import geometric_mean
from gatentk.reporting.text import number

SMALLEST_BLOCK = 16  # from which on blocks are as long as a vector of the processor
NEW = "new"


def claims(compared: Comparison) -> Iterator[Claim]:
    """Time of a step, what is learnt in the same epochs and in the same time, and what decides it."""
    yield _steps(compared)
    yield _same_epochs(compared)
    yield _same_width(compared)
    yield _same_time(compared)
    if len({network.width for network in compared.main}) > 1:
        yield _units(compared)
    if len(compared.kinds) > 1:
        yield _kinds(compared)
        yield _conditions(compared)
    yield _closed_form(compared)


def _blocks(compared: Comparison) -> list[Network]:
    """The networks of the kind that is told of, with blocks that are long enough."""
    return [network for network in compared.main if network.block >= SMALLEST_BLOCK]


def _by_width(networks: Sequence[Network], texts: Sequence[str]) -> str:
    """What is said of each network, by width and block: "width 512: 1.2 (g = 16), 1.5 (32); width 1,024: ..."."""
    pairs = groupby(zip(networks, texts, strict=True), key=lambda pair: pair[0].width)
    return "; ".join(
        f"width {width:,}: " + ", ".join(f"{text} (g = {network.block})" for network, text in group)
        for width, group in pairs
    )


def _gates(compared: Comparison) -> str:
    return f"{compared.data}, {LABELS[compared.main[0].kind]} gates"


def _steps(compared: Comparison) -> Claim:
    networks = compared.main
    ratios = [compared.times.speedup(network, compared.relu(network.width)) for network in networks]
    told = [ratio for network, ratio in zip(networks, ratios, strict=True) if network.block >= SMALLEST_BLOCK]
    return Claim(
        NEW,
        f"A step of training takes less time with gates of blocks of {SMALLEST_BLOCK} neurons or more than one of a "
        "dense ReLU network of the same size.",
        f"{_gates(compared)}: the dense network takes so many times as long, "
        f"{_by_width(networks, [f'{ratio:.2f}' for ratio in ratios])}.",
        all(ratio > 1 for ratio in told),
    )


def _told(compared: Comparison, pairs: Sequence[tuple[Standing, Standing]]) -> str:
    """Pairs of standings, blocks and dense ReLU."""
    return _by_width(_blocks(compared), [f"{own.text} and {other.text}" for own, other in pairs])


def _counted(differences: Sequence[float]) -> str:
    """How many are clear, in which direction."""
    better, worse = ([d > CLEAR for d in differences], [d < -CLEAR for d in differences])
    return f"blocks are clearly better in {held(better)}, dense ReLU in {held(worse)}"


def _measure(compared: Comparison) -> str:
    return "test accuracy" if compared.has_classes else "unexplained share of the test samples' variance"


def _same_epochs(compared: Comparison) -> Claim:
    pairs = [(compared.end(network), compared.end(compared.relu(network.width))) for network in _blocks(compared)]
    differences = [own.against(other) for own, other in pairs]
    return Claim(
        NEW,
        "After the same epochs networks with gates of blocks do no worse than dense ReLU networks of the same width.",
        f"{_gates(compared)}, {compared.task.epochs} epochs, {_measure(compared)}, blocks and dense ReLU: "
        f"{_told(compared, pairs)}; {_counted(differences)}.",
        all(difference > -CLEAR for difference in differences),
    )


def _same_width(compared: Comparison) -> Claim:
    networks = _blocks(compared)
    pairs = [
        (compared.end(network), compared.after(compared.relu(network.width), compared.whole(network)))
        for network in networks
    ]
    differences = [own.against(other) for own, other in pairs]
    return Claim(
        NEW,
        "In the same time they do better than a dense ReLU network of the same width, which gets through fewer epochs.",
        f"{_gates(compared)}, {_measure(compared)} when the network with blocks has ended, blocks and dense ReLU: "
        f"{_told(compared, pairs)}; {_counted(differences)}.",
        decided(differences),
    )


def _same_time(compared: Comparison) -> Claim:
    told, pairs = [], []
    for network in _blocks(compared):
        own, seconds = compared.end(network), compared.whole(network)
        rival = compared.relu_of_time(seconds)
        if rival is None:  # nothing dense is as quick: the narrowest one as far as it gets
            rival = compared.task.having("relu")[0]
        other = compared.after(rival, seconds)
        pairs.append((own, other))
        told.append(f"{own.text} and {other.text} of width {rival.width:,}")
    differences = [own.against(other) for own, other in pairs]
    best = {width: list(group) for width, group in groupby(_blocks(compared), key=lambda network: network.width)}
    hindsight = ", ".join(
        f"{standing.text} (width {network.width:,}) in {number(seconds, 2)} s"
        for networks in best.values()
        for seconds in [compared.whole(networks[-1])]
        for network, standing in [compared.best_relu(seconds)]
    )
    return Claim(
        NEW,
        "In the same time they do better than the dense ReLU network, narrower, that gets through as many epochs.",
        f"{_gates(compared)}, {_measure(compared)}, blocks and dense ReLU: {_by_width(_blocks(compared), told)}; "
        f"{_counted(differences)}. The dense network that is best in the time of the largest blocks, with hindsight: "
        f"{hindsight}.",
        decided(differences),
    )


def _units(compared: Comparison) -> Claim:
    networks = compared.main
    costs = [compared.end(compared.relu(n.width)).value - compared.end(n).value for n in networks]
    by_units, by_block, by_width = (
        float(spearmanr(values, costs).statistic)
        for values in ([n.units for n in networks], [n.block for n in networks], [n.width for n in networks])
    )
    unit = 100 if compared.has_classes else 1
    lost: dict[int, list[float]] = {}
    for network, cost in zip(networks, costs, strict=True):
        lost.setdefault(network.units, []).append(unit * cost)
    shown = ", ".join(f"{units:,}: {number(fmean(lost[units]), 2)}" for units in sorted(lost))
    return Claim(
        NEW,
        "What blocks cost is a matter of the number of gates of a layer, m/g, more than of g or of m.",
        f"{_gates(compared)}, what is lost against dense ReLU of the same width and epochs, "
        f"{'points of accuracy' if compared.has_classes else _measure(compared)} by gates of a layer: {shown}. Rank "
        f"correlation with m/g {by_units:.2f}, with g {by_block:.2f}, with m {by_width:.2f}.",
        abs(by_units) > max(abs(by_block), abs(by_width)),
    )


def _shapes(compared: Comparison) -> list[tuple[int, int]]:
    """Width and block of what there is of all kinds of gates."""
    shapes = [{(n.width, n.block) for n in compared.task.having(kind)} for kind in compared.kinds]
    return sorted(set.intersection(*shapes))


def _kinds(compared: Comparison) -> Claim:
    best, shapes = compared.kinds[-1], _shapes(compared)
    ends = {kind: [compared.end(Network(kind, *shape)) for shape in shapes] for kind in compared.kinds}
    differences = [own.against(other) for own, other in zip(ends[best], ends[PAPER], strict=True)]
    shown = "; ".join(
        f"width {width:,}, g = {block}: " + ", ".join(ends[kind][i].text for kind in compared.kinds)
        for i, (width, block) in enumerate(shapes)
    )
    labels = ", ".join(LABELS[kind] for kind in compared.kinds)
    clear = [held([d > CLEAR for d in differences]), held([d < -CLEAR for d in differences])]
    return Claim(
        NEW,
        f"Networks with {LABELS[best]} gates generalise better than those with the paper's, deep ones.",
        f"{compared.data}, {_measure(compared)} ({labels}): {shown}. {LABELS[best].capitalize()} ones are clearly "
        f"better than deep ones in {clear[0]} and worse in {clear[1]}.",
        decided(differences),
    )


def measured(compared: Comparison, network: Network) -> Condition:
    """Condition numbers of a network's kernels."""
    return compared.results[MeasuredCell(compared.data, network)]


def closed(compared: Comparison, kind: str) -> Condition:
    """The condition number of a kind of gates in closed form."""
    return compared.results[ClosedCell(compared.data, kind)]


def condition_text(condition: Condition) -> str:
    """The geometric mean over seeds; from below where one is not resolved."""
    return ("" if condition.resolved else "at least ") + number(geometric_mean(condition.values))


def _conditions(compared: Comparison) -> Claim:
    best, shapes = compared.kinds[-1], _shapes(compared)
    found = {kind: [measured(compared, Network(kind, *shape)) for shape in shapes] for kind in compared.kinds}
    pairs = list(zip(found[best], found[PAPER], strict=True))
    smaller = [geometric_mean(own.values) < geometric_mean(other.values) for own, other in pairs]
    is_known = all(condition.resolved for pair in pairs for condition in pair)
    shown = "; ".join(
        f"width {width:,}, g = {block}: " + ", ".join(condition_text(found[kind][i]) for kind in compared.kinds)
        for i, (width, block) in enumerate(shapes)
    )
    return Claim(
        "new; compare [S]",
        f"{LABELS[best].capitalize()} gates give a smaller condition number than the paper's, deep ones.",
        f"{compared.data}, {compared.settings.kernel_samples} samples, kernels at the start "
        f"({', '.join(LABELS[kind] for kind in compared.kinds)}): {shown}.",
        all(smaller) if is_known or not all(smaller) else None,
    )


def _closed_form(compared: Comparison) -> Claim:
    shown, holds = [], []
    for kind in compared.kinds:
        limit = closed(compared, kind)
        own = [n for n in compared.task.having(kind) if kind != PAPER or n.block > 1]  # the paper's gates share C
        by_units = sorted((n for n in own if measured(compared, n).resolved), key=lambda network: network.units)
        ratios = [geometric_mean(measured(compared, n).values) / limit.values[0] for n in by_units]
        if limit.resolved and len(ratios) > 1:
            holds.append(abs(ratios[-1] - 1) < abs(ratios[0] - 1))
        listed = ", ".join(f"{ratio:.3g} ({n.units:,})" for n, ratio in zip(by_units, ratios, strict=True))
        shown.append(f"{LABELS[kind]} {condition_text(limit)}, measured so many times that {listed}")
    return Claim(
        NEW,
        "Measured condition numbers come to the closed form of infinitely many gates as the gates of a layer grow.",
        f"{compared.data}, closed form, and what was measured by gates of a layer: {'; '.join(shown)}.",
        all(holds) if holds else None,
    )
