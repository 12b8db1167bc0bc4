"""data_published.py and data_matlab.py: files in the published formats, whole, wrong and damaged.

MATLAB files are written by scipy.io.savemat, an implementation of its own; it does not read the damaged ones, because
its reader ends the process on some of them.
"""

import contextlib
import io
import math
import pickle
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data
from gatentk.data_matlab import read_matlab

SGEMM_HEADER = "MWG,NWG,KWG,MDIMC,NDIMC,MDIMA,NDIMB,KWI,VWM,VWN,STRM,STRN,SA,SB,Run1 (ms),Run2 (ms),Run3 (ms),Run4 (ms)"
SGEMM_LINE = "16,16,16,8,8,8,8,2,1,1,0,0,0,0,115.26,115.87,118.55,115.8"


def random_bytes(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def matlab_bytes(compressed=False, **variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=compressed)
    return buffer.getvalue()


@pytest.fixture
def svhn_file(tmp_path):
    def write(content=None, compressed=True, **variables):
        path = tmp_path / "train_32x32.mat"
        path.write_bytes(matlab_bytes(compressed, **variables) if content is None else content)
        return path

    return write


X = random_bytes(32, 32, 3, 4)
Y = np.array([[10], [1], [9], [4]], dtype=np.uint8)


# where the files are


@pytest.mark.parametrize(
    ("name", "wanted", "origin"),
    [
        ("svhn", "train_32x32.mat", r"Street View House Numbers .* http://ufldl.stanford.edu/housenumbers"),
        ("svhn-test", "test_32x32.mat", r"download test_32x32.mat .* http://ufldl.stanford.edu/housenumbers"),
        ("cifar10", "data_batch_1.bin", r"cifar-10-binary.tar.gz, .* https://www.cs.toronto.edu/~kriz/cifar.html"),
        ("cifar10-test", "test_batch.bin", r"The CIFAR-10 dataset, https://www.cs.toronto.edu/~kriz/cifar.html"),
        ("sgemm", "sgemm_product.csv", r"data set 440, SGEMM .* https://archive.ics.uci.edu/dataset/440"),
    ],
)
def test_missing_files_are_named_with_the_place_where_they_are_published(tmp_path, name, wanted, origin):
    with pytest.raises(DataError, match=f"{wanted}: needs to be downloaded; .*{origin}.* as path"):
        data.load(name)
    with pytest.raises(DataError, match=f"{tmp_path / wanted}: no such file; .*{origin}"):
        data.load(name, path=tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path / 'none'}.*: no such file; .*{origin}"):
        data.load(name, path=tmp_path / "none")


def test_part_of_the_files(tmp_path):
    for batch in (1, 2, 4, 5):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"data_batch_3.bin: no such file"):
        data.load("cifar10", path=tmp_path)


# SVHN


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


# MATLAB files


PLAIN, COMPRESSED = matlab_bytes(X=X, y=Y), matlab_bytes(True, X=X, y=Y)
X_BYTES = 56 + X.size  # what the tag of X counts: flags 16, shape 24, name 8, tag of the pixels 8


def changed(content, at, new):
    return content[:at] + new + content[at + len(new) :]


def compressed_variable(content):
    stream = zlib.compress(content)
    return PLAIN[:128] + struct.pack("<II", 15, len(stream)) + stream


DAMAGED_MATLAB = [
    ("empty", b"", r"level 5 .*, got one that starts with b''"),
    ("half a header", PLAIN[:100], "level 5"),
    ("header only", PLAIN[:128], "expected a variable X"),
    ("text", b"1,2\n" * 100, r"level 5 .*, got one that starts with b'1,2"),
    ("HDF5", changed(b"MATLAB 7.3 MAT-file".ljust(600), 124, b"\0\2IM"), r"starts with b'MATLAB 7\.3 MAT-file'"),
    ("level 4", struct.pack("<5i", 0, 1, 1, 0, 2) + b"X\0" + bytes(200), "level 5"),
    ("pickle", pickle.dumps({"X": X, "y": Y}), "level 5"),
    ("wrong mark", changed(PLAIN, 126, b"MI"), "level 5"),
    ("cut in a tag", PLAIN[:132], "expected a variable at byte 128, got 0e 00 00 00"),
    ("cut in X", PLAIN[:5000], f"expected {X_BYTES} bytes after byte 136, got 4864"),
    ("cut in y", PLAIN[:-1], "expected 48 bytes after byte .*, got 47"),
    ("cut before y", PLAIN[: 136 + X_BYTES], "expected a variable y"),
    ("extra bytes", PLAIN + b"more", "expected a variable at byte .*, got 6d 6f 72 65"),
    ("extra zeros", PLAIN + bytes(64), "expected a variable at byte .*, got 00 00"),
    ("twice", PLAIN + PLAIN[128:], "expected one variable X, got two"),
    ("no matrix", changed(PLAIN, 128, b"\x09"), "expected a variable at byte 128, got 09"),
    ("flags", changed(PLAIN, 136, b"\x05"), "expected the flags of a variable, got 8 bytes of type 5"),
    ("class", changed(PLAIN, 144, b"\x05"), "variable X: expected real numbers, got a sparse matrix"),
    ("shape", changed(PLAIN, 152, b"\x06"), "expected the shape of a variable, got 16 bytes of type 6"),
    ("one dimension", changed(PLAIN, 156, b"\x04"), "expected the shape of a variable, got 4 bytes of type 5"),
    (
        "negative",
        changed(PLAIN, 160, struct.pack("<i", -32)),
        r"expected \(-32, 32, 3, 4\) numbers of uint8, got 12288 bytes",
    ),
    ("too small", changed(PLAIN, 172, b"\x03"), r"expected \(32, 32, 3, 3\) numbers of uint8, got 12288 bytes"),
    ("too large", changed(PLAIN, 172, b"\x05"), r"expected \(32, 32, 3, 5\) numbers of uint8, got 12288 bytes"),
    ("absurd", changed(PLAIN, 160, b"\xff\xff\xff\x7f" * 4), r"expected \(2147483647, 2147483647, .* got 12288 bytes"),
    ("name", changed(PLAIN, 176, b"\x02"), "expected the name of a variable, got 1 bytes of type 2"),
    ("long name", changed(PLAIN, 178, b"\x05"), "expected 5 bytes in a part"),
    ("data type", changed(PLAIN, 184, b"\x0a"), "variable X: expected numbers, got data of type 10"),
    ("data size", changed(PLAIN, 188, b"\xff\xff\xff\xff"), "expected 4294967295 bytes in a part"),
    (
        "shorter data",
        changed(PLAIN, 188, struct.pack("<I", X.size - 8)),
        r"expected \(32, 32, 3, 4\) numbers of uint8, got 12280 bytes",
    ),
    (
        "more in X",
        PLAIN[:132] + struct.pack("<I", X_BYTES + 8) + PLAIN[136 : 136 + X_BYTES] + bytes(8),
        "variable X: expected no more than its numbers, got 8 bytes",
    ),
    ("the byte that scipy dies of", changed(PLAIN, 144, b"\x09\xff"), "X: expected real numbers, got complex ones"),
    ("unknown class", changed(PLAIN, 144, b"\x20"), "variable X: expected real numbers, got class 32"),
    ("no zlib", changed(COMPRESSED, 136, b"\x00\x00"), "expected whole compressed data"),
    ("bit of compressed data", changed(COMPRESSED, 5000, bytes([COMPRESSED[5000] ^ 1])), "compressed data"),
    ("cut compressed data", COMPRESSED[:5000], "expected .* bytes after byte 136"),
    ("compressed nothing", compressed_variable(b""), "expected a variable in compressed data, got nothing"),
    ("compressed twice", compressed_variable(COMPRESSED[128:]), "expected a variable in compressed data, got 0f"),
    ("cut, then compressed", compressed_variable(PLAIN[128:5000]), f"of {X_BYTES} bytes and no more, got 4864"),
    (
        "compressed with more",
        compressed_variable(PLAIN[128 : 136 + X_BYTES] + b"\0"),
        f"of {X_BYTES} bytes and no more, got {X_BYTES + 1}",
    ),
    (
        "compressed claim",
        compressed_variable(struct.pack("<II", 14, 2**32 - 1) + bytes(99)),
        "expected 4294967295 bytes, more than .* compressed bytes can hold",
    ),
]


@pytest.mark.parametrize(("content", "message"), [c[1:] for c in DAMAGED_MATLAB], ids=[c[0] for c in DAMAGED_MATLAB])
def test_damaged_matlab_file(svhn_file, content, message):
    path = svhn_file(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load("svhn", path=path)
    assert str(caught.value).startswith(str(path))


def test_checksum_of_compressed_data(svhn_file):
    count = struct.unpack_from("<I", COMPRESSED, 132)[0]
    last = 136 + count - 1
    path = svhn_file(changed(COMPRESSED, last, bytes([COMPRESSED[last] ^ 1])))
    with pytest.raises(DataError, match="incorrect data check"):
        data.load("svhn", path=path)


NUMBERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(0, 4), min_size=2, max_size=5),
    dtype=st.sampled_from(NUMBERS),
    order=st.sampled_from("<>"),
    compressed=st.booleans(),
    seed=st.integers(0, 9),
)
def test_matlab_round_trip(tmp_path_factory, shape, dtype, order, compressed, seed):
    values = np.random.default_rng(seed).integers(0, 100, shape).astype(dtype)
    content = matlab_bytes(compressed, before="text", values=values)
    if order == ">":
        content = big_endian(values)
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    path.write_bytes(content)
    (read,) = read_matlab(path, ["values"])
    theirs = scipy.io.loadmat(path)["values"]
    assert read.shape == theirs.shape
    assert read.dtype.newbyteorder("=") == values.dtype
    assert np.array_equal(read, theirs)
    if 0 not in shape:
        assert np.array_equal(np.squeeze(read), np.squeeze(values))


WRITTEN_BY_MATLAB = Path(scipy.io.__file__).parent / "matlab" / "tests" / "data"


@pytest.mark.skipif(not WRITTEN_BY_MATLAB.is_dir(), reason="scipy is installed without its tests")
@pytest.mark.parametrize("version", ["6.1_SOL2", "6.5.1_GLNX86", "7.1_GLNX86", "7.4_GLNX86"])
@pytest.mark.parametrize("name", ["test3dmatrix", "testdouble", "testmatrix", "testminus"])
def test_file_that_matlab_wrote(name, version):
    path = WRITTEN_BY_MATLAB / f"{name}_{version}.mat"
    (read,) = read_matlab(path, [name])
    theirs = scipy.io.loadmat(path)[name]
    assert read.shape == theirs.shape
    assert np.array_equal(read, theirs)


def big_endian(values):
    """A file as a big-endian machine writes it, by the format's description."""
    codes = dict(
        zip(
            NUMBERS,
            [(8, 1), (9, 2), (10, 3), (11, 4), (12, 5), (13, 6), (14, 12), (15, 13), (7, 7), (6, 9)],
            strict=True,
        )
    )
    class_code, type_code = codes[values.dtype.str[1:]]
    numbers = values.astype(values.dtype.newbyteorder(">")).tobytes(order="F")
    content = struct.pack(">IIII", 6, 8, class_code, 0)
    content += padded(struct.pack(f">II{values.ndim}i", 5, 4 * values.ndim, *values.shape))
    content += padded(struct.pack(">II", 1, 6) + b"values")
    content += padded(struct.pack(">II", type_code, len(numbers)) + numbers)
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + struct.pack(">II", 14, len(content)) + content


def padded(content):
    return content + bytes(-len(content) % 8)


@settings(deadline=None, max_examples=200)
@given(
    changes=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 255)), min_size=1, max_size=3),
    end=st.one_of(st.none(), st.integers(0, 999)),
    compressed=st.booleans(),
)
def test_changed_bytes_are_noticed_or_harmless(tmp_path_factory, changes, end, compressed):
    content = bytearray(matlab_bytes(compressed, X=np.arange(24, dtype=np.uint8).reshape(2, 3, 4), y=np.ones((4, 1))))
    for position, byte in changes:
        content[position % len(content)] = byte
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    path.write_bytes(content[:end])
    with contextlib.suppress(DataError):
        for values in read_matlab(path, ["X", "y"]):
            assert values.nbytes <= 32


def test_a_claim_is_refused_before_anything_of_its_size_is_allocated(svhn_file):
    import tracemalloc

    contents = [
        changed(PLAIN, 132, b"\xff\xff\xff\xff"),
        changed(PLAIN, 188, b"\xff\xff\xff\xff"),
        changed(PLAIN, 160, b"\xff\xff\xff\x7f" * 4),
        compressed_variable(struct.pack("<II", 14, 2**32 - 1) + bytes(99)),
    ]
    for content in contents:
        path = svhn_file(content)
        tracemalloc.start()
        with pytest.raises(DataError):
            data.load("svhn", path=path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_000_000


# CIFAR-10


def write_cifar10(folder, counts=(3, 1, 2, 1, 1), seed=0):
    """The five files, and the records in their order."""
    records = random_bytes(sum(counts), 3073, seed=seed)
    records[:, 0] %= 10
    for batch, part in enumerate(np.split(records, np.cumsum(counts)[:-1]), 1):
        (folder / f"data_batch_{batch}.bin").write_bytes(part.tobytes())
    return records


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


class Bomb:
    def __reduce__(self):
        return sys.exit, ("unpickled",)


@pytest.mark.parametrize(("name", "file"), [("cifar10", "data_batch_1"), ("cifar10-test", "test_batch")])
def test_pickled_cifar10_is_refused(tmp_path, name, file):
    (tmp_path / file).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"is a pickle, which can run any code .*binary version.*kriz/cifar") as caught:
        data.load(name, path=tmp_path)
    assert str(caught.value).startswith(str(tmp_path / file))


# The Python version, as Python 2 and numpy 1 wrote it: strings of bytes, and an array as what rebuilds it


def _string(value):
    return b"T" + struct.pack("<I", len(value)) + value


def _number(value):
    return b"J" + struct.pack("<i", value)


def _array_opcodes(shape, raw, kind=b"u1", order=b"\x89"):
    return _array_of_sizes(b"".join(map(_number, shape)), raw, kind, order)


def _array_of_sizes(sizes, raw=b"", kind=b"u1", order=b"\x89"):
    rebuild = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _number(0) + b"\x85" + _string(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + _string(kind) + _number(0) + _number(1) + b"tR(" + _number(3) + _string(b"|")
    dtype += b"NNN" + _number(-1) + _number(-1) + _number(0) + b"tb"
    return rebuild + b"(" + _number(1) + b"(" + sizes + b"t" + dtype + order + _string(raw) + b"tb"


def pickled_batch(images, labels, **changes):
    """A dict of data and labels; arguments replace parts of it by opcodes."""
    array = changes.pop("array", None) or _array_opcodes(images.shape, images.tobytes())
    numbers = changes.pop("numbers", None) or b"](" + b"".join(map(_number, labels)) + b"e"
    parts = [_string(b"batch_label"), _string(b"part"), _string(b"labels"), numbers, _string(b"data"), array]
    return b"\x80\x02}(" + b"".join(parts) + b"u."


def test_the_python_2_pickle_is_one(tmp_path):
    images = random_bytes(3, 3072)
    found = pickle.loads(pickled_batch(images, [1, 2, 3]), encoding="bytes")
    assert np.array_equal(found[b"data"], images)
    assert found[b"labels"] == [1, 2, 3]


def test_pickled_cifar10_is_read_when_asked_for(tmp_path):
    labels = [[1, 0], [9], [3, 3, 4], [0], [7]]
    images = [random_bytes(len(part), 3072, seed=k) for k, part in enumerate(labels)]
    for k, (x, y) in enumerate(zip(images, labels, strict=True), start=1):
        (tmp_path / f"data_batch_{k}").write_bytes(pickled_batch(x, y))
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}(" + _string(b"data") + b"Nu.")
    ds = data.load("cifar10-pickle", path=tmp_path)
    assert np.array_equal(np.rint(ds.x.numpy() * 255), np.concatenate(images))
    assert ds.y.tolist() == [1, 0, 9, 3, 3, 4, 0, 7]
    with pytest.raises(DataError, match=r"test_batch: expected data of shape \(n, 3072\), uint8"):
        data.load("cifar10-pickle-test", path=tmp_path)


def test_arrays_in_column_order(tmp_path):
    images = random_bytes(3, 3072)
    opcodes = _array_opcodes(images.shape, images.tobytes(order="F"), order=b"\x88")
    (tmp_path / "test_batch").write_bytes(pickled_batch(images, [0, 1, 2], array=opcodes))
    ds = data.load("cifar10-pickle-test", path=tmp_path)
    assert np.array_equal(np.rint(ds.x.numpy() * 255), images)


ONE = random_bytes(1, 3072)
HUGE = b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000
DOUBLED = b"".join(bytes([ord("q"), i, ord("h"), i, 0x86]) for i in range(60))  # (t, t) of t, 60 times
WRONG_PICKLES = [
    ("a command", pickle.dumps(Bomb(), protocol=2), "it asks for 'sys', 'exit'"),
    ("a newer command", pickle.dumps(Bomb()), "opcode 0x95 is none"),
    ("eval", b"cbuiltins\neval\n(" + _string(b"1/0") + b"tR.", "it asks for 'builtins', 'eval'"),
    ("numpy's loader", b"cnumpy\nload\n(" + _string(b"x") + b"tR.", "it asks for 'numpy', 'load'"),
    ("a command for the terminal", b"cnumpy\n\x1b[2J\n.", r"'numpy', '\\x1b\[2J'"),
    ("many bytes of memory", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "opcode 0x96 is none"),
    ("a key that takes years", b"\x80\x02})" + DOUBLED + b"Ns.", "a key is a tuple"),
    ("keys that take years", b"\x80\x02}()" + DOUBLED + b"Nu.", "a key is a tuple"),
    ("no number of samples", pickled_batch(ONE, [1], array=_array_of_sizes(b"N" + _number(3072))), "uint8"),
    ("a number of letters", pickled_batch(ONE, [1], array=_array_of_sizes(_string(b"ab") + _number(3072))), "uint8"),
    ("another dtype", pickled_batch(ONE, [1], array=_array_opcodes((1, 3072), ONE.tobytes(), b"i1")), "uint8"),
    ("another shape", pickled_batch(ONE, [1], array=_array_opcodes((1, 3071), ONE.tobytes())), r"\(n, 3072\)"),
    ("a number of digits", pickled_batch(ONE, [1], array=_array_of_sizes(HUGE + _number(3072))), "got 0"),
    ("a huge shape", pickled_batch(ONE, [1], array=_array_opcodes((2**31 - 1, 3072), ONE.tobytes())), "got 3072"),
    ("no samples", pickled_batch(ONE[:0], []), "got 0"),
    ("too few labels", pickled_batch(ONE, []), "a list of 1 labels"),
    ("label 10", pickled_batch(ONE, [10]), "labels from 0 to 9"),
    ("a label of text", pickled_batch(ONE, [], numbers=b"](" + _string(b"1") + b"e"), "labels from 0 to 9"),
    ("a list", b"\x80\x02].", "expected a pickled dict, got list"),
    ("a huge memo", b"\x80\x02}r\xff\xff\xff\x7f.", "expected data"),
    ("text", b"airplane\n", "not a pickled batch"),
    ("nothing", b"", "not a pickled batch"),
    ("half", pickled_batch(ONE, [1])[:200], "not a pickled batch"),
]


@pytest.mark.parametrize(("content", "message"), [c[1:] for c in WRONG_PICKLES], ids=[c[0] for c in WRONG_PICKLES])
def test_wrong_pickles(tmp_path, content, message):
    path = tmp_path / "test_batch"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load("cifar10-pickle-test", path=tmp_path)
    assert str(caught.value).startswith(str(path))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_damaged_pickles_are_data_errors(tmp_path_factory, draw):
    content = bytearray(pickled_batch(ONE, [1]))
    for _ in range(draw.draw(st.integers(1, 3))):
        content[draw.draw(st.integers(0, 250))] = draw.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("pickle") / "test_batch"
    path.write_bytes(bytes(content))
    with contextlib.suppress(DataError):
        data.load("cifar10-pickle-test", path=path.parent)


# SGEMM


@pytest.fixture
def sgemm_file(tmp_path):
    def write(content):
        path = tmp_path / "sgemm_product.csv"
        path.write_text(content)
        return path

    return write


def test_sgemm(sgemm_file, tmp_path):
    path = sgemm_file(f"{SGEMM_HEADER}\n{SGEMM_LINE}\n128,64,32,16,8,32,8,8,4,4,1,1,1,0,13.5,13.25,13.25,14\n")
    ds = data.load("sgemm", path=tmp_path)
    assert (ds.x.dtype, ds.y.dtype, ds.name) == (torch.float64, torch.float64, "sgemm")
    assert ds.x.is_contiguous()
    assert ds.x.tolist() == [
        [16, 16, 16, 8, 8, 8, 8, 2, 1, 1, 0, 0, 0, 0],
        [128, 64, 32, 16, 8, 32, 8, 8, 4, 4, 1, 1, 1, 0],
    ]
    assert ds.y.tolist() == pytest.approx([math.log(116.37), math.log(13.5)], rel=1e-15)
    assert torch.equal(data.load("sgemm", path=path).x, ds.x)
    assert data.load("sgemm", n=1, path=path).x.shape == (1, 14)


DAMAGED_SGEMM = [
    ("", "expected the header MWG,NWG,.*Run4 .ms., got ''"),
    (f"{SGEMM_LINE}\n", "expected the header MWG,.*, got '16,16,"),
    (f"idx,{SGEMM_HEADER}\n0,{SGEMM_LINE}\n", "expected the header MWG,.*, got 'idx,MWG"),
    (f"{SGEMM_HEADER.replace(',Run4 (ms)', '')}\n", "expected the header"),
    (f"{SGEMM_HEADER}\n", "expected lines of numbers after the header in line 1"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}\n{SGEMM_LINE[:-6]}\n", "line 3: expected 18 columns, as in line 1, got 17"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}x\n", "line 2, column 18: expected a finite number, got '115.8x'"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE}\n{SGEMM_LINE.replace('115.87', '0')}\n", r"sample 1 \(from 0\): .* got 0.0"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE.replace('118.55', '-1')}\n", "run times above 0 and up to 1e[+]09 ms, got -1.0"),
    (f"{SGEMM_HEADER}\n{SGEMM_LINE.replace('118.55', '1e308')}\n", "got 1e[+]308"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED_SGEMM, ids=range(len(DAMAGED_SGEMM)))
def test_damaged_sgemm_file(sgemm_file, content, message):
    path = sgemm_file(content)
    with pytest.raises(DataError, match=message) as caught:
        data.load("sgemm", path=path)
    assert str(caught.value).startswith(str(path))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 128), min_size=14, max_size=14),
            st.lists(st.floats(1e-300, 1e9), min_size=4, max_size=4),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_sgemm_round_trip(tmp_path_factory, samples):
    path = tmp_path_factory.mktemp("sgemm") / "sgemm_product.csv"
    path.write_text("\n".join([SGEMM_HEADER, *(",".join(map(repr, x + times)) for x, times in samples)]))
    ds = data.load("sgemm", path=path)
    assert ds.x.tolist() == [x for x, _ in samples]
    expected = [math.log(math.fsum(times) / 4) for _, times in samples]
    assert ds.y.tolist() == pytest.approx(expected, rel=1e-14, abs=1e-14)
