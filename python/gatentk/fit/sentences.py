"""A fit in words: what was chosen, how good it is, what rounding leaves of it, what to know before quoting it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gatentk.activations import ACTIVATIONS
from gatentk.fit.samples import UNEVEN, FitSamples
from gatentk.reporting.text import data_name, given, number

if TYPE_CHECKING:
    from gatentk.fit.result import Fit

EPS = 2.0**-52
MATTERS = 0.01  # of the smallest eigenvalue, what a ridge adds that is no trifle
KERNEL_NAMES = {"ntk": "neural tangent kernel", "nngp": "NNGP kernel (last layer trained)"}


def ridge_text(ridge: float) -> str:
    """A ridge in two digits."""
    return given(float(f"{ridge:.2g}"))


def measure_text(found: Fit) -> str:
    """What scores are."""
    return "R²" if found.samples.classes is None else "accuracy"


def score_text(found: Fit, score: float | None) -> str:
    """An accuracy in percent, R^2 in three digits."""
    if score is None:
        return "not tried"
    return f"{100 * score:.1f}%" if found.samples.classes is not None else f"{score:.3f}"


def headline(found: Fit) -> list[str]:
    """The key numbers in sentences: the choice, the test, the kernel."""
    return [_choice(found), *_test(found), *_kernel(found)]


def _choice(found: Fit) -> str:
    config, outcome = found.config, found.outcome
    n = f"{len(found.samples.x):,} train samples"
    network = f"the {KERNEL_NAMES[config.kernel]} of infinitely wide {ACTIVATIONS[config.activation].label} networks"
    chosen = f"depth {outcome.depth} and ridge {ridge_text(outcome.ridge)}"
    tried = f"{_count(len(config.depths), 'depth')} and {_count(len(config.ridges), 'ridge')}"
    score = score_text(found, found.left_out_score)
    each = f"each of {n} predicted by a fit to all others"
    if found.samples.classes is None:
        error = (
            "" if found.left_out_error is None else f" and the root mean square error {number(found.left_out_error)}"
        )
        return f"With {network}, leave-one-out chooses {chosen} among {tried}: R² is {score}{error}, {each}."
    return f"With {network}, leave-one-out chooses {chosen} among {tried}: {score} are right, {each}."


def _test(found: Fit) -> list[str]:
    samples = found.samples
    predicted = found.predicted
    if samples.test_x is None or predicted is None:
        return []
    m = _count(len(samples.test_x), "test sample")
    if samples.test_y is None:
        verb = "is" if len(samples.test_x) == 1 else "are"
        return [f"{m} without targets {verb} predicted in predictions.csv."]
    if samples.classes is None:
        if found.test_score is None:
            score = "R² has no meaning, as all targets there are the same,"
        else:
            score = f"R² is {score_text(found, found.test_score)}"
        error = "" if found.test_error is None else f" and the root mean square error {number(found.test_error)}"
        return [f"On {m} {score}{error}."]
    wrong = int((samples.test_y != predicted).sum())
    frequent = score_text(found, found.most_frequent)
    text = f"On {m} {score_text(found, found.test_score)} are right ({wrong:,} wrong)"
    return [f"{text}; always answering the most frequent class would be right for {frequent}."]


def _kernel(found: Fit) -> list[str]:
    """Condition numbers with and without the ridge, and what they mean for the fit."""
    outcome, record = found.outcome, found.records[found.pair[0]]
    if record.lmin > record.floor:
        without = number(record.lmax / record.lmin)
    else:
        without = f"at least {number(record.lmax / record.floor)}, which float64 does not resolve"
    if outcome.condition is None:
        text = "Even with its ridge the kernel has eigenvalues below the noise floor of float64"
        return [f"{text}; what the targets have in their directions is not fitted."]
    digits = max(0, math.floor(-math.log10(outcome.condition * EPS)))
    condition = f"With its ridge the kernel has the condition number {number(outcome.condition)}"
    return [f"{condition} (without a ridge it would be {without}). {_digits_text(digits)}"]


def _digits_text(digits: int) -> str:
    """What remains of 16 digits."""
    if digits >= 6:
        return (
            f"Rounding in float64 leaves about {digits} digits of the fitted weights: the fit is limited by the data, "
            "not by precision."
        )
    left = _count(digits, "digit") if digits else "no digit"
    return (
        f"Rounding in float64 leaves about {left} of the fitted weights: where the table of scores shows a larger "
        "ridge that is as good, it is safer."
    )


def noise_text(found: Fit) -> str:
    """What the noise floor forbids, in a sentence."""
    untried = sum(score is None for record in found.records for score in record.scores)
    pairs = len(found.records) * len(found.config.ridges)
    if not untried:
        return (
            "All pairs of depth and ridge are above the noise floor n·ε·λmax: every eigenvalue that a fit divides by "
            "is more than rounding."
        )
    row, column = found.pair
    scores = found.records[row].scores
    beside = column + 1 < len(scores) and scores[column + 1] is None
    text = (
        f"{untried:,} of {pairs:,} pairs of depth and ridge were not tried: with them the smallest eigenvalue of the "
        "kernel lies below the noise floor n·ε·λmax, and a fit would divide by rounding."
    )
    if beside:
        text += " The chosen ridge is the smallest of its depth that is above it: smaller ones might have been better."
    return text


def notes(found: Fit) -> list[str]:
    """What a reader should know of data and choice before quoting a number."""
    config, samples = found.config, found.samples
    row, column = found.pair
    sentences = [noise_text(found)]
    if len(config.depths) * len(config.ridges) > 1:
        text = "The leave-one-out score is the best of all that were compared, and so a little too good"
        tested = "; the score on test samples, which had no part in the choice, is not."
        sentences.append(text + ("." if samples.test_y is None else tested))
    if column == 0 and len(config.ridges) > 1:
        sentences.append("The chosen ridge is the largest that was tried: larger ones may be better.")
    if _is_smallest_that_matters(found):
        sentences.append("The chosen ridge is the smallest that was tried: smaller ones may be better.")
    if row == len(config.depths) - 1 and len(config.depths) > 1:
        sentences.append("The chosen depth is the largest that was tried: larger ones may be better.")
    sentences += data_notes(samples)
    if samples.classes is None and samples.test_x is not None:
        sentences.append(
            "Standard deviations are those of the fitted function, seen as a Gaussian process whose kernel is scaled "
            "to the targets; noise of single targets comes on top."
        )
    if samples.unseen:
        labels = ", ".join(samples.unseen[:5])
        sentences.append(f"Classes that only test samples have, which are always wrong: {labels}.")
    return sentences


def _is_smallest_that_matters(found: Fit) -> bool:
    """Whether the chosen ridge is the smallest, and adds to the smallest eigenvalue what a smaller one would not."""
    row, column = found.pair
    if column != len(found.config.ridges) - 1:
        return False
    return found.outcome.added_ridge > MATTERS * max(found.records[row].lmin, found.records[row].floor)


def data_notes(samples: FitSamples) -> list[str]:
    """What a reader should know of the samples."""
    sentences = []
    if samples.duplicates:
        sentences.append(
            f"{_rows(samples.duplicates)} equal to an earlier one: leave-one-out predicts such samples from their "
            "copies, so that its score may be too good."
        )
    if samples.shared and samples.test_y is not None:
        sentences.append(
            f"{_rows(samples.shared, 'test')} equal to a train sample: the score on test samples may be too good."
        )
    if samples.few_numbers:
        sentences.append(
            f"The targets are {samples.few_numbers} different whole numbers, and are taken as numbers: if they are "
            "classes, say so by predict=classes."
        )
    if samples.zero_rows:
        sentences.append(
            f"{_count(samples.zero_rows, 'train sample')} are all zero."
            if samples.zero_rows > 1
            else "One train sample is all zero."
        )
    if samples.uneven >= UNEVEN:
        sentences.append(
            f"Features differ in size (the largest range is {number(samples.uneven, 2)} times the median), and samples "
            "were scaled to norm 1, where the largest features decide; for columns of a table normalize=standard is "
            "usually better."
        )
    return sentences


def settings(found: Fit) -> dict[str, str]:
    """What was asked for, for a table."""
    config, samples = found.config, found.samples
    d = samples.x.shape[1] - samples.constant
    source = f"{data_name(samples.test_name)}, " if samples.test_name else ""
    values = {
        "Data": f"{data_name(samples.name)}, {len(samples.x):,} train samples, {d:,} features",
        "Test": f"{source}{samples.tests:,} samples" if samples.tests else "none",
        "Targets": "numbers" if samples.classes is None else f"{len(samples.classes):,} classes",
        "Samples are scaled": _scaling(samples),
        "Kernel": f"{config.kernel.upper()}, {ACTIVATIONS[config.activation].label}",
        "Depths": _listed(map(str, config.depths)),
        "Ridges": _listed(map(ridge_text, config.ridges[::-1])),
        "Seed of what is drawn from the data": str(config.data_seed),
    }
    for name in ("w_std", "b_std", "slope"):
        value = getattr(config, name)
        if value is not None:
            values[name] = given(value)
    return values


def _scaling(samples: FitSamples) -> str:
    texts = {"unit": "to norm 1", "standard": "to mean 0 and variance 1 of each feature", "none": "not at all"}
    return texts[samples.normalize] + (", with a feature that is 1" if samples.constant else "")


def _listed(values: Iterable[str]) -> str:
    texts = list(values)
    return ", ".join(texts if len(texts) <= 6 else [*texts[:2], "...", *texts[-2:]])


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _rows(count: int, side: str = "train") -> str:
    return f"One {side} sample is" if count == 1 else f"{count:,} {side} samples are"
