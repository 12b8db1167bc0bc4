import numpy as np
import pytest
from cases.datasets import write_cifar10
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data


@settings(deadline=None, max_examples=20)
@given(counts=st.lists(st.integers(1, 3), min_size=5, max_size=5), seed=st.integers(0, 99))
def test_cifar10_round_trip(tmp_path_factory, counts, seed):
    folder = tmp_path_factory.mktemp("cifar")
    records = write_cifar10(folder, counts, seed)
    ds = data.load("cifar10", path=folder)
    assert np.array_equal(np.rint(ds.x.numpy() * 255), records[:, 1:])
    assert np.array_equal(ds.y.numpy(), records[:, 0])


DAMAGED_CIFAR10 = [
    ("empty", lambda good: b"", "expected a multiple of 3073 bytes, a label and 3072 pixels, got 0"),
    ("truncated", lambda good: good[:-1], "got 6145"),
    ("overlong", lambda good: good + b"\0", "got 6147"),
    ("CIFAR-100", lambda good: good + b"\0\0", "got 6148"),
    ("label 10", lambda good: good[:3073] + b"\x0a" + good[3074:], r"image 1 \(from 0\): .* from 0 to 9, got 10"),
]


@pytest.mark.parametrize(("damage", "message"), [c[1:] for c in DAMAGED_CIFAR10], ids=[c[0] for c in DAMAGED_CIFAR10])
def test_damaged_cifar10_file(tmp_path, damage, message):
    write_cifar10(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        data.load("cifar10", path=tmp_path)
    assert str(caught.value).startswith(str(path))
