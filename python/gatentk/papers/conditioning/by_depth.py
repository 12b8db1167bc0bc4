"""What [S] reads from its figure of angles and condition numbers by depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatentk.activations import LABELS
from gatentk.papers.conditioning.cells import COMPARED, DataSet, Settings, depth_cells
from gatentk.papers.conditioning.comparisons import (
    Line,
    angle_path,
    at,
    condition_path,
    degrees,
    falls,
    grows,
    hidden,
    is_below,
    is_wider,
    steps,
)
from gatentk.papers.frame.experiment import Results
from gatentk.papers.frame.findings import Claim, Plot, Table, decided
from gatentk.reporting import figures, style
from gatentk.study.sentences import condition_text

COLOURS = {"all": style.BLUE, "same": style.GREEN, "finite": style.ORANGE}
DASHES = {"relu": style.SOLID, "linear": style.DASHED}


def lines(settings: Settings, results: Results, name: str) -> dict[tuple[str, str, str], Line]:
    """Points of a data set by part, kind of width and activation."""
    by_kind: dict[tuple[str, str, str], Line] = {}
    for cell in depth_cells(settings, name):
        for point in results[cell].points:
            by_kind.setdefault((cell.part, cell.kind, cell.activation), {})[point.depth] = point
    return by_kind


@dataclass(frozen=True)
class Curves:
    """All kernels of one data set by depth.

    Attributes:
        name, chosen: the data set and its settings.
        lines: points by part ("all", "subset", "batches"), kind of width and activation.
    """

    name: str
    chosen: DataSet
    lines: Mapping[tuple[str, str, str], Line]

    def claims(self, settings: Settings) -> list[Claim]:
        """What [S] states, checked at every depth from 1 on."""
        return [self._angles(), self._conditions(), self._against_linear(), self._batches(), self._finite(settings)]

    def _angles(self) -> Claim:
        relu = hidden(self.lines["all", "infinite", "relu"])
        return Claim(
            "[S, Fig. 2, Thm 4.5]",
            f"On {self.name} the smallest angle between gradients of ReLU networks grows with depth.",
            f"{self._samples('all')}, infinite width: {angle_path(relu)}; {steps(grows(relu), 'it grows')}.",
            decided(grows(relu)),
        )

    def _conditions(self) -> Claim:
        relu = hidden(self.lines["all", "infinite", "relu"])
        return Claim(
            "[S, Fig. 2, Thm 5.2]",
            f"On {self.name} the condition number of ReLU networks falls with depth.",
            f"{self._samples('all')}, infinite width: {condition_path(relu)}; {steps(falls(relu), 'it falls')}.",
            decided(falls(relu)),
        )

    def _against_linear(self) -> Claim:
        relu, linear = (hidden(self.lines["all", "infinite", activation]) for activation in COMPARED)
        angles = [is_wider(relu[depth], linear[depth]) for depth in relu]
        conditions = [is_below(relu[depth], linear[depth]) for depth in relu]
        first = min(relu)
        return Claim(
            "[S, Fig. 2, Thm 3.1, 5.1]",
            f"On {self.name} ReLU networks have a larger smallest angle and a smaller condition number than linear "
            "networks, which keep those of the samples at every depth.",
            f"{self._samples('all')}, infinite width: linear networks have {degrees(linear[first].angle)} and a "
            f"condition number of {condition_text(linear[first])}, ReLU networks of depth {first} "
            f"{degrees(relu[first].angle)} and {condition_text(relu[first])}; larger angle {at(angles)}, smaller "
            f"condition number {at(conditions)}.",
            decided([*angles, *conditions]),
        )

    def _batches(self) -> Claim:
        relu, linear = (hidden(self.lines["batches", "infinite", activation]) for activation in COMPARED)
        below = [is_below(relu[depth], linear[depth]) for depth in relu]
        return Claim(
            "[S, Fig. 2, Thm 5.1, 5.2]",
            f"In mini-batches of {self.name}, where linear networks have a finite condition number, that of ReLU "
            "networks is smaller and falls with depth.",
            f"Mini-batches of {self.chosen.batch:,} of {self._samples('batches')}, infinite width, geometric means: "
            f"linear {condition_text(linear[min(linear)])}, ReLU {condition_path(relu)}; "
            f"{steps(falls(relu), 'it falls')}, below linear networks {at(below)}.",
            decided([*falls(relu), *below]),
        )

    def _finite(self, settings: Settings) -> Claim:
        relu, linear = (hidden(self.lines["subset", "finite", activation]) for activation in COMPARED)
        below = [is_below(relu[depth], linear[depth]) for depth in relu]
        angles = [is_wider(relu[depth], linear[depth]) for depth in relu]
        checks = [*grows(relu), *falls(relu), *below, *angles]
        return Claim(
            "[S, Fig. 2]",
            f"Networks of width {settings.width:,} show the same on {self.name}: a larger angle and a smaller "
            "condition number than linear networks, more so with depth.",
            f"{self._samples('subset')}, means over {settings.seeds} seeds: {angle_path(relu)}; "
            f"{steps(grows(relu), 'the angle grows')}; {condition_path(relu)}; "
            f"{steps(falls(relu), 'the condition number falls')}. Against linear networks, larger angle {at(angles)}, "
            f"smaller condition number {at(below)}.",
            decided(checks),
        )

    def _samples(self, part: str) -> str:
        return f"{self.chosen.rows.of(part):,} samples in {self.chosen.features:,} dimensions"

    def plot(self, settings: Settings) -> Plot:
        """Angle, condition number, and condition number of mini-batches."""
        rows, batch, width = self.chosen.rows, self.chosen.batch, f"width {settings.width:,}"
        figure, (angle, condition, batches) = figures.panels(
            [
                ("Smallest gradient angle", f"{self.name}; solid: ReLU, dashed: linear"),
                ("Condition number", "arrows: not resolved, at least this"),
                ("Condition number in mini-batches", f"of {batch:,} samples, geometric mean"),
            ],
            [("Depth", "degrees"), ("Depth", "λmax / λmin"), ("Depth", "λmax / λmin")],
        )
        styles = [("all", "infinite", "all", f"infinite width, {rows.all:,} samples")]
        if rows.subset < rows.all:
            styles.append(("subset", "infinite", "same", f"infinite width, {rows.subset:,} samples"))
        styles.append(("subset", "finite", "finite", f"{width}, {rows.subset:,} samples"))
        for part, kind, colour, label in styles:
            self._draw(angle, condition, part, kind, COLOURS[colour], label)
        self._draw(None, batches, "batches", "infinite", COLOURS["same"], "infinite width")
        self._draw(None, batches, "batches", "finite", COLOURS["finite"], width)
        for axes in (angle, condition, batches):
            figures.integers(axes)
        for axes in (condition, batches):
            figures.logarithmic(axes)
        angle.set_ylim(bottom=0)
        figures.legend(angle, loc="best")
        figures.legend(batches, loc="best")
        caption = (
            f"{self.name}: smallest angle between gradients, and condition number of the tangent kernel, by depth. "
            f"{width.capitalize()}: means over {settings.seeds} seeds, with their range. Depth 0 is the linear model."
        )
        return Plot(f"conditioning-{self.name}", caption, figure)

    def _draw(self, angle: Any, condition: Any, part: str, kind: str, colour: str, label: str) -> None:
        for activation in COMPARED:
            line = self.lines[part, kind, activation]
            options: dict[str, Any] = {"color": colour, "linestyle": DASHES[activation]}
            if activation == "relu":
                options["label"] = label
            if angle is not None:
                known = {d: p for d, p in line.items() if p.angle is not None}
                angle.plot(list(known), [p.angle for p in known.values()], **options)
                angle.fill_between(
                    list(known),
                    [p.angle_low for p in known.values()],
                    [p.angle_high for p in known.values()],
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
            resolved = {d: p for d, p in line.items() if p.resolved}
            condition.plot(list(resolved), [p.condition for p in resolved.values()], **options)
            condition.fill_between(
                list(resolved),
                [p.condition_low for p in resolved.values()],
                [p.condition_high for p in resolved.values()],
                color=colour,
                alpha=0.15,
                linewidth=0,
            )
            unknown = {d: p.condition for d, p in line.items() if not p.resolved}
            figures.bounds(condition, list(unknown), list(unknown.values()), colour)


def table(settings: Settings, curves: Mapping[str, Curves]) -> Table:
    """All points."""
    columns = ["data", "samples", "mini-batch", "width", "network", "depth", "min angle (deg)", "condition", "at least"]
    rows = []
    for name, curve in curves.items():
        for (part, kind, activation), line in curve.lines.items():
            for depth, p in sorted(line.items()):
                batch = curve.chosen.batch if part == "batches" else None
                width = settings.width if kind == "finite" else "infinite"
                known = p.condition if p.resolved else None
                kernel = [name, curve.chosen.rows.of(part), batch, width, LABELS[activation], depth]
                rows.append([*kernel, p.angle, known, p.condition])
    return Table("conditioning", "Means over mini-batches and seeds", columns, rows)
