"""How angles and condition numbers of finite width tend to those of infinite width."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Any

from gatentk.papers.conditioning.cells import Settings, WidthCell
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Claim, Plot, Table
from gatentk.papers.frame.statistics import exponent
from gatentk.reporting import figures, style
from gatentk.reporting.text import number


class Widths:
    """Kernels of one data set by width, against infinite width on the same samples."""

    def __init__(self, settings: Settings, results: Results) -> None:
        self.part = settings.by_width
        self.seeds = settings.seeds
        self.widths = self.part.widths
        self.limit = {point.depth: point for point in results[WidthCell(None, None)].points}
        computed = {
            (depth, width): results[WidthCell(depth, width)] for depth in self.part.depths for width in self.widths
        }
        self.finite = {shape: points.points[0] for shape, points in computed.items()}
        self.networks = {shape: [seed[0] for seed in points.seeds] for shape, points in computed.items()}

    def deviation(self, depth: int, width: int, quantity: str) -> float:
        """Mean over seeds of |log(value / value at infinite width)|; quantity "angle" or "condition"."""
        limit = getattr(self.limit[depth], quantity)
        values = [getattr(point, quantity) for point in self.networks[depth, width]]
        return fmean(abs(math.log(value / limit)) for value in values if value)

    def exponent(self, depth: int, quantity: str) -> float:
        """p of the power law width^p that fits the deviations, by least squares on logarithms."""
        return exponent(self.widths, [self.deviation(depth, width, quantity) for width in self.widths])

    def claim(self) -> Claim:
        """Deviations fall from the narrowest to the widest networks."""
        first, last = self.widths[0], self.widths[-1]
        checks, parts = [], []
        for depth in self.part.depths:
            for quantity, label in (("angle", "angle"), ("condition", "condition number")):
                narrow, wide = (self.deviation(depth, width, quantity) for width in (first, last))
                checks.append(wide < narrow)
                parts.append(
                    f"depth {depth}, {label}: {_percent(narrow)} to {_percent(wide)}, like width to the power "
                    f"{number(self.exponent(depth, quantity), 2)}"
                )
        return Claim(
            "[S, Sec. 7]",
            "Networks of finite width behave like those of infinite width, the more the wider they are.",
            f"{self.part.set}, {self.part.rows:,} samples, ReLU, mean deviation over {self.seeds} seeds from infinite "
            f"width, from width {first:,} to {last:,}: {'; '.join(parts)}.",
            all(checks),
        )

    def plot(self) -> Plot:
        """Values and deviations by width."""
        subtitle = f"{self.part.set}, {self.part.rows:,} samples, ReLU"
        figure, (angle, condition, deviation) = figures.panels(
            [
                ("Smallest gradient angle", subtitle),
                ("Condition number", "dotted: infinite width"),
                ("Deviation from infinite width", "solid: condition number, dashed: angle"),
            ],
            [("Width", "degrees"), ("Width", "λmax / λmin"), ("Width", "mean |log ratio|")],
        )
        for colour, depth in zip(style.COLOURS, self.part.depths, strict=False):
            for axes, quantity in ((angle, "angle"), (condition, "condition")):
                self._values(axes, depth, quantity, colour)
            for quantity, dash in (("condition", style.SOLID), ("angle", style.DASHED)):
                values = [self.deviation(depth, width, quantity) for width in self.widths]
                deviation.plot(self.widths, values, color=colour, linestyle=dash)
        start = max(self.deviation(d, self.widths[0], "condition") for d in self.part.depths)
        guide = [1.3 * start * math.sqrt(self.widths[0] / width) for width in self.widths]
        deviation.plot(self.widths, guide, color="grey", linestyle=style.DOTTED, label="1/√width")
        for axes in (angle, condition, deviation):
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        for axes in (condition, deviation):
            figures.logarithmic(axes)
        figures.legend(condition, loc="best")
        figures.legend(deviation, loc="best")
        caption = (
            f"ReLU networks by width, means over {self.seeds} seeds with their range; at infinite width dotted. On the "
            "right the distance between the two."
        )
        return Plot("conditioning-by-width", caption, figure)

    def _values(self, axes: Any, depth: int, quantity: str, colour: str) -> None:
        known = [width for width in self.widths if getattr(self.finite[depth, width], quantity) is not None]
        points = [self.finite[depth, width] for width in known]
        axes.plot(known, [getattr(p, quantity) for p in points], color=colour, label=f"depth {depth}")
        low, high = ([getattr(p, f"{quantity}_{end}") for p in points] for end in ("low", "high"))
        axes.fill_between(known, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.axhline(getattr(self.limit[depth], quantity), color=colour, linestyle=style.DOTTED, linewidth=1)

    def table(self) -> Table:
        """Means and deviations."""
        columns = ["depth", "width", "min angle (deg)", "condition", "deviation of angle", "deviation of condition"]
        rows: list[list[Any]] = []
        for depth in self.part.depths:
            for width in self.widths:
                p = self.finite[depth, width]
                deviations = [self.deviation(depth, width, quantity) for quantity in ("angle", "condition")]
                rows.append([depth, width, p.angle, p.condition, *deviations])
            rows.append([depth, "infinite", self.limit[depth].angle, self.limit[depth].condition, None, None])
        title = f"ReLU networks by width on {self.part.rows:,} samples of {self.part.set}"
        return Table("conditioning-by-width", title, columns, rows)


def _percent(deviation: float) -> str:
    return f"{number(100 * math.expm1(deviation), 2)}%"
