"""Whether deeper networks train faster, and whether the rates that condition numbers promise hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Claim, Plot, Table, decided, held
from gatentk.papers.kernel_descent import promised_loss, promised_steps
from gatentk.papers.training_depth.cells import DescentCell, EntropyCell, Settings
from gatentk.reporting import figures, style
from gatentk.reporting.text import given, number


class Speed:
    """All networks of one data set.

    Attributes:
        rates: numbers of cross-entropy by depth and learning rate.
        best, entropy: the learning rate with the smallest last loss and its numbers, by depth.
        descent: numbers of gradient descent by depth.
    """

    def __init__(self, settings: Settings, results: Results, name: str) -> None:
        self.settings, self.name, self.chosen = settings, name, settings.sets[name]
        self.depths = settings.depths
        self.target = settings.target
        self.rates = {
            depth: {factor: results[EntropyCell(name, depth, factor)] for factor in settings.factors}
            for depth in self.depths
        }
        self.best = {depth: min(self.rates[depth], key=partial(self._last, depth)) for depth in self.depths}
        self.entropy = {depth: self.rates[depth][factor] for depth, factor in self.best.items()}
        self.descent = {depth: results[DescentCell(name, depth)] for depth in self.depths}

    def _last(self, depth: int, factor: float) -> float:
        loss = self.rates[depth][factor].losses[-1]
        return math.inf if loss is None else float(loss)

    def at_end(self, depth: int) -> bool:
        """Whether the best learning rate is the smallest or largest of the grid."""
        factors = self.settings.factors
        return len(factors) > 1 and self.best[depth] in (factors[0], factors[-1])

    def final(self, depth: int) -> float | None:
        """Cross-entropy after the last epoch; None if training diverged at every learning rate."""
        loss = self._last(depth, self.best[depth])
        return loss if math.isfinite(loss) else None

    def condition(self, depth: int) -> float | None:
        """The condition number of the kernel of the network that is trained; None where it is not resolved."""
        return self.descent[depth].condition

    def measured(self, depth: int) -> int | None:
        """Steps of gradient descent to the target."""
        return _first_below(self.descent[depth].losses, self.target)

    def linearised(self, depth: int) -> int | None:
        """Steps of the linearised network to the target."""
        return _first_below(self.descent[depth].linearised, self.target)

    def promised(self, depth: int) -> int | None:
        """Steps that the rate (1 - 1/kappa)^t takes to the target."""
        condition = self.condition(depth)
        return None if condition is None else promised_steps(1 / condition, self.target)

    def claims(self) -> list[Claim]:
        """What [S] states."""
        return [self._faster(), self._descends(), self._bounds()]

    def _faster(self) -> Claim:
        losses = [self.final(depth) for depth in self.depths]
        checks = [None if a is None or b is None else b < a for a, b in pairwise(losses)]
        ends = [depth for depth in self.depths if self.at_end(depth)]
        first, last = self.depths[0], self.depths[-1]
        level = losses[0]
        reached = None if level is None else _first_below(self.entropy[last].losses, level)
        catch_up = (
            f"depth {last} does not reach the last loss of depth {first}"
            if reached is None
            else f"depth {last} reaches the last loss of depth {first} in {reached} of {self.chosen.epochs} epochs"
        )
        shown = ", ".join("diverged" if loss is None else number(loss) for loss in losses)
        return Claim(
            "[S, Fig. 3]",
            f"On {self.name} the training loss falls faster the deeper the network.",
            f"Cross-entropy after {self.chosen.epochs} epochs, depths {first} to {last}: {shown}; it is lower than one "
            f"layer before at {sum(check is True for check in checks)} of {len(checks)} steps, rank correlation with "
            f"depth {_correlation_text(self.depths, losses)}; {catch_up}."
            + (f" At depths {', '.join(map(str, ends))} another learning rate could be better." if ends else ""),
            decided(checks),
        )

    def _descends(self) -> Claim:
        conditions = [self.condition(depth) for depth in self.depths]
        steps = [self.measured(depth) for depth in self.depths]
        checks = [_fewer(b, a) for a, b in pairwise(steps)]
        return Claim(
            "[S, abstract]",
            f"On {self.name} the condition number of deeper networks is smaller, and gradient descent on the square "
            "loss takes fewer steps.",
            f"{self.descent[self.depths[0]].rows} samples, width {self.settings.descent.width:,}, depths "
            f"{self.depths[0]} to {self.depths[-1]}: condition numbers {_listed(conditions)}; steps of size 1/λmax to "
            f"{self.target:.0%} of the loss at the start {_listed(steps)}, fewer than one layer before at "
            f"{sum(check is True for check in checks)} of {len(checks)} steps; rank correlation of the two "
            f"{_correlation_text(conditions, steps)}.",
            decided([*checks, *(None if a is None or b is None else b < a for a, b in pairwise(conditions))]),
        )

    def _bounds(self) -> Claim:
        kept: dict[str, list[bool | None]] = {"kappa": [], "half": []}
        for depth in self.depths:
            condition = self.condition(depth)
            for rate, factor in (("kappa", 1.0), ("half", 0.5)):
                kept[rate].append(None if condition is None else self._below(depth, factor / condition))
        distance = max(self._distance(depth) for depth in self.depths)
        ratios = [
            promised / measured
            for depth in self.depths
            if (measured := self.measured(depth)) and (promised := self.promised(depth))
        ]
        slack = f"{number(min(ratios), 2)} to {number(max(ratios), 2)} times" if ratios else "an unknown multiple of"
        return Claim(
            "[S, rates of gradient descent]",
            f"On {self.name} the square loss falls at least as fast as (1 - 1/κ)^t and (1 - η λmin/2)^t, κ and λmin of "
            "the kernel at the start.",
            f"Below (1 - 1/κ)^t throughout at {held(kept['kappa'])} depths, below (1 - η λmin/2)^t at "
            f"{held(kept['half'])}. The first rate takes {slack} the measured steps to {self.target:.0%}. The network "
            f"and its linearisation differ by a factor of up to {number(math.exp(distance), 2)} until there.",
            decided([*kept["kappa"], *kept["half"]]),
        )

    def _below(self, depth: int, rate: float) -> bool:
        """Whether the loss stays below (1 - rate)^t, up to rounding in float32."""
        losses = self.descent[depth].losses
        return all(
            loss is not None and loss <= promised_loss(rate, t) * (1 + 1e-5) + 1e-9 for t, loss in enumerate(losses)
        )

    def _distance(self, depth: int) -> float:
        """Largest |log| of the ratio of the losses of the network and its linearisation, down to the target."""
        square = self.descent[depth]
        pairs = list(zip(square.losses, square.linearised, strict=True))
        ratios = [abs(math.log(a / b)) for a, b in pairs if a is not None and min(a, b) >= self.target]
        return max(ratios)

    def plot(self) -> Plot:
        """Cross-entropy by epoch, square loss by step, and steps by depth."""
        limits = self.settings.descent
        rows = self.descent[self.depths[0]].rows
        figure, (loss, descent_axes, steps) = figures.panels(
            [
                ("Cross-entropy", f"{self.name}, {self.chosen.n:,} samples, width {self.settings.width:,}"),
                ("Square loss, gradient descent", f"{rows} samples, width {limits.width:,}; dashed: linearised"),
                ("Steps of gradient descent", f"until {self.target:.0%} of the loss at the start"),
            ],
            [("Epoch", "training loss"), ("Step", "loss relative to the start"), ("Depth", "steps")],
        )
        self._draw_entropy(loss)
        self._draw_descent(descent_axes)
        self._draw_steps(steps)
        caption = (
            f"{self.name}: training loss of ReLU networks by depth, with cross-entropy at the best of "
            f"{len(self.settings.factors)} learning rates, and with the square loss beside what the kernel at the "
            "start predicts: the whole spectrum (dashed) and the condition number alone (dotted)."
        )
        return Plot(f"training-depth-{self.name}", caption, figure)

    def _draw_entropy(self, axes: Any) -> None:
        for index, depth in enumerate(self.depths):
            shade = 0.2 + 0.8 * index / max(1, len(self.depths) - 1)
            known = [(t, v) for t, v in enumerate(self.entropy[depth].losses) if v]
            axes.plot(*zip(*known, strict=True), color=style.BLUE, alpha=shade, label=f"depth {depth}")
        figures.logarithmic(axes)
        figures.integers(axes)
        figures.legend(axes, ncols=2, loc="lower left")

    def _draw_descent(self, axes: Any) -> None:
        shown = dict.fromkeys((self.depths[0], self.depths[len(self.depths) // 2], self.depths[-1]))
        for colour, depth in zip(style.COLOURS, shown, strict=False):
            square, condition = self.descent[depth], self.condition(depth)
            known = [(t, v) for t, v in enumerate(square.losses) if v]
            axes.plot(*zip(*known, strict=True), color=colour, label=f"depth {depth}")
            axes.plot(square.linearised, color=colour, linestyle=style.DASHED, linewidth=1)
            if condition is not None:
                rate = [promised_loss(1 / condition, t) for t in range(len(square.losses))]
                axes.plot(rate, color=colour, linestyle=style.DOTTED, linewidth=1)
        figures.logarithmic(axes)
        figures.legend(axes, loc="lower left")

    def _draw_steps(self, axes: Any) -> None:
        for colour, label, count in (
            (style.BLUE, "measured", self.measured),
            (style.GREEN, "linearised network", self.linearised),
            (style.ORANGE, "rate (1 - 1/κ)^t", self.promised),
        ):
            known = [(depth, value) for depth in self.depths if (value := count(depth))]
            if known:
                axes.plot(*zip(*known, strict=True), ".-", color=colour, label=label)
        figures.logarithmic(axes)
        figures.integers(axes)
        figures.legend(axes, loc="best")


def _first_below(losses: Sequence[float | None], target: float) -> int | None:
    return next((t for t, loss in enumerate(losses) if loss is not None and loss <= target), None)


def _fewer(a: int | None, b: int | None) -> bool | None:
    """Whether a is less than b steps, None if they are equal; None as a number stands for more than were taken."""
    if a == b:
        return None
    return a is not None and (b is None or a < b)


def _listed(values: Sequence[float | None]) -> str:
    def text(value: float | None) -> str:
        if value is None:
            return "unknown"
        return f"{value:,}" if isinstance(value, int) else number(value)

    return ", ".join(map(text, values))


def rank_correlation(x: Sequence[float | None], y: Sequence[float | None]) -> float | None:
    """Spearman's, of the pairs that are known; None if there are fewer than three or all are equal."""
    from scipy.stats import rankdata

    known = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
    if len(known) < 3:
        return None
    ranks = torch.tensor([rankdata(side).tolist() for side in zip(*known, strict=True)], dtype=torch.float64)
    centred = ranks - ranks.mean(dim=1, keepdim=True)
    norms = centred.norm(dim=1)
    return float(centred[0] @ centred[1] / norms.prod()) if bool((norms > 0).all()) else None


def _correlation_text(x: Sequence[float | None], y: Sequence[float | None]) -> str:
    value = rank_correlation(x, y)
    return "unknown" if value is None else f"{value:.2f}"


def remarks(settings: Settings, speeds: Sequence[Speed]) -> list[str]:
    """How the networks are trained, and where another learning rate could be better."""
    epochs = ", ".join(f"{speed.name} {speed.chosen.epochs:,}" for speed in speeds)
    factors = settings.factors
    grid = ", ".join(map(given, factors))
    grid_text = (
        f"Epochs: {epochs}; [S] trains for 500 or 2,000. Mini-batches of {settings.batch:,}, rows scaled to norm 1. "
        f"The learning rate is the one of {grid} times 1/λmax(K/n), K the kernel at infinite width, whose training "
        "loss is lowest after the last epoch; relative to λmax, because that grows with depth."
    )
    descent_text = (
        "With gradient descent on the square loss the outputs learn to change by +1 for the upper half of the classes "
        "and by -1 for the lower, so that every depth starts from the same error and not from that of random outputs."
    )
    texts = [grid_text, descent_text]
    ends = [f"{speed.name} depth {depth}" for speed in speeds for depth in speed.depths if speed.at_end(depth)]
    if ends:
        texts.append(f"The best learning rate is at an end of the grid for {', '.join(ends)}.")
    return texts


def entropy_table(speeds: Sequence[Speed]) -> Table:
    """All learning rates."""
    columns = ["data", "depth", "learning rate", "times 1/λmax", "best", "epochs", "training loss", "accuracy"]
    rows = [
        [*head, len(r.losses) - 1, r.losses[-1], r.accuracy]
        for speed in speeds
        for depth in speed.depths
        for factor, r in speed.rates[depth].items()
        for head in [[speed.name, depth, r.rate, factor, factor == speed.best[depth]]]
    ]
    return Table("training-depth-cross-entropy", "Cross-entropy after the last epoch", columns, rows)


def descent_table(speeds: Sequence[Speed]) -> Table:
    """Condition numbers and steps."""
    columns = [
        "data",
        "depth",
        "condition",
        "at infinite width",
        "steps measured",
        "steps linearised",
        "steps (1-1/κ)^t",
    ]
    columns.append("last loss / first")
    rows = [
        [
            speed.name,
            depth,
            speed.condition(depth),
            r.infinite_condition,
            speed.measured(depth),
            speed.linearised(depth),
            speed.promised(depth),
            r.losses[-1],
        ]
        for speed in speeds
        for depth, r in speed.descent.items()
    ]
    return Table("training-depth-descent", "Gradient descent on the square loss", columns, rows)
