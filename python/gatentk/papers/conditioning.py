"""Minimal gradient angle and condition number by depth, ReLU against linear networks: [S, Fig. 2], and by width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from gatentk import data
from gatentk.activations import FUNCTIONS, LABELS
from gatentk.papers import trainings
from gatentk.papers.experiment import Cell, Claim, Experiment, Findings, Numbers, Plot, Scale, Settings, Table
from gatentk.reporting import figures, style
from gatentk.reporting.text import number
from gatentk.study.config import StudyConfig
from gatentk.study.run import run_tasks
from gatentk.study.samples import StudySamples, prepare_study
from gatentk.study.sentences import condition_text
from gatentk.study.summary import Point, summarise

SUMMARY = "minimal angle and condition number by depth"
PLACE = 20

LARGEST_BATCH = 512  # of mini-batches, as in the scripts of [S]; half of the features where that is less
SUBSET = 2000  # samples of data sets that are too large for a laptop
DEFAULT: dict[str, int | None] = {"synthetic": 2000, "digits": 1797, "mnist": 5000, "fashion-mnist": SUBSET}
FULL: dict[str, int | None] = {**DEFAULT, "fashion-mnist": None, "svhn": None, "librispeech": None}
# Data sets that are left out if the user has no files of them: the option that brings them.
BROUGHT = {
    "svhn": "the user's files, by --path svhn=FOLDER",
    "librispeech": "features that another program computed, by --path librispeech=FEATURES.npy",
}
NAMES = {name: LABELS[name] for name in FUNCTIONS}
COLOURS = {"all": style.BLUE, "same": style.GREEN, "finite": style.ORANGE}
DASHES = {"relu": style.SOLID, "linear": style.DASHED}
SPEED = 8e9  # multiply-adds a second, of kernels and spectra together


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


@lru_cache(maxsize=8)
def samples_of(source: str, path: str | None, n: int) -> StudySamples:
    """Random samples of a data set, without all-zero rows and repetitions, in random order."""
    return prepare_study(
        StudyConfig(source, path=path, n=n, drop_zero_rows=True, drop_duplicates=True, width=None, depths=(0,))
    )


def describe(name: str, n: int | None, path: Path | None, limits: Limits) -> dict[str, Any]:
    """Where a data set comes from, its sizes, and how many samples each part of the experiment takes.

    Raises:
        DataError: it is not there.
    """
    source = trainings.source(name, path)
    file = None if path is None else str(path)
    if n is None or path is not None:
        available = len(data.load(source, path=file).x)
        n = available if n is None else min(n, available)
    x = samples_of(source, file, n).x
    found, features = x.shape
    batch = max(2, min(LARGEST_BATCH, features // 2, found))
    count = max(1, min(found // batch, limits.batches, limits.batch_samples // batch))
    return {
        "source": source,
        "path": file,
        "n": n,
        "features": features,
        "batch": batch,
        "rows": {
            "all": min(found, limits.everything),
            "subset": min(found, limits.subset),
            "batches": count * batch,
        },
    }


class Conditioning(Experiment):
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
        sets, missing = trainings.present(
            wanted, scale, lambda name, path: describe(name, wanted[name], path, limits), BROUGHT
        )
        return {
            "sets": sets,
            "missing": missing,
            "depths": list(range(11)),
            "width": 512,
            "seeds": 5,
            "by_width": {
                "set": "digits" if "digits" in sets else next(iter(sets)),
                "rows": 200,
                "depths": [1, 3, 10],
                "widths": [32, 64, 128, 256, 512, 1024] + ([2048, 4096] if scale.full else []),
            },
        }

    def cells(self, settings: Settings) -> Sequence[Cell]:
        """A data set, activation and depth with all seeds; several depths in one where they are quick."""
        cells = [cell for name in settings["sets"] for cell in _cells_of(settings, name)]
        by_width = settings["by_width"]
        one = {"set": by_width["set"], "part": "widths", "activation": "relu"}
        cells.append(_cell(settings, "widths infinite", one | {"depths": by_width["depths"], "width": None}))
        for depth in by_width["depths"]:
            for width in by_width["widths"]:
                key = f"widths depth {depth} width {width}"
                cells.append(_cell(settings, key, one | {"depths": [depth], "width": width}))
        return cells

    def compute(self, settings: Settings, cell: Cell) -> Numbers:
        """Means over mini-batches and seeds, as `gatentk ntk` computes them, and the values of every seed."""
        a = cell.arguments
        chosen = settings["sets"][a["set"]]
        rows, batch = _rows(settings, a), chosen["batch"] if a["part"] == "batches" else None
        whole = samples_of(chosen["source"], chosen["path"], chosen["n"])
        samples = replace(whole, x=whole.x[:rows])
        config = StudyConfig(
            chosen["source"],
            path=chosen["path"],
            n=chosen["n"],
            depths=tuple(a["depths"]),
            activations=(a["activation"],),
            width=a["width"],
            infinite=a["width"] is None,
            seeds=settings["seeds"],
            batch=batch,
        )
        records = [record for _, found in run_tasks(config, samples) for record in found]
        seeds = [] if a["width"] is None else range(settings["seeds"])
        return {
            "samples": rows,
            "points": [asdict(point) for point in summarise(config, samples, records)[0].points],
            "seeds": [
                [
                    asdict(point)
                    for point in summarise(config, samples, [r for r in records if r.seed == seed])[0].points
                ]
                for seed in seeds
            ],
        }

    def needs(self, settings: Settings) -> tuple[int, float]:
        """The data, and the largest kernel with what its spectrum takes or the weights of the widest network."""
        sets, by_width = settings["sets"].values(), settings["by_width"]
        kernel = int(2.1 * 8 * max(chosen["rows"]["all"] for chosen in sets) ** 2)
        kernel = max(kernel, 32 * max(chosen["rows"]["subset"] for chosen in sets) ** 2)
        weights = 8 * by_width["depths"][-1] * by_width["widths"][-1] ** 2
        kept = sum(16 * chosen["n"] * chosen["features"] for chosen in sets)
        return kept + max(kernel, weights), sum(cell.cost for cell in self.cells(settings)) / SPEED

    def findings(self, settings: Settings, results: Mapping[str, Numbers]) -> Findings:
        """What [S] reads from its figure, by data set, and the convergence with width."""
        curves = {
            name: Curves(name, chosen, _lines(settings, results, name)) for name, chosen in settings["sets"].items()
        }
        claims = [claim for found in curves.values() for claim in found.claims(settings)]
        widths = Widths(settings, results)
        remarks = trainings.left_out(settings)
        return Findings(
            [*claims, widths.claim()],
            [*(found.plot(settings) for found in curves.values()), widths.plot()],
            [_table(settings, curves), widths.table()],
            [*remarks, UNRESOLVED],
        )


UNRESOLVED = (
    "With more samples than features the kernel of a linear network is singular, and its condition number infinite. "
    "Where the smallest eigenvalue is below the rounding noise, the figures have an arrow that starts at the least "
    "that the condition number can be, and mini-batches of at most half as many samples as features stand beside. A "
    "comparison is undecided where that bound leaves it open, or where means contradict it and the ranges over seeds "
    "overlap."
)


# Cells


def _cells_of(settings: Settings, name: str) -> Iterator[Cell]:
    """Infinite width on all samples; finite and infinite width on some, in one kernel and in mini-batches."""
    depths = settings["depths"]
    for activation in NAMES:
        one = {"set": name, "part": "all", "activation": activation, "width": None}
        # Linear networks of all depths share one spectrum.
        for chunk in [depths] if activation == "linear" else [[depth] for depth in depths]:
            yield _cell(settings, _key(name, "all", activation, None, chunk[0]), one | {"depths": chunk})
    for part in ("subset", "batches"):
        for activation in NAMES:
            one = {"set": name, "part": part, "activation": activation}
            yield _cell(
                settings, _key(name, part, activation, None, depths[0]), one | {"depths": depths, "width": None}
            )
            for depth in depths:
                key = _key(name, part, activation, settings["width"], depth)
                yield _cell(settings, key, one | {"depths": [depth], "width": settings["width"]})


def _key(name: str, part: str, activation: str, width: int | None, depth: int) -> str:
    return f"{name} {part} {'infinite' if width is None else 'finite'} {activation} depth {depth}"


def _cell(settings: Settings, key: str, arguments: dict[str, Any]) -> Cell:
    """With the multiply-adds of kernels and spectra, and of drawing the weights and reading them."""
    chosen = settings["sets"][arguments["set"]]
    rows = float(_rows(settings, arguments))
    size = float(chosen["batch"]) if arguments["part"] == "batches" else rows
    cost, width = 0.0, arguments["width"]
    for depth in arguments["depths"]:
        layers = (depth + 1) * (12 if width is None else 2 * width)
        kernel = size**2 * (chosen["features"] + layers + 50) + size**3 / 6
        weights = 0 if width is None else (2 * rows + 40 * rows / size + 20) * depth * width**2
        cost += (rows / size * kernel + weights) * (1 if width is None else settings["seeds"])
    return Cell(key, cost, arguments)


def _rows(settings: Settings, arguments: Mapping[str, Any]) -> int:
    if arguments["part"] == "widths":
        return int(settings["by_width"]["rows"])
    return int(settings["sets"][arguments["set"]]["rows"][arguments["part"]])


# By depth

Line = dict[int, Point]  # by depth


def _lines(settings: Settings, results: Mapping[str, Numbers], name: str) -> dict[tuple[str, str, str], Line]:
    """Points by part, kind of width and activation."""
    lines: dict[tuple[str, str, str], Line] = {}
    for cell in _cells_of(settings, name):
        a = cell.arguments
        key = (a["part"], "infinite" if a["width"] is None else "finite", a["activation"])
        for values in results[cell.key]["points"]:
            lines.setdefault(key, {})[values["depth"]] = Point(**values)
    return lines


@dataclass(frozen=True)
class Curves:
    """All kernels of one data set by depth.

    Attributes:
        name, chosen: the data set and its settings.
        lines: points by part ("all", "subset", "batches"), kind of width and activation.
    """

    name: str
    chosen: Mapping[str, Any]
    lines: Mapping[tuple[str, str, str], Line]

    def claims(self, settings: Settings) -> list[Claim]:
        """What [S] states, checked at every depth from 1 on."""
        return [self._angles(), self._conditions(), self._against_linear(), self._batches(), self._finite(settings)]

    def _angles(self) -> Claim:
        relu = _hidden(self.lines["all", "infinite", "relu"])
        return Claim(
            "[S, Fig. 2, Thm 4.5]",
            f"On {self.name} the smallest angle between gradients of ReLU networks grows with depth.",
            f"{self._samples('all')}, infinite width: {_angle_path(relu)}; {_steps(_grows(relu), 'it grows')}.",
            _decided(_grows(relu)),
        )

    def _conditions(self) -> Claim:
        relu = _hidden(self.lines["all", "infinite", "relu"])
        return Claim(
            "[S, Fig. 2, Thm 5.2]",
            f"On {self.name} the condition number of ReLU networks falls with depth.",
            f"{self._samples('all')}, infinite width: {_condition_path(relu)}; {_steps(_falls(relu), 'it falls')}.",
            _decided(_falls(relu)),
        )

    def _against_linear(self) -> Claim:
        relu, linear = (_hidden(self.lines["all", "infinite", activation]) for activation in NAMES)
        angles = [_wider(relu[depth], linear[depth]) for depth in relu]
        conditions = [_below(relu[depth], linear[depth]) for depth in relu]
        first = min(relu)
        return Claim(
            "[S, Fig. 2, Thm 3.1, 5.1]",
            f"On {self.name} ReLU networks have a larger smallest angle and a smaller condition number than linear "
            "networks, which keep those of the samples at every depth.",
            f"{self._samples('all')}, infinite width: linear networks have {_degrees(linear[first].angle)} and a "
            f"condition number of {condition_text(linear[first])}, ReLU networks of depth {first} "
            f"{_degrees(relu[first].angle)} and {condition_text(relu[first])}; larger angle {_at(angles)}, smaller "
            f"condition number {_at(conditions)}.",
            _decided([*angles, *conditions]),
        )

    def _batches(self) -> Claim:
        relu, linear = (_hidden(self.lines["batches", "infinite", activation]) for activation in NAMES)
        below = [_below(relu[depth], linear[depth]) for depth in relu]
        return Claim(
            "[S, Fig. 2, Thm 5.1, 5.2]",
            f"In mini-batches of {self.name}, where linear networks have a finite condition number, that of ReLU "
            "networks is smaller and falls with depth.",
            f"Mini-batches of {self.chosen['batch']:,} of {self._samples('batches')}, infinite width, geometric "
            f"means: linear {condition_text(linear[min(linear)])}, ReLU {_condition_path(relu)}; "
            f"{_steps(_falls(relu), 'it falls')}, below linear networks {_at(below)}.",
            _decided([*_falls(relu), *below]),
        )

    def _finite(self, settings: Settings) -> Claim:
        relu, linear = (_hidden(self.lines["subset", "finite", activation]) for activation in NAMES)
        below = [_below(relu[depth], linear[depth]) for depth in relu]
        angles = [_wider(relu[depth], linear[depth]) for depth in relu]
        checks = [*_grows(relu), *_falls(relu), *below, *angles]
        return Claim(
            "[S, Fig. 2]",
            f"Networks of width {settings['width']:,} show the same on {self.name}: a larger angle and a smaller "
            "condition number than linear networks, more so with depth.",
            f"{self._samples('subset')}, means over {settings['seeds']} seeds: {_angle_path(relu)}; "
            f"{_steps(_grows(relu), 'the angle grows')}; {_condition_path(relu)}; "
            f"{_steps(_falls(relu), 'the condition number falls')}. Against linear networks, larger angle "
            f"{_at(angles)}, smaller condition number {_at(below)}.",
            _decided(checks),
        )

    def _samples(self, part: str) -> str:
        return f"{self.chosen['rows'][part]:,} samples in {self.chosen['features']:,} dimensions"

    def plot(self, settings: Settings) -> Plot:
        """Angle, condition number, and condition number of mini-batches."""
        rows, batch, width = self.chosen["rows"], self.chosen["batch"], f"width {settings['width']:,}"
        figure, (angle, condition, batches) = figures.panels(
            [
                ("Smallest gradient angle", f"{self.name}; solid: ReLU, dashed: linear"),
                ("Condition number", "arrows: not resolved, at least this"),
                ("Condition number in mini-batches", f"of {batch:,} samples, geometric mean"),
            ],
            [("Depth", "degrees"), ("Depth", "λmax / λmin"), ("Depth", "λmax / λmin")],
        )
        styles = [("all", "infinite", "all", f"infinite width, {rows['all']:,} samples")]
        if rows["subset"] < rows["all"]:
            styles.append(("subset", "infinite", "same", f"infinite width, {rows['subset']:,} samples"))
        styles.append(("subset", "finite", "finite", f"{width}, {rows['subset']:,} samples"))
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
            f"{width.capitalize()}: means over {settings['seeds']} seeds, with their range. Depth 0 is the linear "
            "model."
        )
        return Plot(f"conditioning-{self.name}", caption, figure)

    def _draw(self, angle: Any, condition: Any, part: str, kind: str, colour: str, label: str) -> None:
        for activation in NAMES:
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


def _hidden(line: Line) -> Line:
    """Depths with a hidden layer."""
    return {depth: point for depth, point in line.items() if depth > 0}


# Each comparison is True or False, or None: a bound or a zero gradient leaves it open, or the ranges over seeds overlap
# while their means are the other way round.


def _wider(a: Point, b: Point) -> bool | None:
    """Whether the smallest angle of a is larger than that of b."""
    if a.angle is None or b.angle is None or a.angle_high is None or b.angle_low is None:
        return None
    if a.angle > b.angle:
        return True
    return None if a.angle_high > b.angle_low else False


def _below(a: Point, b: Point) -> bool | None:
    """Whether the condition number of a is below that of b; unresolved ones are lower bounds."""
    if a.resolved:
        if a.condition < b.condition:
            return True
        return None if not b.resolved or a.condition_low < b.condition_high else False
    return False if b.resolved and a.condition_low >= b.condition_high else None


def _grows(line: Line) -> list[bool | None]:
    points = [line[depth] for depth in sorted(line)]
    return [_wider(b, a) for a, b in pairwise(points)]


def _falls(line: Line) -> list[bool | None]:
    points = [line[depth] for depth in sorted(line)]
    return [_below(b, a) for a, b in pairwise(points)]


def _decided(checks: Sequence[bool | None]) -> bool | None:
    """All of them: False if one is, None if one is open."""
    if False in checks:
        return False
    return None if None in checks else True


def _steps(checks: Sequence[bool | None], what: str) -> str:
    return f"{what} {_at(checks, 'step')}"


def _at(checks: Sequence[bool | None], where: str = "depth") -> str:
    held, unknown = sum(check is True for check in checks), sum(check is None for check in checks)
    if held == len(checks):
        return f"at every {where}"
    return f"at {held} of {len(checks)} {where}s" + (f" ({unknown} undecided)" if unknown else "")


def _degrees(angle: float | None) -> str:
    return "no angle (a zero gradient)" if angle is None else f"{number(angle)}°"


def _angle_path(line: Line) -> str:
    first, last = min(line), max(line)
    return f"{_degrees(line[first].angle)} at depth {first}, {_degrees(line[last].angle)} at depth {last}"


def _condition_path(line: Line) -> str:
    first, last = min(line), max(line)
    return f"{condition_text(line[first])} at depth {first}, {condition_text(line[last])} at depth {last}"


def _table(settings: Settings, curves: Mapping[str, Curves]) -> Table:
    columns = ["data", "samples", "mini-batch", "width", "network", "depth", "min angle (deg)", "condition", "at least"]
    rows = []
    for name, found in curves.items():
        for (part, kind, activation), line in found.lines.items():
            for depth, p in sorted(line.items()):
                batch = found.chosen["batch"] if part == "batches" else None
                width = settings["width"] if kind == "finite" else "infinite"
                known = p.condition if p.resolved else None
                kernel = [name, found.chosen["rows"][part], batch, width, NAMES[activation], depth]
                rows.append([*kernel, p.angle, known, p.condition])
    return Table("conditioning", "Means over mini-batches and seeds", columns, rows)


# By width


class Widths:
    """Kernels of one data set by width, against infinite width on the same samples."""

    def __init__(self, settings: Settings, results: Mapping[str, Numbers]) -> None:
        self.settings = settings["by_width"]
        self.seeds: int = settings["seeds"]
        self.widths: list[int] = self.settings["widths"]
        points = [Point(**values) for values in results["widths infinite"]["points"]]
        self.limit = {point.depth: point for point in points}
        self.finite = {
            (depth, width): Point(**results[f"widths depth {depth} width {width}"]["points"][0])
            for depth in self.settings["depths"]
            for width in self.widths
        }
        self.networks = {
            (depth, width): [Point(**seed[0]) for seed in results[f"widths depth {depth} width {width}"]["seeds"]]
            for depth in self.settings["depths"]
            for width in self.widths
        }

    def deviation(self, depth: int, width: int, quantity: str) -> float:
        """Mean over seeds of |log(value / value at infinite width)|; quantity "angle" or "condition"."""
        limit = getattr(self.limit[depth], quantity)
        values = [getattr(point, quantity) for point in self.networks[depth, width]]
        return fmean(abs(math.log(value / limit)) for value in values if value)

    def exponent(self, depth: int, quantity: str) -> float:
        """p of the power law width^p that fits the deviations, by least squares on logarithms."""
        x = [math.log(width) for width in self.widths]
        y = [math.log(self.deviation(depth, width, quantity)) for width in self.widths]
        mean_x, mean_y = fmean(x), fmean(y)
        covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
        return covariance / sum((a - mean_x) ** 2 for a in x)

    def claim(self) -> Claim:
        """Deviations fall from the narrowest to the widest networks."""
        first, last = self.widths[0], self.widths[-1]
        checks, parts = [], []
        for depth in self.settings["depths"]:
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
            f"{self.settings['set']}, {self.settings['rows']:,} samples, ReLU, mean deviation over {self.seeds} seeds "
            f"from infinite width, from width {first:,} to {last:,}: {'; '.join(parts)}.",
            all(checks),
        )

    def plot(self) -> Plot:
        """Values and deviations by width."""
        subtitle = f"{self.settings['set']}, {self.settings['rows']:,} samples, ReLU"
        figure, (angle, condition, deviation) = figures.panels(
            [
                ("Smallest gradient angle", subtitle),
                ("Condition number", "dotted: infinite width"),
                ("Deviation from infinite width", "solid: condition number, dashed: angle"),
            ],
            [("Width", "degrees"), ("Width", "λmax / λmin"), ("Width", "mean |log ratio|")],
        )
        for colour, depth in zip(style.COLOURS, self.settings["depths"], strict=False):
            for axes, quantity in ((angle, "angle"), (condition, "condition")):
                self._values(axes, depth, quantity, colour)
            for quantity, dash in (("condition", style.SOLID), ("angle", style.DASHED)):
                values = [self.deviation(depth, width, quantity) for width in self.widths]
                deviation.plot(self.widths, values, color=colour, linestyle=dash)
        start = max(self.deviation(d, self.widths[0], "condition") for d in self.settings["depths"])
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
            f"ReLU networks by width, means over {self.seeds} seeds with their range; at infinite width dotted. On "
            "the right the distance between the two."
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
        for depth in self.settings["depths"]:
            for width in self.widths:
                p = self.finite[depth, width]
                deviations = [self.deviation(depth, width, quantity) for quantity in ("angle", "condition")]
                rows.append([depth, width, p.angle, p.condition, *deviations])
            rows.append([depth, "infinite", self.limit[depth].angle, self.limit[depth].condition, None, None])
        title = f"ReLU networks by width on {self.settings['rows']:,} samples of {self.settings['set']}"
        return Table("conditioning-by-width", title, columns, rows)


def _percent(deviation: float) -> str:
    return f"{number(100 * math.expm1(deviation), 2)}%"


EXPERIMENT = Conditioning()
