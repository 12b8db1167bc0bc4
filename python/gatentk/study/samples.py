"""The rows that a study works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from gatentk import data
from gatentk.data.rows import first_occurrences
from gatentk.errors import StudyError
from gatentk.runs.identity import array_digest
from gatentk.study import config as names
from gatentk.study.config import StudyConfig

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in names.DTYPES}


@dataclass(frozen=True, eq=False)
class StudySamples:
    """The rows a study works on, and what was found in them.

    Attributes:
        x: (n, d), in the dtype of the study.
        name: of the data set.
        duplicates: rows of x that equal an earlier row.
        dropped_zero_rows, dropped_duplicates: rows that were removed on request.
        digest: SHA-256 of x.
        subset: the rows for finite width; None if it uses all.
        note: in a line, what was guessed of the data's file; empty if nothing was.
    """

    x: torch.Tensor
    name: str
    duplicates: int
    dropped_zero_rows: int
    dropped_duplicates: int
    digest: str
    subset: torch.Tensor | None
    note: str = ""

    def rows(self, which: str) -> torch.Tensor:
        """The samples that a task calls "all" or "subset"."""
        return self.x if which == "all" or self.subset is None else self.x[self.subset]


def prepare_study(config: StudyConfig) -> StudySamples:
    """Load the data and look for rows that have no angle or an angle of zero.

    Raises:
        DataError, TypeError, ValueError: as `gatentk.data.load`.
        StudyError: an all-zero row, or too few rows for what is asked.
    """
    dataset = data.load(
        config.data,
        n=config.n,
        seed=config.data_seed,
        path=config.path,
        label=config.label,
        index=config.index,
        header=config.header,
    )
    x, zero_rows = _without_zero_rows(dataset.x, config.drop_zero_rows)
    _check_range(x, DTYPES[config.dtype])
    x = x.to(DTYPES[config.dtype])
    first = first_occurrences(x)
    duplicates, dropped = len(x) - len(first), 0
    if config.drop_duplicates:
        x, duplicates, dropped = x[first], 0, duplicates
    _check_sizes(config, len(x))
    subset = None
    if config.subset is not None and config.subset < len(x) and config.width is not None:
        order = np.random.default_rng((config.data_seed, 1)).permutation(len(x))
        subset = torch.from_numpy(order[: config.subset])
    return StudySamples(x, dataset.name, duplicates, zero_rows, dropped, array_digest(x.numpy()), subset, dataset.note)


def _without_zero_rows(x: torch.Tensor, drop: bool) -> tuple[torch.Tensor, int]:
    zero = ~(x != 0).any(dim=1)
    count = int(zero.sum())
    if count and not drop:
        first = int(torch.nonzero(zero)[0])
        others = f" and {count - 1} more" if count > 1 else ""
        raise StudyError(
            f"row {first}{others} (counted from 0) of the data is all zero, so its angle to other rows is undefined "
            "and its kernel is 0, which makes every kernel that holds it singular; drop_zero_rows=True leaves such "
            "rows out"
        )
    return x[~zero] if count else x, count


def _check_range(x: torch.Tensor, dtype: torch.dtype) -> None:
    """Refuse rows whose squared norms, times whatever a network makes of them, leave the range of the dtype."""
    limits = torch.finfo(dtype)
    peaks = x.abs().amax(dim=1)
    for wrong, what in (
        (peaks < limits.tiny**0.5 * 2**10, "small"),
        (peaks > limits.max**0.5 / 2**20, "large"),
    ):
        if bool(wrong.any()):
            row = int(torch.nonzero(wrong)[0])
            advice = ", or use float64" if dtype == torch.float32 else ""
            raise StudyError(
                f"row {row} (counted from 0) of the data, whose largest value is {float(peaks[row]):.3g}, is too "
                f"{what} for kernels in {str(dtype).removeprefix('torch.')}; rescale the data{advice}"
            )


def _check_sizes(config: StudyConfig, n: int) -> None:
    if n < 2:
        raise StudyError(f"an angle needs at least two samples, the data has {n}")
    if config.width is not None and config.subset is not None and config.subset > n:
        raise StudyError(f"subset={config.subset}: the data has {n} samples")
    smallest = n if config.subset is None or config.width is None else config.subset
    if config.batch is not None and config.batch > smallest:
        raise StudyError(f"batch={config.batch}: there are {smallest} samples to take mini-batches from")
