import subprocess
import sys

import pytest

from gatentk import data
from gatentk.data import registry
from gatentk.data.entries import Published

# What the exact texts below are of; another data set does not change them.
FIRST = (
    "synthetic", "friedman", "ackley", "digits", "diabetes", "mnist", "fashion-mnist", "svhn", "cifar10",
    "cifar10-pickle", "sgemm", "librispeech", "csv", "npy",
)  # fmt: skip


@pytest.fixture
def first_entries(monkeypatch):
    entries = tuple(entry for entry in registry.entries() if entry.name in FIRST)
    assert len(entries) == len(FIRST)
    monkeypatch.setattr(registry, "entries", lambda: entries)


@pytest.mark.usefixtures("first_entries")
def test_names_are_those_of_the_error_for_an_unknown_one():
    assert data.names() == (
        "synthetic", "friedman", "ackley", "digits", "diabetes", "mnist", "fashion-mnist", "fashion-mnist-test", "svhn",
        "svhn-test", "cifar10", "cifar10-test", "cifar10-pickle", "cifar10-pickle-test", "sgemm", "csv:PATH",
        "npy:PATH",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"expected one of synthetic, friedman, .*npy:PATH, got 'cifar'"):
        data.load("cifar")


def test_names_and_places_are_given_once():
    names = [entry.name for entry in registry.entries()]
    assert len(set(names)) == len(names)
    assert len({entry.place for entry in registry.entries()}) == len(names)


@pytest.mark.usefixtures("first_entries")
def test_help_texts_name_every_data_set():
    listed = "synthetic, friedman, ackley, digits, diabetes, mnist, fashion-mnist, svhn, cifar10 (the last three also "
    assert registry.samples_help() == (
        f"{listed}with -test), sgemm, csv:PATH (one sample a line; a column named label, class, target or y is left "
        "out) or npy:PATH (an n x d array)."
    )
    assert registry.training_help() == (
        f"{listed}with -test), sgemm, csv:PATH (one sample a line; the column named label or class for classes, "
        "target or y for numbers, is learnt) or npy:PATH (an .npz file with x and y)."
    )
    assert registry.path_help() == ("Folder or file of fashion-mnist, svhn, cifar10 or sgemm, or the csv or npy file.")


@pytest.mark.usefixtures("first_entries")
def test_data_sets_that_the_papers_read_from_files_of_the_user():
    assert registry.brought_names() == (
        "mnist", "fashion-mnist", "svhn", "cifar10", "cifar10-pickle", "sgemm", "librispeech",
    )  # fmt: skip


def test_the_module_says_what_each_name_holds():
    for name in data.names():
        assert f"`{name}`" in data.__doc__


@pytest.fixture
def another(monkeypatch):
    """Declare entries beside those there are, as a module that is added does."""

    def add(*entries):
        together = tuple(sorted((*registry.entries(), *entries), key=lambda entry: entry.place))
        monkeypatch.setattr(registry, "entries", lambda: together)

    return add


def published(name, place, test=True):
    return Published(name=name, place=place, path="a file", read=len, read_test=len if test else None)


def test_another_data_set_is_in_every_text(another):
    another(published("speech", 150), published("images", 125, test=False))
    assert "cifar10 (the last three also with -test), images, sgemm, speech (also with -test), csv:PATH" in (
        registry.samples_help()
    )
    assert "svhn, cifar10, images, sgemm or speech, or the csv" in registry.path_help()
    assert registry.brought_names()[-3:] == ("sgemm", "speech", "librispeech")
    assert registry.names()[-4:] == ("speech", "speech-test", "csv:PATH", "npy:PATH")
    assert "- `speech`, `speech-test`: a file." in registry.table()


def test_entries_come_from_the_modules_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "weather.py").write_text(
        "from gatentk.data.entries import Generated\n"
        "ENTRIES = (Generated(name='weather', place=1, draw=None, default=3),)\n"
    )
    monkeypatch.setattr(registry.sets, "__path__", [*registry.sets.__path__, str(tmp_path)])
    registry.entries.cache_clear()
    try:
        assert registry.names()[:2] == ("weather", "synthetic")
    finally:
        registry.entries.cache_clear()
        sys.modules.pop("gatentk.data.sets.weather")


def test_the_names_are_known_without_numpy():
    code = "import sys; from gatentk.data import registry; registry.samples_help(); print('numpy' in sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert outcome.stdout == "False\n"
