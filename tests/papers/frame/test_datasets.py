"""Data sets that are there or not, and files of the user's."""

from pathlib import Path

import pytest

from gatentk.errors import DataError
from gatentk.papers.frame import datasets
from gatentk.papers.frame.experiment import Scale


def test_files_of_the_user_are_settings():
    scale = Scale(paths={"sgemm": Path("a/b.csv")})
    assert datasets.file(scale, "sgemm") == "a/b.csv"
    assert datasets.file(scale, "cifar10") is None


def test_cifar10_is_the_version_that_the_user_has():
    assert datasets.cifar10(Scale()) == "cifar10"
    assert datasets.cifar10(Scale(paths={"cifar10": Path("a")})) == "cifar10"
    assert datasets.cifar10(Scale(paths={"cifar10-pickle": Path("a")})) == "cifar10-pickle"


def test_arrays_of_the_user_stand_for_speech_features_and_for_mnist():
    assert datasets.source("librispeech", "a.npy") == "npy"
    assert datasets.source("mnist", Path("a.npz")) == "npy"
    assert datasets.source("mnist", None) == "mnist"
    assert datasets.source("svhn", "a") == "svhn"


def find(name, path):
    if name == "there" or path == Path("good"):
        return (name, path)
    raise DataError(f"{name}: not here")


def test_what_is_not_there_is_left_out_with_what_it_needs():
    there, missing = datasets.present(("there", "away", "mine"), Scale(), find, {"mine": "a file"})
    assert there == {"there": ("there", None)}
    assert missing == {"away": "away: not here", "mine": "a file"}
    assert datasets.left_out(missing) == [
        "Left out: away. It needs away: not here.",
        "Left out: mine. It needs a file.",
    ]


def test_a_path_is_followed_and_an_error_if_it_leads_nowhere():
    there, missing = datasets.present(("mine",), Scale(paths={"mine": Path("good")}), find, {"mine": "a file"})
    assert (there, missing) == ({"mine": ("mine", Path("good"))}, {})
    with pytest.raises(DataError, match="mine: not here"):
        datasets.present(("mine",), Scale(paths={"mine": Path("bad")}), find, {"mine": "a file"})
