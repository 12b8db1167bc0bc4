import numpy as np
import pytest
import torch
from cases.datasets import is_dataset, write_split

from gatentk import DataError, data
from gatentk.data.sets import fashion_mnist


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("name", "split"), [("fashion-mnist", "train"), ("fashion-mnist-test", "t10k")])
def test_fashion_mnist_from_a_folder(tmp_path, images, labels, name, split, zipped):
    write_split(tmp_path, images, labels, split, zipped)
    ds = data.load(name, path=str(tmp_path))
    assert is_dataset(ds, 7, 12, torch.int64)
    assert np.array_equal(ds.x.numpy(), images.reshape(7, 12) / 255)
    assert np.array_equal(ds.y.numpy(), labels)
    assert ds.name == name


def test_fashion_mnist_from_the_installed_folder(monkeypatch, fashion):
    monkeypatch.setattr(fashion_mnist, "FOLDER", fashion)
    assert is_dataset(data.load("fashion-mnist", n=5), 5, 12, torch.int64)


@pytest.mark.skipif(not fashion_mnist.FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
@pytest.mark.parametrize(("name", "size"), [("fashion-mnist", 60_000), ("fashion-mnist-test", 10_000)])
def test_fashion_mnist_of_debian(name, size):
    ds = data.load(name, n=size // 10)
    assert is_dataset(ds, size // 10, 784, torch.int64)
    assert ds.x.max() == 1
    assert set(ds.y.tolist()) == set(range(10))
    with pytest.raises(ValueError, match=f"has {size} samples"):
        data.load(name, n=size + 1)


def test_missing_idx_file_says_how_to_get_it(fashion):
    (fashion / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\[.gz\]: no such file.*apt-get install dataset-fash"):
        data.load("fashion-mnist", path=fashion)


def test_label_count_differs_from_image_count(tmp_path, images, labels):
    write_split(tmp_path, images, labels[:6])
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: expected 7 labels, one an image of .*, got 6"):
        data.load("fashion-mnist", path=tmp_path)
