"""Files of the user's own, as `csv:PATH` and `npy:PATH`.

- CSV: numbers separated by commas, blank lines ignored. The first line is a header if none of its fields is a number,
  or if its last field is `label`, `target` or `y` in any case. That last column is then y: `label` holds whole numbers
  and becomes int64, `target` and `y` become float64.
- NPY: a 2-D float or integer array x; or an .npz file with such an array `x` and optionally a 1-D `y` of float targets
  or integer labels (other arrays are ignored). This is the way in for features that another program computed, of
  speech for example: one row an utterance or frame, `numpy.save("speech.npy", features)` or
  `numpy.savez("speech.npz", x=features, y=labels)`, then `load("npy:speech.npz")`.
"""

from __future__ import annotations

from pathlib import Path

from gatentk.data.entries import Features, FileFormat, Row, Source


def _csv(path: Path) -> Source:
    from gatentk.data.formats.csv import read_csv

    return read_csv(path)


def _npy(path: Path) -> Source:
    from gatentk.data.formats.npy import read_npy

    return read_npy(path)


ENTRIES = (
    # Speech features that the papers' experiments read from an array of the user's.
    Features(name="librispeech", place=500),
    FileFormat(
        name="csv",
        place=900,
        rows=(Row("csv:PATH", "one a line", "as written", "last column, if named so"),),
        read=_csv,
        samples_note="one sample a line; a last column named label, target or y is left out",
        training_note="one sample a line; the last column, named label for classes, target or y for numbers, is learnt",
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
