import numpy as np
import pytest
import scipy.io
import torch
from cases.datasets import X, Y, matlab_bytes

from gatentk import DataError, data


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i4", "f8"])
@pytest.mark.parametrize(("name", "file"), [("svhn", "train_32x32.mat"), ("svhn-test", "test_32x32.mat")])
def test_svhn(tmp_path, name, file, dtype, compressed):
    (tmp_path / file).write_bytes(matlab_bytes(compressed, X=X, y=Y.astype(dtype)))
    ds = data.load(name, path=tmp_path)
    assert (ds.x.shape, ds.x.dtype, ds.x.is_contiguous()) == ((4, 3072), torch.float64, True)
    assert (ds.y.tolist(), ds.y.dtype, ds.name) == ([0, 1, 9, 4], torch.int64, name)
    images = ds.x.reshape(-1, 3, 32, 32)
    for row, column, channel, image in [(0, 0, 0, 0), (3, 30, 1, 2), (30, 3, 2, 3), (31, 31, 2, 1)]:
        assert images[image, channel, row, column] == X[row, column, channel, image] / 255
    assert torch.equal(data.load(name, path=str(tmp_path / file)).x, ds.x)


def test_svhn_subset_keeps_pairs(svhn_file):
    path = svhn_file(X=X, y=Y, other=np.ones(3), text="text", cell=np.array([1, "a"], dtype=object))
    whole, some, fewer = (data.load("svhn", n=n, seed=2, path=path) for n in (None, 3, 2))
    for x, y in zip(some.x, some.y, strict=True):
        assert torch.equal(x, whole.x[whole.y == y][0])
    assert torch.equal(fewer.x, some.x[:2])
    with pytest.raises(ValueError, match="n: svhn has 4 samples, got n=5"):
        data.load("svhn", n=5, path=path)


@pytest.mark.parametrize("compressed", [False, True])
def test_one_image_which_matlab_stores_with_three_dimensions(svhn_file, compressed):
    path = svhn_file(compressed=compressed, X=X[..., 0], y=Y[:1])
    assert np.array_equal(data.load("svhn", path=path).x.numpy() * 255, X[..., 0].transpose(2, 0, 1).reshape(1, -1))


WRONG_SVHN = [
    ("no X", {"y": Y}, "expected a variable X"),
    ("no y", {"X": X}, "expected a variable y"),
    ("other case", {"x": X, "y": Y}, "expected a variable X"),
    ("double", {"X": X.astype(float), "y": Y}, r"expected X of shape \(32, 32, 3, n\), uint8, got .*float64"),
    ("int8", {"X": X.astype(np.int8), "y": Y}, "uint8, got .*int8"),
    ("images first", {"X": X.transpose(3, 0, 1, 2), "y": Y}, r"got \(4, 32, 32, 3\)"),
    ("channels first", {"X": X.transpose(2, 0, 1, 3), "y": Y}, r"got \(3, 32, 32, 4\)"),
    ("flat", {"X": X.reshape(3072, 4), "y": Y}, r"got \(3072, 4\)"),
    ("five dimensions", {"X": X.reshape(32, 32, 3, 2, 2), "y": Y}, r"got \(32, 32, 3, 2, 2\)"),
    ("empty", {"X": X[..., :0], "y": Y[:0]}, r"got \(32, 32, 3, 0\)"),
    ("complex", {"X": X * 1j, "y": Y}, "variable X: expected real numbers, got complex ones"),
    ("text", {"X": "text", "y": Y}, "variable X: expected real numbers, got text"),
    ("cell", {"X": np.array([X, 1], dtype=object), "y": Y}, "variable X: expected real numbers, got a cell array"),
    ("struct", {"X": X, "y": {"a": Y}}, "variable y: expected real numbers, got a struct"),
    ("sparse", {"X": X, "y": scipy.sparse.csc_array(Y.astype(float))}, "got a sparse matrix"),
    ("row of labels", {"X": X, "y": Y.T}, r"expected y of shape \(4, 1\), .*, got \(1, 4\)"),
    ("too few labels", {"X": X, "y": Y[:3]}, r"expected y of shape \(4, 1\), .*, got \(3, 1\)"),
    ("label 0", {"X": X, "y": Y - 1}, r"image 1 \(from 0\): expected a label from 1 to 10, got 0"),
    ("label 11", {"X": X, "y": Y + 1}, r"image 0 \(from 0\): expected a label from 1 to 10, got 11"),
    ("half a label", {"X": X, "y": Y + 0.5}, "expected a label from 1 to 10, got 10.5"),
    ("no label", {"X": X, "y": Y * np.nan}, "expected a label from 1 to 10, got nan"),
]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("variables", "message"), [c[1:] for c in WRONG_SVHN], ids=[c[0] for c in WRONG_SVHN])
def test_svhn_file_that_holds_something_else(svhn_file, variables, message, compressed):
    path = svhn_file(compressed=compressed, **variables)
    with pytest.raises(DataError, match=message) as caught:
        data.load("svhn", path=path)
    assert str(caught.value).startswith(str(path))
