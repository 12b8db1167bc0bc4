import contextlib
import io
import zipfile

import numpy as np
import pytest
import torch
from cases.datasets import Bomb, is_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data
from gatentk.data.formats import npy


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
    monkeypatch.setattr(npy, "read_exactly", None)
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


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_only_the_compression_that_numpy_writes_is_read(tmp_path, method):
    """A byte of the others may hold a megabyte, or ask for gigabytes."""
    np.save(tmp_path / "x.npy", np.zeros((100, 100)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(DataError, match="array x: expected it stored or deflated"):
        data.load("npy", path=tmp_path / "a.npz")
