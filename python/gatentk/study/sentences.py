"""A study in words: numbers with their ranges, what came out, what to know before quoting it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatentk.activations import LABELS
from gatentk.reporting.text import data_name, number
from gatentk.study.batches import batch_shape
from gatentk.study.run import plan
from gatentk.study.summary import Point, Series

if TYPE_CHECKING:
    from gatentk.study.config import StudyConfig
    from gatentk.study.samples import StudySamples


def average_text(config: StudyConfig, quantity: str) -> str:
    """How the values of a plot were averaged, in a few words; empty if there is one kernel a point."""
    parts = []
    if config.batch is not None:
        parts.append(f"{mean_name(quantity)} over mini-batches of {config.batch:,}")
    if config.width is not None and config.seeds > 1:
        parts.append(f"{mean_name(quantity)} and, in brackets, range over {config.seeds} seeds of finite networks")
    return "; ".join(parts)


def mean_name(quantity: str) -> str:
    """How a quantity is averaged."""
    return "mean" if quantity == "angle" else "geometric mean"


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


def headline(config: StudyConfig, samples: StudySamples, series: Sequence[Series]) -> list[str]:
    """The key numbers in sentences: ReLU first, then linear, then what is not resolved and why."""
    first_of = {s.activation: s for s in reversed(series)}
    sentences = []
    for activation in config.activations:
        s = first_of[activation]
        networks = f"infinitely wide {LABELS[activation]} networks"
        if s.kind == "finite":
            networks = f"{LABELS[activation]} networks of width {config.width:,}"
        on = f"{len(samples.rows(s.rows)):,} samples" if config.batch is None else f"mini-batches of {config.batch:,}"
        clause = _angle_clause(s, _angle_accuracy(config, s.kind))
        sentences.append(f"In {networks} on {on}, {clause}; {_condition_clause(s)}.")
    unresolved = _unresolved_sentence(config, samples, series)
    return sentences + ([unresolved] if unresolved else [])


def _angle_accuracy(config: StudyConfig, kind: str) -> float:
    """Degrees below which an angle is rounding: of the samples, at finite width of the kernel."""
    double = config.dtype == "float64"
    if kind == "finite":
        return math.degrees(1e-8 if double else 3e-4)
    return math.degrees(8 * (2.0**-52 if double else 2.0**-23))


def _angle_clause(series: Series, accuracy: float) -> str:
    subject = "the smallest angle between the gradients of two samples"
    first, last = series.points[0], series.points[-1]
    if first.angle is None or last.angle is None:
        return f"{subject} is not defined everywhere, because some gradients are zero"
    if 0 < first.angle < accuracy:
        return _clause_of_noise(subject, series, accuracy)
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


def _clause_of_noise(subject: str, series: Series, accuracy: float) -> str:
    """Where the first angle is rounding, whose growth is no number."""
    first, last = series.points[0], series.points[-1]
    limit = f"below the accuracy of such angles, {number(accuracy)}°,"
    if last.angle is None or last.angle < accuracy:
        where = f"at depth {first.depth}" if first is last else f"at depths {first.depth} and {last.depth}"
        return f"{subject} is {limit} {where}"
    return f"{subject} is {limit} at depth {first.depth} and {number(last.angle)}° at depth {last.depth}"


def _condition_clause(series: Series) -> str:
    resolved = [p for p in series.points if p.resolved]
    if not resolved:
        where = "at any depth" if len(series.points) > 1 else f"at depth {series.points[0].depth}"
        bound = min(p.condition for p in series.points)
        return f"the condition number is not resolved {where}, but at least {number(bound)}"
    first, last = resolved[0], resolved[-1]
    missing = _at_depths([p.depth for p in series.points if not p.resolved])
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


def _at_depths(depths: Sequence[int]) -> str:
    if not depths:
        return ""
    return ("depth " if len(depths) == 1 else "depths ") + ", ".join(map(str, depths))


def _unresolved_sentence(config: StudyConfig, samples: StudySamples, series: Sequence[Series]) -> str:
    """Why condition numbers are missing, from what is known of the data."""
    if all(p.resolved for s in series for p in s.points):
        return ""
    n = max(batch_shape(config, len(samples.rows(s.rows)))[1] for s in series)
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


def notes(config: StudyConfig, samples: StudySamples, series: Sequence[Series]) -> list[str]:
    """What a reader should know of data and accuracy before quoting a number."""
    sentences = []
    if samples.dropped_zero_rows:
        sentences.append(f"{samples.dropped_zero_rows:,} all-zero rows were left out: they have no angle.")
    if samples.dropped_duplicates:
        sentences.append(f"{samples.dropped_duplicates:,} rows equal to an earlier one were left out.")
    if samples.duplicates:
        sentences.append(
            f"{_rows(samples.duplicates).capitalize()} equal to an earlier one: their angle is zero and every kernel "
            "that holds both is singular. They can be dropped."
        )
    elif any(p.angle == 0 for s in series for p in s.points if s.kind == "infinite"):
        sentences.append(
            "Two different rows point in exactly the same direction: their angle is zero and no network here tells "
            "them apart, so every kernel that holds both is singular."
        )
    if samples.subset is not None:
        drawn = f"Finite width uses {len(samples.subset):,} samples drawn at random from the {len(samples.x):,}"
        comparison = "compare it with infinite width on the same samples, since "
        sentences.append(
            f"{drawn}; {comparison if config.infinite else ''}both quantities depend on the number of samples."
        )
    if config.batch is not None:
        sentences.append(_batch_note(config, samples))
    if config.width is not None:
        limit = "10⁻⁸ rad" if config.dtype == "float64" else "3 × 10⁻⁴ rad"
        infinite = "; those at infinite width are computed from the samples to nearly full relative accuracy"
        sentences.append(
            f"Angles at finite width come from the kernel matrix and are good to about {limit}"
            f"{infinite if config.infinite else ''}."
        )
    return sentences


def _batch_note(config: StudyConfig, samples: StudySamples) -> str:
    sizes = {len(samples.rows(task.rows)) for task in plan(config, samples)}
    counts = " and ".join(f"{batch_shape(config, n)[0]:,} of {n:,} samples" for n in sorted(sizes, reverse=True))
    return (
        f"Kernels of random disjoint mini-batches of {config.batch} ({counts}; a remainder is left out): angles are "
        "the smallest within a mini-batch, averaged arithmetically, condition numbers are averaged geometrically."
    )


def title(config: StudyConfig, samples: StudySamples) -> str:
    """A short name of a study: its data, and the mini-batches if there are any."""
    batch = config.batch
    return data_name(samples.name) + (f", mini-batches of {batch:,}" if batch else "")
