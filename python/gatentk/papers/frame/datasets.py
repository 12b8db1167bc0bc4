"""Data sets of experiments: the user's files, what they stand for, and what is left out where they are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from gatentk.errors import DataError
from gatentk.papers.frame.experiment import Scale, UserFile

T = TypeVar("T")


def file(scale: Scale, name: str) -> UserFile | None:
    """The user's file of a data set, as a setting."""
    return setting(scale.paths.get(name))


def setting(path: Path | None) -> UserFile | None:
    """A file of the user's as a setting."""
    return None if path is None else UserFile(path)


def cifar10(scale: Scale) -> str:
    """The name of CIFAR-10: of its binary version, or of the pickled one where the user has that."""
    return "cifar10-pickle" if "cifar10-pickle" in scale.paths else "cifar10"


def source(name: str, path: Path | str | None) -> str:
    """What `gatentk.data.load` calls a data set; the user's arrays may stand for speech features and for MNIST."""
    return "npy" if name == "librispeech" or (name == "mnist" and path is not None) else name


def present(
    names: Iterable[str], scale: Scale, find: Callable[[str, Path | None], T], brought: Mapping[str, str]
) -> tuple[dict[str, T], dict[str, str]]:
    """What is found of the data sets that are there, and what the others need.

    Args:
        names: of the data sets.
        scale: with the user's files.
        find: gets a name and a path.
        brought: what those data sets need that are never there without a path.

    Raises:
        DataError: a path was given, and there is no such data set.
    """
    there, missing = {}, {}
    for name in names:
        path = scale.paths.get(name)
        if path is None and name in brought:
            missing[name] = brought[name]
            continue
        try:
            there[name] = find(name, path)
        except DataError as error:
            if path is not None:
                raise
            missing[name] = str(error)
    return there, missing


def left_out(missing: Mapping[str, str]) -> list[str]:
    """Remarks on the data sets that are not there, from what each needs."""
    return [f"Left out: {name}. It needs {what}." for name, what in missing.items()]
