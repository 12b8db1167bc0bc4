"""What a study leaves behind: results.json, results.csv, two plots and one self-contained report.html."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatentk.reporting import figures
from gatentk.reporting.page import inline_svg, template
from gatentk.reporting.style import BLUE, DASHED, GREEN, INK, ORANGE, SMALL, SOLID
from gatentk.reporting.text import csv_text, data_name, json_text, number
from gatentk.runs.files import write_aside
from gatentk.study import FIELDS, Config, Record, Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "gatentk/ntk-study/1"
NAMES = {"relu": "ReLU", "linear": "linear"}
COLOURS = {"infinite all": BLUE, "infinite subset": GREEN, "finite": ORANGE}
DASHES = {"relu": SOLID, "linear": DASHED}


@dataclass(frozen=True)
class Point:
    """One depth of a series: means over mini-batches, then over seeds, and the range over seeds.

    Angles are in degrees and averaged arithmetically, None where a gradient is zero. Condition numbers are
    averaged geometrically. Where a kernel is not resolved its lower bound enters instead, so that the mean is
    a lower bound too, which `resolved` = False says.
    """

    depth: int
    angle: float | None
    angle_low: float | None
    angle_high: float | None
    condition: float
    condition_low: float
    condition_high: float
    resolved: bool
    kernels: int
    unresolved: int


@dataclass(frozen=True)
class Series:
    """One line of the plots: a kind of network on one set of samples, by depth."""

    kind: str
    activation: str
    rows: str
    label: str
    points: tuple[Point, ...]

    @property
    def colour(self) -> str:
        """Colours tell widths and samples apart; activations differ by dashes."""
        return COLOURS["finite" if self.kind == "finite" else f"infinite {self.rows}"]


# Averages


def summarise(config: Config, samples: Samples, records: Sequence[Record]) -> list[Series]:
    """Group records into series, infinite width on all samples first, ReLU before linear."""
    groups = [("infinite", "all"), ("infinite", "subset"), ("finite", "all"), ("finite", "subset")]
    series = []
    for kind, rows in groups:
        for activation in config.activations:
            chosen = [r for r in records if (r.kind, r.rows, r.activation) == (kind, rows, activation)]
            if chosen:
                points = tuple(_point([r for r in chosen if r.depth == depth]) for depth in config.depths)
                label = _label(config, kind, len(samples.rows(rows)))
                series.append(Series(kind, activation, rows, label, points))
    return series


def _label(config: Config, kind: str, n: int) -> str:
    width = "infinite width" if kind == "infinite" else f"width {config.width:,}"
    return f"{width}, {n:,} samples"


def _point(records: list[Record]) -> Point:
    """Summarise all records of one series and depth."""
    seeds = sorted({-1 if r.seed is None else r.seed for r in records})
    networks = [[r for r in records if r.seed in (None, seed)] for seed in seeds]
    conditions = [statistics.geometric_mean(r.condition_bound for r in network) for network in networks]
    angles = [angle for network in networks if (angle := _mean(r.min_angle for r in network)) is not None]
    unresolved = sum(not r.resolved for r in records)
    return Point(
        depth=records[0].depth,
        angle=_mean(angles),
        angle_low=min(angles, default=None),
        angle_high=max(angles, default=None),
        condition=statistics.geometric_mean(conditions),
        condition_low=min(conditions),
        condition_high=max(conditions),
        resolved=unresolved == 0,
        kernels=len(records),
        unresolved=unresolved,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return statistics.fmean(known) if known else None


def average_text(config: Config, quantity: str) -> str:
    """How the values of a plot were averaged, in a few words; empty if there is one kernel a point."""
    parts = []
    if config.batch is not None:
        parts.append(f"{_mean_name(quantity)} over mini-batches of {config.batch:,}")
    if config.width is not None and config.seeds > 1:
        parts.append(f"{_mean_name(quantity)} and, in brackets, range over {config.seeds} seeds of finite networks")
    return "; ".join(parts)


def _mean_name(quantity: str) -> str:
    return "mean" if quantity == "angle" else "geometric mean"


# Numbers in words


def angle_text(point: Point) -> str:
    """The angle of a point in degrees, with its range over seeds if there is one."""
    if point.angle is None or point.angle_low is None or point.angle_high is None:
        return "zero gradient"
    text = f"{number(point.angle)}°"
    if point.angle_high > point.angle_low * (1 + 1e-6):
        text += f" ({number(point.angle_low)}–{number(point.angle_high)})"
    return text


def condition_text(point: Point) -> str:
    """The condition number of a point, with its range over seeds if there is one; ≥ for a lower bound."""
    text = number(point.condition)
    if not point.resolved:
        return f"≥ {text}"
    if point.condition_high > point.condition_low * (1 + 1e-6):
        text += f" ({number(point.condition_low)}–{number(point.condition_high)})"
    return text


def headline(config: Config, samples: Samples, series: Sequence[Series]) -> list[str]:
    """The key numbers in sentences: ReLU first, then linear, then what is not resolved and why."""
    first_of = {s.activation: s for s in reversed(series)}
    sentences = []
    for activation in config.activations:
        s = first_of[activation]
        networks = f"infinitely wide {NAMES[activation]} networks"
        if s.kind == "finite":
            networks = f"{NAMES[activation]} networks of width {config.width:,}"
        on = f"{len(samples.rows(s.rows)):,} samples" if config.batch is None else f"mini-batches of {config.batch:,}"
        sentences.append(f"In {networks} on {on}, {_angle_clause(s)}; {_condition_clause(s)}.")
    unresolved = _unresolved_sentence(config, samples, series)
    return sentences + ([unresolved] if unresolved else [])


def _angle_clause(series: Series) -> str:
    subject = "the smallest angle between the gradients of two samples"
    first, last = series.points[0], series.points[-1]
    if first.angle is None or last.angle is None:
        return f"{subject} is not defined everywhere, because some gradients are zero"
    if first is last:
        return f"{subject} is {number(first.angle)}° at depth {first.depth}"
    if all(p.angle is not None and abs(p.angle - first.angle) <= 1e-3 * first.angle for p in series.points):
        return f"{subject} is {number(last.angle)}° at every depth"
    verb = "grows" if last.angle > first.angle else "shrinks"
    factor = f" ({number(last.angle / first.angle, 2)} times)" if 0 < first.angle < last.angle else ""
    return (
        f"{subject} {verb} from {number(first.angle)}° at depth {first.depth} to {number(last.angle)}° at depth "
        f"{last.depth}{factor}"
    )


def _condition_clause(series: Series) -> str:
    resolved = [p for p in series.points if p.resolved]
    if not resolved:
        where = "at any depth" if len(series.points) > 1 else f"at depth {series.points[0].depth}"
        bound = min(p.condition for p in series.points)
        return f"the condition number is not resolved {where}, but at least {number(bound)}"
    first, last = resolved[0], resolved[-1]
    missing = _depths_text([p.depth for p in series.points if not p.resolved])
    end = f" and is not resolved at {missing}" if missing else ""
    if first is last:
        return f"the condition number is {number(first.condition)} at depth {first.depth}{end}"
    if all(abs(p.condition / first.condition - 1) <= 1e-3 for p in resolved):
        return f"the condition number is {number(last.condition)} at every {'other ' if end else ''}depth{end}"
    verb = "falls" if last.condition < first.condition else "rises"
    factor = max(last.condition / first.condition, first.condition / last.condition)
    return (
        f"the condition number {verb} from {number(first.condition)} at depth {first.depth} to "
        f"{number(last.condition)} at depth {last.depth} (by a factor of {number(factor, 2)}){end}"
    )


def _depths_text(depths: Sequence[int]) -> str:
    if not depths:
        return ""
    return ("depth " if len(depths) == 1 else "depths ") + ", ".join(map(str, depths))


def _unresolved_sentence(config: Config, samples: Samples, series: Sequence[Series]) -> str:
    """Why condition numbers are missing, from what is known of the data."""
    if all(p.resolved for s in series for p in s.points):
        return ""
    n = config.batch or max(len(samples.rows(s.rows)) for s in series)
    d = samples.x.shape[1]
    reasons = []
    if samples.duplicates:
        reasons.append(
            f"{_rows(samples.duplicates)} equal to an earlier one, which makes every kernel with both singular"
        )
    if n > d:
        reasons.append(
            f"with {n:,} samples and {d:,} features the kernel is singular at depth 0 and for linear networks of any "
            "depth, which means an infinite condition number"
        )
    why = "; ".join(reasons) or "the samples are too close to collinear for this precision"
    return (
        "Not resolved means that the smallest eigenvalue lies below the rounding noise, so that only a lower bound "
        f"is known, λmax over the noise floor: {why}."
    )


def _rows(count: int) -> str:
    return "one row is" if count == 1 else f"{count:,} rows are"


def notes(config: Config, samples: Samples, series: Sequence[Series]) -> list[str]:
    """What a reader should know of data and accuracy before quoting a number."""
    found = []
    if samples.dropped_zero_rows:
        found.append(f"{samples.dropped_zero_rows:,} all-zero rows were left out: they have no angle.")
    if samples.dropped_duplicates:
        found.append(f"{samples.dropped_duplicates:,} rows equal to an earlier one were left out.")
    if samples.duplicates:
        found.append(
            f"{_rows(samples.duplicates).capitalize()} equal to an earlier one: their angle is zero and every kernel "
            "that holds both is singular. --drop-duplicates leaves them out."
        )
    elif any(p.angle == 0 for s in series for p in s.points if s.kind == "infinite"):
        found.append(
            "Two different rows point in exactly the same direction: their angle is zero and no network here tells "
            "them apart, so every kernel that holds both is singular."
        )
    if samples.subset is not None:
        found.append(
            f"Finite width uses {len(samples.subset):,} samples drawn at random from the {len(samples.x):,}; compare "
            "it with infinite width on the same samples, since both quantities depend on the number of samples."
        )
    if config.batch is not None:
        found.append(_batch_note(config, samples))
    if config.width is not None:
        limit = "10⁻⁸ rad" if config.dtype == "float64" else "3 × 10⁻⁴ rad"
        found.append(
            f"Angles at finite width come from the kernel matrix and are good to about {limit}; those at infinite "
            "width are computed from the samples to nearly full relative accuracy."
        )
    return found


def _batch_note(config: Config, samples: Samples) -> str:
    assert config.batch is not None
    sizes = {len(samples.rows(rows)) for rows in ("all", "subset")}
    counts = " and ".join(f"{n // config.batch:,} of {n:,} samples" for n in sorted(sizes, reverse=True))
    return (
        f"Kernels of random disjoint mini-batches of {config.batch} ({counts}; a remainder is left out): angles are "
        "the smallest within a mini-batch, averaged arithmetically, condition numbers are averaged geometrically."
    )


# Command line


def depths_argument(depths: Sequence[int]) -> str:
    """Depths as the command line takes them: a:b, a:b:step or a list."""
    if len(depths) > 2:
        step = depths[1] - depths[0]
        if list(depths) == list(range(depths[0], depths[-1] + 1, step)):
            return f"{depths[0]}:{depths[-1]}" + (f":{step}" if step > 1 else "")
    return ",".join(map(str, depths))


def command_line(config: Config, out: str = "DIR") -> str:
    """The command that repeats a study."""
    widths = ([str(config.width)] if config.width is not None else []) + (["inf"] if config.infinite else [])
    words = ["gatentk", "ntk", "--data", config.data]
    if config.path is not None:
        words += ["--path", config.path]
    if config.n is not None:
        words += ["-n", str(config.n)]
    words += ["--depths", depths_argument(config.depths), "--activation", ",".join(config.activations)]
    words += ["--width", ",".join(widths)]
    if config.width is not None:
        words += ["--seeds", str(config.seeds)]
        words += ["--subset", str(config.subset)] if config.subset is not None else []
    words += ["--batch", str(config.batch)] if config.batch is not None else []
    words += ["--data-seed", str(config.data_seed)] if config.data_seed else []
    words += ["--dtype", config.dtype] if config.dtype != "float64" else []
    for flag in ("certify", "drop_zero_rows", "drop_duplicates"):
        words += [f"--{flag.replace('_', '-')}"] if getattr(config, flag) else []
    return shlex.join([*words, "--out", out])


# Files


def table_text(records: Iterable[Record]) -> str:
    """One row a kernel, columns as the attributes of `Record`, empty where there is no value."""
    rows = (asdict(record) | {"resolved": str(record.resolved).lower()} for record in records)
    return csv_text(FIELDS, (row.values() for row in rows))


@dataclass(frozen=True, eq=False)
class Study:
    """A finished study with everything its files show."""

    config: Config
    samples: Samples
    records: list[Record]
    environment: dict[str, Any]

    @cached_property
    def series(self) -> list[Series]:
        """The lines of the plots."""
        return summarise(self.config, self.samples, self.records)

    @cached_property
    def plots(self) -> dict[str, bytes]:
        """The plots by file name."""
        return {
            f"{name}.{kind}": figures.render(figure, kind)
            for name, figure in draw(self).items()
            for kind in ("png", "svg")
        }


def document_text(study: Study) -> str:
    """Everything, machine-readable; `null` where there is no value."""
    samples = study.samples
    document = {
        "schema": SCHEMA,
        "command": command_line(study.config),
        "config": asdict(study.config),
        "data": {
            "name": samples.name,
            "samples": len(samples.x),
            "features": samples.x.shape[1],
            "duplicate_rows": samples.duplicates,
            "dropped_zero_rows": samples.dropped_zero_rows,
            "dropped_duplicate_rows": samples.dropped_duplicates,
            "sha256": samples.digest,
        },
        "environment": study.environment,
        "units": {"angle": "degrees", "min_angle": "degrees"},
        "averages": {
            "angle": "arithmetic mean over mini-batches, then over seeds; low and high over seeds",
            "condition": "geometric mean over mini-batches, then over seeds; low and high over seeds; an "
            "unresolved kernel enters with its lower bound, and the mean is then a lower bound",
        },
        "summary": [
            {"kind": s.kind, "activation": s.activation, "rows": s.rows, "label": s.label}
            | {"points": [asdict(point) for point in s.points]}
            for s in study.series
        ],
        "records": [asdict(record) for record in study.records],
    }
    return json_text(document)


def write(folder: Path, study: Study) -> Path:
    """Write all files of a study and return the path of its report.html."""
    contents = {
        "results.json": document_text(study).encode(),
        "results.csv": table_text(study.records).encode(),
        **study.plots,
        "report.html": html([study]).encode(),
    }
    for name, content in contents.items():
        write_aside(folder / name, content)
    return folder / "report.html"


# Plots


def draw(study: Study) -> dict[str, Figure]:
    """The two plots: "angle" and "condition" against depth."""
    return {"angle": _angle_figure(study), "condition": _condition_figure(study)}


def _angle_figure(study: Study) -> Figure:
    def values(p: Point) -> tuple[float, float, float] | None:
        if p.angle is None or p.angle_low is None or p.angle_high is None:
            return None
        return p.angle, p.angle_low, p.angle_high

    def finish(axes: Axes) -> None:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda v, _: f"{v:g}°")

    return _figure(study, "angle", "Smallest angle between the gradients of two samples", values, finish)


def _condition_figure(study: Study) -> Figure:
    def values(p: Point) -> tuple[float, float, float]:
        return p.condition, p.condition_low, p.condition_high

    def finish(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_yscale("log")
        low, high = axes.get_ylim()
        if high < 4 * low:
            low, high = low / 2, high * 2
        axes.set_ylim(low, high)
        if high < 300 * low:
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda v, _: number(v, 1))
        else:
            axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="y", which="minor", length=0)

    return _figure(study, "condition", "Condition number of the neural tangent kernel", values, finish)


def _figure(
    study: Study,
    quantity: str,
    title: str,
    values: Callable[[Point], tuple[float, float, float] | None],
    finish: Callable[[Axes], None],
) -> Figure:
    options = {"ytick.major.width": 0}  # there is no axis on the left, the grid is enough
    with figures.plot(title, _subtitle(study, quantity), 3.7, 16, options) as (figure, axes):
        axes.spines["left"].set_visible(False)
        for index, series in enumerate(study.series):
            _line(axes, series, quantity, values, dodge=0.1 * (index // len(study.config.activations) - 1))
        finish(axes)
        _depth_axis(axes, study.config.depths)
        _activation_labels(axes, study.series, values)
        _legend(figure, study, quantity)
        return figure


def _subtitle(study: Study, quantity: str) -> str:
    batch, d = study.config.batch, study.samples.x.shape[1]
    name = data_name(study.samples.name)
    if batch is None:
        return f"{name}, {len(study.samples.x):,} samples, {d:,} features"
    return f"{name}, {d:,} features; {_mean_name(quantity)} over mini-batches of {batch:,}"


def _line(
    axes: Axes,
    series: Series,
    quantity: str,
    values: Callable[[Point], tuple[float, float, float] | None],
    dodge: float,
) -> None:
    """One series: a line through what is known, a band over seeds, arrows up from lower bounds."""
    points = [(p, v) for p in series.points if (v := values(p)) is not None]
    known = [(p.depth, *v) for p, v in points if quantity == "angle" or p.resolved]
    finite = series.kind == "finite"
    if known:
        depths, means, lows, highs = zip(*known, strict=True)
        axes.plot(
            depths,
            means,
            color=series.colour,
            linestyle=DASHES[series.activation],
            linewidth=1.1 if finite else 1.7,
            marker="o" if finite or len(known) == 1 else None,
            markersize=3,
            zorder=3 if finite else 2.5,
        )
        if finite:
            axes.fill_between(depths, lows, highs, color=series.colour, alpha=0.22, linewidth=0)
    if quantity == "condition":
        unresolved = [(p, v[0]) for p, v in points if not p.resolved]
        figures.bounds(
            axes,
            [p.depth + dodge for p, _ in unresolved],
            [low for _, low in unresolved],
            series.colour,
            markeredgewidth=1.1,
            markerfacecolor="none" if series.activation == "linear" else series.colour,
        )


def _depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    axes.set_xlabel("Depth (number of hidden layers)")
    figures.integers(axes, 12)
    span = max(depths[-1] - depths[0], 1)
    axes.set_xlim(depths[0] - 0.04 * span, depths[-1] + 0.04 * span)


def _activation_labels(
    axes: Axes, series: Sequence[Series], values: Callable[[Point], tuple[float, float, float] | None]
) -> None:
    """Name ReLU and linear at the right end of their lines, once for lines that end close together."""
    transform = axes.transScale + axes.transLimits
    places: list[tuple[float, str]] = []
    for activation in dict.fromkeys(s.activation for s in series):
        ends = [v[0] for s in series if s.activation == activation and (v := values(s.points[-1])) is not None]
        heights = sorted(float(transform.transform((0, end))[1]) for end in ends)
        places += [(statistics.fmean(group), NAMES[activation]) for group in _groups(heights, 0.15)]
    places.sort()
    for height, (_, name) in zip(_spread([height for height, _ in places], 0.07), places, strict=True):
        axes.annotate(name, (1.015, height), xycoords="axes fraction", va="center", fontsize=8.5)


def _groups(heights: list[float], gap: float) -> list[list[float]]:
    """Ascending heights, split where two neighbours are more than `gap` apart."""
    groups: list[list[float]] = []
    for height in heights:
        if groups and height - groups[-1][-1] <= gap:
            groups[-1].append(height)
        else:
            groups.append([height])
    return groups


def _spread(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved apart around their means until neighbours are at least `gap` apart."""
    runs = [[height] for height in heights]
    index = 1
    while index < len(runs):
        before, run = runs[index - 1], runs[index]
        reach = gap * (len(before) + len(run)) / 2
        if statistics.fmean(run) - statistics.fmean(before) < reach:
            runs[index - 1 : index + 1] = [before + run]
            index = max(1, index - 1)
        else:
            index += 1
    return [statistics.fmean(run) + gap * (place - (len(run) - 1) / 2) for run in runs for place in range(len(run))]


def _legend(figure: Figure, study: Study, quantity: str) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for label, series in {s.label: s for s in study.series}.items():
        finite = series.kind == "finite"
        if finite and study.config.seeds > 1:
            label = f"{label}; {_mean_name(quantity)} and range of {study.config.seeds} seeds"
        handles.append(
            Line2D(
                [],
                [],
                color=series.colour,
                linewidth=1.1 if finite else 1.7,
                marker="o" if finite else None,
                markersize=3,
                label=label,
            )
        )
    if quantity == "condition" and not all(p.resolved for s in study.series for p in s.points):
        text = "at least; smallest eigenvalue below the noise floor"
        handles.append(Line2D([], [], color=INK, linestyle="", marker=r"$\uparrow$", markersize=7, label=text))
    figure.legend(handles=handles, loc="outside lower left", frameon=False, fontsize=SMALL, handlelength=2.2)


# The report


def title(study: Study) -> str:
    """A short name of a study: its data, and the mini-batches if there are any."""
    batch = study.config.batch
    return data_name(study.samples.name) + (f", mini-batches of {batch:,}" if batch else "")


def html(studies: Sequence[Study], heading: str | None = None) -> str:
    """One page for one study or several, with everything inside it."""
    sections = [_section(study, f"s{index}") for index, study in enumerate(studies)]
    heading = heading or f"Neural tangent kernels of {sections[0]['name']}"
    return template("report.html").render(title=heading, sections=sections, environment=studies[0].environment)


def _section(study: Study, prefix: str) -> dict[str, Any]:
    """What the template shows of one study."""
    config, samples, series = study.config, study.samples, study.series
    return {
        "id": prefix,
        "name": title(study),
        "samples": len(samples.x),
        "features": samples.x.shape[1],
        "headline": headline(config, samples, series),
        "notes": notes(config, samples, series),
        "figures": [inline_svg(study.plots[f"{name}.svg"], f"{prefix}-{name}-") for name in ("angle", "condition")],
        "tables": [
            _table(series, config, "Smallest angle between two gradients", "angle", angle_text),
            _table(series, config, "Condition number", "condition", condition_text),
        ],
        "config": _settings(config, samples),
        "command": command_line(config),
        "certified": _certified(study),
    }


def _table(
    series: Sequence[Series], config: Config, title: str, quantity: str, text: Callable[[Point], str]
) -> dict[str, Any]:
    """A table with a row a depth and a column a series."""
    columns = [{"activation": NAMES[s.activation], "label": s.label} for s in series]
    rows = [
        {"depth": depth, "cells": [text(s.points[index]) for s in series]} for index, depth in enumerate(config.depths)
    ]
    return {"title": title, "average": average_text(config, quantity), "columns": columns, "rows": rows}


def _certified(study: Study) -> str:
    """How many condition numbers are proved finite, if that was asked for."""
    if not study.config.certify:
        return ""
    proved = sum(r.lmin_low is not None and r.lmin_low > 0 for r in study.records)
    return (
        f"{proved:,} of {len(study.records):,} kernels are proved positive definite; results.csv has the proved "
        "intervals of both extreme eigenvalues."
    )


def _settings(config: Config, samples: Samples) -> dict[str, str]:
    settings = {
        "Data": f"{data_name(samples.name)}, {len(samples.x):,} samples, {samples.x.shape[1]:,} features",
        "Depths": depths_argument(config.depths),
        "Activations": ", ".join(NAMES[a] for a in config.activations),
        "Infinite width": "yes" if config.infinite else "no",
        "Finite width": "no" if config.width is None else f"{config.width:,}, seeds 0 to {config.seeds - 1}",
        "Precision": config.dtype,
        "Seed of subsets": str(config.data_seed),
    }
    if samples.subset is not None:
        settings["Samples for finite width"] = f"{len(samples.subset):,}"
    if config.batch is not None:
        settings["Mini-batches"] = f"{config.batch} samples, random, disjoint"
    return settings
