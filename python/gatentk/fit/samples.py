"""What a fit works on: train and test samples, scaled alike, and their targets."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gatentk import data
from gatentk.data import Dataset
from gatentk.data.loading import CLASS_LIMIT, lacks_y, too_many_classes
from gatentk.data.rows import first_occurrences, shared_rows, split_rows
from gatentk.errors import FitError
from gatentk.fit.config import FitConfig
from gatentk.runs.identity import array_digest
from gatentk.scaling import standard_columns, unit_rows

FEW = 20  # different whole numbers to predict, up to which they may be classes
UNEVEN = 30.0  # ratio of spreads of features from which on the largest alone decide where samples lie on a sphere

# Images: pixels of one scale (ratio of spreads at most), on a background of 0 (share of all numbers at least).
ONE_SCALE, BACKGROUND, FEWEST_PIXELS = 2.0, 0.25, 16


@dataclass(frozen=True, eq=False)
class FitSamples:
    """What a fit works on.

    Attributes:
        x, y: train samples (n, d), scaled, float64, and their targets (n,): float64, or int64 numbers of classes.
        rows: numbers of the train samples in the data, from 0.
        test_x, test_y, test_rows: the same for testing; None where there is nothing to test on, or no targets.
        classes: labels as text in the order of their numbers, those of the train samples; None for numbers to predict.
        unseen: labels that only test samples have, whose numbers follow.
        name, test_name: of the data sets; the latter is empty for a part of the first.
        normalize: how the features were scaled, as `FitConfig.normalize` but not "auto".
        constant: whether the last feature is 1.
        duplicates, zero_rows: train samples that equal an earlier one, or are all zero.
        shared: test samples that equal a train sample.
        few_numbers: how many different numbers there are to predict, if they are few and whole, and so may be classes.
        uneven: the largest spread of a feature over the median, where samples are scaled to norm 1; else 1.
        digest: SHA-256 of all data.
        notes: in a line each, what was guessed of files.
    """

    x: Tensor
    y: Tensor
    rows: Tensor
    test_x: Tensor | None
    test_y: Tensor | None
    test_rows: Tensor | None
    classes: tuple[str, ...] | None
    unseen: tuple[str, ...]
    name: str
    test_name: str
    normalize: str
    constant: bool
    duplicates: int
    zero_rows: int
    shared: int
    few_numbers: int
    uneven: float
    digest: str
    notes: tuple[str, ...]

    @property
    def tests(self) -> int:
        """How many test samples there are."""
        return 0 if self.test_x is None else len(self.test_x)

    @property
    def labels(self) -> tuple[str, ...]:
        """Of all classes, those that only test samples have at the end."""
        return (*(self.classes or ()), *self.unseen)


def prepare_fit(config: FitConfig) -> FitSamples:
    """Load the data, split it and scale the features.

    Raises:
        DataError, TypeError, ValueError: as `gatentk.data.load`.
        FitError: there is nothing to fit, or the test set is not of the same features and kind of targets.
    """
    columns = {"label": config.label, "index": config.index, "header": config.header}
    whole = data.load(config.data, n=config.n, seed=config.data_seed, path=config.path, **columns)  # type: ignore[arg-type]
    if whole.y is None:
        raise FitError(lacks_y(whole, "targets to fit"))
    tests = None if config.test is None else _as_asked(config, _test_set(config, whole))
    whole = _as_asked(config, whole)
    assert whole.y is not None
    rows, test_rows = _split(config, whole)
    classes = None if whole.y.is_floating_point() else _classes(whole, rows)
    if tests is not None:
        given, test_y = tests.x, tests.y
        test_rows = torch.arange(len(given))
    else:
        given, test_y = whole.x[test_rows], whole.y[test_rows]
        tests = replace(whole, x=given, y=test_y)
    numbers, test_numbers, unseen = _numbers(whole, rows, tests, classes)
    train = whole.x[rows]
    some = (train != 0).any(dim=1)
    if not bool(some.any()):
        raise FitError(f"{whole.name}: expected train samples that are not all zero")
    x, test_x, normalize, constant = _scaled(config, train, given, classes is not None)
    has_tests = len(test_x) > 0
    arrays = [
        part.numpy()
        for part in (whole.x, whole.y, *(() if config.test is None else (given, test_y)))
        if part is not None
    ]
    return FitSamples(
        x=x,
        y=numbers,
        rows=rows,
        test_x=test_x if has_tests else None,
        test_y=test_numbers if has_tests else None,
        test_rows=test_rows if has_tests else None,
        classes=classes,
        unseen=unseen if has_tests else (),
        name=whole.name,
        test_name="" if config.test is None else tests.name,
        normalize=normalize,
        constant=constant,
        duplicates=len(rows) - len(first_occurrences(train)),
        zero_rows=int((~some).sum()),
        shared=len(shared_rows(given, train)),
        few_numbers=_few_numbers(numbers) if config.predict == "auto" and classes is None else 0,
        uneven=_unevenness(train) if normalize == "unit" else 1.0,
        digest=array_digest(*arrays),
        notes=(*whole.note.splitlines(), *("" if config.test is None else tests.note).splitlines()),
    )


def _test_set(config: FitConfig, whole: Dataset) -> Dataset:
    """The test set, its features in the order of the train set's; without y if it has none."""
    assert config.test is not None
    is_csv = config.test.partition(":")[0] == "csv"
    label, index, header = (config.label, config.index, config.header) if is_csv else (None, None, None)
    is_of_data = config.test.removesuffix("-test") == config.data.removesuffix("-test")
    path = config.path if is_of_data and ":" not in config.test else None
    try:
        try:
            found = data.load(config.test, path=path, label=label, index=index, header=header)
        except ValueError as error:
            if label in (None, "") or not str(error).startswith("label:"):
                raise
            found = data.load(config.test, label="", index=index, header=header)  # targets that are to be predicted
        d = whole.x.shape[1]
        if label and found.features is None and found.x.shape[1] == d - 1:
            found = data.load(config.test, label="", index=index, header=header)  # a column of that number is a feature
    except ValueError as error:
        text = str(error)
        raise ValueError(f"test:{text.removeprefix('name:')}" if text.startswith("name:") else text) from error
    return _matched(config, whole, found)


def _matched(config: FitConfig, whole: Dataset, found: Dataset) -> Dataset:
    """The test set, its features in the order of the train set's: by their names, or as they stand without names."""
    d, d_test = whole.x.shape[1], found.x.shape[1]
    named = (whole.features is not None) + (found.features is not None)
    if named == 2 and whole.features != found.features:
        assert whole.features is not None
        assert found.features is not None
        missing = [name for name in whole.features if name not in found.features]
        others = [name for name in found.features if name not in whole.features]
        if missing or others or d != d_test:
            wrong = [
                f"{what} {', '.join(map(repr, names[:5]))}"
                for what, names in (("lacks", missing), ("also has", others))
                if names
            ]
            raise FitError(
                f"test={config.test}: expected the {d:,} features of {whole.name}, but it "
                f"{' and '.join(wrong) or f'has {d_test:,}'}"
            )
        twice = [name for name, count in Counter(whole.features).items() if count > 1]
        if twice:
            raise FitError(
                f"test={config.test}: expected features in the order of {whole.name}, as they have no names of their "
                f"own (more than one is called {twice[0]!r})"
            )
        order = [found.features.index(name) for name in whole.features]
        return replace(found, x=found.x[:, order].contiguous(), features=whole.features)
    if d != d_test:
        raise FitError(f"test={config.test}: expected {d:,} features as {whole.name} has, got {d_test:,}")
    if named == 1:
        nameless = whole.name if whole.features is None else found.name
        said = f"{found.name}: features are taken in the order they have, as those of {nameless} have no names"
        return replace(found, note=f"{found.note}\n{said}".strip())
    return found


def _as_asked(config: FitConfig, dataset: Dataset) -> Dataset:
    """The same with y as `FitConfig.predict` says."""
    y = dataset.y
    if y is None or config.predict == "auto" or y.is_floating_point() == (config.predict == "numbers"):
        return dataset
    if config.predict == "numbers":
        if dataset.classes is not None:
            named = ", ".join(map(repr, dataset.classes[:3]))
            raise FitError(f"predict=numbers: {dataset.name} has names to predict, such as {named}")
        return replace(dataset, y=y.double())
    fractions = y[y != y.floor()]
    if len(fractions):
        first = fractions[0].item()
        raise FitError(f"predict=classes: expected whole numbers or names as classes in {dataset.name}, got {first:g}")
    return replace(dataset, y=y.long())


def _split(config: FitConfig, whole: Dataset) -> tuple[Tensor, Tensor]:
    n = len(whole.x)
    count = round(config.share * n)
    if config.share > 0 and config.test_fraction is not None and not 0 < count < n:
        raise FitError(f"test_fraction={config.share:g}: {whole.name} has {n} samples, {count} would be tests")
    if n - count < 2:
        raise FitError(f"{whole.name}: expected at least 2 samples to leave one out, got {n - count}")
    return split_rows(n, count, config.data_seed)


def _texts(dataset: Dataset) -> list[str]:
    """Labels as they are written."""
    assert dataset.y is not None
    return [str(int(value)) if dataset.classes is None else dataset.classes[int(value)] for value in dataset.y.tolist()]


def _classes(whole: Dataset, rows: Tensor) -> tuple[str, ...]:
    assert whole.y is not None
    found = torch.unique(whole.y[rows])
    if len(found) < 2:
        (only,) = _texts(replace(whole, y=found))
        raise FitError(f"{whole.name}: expected train samples of at least two classes, all are of class {only}")
    if len(found) > CLASS_LIMIT:
        raise FitError(too_many_classes(whole.name, len(found)))
    if len(found) == len(rows):
        raise FitError(
            f"{whole.name}: expected classes with several train samples, but no two of {len(rows):,} have the same "
            "label; numbers to predict have to be plain numbers"
        )
    return tuple(_texts(replace(whole, y=found)))


def _numbers(
    whole: Dataset, rows: Tensor, tests: Dataset, classes: tuple[str, ...] | None
) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """Targets of both sides: numbers to predict, or numbers of classes; and labels that only test samples have."""
    assert whole.y is not None
    y, test_y = whole.y[rows], tests.y
    if classes is None:
        if test_y is not None and tests.classes is not None:
            raise FitError(
                f"{tests.name}: expected targets that are numbers, as those of {whole.name}, got names such as "
                f"{tests.classes[0]!r}"
            )
        return y.double(), None if test_y is None else test_y.double(), ()
    number = {text: k for k, text in enumerate(classes)}
    numbers = torch.tensor([number[text] for text in _texts(replace(whole, y=y))])
    if test_y is None:
        return numbers, None, ()
    fractions = test_y[test_y.long() != test_y].tolist()
    if (tests.classes is None) != (whole.classes is None) or fractions:
        wanted, got = (
            f"names such as {side.classes[0]!r}" if side.classes else "whole numbers" for side in (whole, tests)
        )
        got = f"{fractions[0]:g}" if fractions else got
        raise FitError(f"{tests.name}: expected classes as in {whole.name}, {wanted}, got {got}")
    texts = _texts(tests)
    unseen = tuple(sorted(set(texts) - set(classes)))
    number |= {text: len(classes) + k for k, text in enumerate(unseen)}
    return numbers, torch.tensor([number[text] for text in texts], dtype=torch.int64), unseen


def _scaled(config: FitConfig, x: Tensor, test_x: Tensor, has_classes: bool) -> tuple[Tensor, Tensor, str, bool]:
    """Both sides as `FitConfig.normalize` and `FitConfig.constant` say, and what these were."""
    normalize = config.normalize
    if normalize == "auto":
        normalize = "unit" if has_classes and resembles_images(x) else "standard"
    both = torch.cat([x, test_x])
    if normalize == "unit":
        both = unit_rows(both)
    elif normalize == "standard":
        both = standard_columns(both, torch.arange(len(x)))
    wrong = ~torch.isfinite(both).all(dim=1)
    if bool(wrong.any()):
        row = int(torch.nonzero(wrong)[0])
        side, row = ("train", row) if row < len(x) else ("test", row - len(x))
        raise FitError(
            f"normalize={normalize}: {side} sample {row} (from 0) leaves the range of float64; rescale the data"
        )
    constant = config.constant
    if constant is None:
        constant = normalize == "standard" and config.b_std is None
    if constant:
        both = torch.cat([both, both.new_ones(len(both), 1)], dim=1)
    return both[: len(x)].contiguous(), both[len(x) :].contiguous(), normalize, constant


def resembles_images(x: Tensor) -> bool:
    """Whether samples look like images on a dark background: the scale of each is then brightness, which says nothing.

    They do if there are at least 16 features, none is negative, at least a quarter of all numbers is 0, and the largest
    range of a feature is at most twice the median. Counts of words and features that are 0 or 1 may too, and lose
    nothing by norm 1. Columns of a table do not, and photographs without a background do not, whose brightness may say
    what they show (tools/scaling_scores.py has accuracies).

    Args:
        x: samples (n, d), float64.

    >>> pixels = torch.tensor([0.0, 0.0, 0.5, 1.0]).repeat(3, 4)
    >>> pixels[0] = 0
    >>> resembles_images(pixels), resembles_images(pixels + 1), resembles_images(pixels * torch.arange(1.0, 17.0) ** 3)
    (True, False, False)
    """
    if x.shape[1] < FEWEST_PIXELS or bool((x < 0).any()):
        return False
    zeros = int((x == 0).sum()) / x.numel()
    return zeros >= BACKGROUND and _unevenness(x) <= ONE_SCALE


def _few_numbers(y: Tensor) -> int:
    """How many different values, if they are whole, at most 20, and each stands for two samples or more in the mean."""
    count = len(torch.unique(y))
    return count if bool((y == y.floor()).all()) and 1 < count <= min(FEW, len(y) // 2) else 0


def _unevenness(x: Tensor) -> float:
    """The largest spread of a feature over the median of those that vary."""
    ends = torch.aminmax(x, dim=0)
    spreads = ends.max / 2 - ends.min / 2
    spreads = spreads[spreads > 0]
    return float(spreads.max() / spreads.median()) if len(spreads) else 1.0
