"""Fashion-MNIST (Xiao et al., arXiv 1708.07747); any data set in files of the same names and format will do."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from gatentk.data.entries import Published, Row, Source
from gatentk.errors import DataError

FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of Debian's package

_ADVICE = (
    "install the images by: apt-get install dataset-fashion-mnist (Debian, Ubuntu), or give as path a folder with the "
    "four files of https://github.com/zalandoresearch/fashion-mnist"
)


def _read(split: str, folder: Path | None) -> Source:
    """One split from a folder with the published file names."""
    from gatentk.data.formats.idx import read_idx

    folder = folder or FOLDER
    images_path = _find(folder, f"{split}-images-idx3-ubyte")
    labels_path = _find(folder, f"{split}-labels-idx1-ubyte")
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path}: expected {len(images)} labels, one an image of {images_path}, got {len(labels)}"
        )
    return Source(images, labels, 255)


def _find(folder: Path, stem: str) -> Path:
    for path in (folder / stem, folder / f"{stem}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / stem}[.gz]: no such file; {_ADVICE}")


ENTRIES = (
    Published(
        name="fashion-mnist",
        place=100,
        rows=(
            Row("fashion-mnist", "60,000 x 784", "pixels / 255, in [0, 1] (`train` files)", "classes 0 to 9"),
            Row("fashion-mnist-test", "10,000 x 784", "pixels / 255, in [0, 1] (`t10k` files)", "classes 0 to 9"),
        ),
        read=partial(_read, "train"),
        read_test=partial(_read, "t10k"),
        path="the folder of the four IDX files, plain or gzipped (default: where Debian's package puts them)",
    ),
)
