"""SVHN: photographed house numbers, cropped to a digit (Netzer et al., NIPS workshop, 2011).

`x.reshape(-1, 3, 32, 32)` is a batch of images (sample, channel, row, column).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gatentk.data.entries import Published, Row, Source
from gatentk.data.published import check_labels, find_file
from gatentk.errors import DataError

_ADVICE = (
    "download {file} (format 2, cropped digits) from The Street View House Numbers (SVHN) Dataset, "
    "http://ufldl.stanford.edu/housenumbers, and give the file or its folder as path"
)


def _read(file: str, path: Path | None) -> Source:
    """X (32, 32, 3, n): row, column, channel, image; y (n, 1): 1 to 9, and 10 for the digit 0."""
    import numpy as np

    from gatentk.data.formats.matlab import read_matlab

    path = find_file(path, file, _ADVICE.format(file=file))
    x, y = read_matlab(path, ("X", "y"))
    if x.dtype != np.uint8 or x.shape[:3] != (32, 32, 3) or x.ndim > 4 or x.size == 0:
        raise DataError(f"{path}: expected X of shape (32, 32, 3, n), uint8, got {x.shape}, {x.dtype}")
    images = x.reshape(32, 32, 3, -1, order="F").transpose(3, 2, 0, 1)  # MATLAB drops a last size of 1
    if y.shape != (len(images), 1):
        raise DataError(f"{path}: expected y of shape ({len(images)}, 1), one label an image of X, got {y.shape}")
    labels = y[:, 0]
    check_labels(path, labels, ~np.isin(labels, np.arange(1, 11)), "1 to 10")
    return Source(images, labels.astype(np.int64) % 10, 255)


ENTRIES = (
    Published(
        name="svhn",
        place=110,
        rows=(
            Row("svhn", "73,257 x 3072", "pixels / 255, channel by channel, row by row", "digits 0 to 9"),
            Row("svhn-test", "26,032 x 3072", "the same", "digits 0 to 9"),
        ),
        read=partial(_read, "train_32x32.mat"),
        read_test=partial(_read, "test_32x32.mat"),
        path="`train_32x32.mat` or `test_32x32.mat`, or the folder it is in; another file of that format, such as "
        "`extra_32x32.mat`, is read as well",
    ),
)
