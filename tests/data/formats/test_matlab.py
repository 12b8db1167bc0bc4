"""Files are written by scipy.io.savemat, an implementation of its own.

It does not read the damaged ones, because its reader ends the process on some of them.
"""

import contextlib
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from cases.datasets import X, Y, matlab_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data
from gatentk.data.formats.matlab import read_matlab

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
