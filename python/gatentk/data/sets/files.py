"""Files of the user's own, as `csv:PATH` and `npy:PATH`.

- CSV: a sample a line, numbers separated by commas; blank lines are ignored. Semicolons, tabs and spaces are
  recognised, with them decimal commas; quotes, a byte order mark and UTF-16 are read.
  The first line is a header if none of its fields is a number, or one is called `label`, `class` or `target`, or if it
  counts the columns from 0 or 1, as pandas names those of an array, and the lines below it do not look like that.
  The column `label` or `class` is y, in any case of letters, and becomes int64: whole numbers, or names, which are
  numbered in sorted order. Else the column `target`, or `y` at an end of the line, is y and becomes float64. A column
  that the argument `label` names is numbers to predict, unless it holds names or at most 20 different whole numbers.
  First columns without a name, whole numbers or text, are the index that pandas writes, and are left out.
  A missing value, and an integer beyond 2^53 that float64 cannot hold, is an error that names line and column.
- NPY: a 2-D float or integer array x; or an .npz file with such an array `x` and optionally a 1-D `y` of float targets
  or integer labels (other arrays are ignored). This is the way in for features that another program computed, of
  speech for example: one row an utterance or frame, `numpy.save("speech.npy", features)` or
  `numpy.savez("speech.npz", x=features, y=labels)`, then `load("npy:speech.npz")`.
"""

from __future__ import annotations

from pathlib import Path

from gatentk.data.entries import Columns, Features, FileFormat, Row, Source


def _csv(path: Path, columns: Columns) -> Source:
    from gatentk.data.formats.csv import read_csv

    return read_csv(path, columns)


def _npy(path: Path, columns: Columns) -> Source:
    from gatentk.data.formats.npy import read_npy

    return read_npy(path)


ENTRIES = (
    # Speech features that the papers' experiments read from an array of the user's.
    Features(name="librispeech", place=500),
    FileFormat(
        name="csv",
        place=900,
        rows=(Row("csv:PATH", "one a line", "as written", "the column named so"),),
        read=_csv,
        samples_note="one sample a line; a column named label, class, target or y is left out",
        training_note="one sample a line; the column named label or class for classes, target or y for numbers, is "
        "learnt",
        columns=True,
    ),
    FileFormat(
        name="npy",
        place=910,
        rows=(Row("npy:PATH", "one a row", "as stored", "array `y` of an .npz file"),),
        read=_npy,
        samples_note="an n x d array",
        training_note="an .npz file with x and y",
    ),
)
