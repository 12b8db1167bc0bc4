import re

import numpy as np
import pytest
import torch

from gatentk import DataError, data


@pytest.mark.parametrize("name", ["", "Digits", "digits:file", "json:file", ":file"])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="name: expected one of"):
        data.load(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("minst", "; did you mean mnist?"),
        ("Digits", "; did you mean digits?"),
        ("houses.csv", "; the file is csv:houses.csv"),
        ("/a/X.CSV", "; the file is csv:/a/X.CSV"),
        ("x.npz", "; the file is npy:x.npz"),
        ("zzzz", ""),
    ],
)
def test_an_unknown_name_says_what_may_be_meant(name, meant):
    with pytest.raises(ValueError, match=re.escape(f"got {name!r}{meant}") + "$"):
        data.load(name)


@pytest.mark.parametrize("name", [None, 3, b"digits"])
def test_name_that_is_no_string(name):
    with pytest.raises(TypeError, match="name: expected a string"):
        data.load(name)


@pytest.mark.parametrize("name", ["synthetic", "friedman", "ackley", "digits", "diabetes", "mnist"])
def test_path_that_is_not_wanted(name):
    with pytest.raises(ValueError, match=f"path: {name} is not read from a file"):
        data.load(name, path="somewhere")


@pytest.mark.parametrize(("name", "path"), [("csv", None), ("npy:", None), ("csv:a.csv", "b.csv")])
def test_a_file_is_given_once(name, path):
    with pytest.raises(ValueError, match="expected one file"):
        data.load(name, path=path)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"n": 0}, ValueError), ({"n": 2.0}, TypeError), ({"seed": -1}, ValueError), ({"seed": "0"}, TypeError)],
)
def test_n_and_seed_are_integers_in_range(arguments, error):
    with pytest.raises(error, match=next(iter(arguments))):
        data.load("synthetic", **arguments)


def test_dataset_is_frozen():
    with pytest.raises(AttributeError):
        data.load("synthetic", n=2).x = None


def test_subset_is_drawn_without_replacement_and_keeps_pairs(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(50.0).reshape(50, 1), y=np.arange(50))
    name = f"npy:{tmp_path / 'a.npz'}"
    whole, some, fewer = data.load(name), data.load(name, n=30, seed=4), data.load(name, n=10, seed=4)
    assert torch.equal(whole.y, torch.arange(50))
    assert torch.equal(some.x[:, 0], some.y.double())
    assert len(set(some.y.tolist())) == 30
    assert torch.equal(fewer.x, some.x[:10])
    assert not torch.equal(data.load(name, n=30, seed=5).y, some.y)
    assert sorted(data.load(name, n=50).y.tolist()) == list(range(50))


def test_more_samples_than_there_are():
    with pytest.raises(ValueError, match="n: digits has 1797 samples, got n=1798"):
        data.load("digits", n=1798)


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("1,2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load("csv:~/table.csv").x.tolist() == [[1, 2]]


@pytest.mark.parametrize("name", ["~nosuchuser/x.csv", "~$mine.csv", "~", "a\udcffb.csv", "x" * 5000, "\x01"])
@pytest.mark.parametrize("kind", ["csv", "npy", "svhn"])
def test_names_of_files_that_are_not_there(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"[Nn]o such file|name too long"):
        data.load(kind, path=name)


@pytest.mark.parametrize("name", ["~nosuchuser.csv", "~$mine.csv", "a\udcffb.csv", "a b\n.csv", "a:b.csv", "é.csv"])
def test_names_of_files_that_are_there(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("1,2\n")
    ds = data.load(f"csv:{name}")
    assert ds.x.tolist() == [[1, 2]]
    assert ds.name == f"csv:{name}"
    assert ds.note == ""


@pytest.mark.parametrize("path", ["", "a\0b", b"a.csv", 3])
@pytest.mark.parametrize("kind", ["csv", "npy", "svhn"])
def test_paths_that_are_none(path, kind):
    with pytest.raises(ValueError, match="path: expected the path of a file or folder"):
        data.load(kind, path=path)
