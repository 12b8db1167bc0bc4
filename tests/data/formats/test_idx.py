import gzip

import numpy as np
import pytest
from cases.datasets import idx_bytes, write_split
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data

DAMAGED_IDX = [
    ("empty", lambda good: b"", "got an empty file"),
    ("text", lambda good: b"P5 28 28", "starts with 00 00 08 03, got 50 35 20 32"),
    ("dtype code", lambda good: b"\0\0\x0d" + good[3:], "got 00 00 0d 03"),
    ("dimensions", lambda good: good[:3] + b"\1" + good[4:], "got 00 00 08 01"),
    ("half a header", lambda good: good[:9], "header of 16 bytes, the file ends after 9"),
    ("truncated", lambda good: good[:-1], "expected 84 bytes .*, got 83"),
    ("overlong", lambda good: good + b"\0", "expected 84 bytes .*, got more"),
    ("no samples", lambda good: idx_bytes(np.zeros(0), (0, 28, 28)), "at least one sample"),
    ("no features", lambda good: idx_bytes(np.zeros(0), (7, 0, 28)), "at least one sample"),
    ("absurd", lambda good: idx_bytes(np.zeros(9), (2**32 - 1,) * 3), "the file holds .* at most"),
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(("damage", "message"), [c[1:] for c in DAMAGED_IDX], ids=[c[0] for c in DAMAGED_IDX])
def test_damaged_idx_file(fashion, damage, message, zipped):
    path = fashion / "train-images-idx3-ubyte"
    content = damage(path.read_bytes())
    path.unlink()
    path = path.with_name(path.name + ".gz") if zipped else path
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DataError, match=message) as caught:
        data.load("fashion-mnist", path=fashion)
    assert str(path) in str(caught.value)


def zip_idx(path, damage):
    content = damage(gzip.compress(path.read_bytes(), compresslevel=0))
    path.unlink()
    path = path.with_name(path.name + ".gz")
    path.write_bytes(content)


DAMAGED_GZIP = [
    ("no gzip", lambda good: b"\0\0\x08\x03" + good),
    ("cut", lambda good: good[:-20]),
    ("checksum", lambda good: good[:-8] + bytes([good[-8] ^ 1]) + good[-7:]),
    ("bad block", lambda good: good[:10] + b"\xff" + good[11:]),
    ("trailing", lambda good: good + b"more"),
]


@pytest.mark.parametrize("damage", [c[1] for c in DAMAGED_GZIP], ids=[c[0] for c in DAMAGED_GZIP])
def test_damaged_gzip_file(fashion, damage):
    zip_idx(fashion / "train-images-idx3-ubyte", damage)
    with pytest.raises(DataError, match=r"images-idx3-ubyte.gz: expected a whole gzip file"):
        data.load("fashion-mnist", path=fashion)


def test_no_more_than_the_promised_bytes_are_decompressed(fashion, monkeypatch):
    requested = []
    read = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda file, size=-1: requested.append(size) or read(file, size))
    zip_idx(fashion / "train-images-idx3-ubyte", lambda good: gzip.compress(gzip.decompress(good) + bytes(10**6)))
    with pytest.raises(DataError, match="got more"):
        data.load("fashion-mnist", path=fashion)
    assert requested == [16, 85]


@settings(deadline=None, max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    zipped=st.booleans(),
    seed=st.integers(0, 99),
)
def test_idx_round_trip(tmp_path_factory, shape, zipped, seed):
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, shape), rng.integers(0, 256, shape[0])
    write_split(folder, images, labels, zipped=zipped)
    ds = data.load("fashion-mnist", path=folder)
    assert np.array_equal(np.rint(ds.x.numpy() * 255).reshape(shape), images)
    assert np.array_equal(ds.y.numpy(), labels)
