import pickle

import numpy as np
import pytest
import torch
from cases.datasets import Bomb, write_cifar10

from gatentk import DataError, data


def test_part_of_the_files(tmp_path):
    for batch in (1, 2, 4, 5):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"data_batch_3.bin: no such file"):
        data.load("cifar10", path=tmp_path)


def test_cifar10(tmp_path):
    records = write_cifar10(tmp_path)
    ds = data.load("cifar10", path=tmp_path)
    assert (ds.x.shape, ds.x.dtype, ds.x.is_contiguous()) == ((8, 3072), torch.float64, True)
    assert (ds.y.tolist(), ds.y.dtype, ds.name) == (records[:, 0].tolist(), torch.int64, "cifar10")
    assert np.array_equal(ds.x.numpy(), records[:, 1:] / 255)
    # "the first 32 bytes are the red channel values of the first row": column 5 of row 2, blue, of image 4
    assert ds.x.reshape(-1, 3, 32, 32)[4, 2, 2, 5] == records[4, 1 + 2 * 1024 + 2 * 32 + 5] / 255


def test_cifar10_test(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"\x09" + bytes(range(256)) * 12)
    ds = data.load("cifar10-test", path=str(tmp_path))
    assert ds.y.tolist() == [9]
    assert torch.equal(ds.x[0] * 255, torch.arange(3072) % 256)


def test_cifar10_subset_keeps_pairs(tmp_path):
    write_cifar10(tmp_path)
    whole, some, fewer = (data.load("cifar10", n=n, seed=1, path=tmp_path) for n in (None, 6, 2))
    for x, y in zip(some.x, some.y, strict=True):
        assert whole.y[(whole.x == x).all(dim=1)].tolist() == [y]
    assert torch.equal(fewer.x, some.x[:2])


@pytest.mark.parametrize(("name", "file"), [("cifar10", "data_batch_1"), ("cifar10-test", "test_batch")])
def test_pickled_cifar10_is_refused(tmp_path, name, file):
    (tmp_path / file).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"is a pickle, which can run any code .*binary version.*kriz/cifar") as caught:
        data.load(name, path=tmp_path)
    assert str(caught.value).startswith(str(tmp_path / file))
