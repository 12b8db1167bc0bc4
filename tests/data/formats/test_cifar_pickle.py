"""Batches as Python 2 and numpy 1 wrote them: strings of bytes, and an array as what rebuilds it."""

import contextlib
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from cases.datasets import Bomb, random_bytes
from cases.pickles import array_of_sizes, array_opcodes, number, pickled_batch, string
from hypothesis import given, settings
from hypothesis import strategies as st

from gatentk import DataError, data


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
    (tmp_path / "test_batch").write_bytes(b"\x80\x02}(" + string(b"data") + b"Nu.")
    ds = data.load("cifar10-pickle", path=tmp_path)
    assert np.array_equal(np.rint(ds.x.numpy() * 255), np.concatenate(images))
    assert ds.y.tolist() == [1, 0, 9, 3, 3, 4, 0, 7]
    with pytest.raises(DataError, match=r"test_batch: expected data of shape \(n, 3072\), uint8"):
        data.load("cifar10-pickle-test", path=tmp_path)


def test_arrays_in_column_order(tmp_path):
    images = random_bytes(3, 3072)
    opcodes = array_opcodes(images.shape, images.tobytes(order="F"), order=b"\x88")
    (tmp_path / "test_batch").write_bytes(pickled_batch(images, [0, 1, 2], array=opcodes))
    ds = data.load("cifar10-pickle-test", path=tmp_path)
    assert np.array_equal(np.rint(ds.x.numpy() * 255), images)


ONE = random_bytes(1, 3072)

HUGE = b"\x8b" + struct.pack("<i", 5000) + b"\x7f" * 5000

DOUBLED = b"".join(bytes([ord("q"), i, ord("h"), i, 0x86]) for i in range(60))  # (t, t) of t, 60 times

WRONG_PICKLES = [
    ("a command", pickle.dumps(Bomb(), protocol=2), "it asks for 'sys', 'exit'"),
    ("a newer command", pickle.dumps(Bomb()), "opcode 0x95 is none"),
    ("eval", b"cbuiltins\neval\n(" + string(b"1/0") + b"tR.", "it asks for 'builtins', 'eval'"),
    ("numpy's loader", b"cnumpy\nload\n(" + string(b"x") + b"tR.", "it asks for 'numpy', 'load'"),
    ("a command for the terminal", b"cnumpy\n\x1b[2J\n.", r"'numpy', '\\x1b\[2J'"),
    ("many bytes of memory", b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".", "opcode 0x96 is none"),
    ("a key that takes years", b"\x80\x02})" + DOUBLED + b"Ns.", "a key is a tuple"),
    ("keys that take years", b"\x80\x02}()" + DOUBLED + b"Nu.", "a key is a tuple"),
    ("keys of a dict of its own that take years", b"\x80\x02()" + DOUBLED + b"Nd.", "a key is a tuple"),
    ("a dict of its own with a key that is a record", b"\x80\x02(cnumpy\ndtype\n)RNd.", "a key is a _Record"),
    ("a dict with a key and no value", b"\x80\x02(U\x01ad.", "not a pickled batch"),
    ("arguments of text", b"\x80\x02cnumpy\ndtype\n" + string(b"x" * 100) + b"R.", "no tuple of at most three"),
    ("many arguments", b"\x80\x02cnumpy\ndtype\n(" + b"N" * 100 + b"tR.", "no tuple of at most three"),
    ("no number of samples", pickled_batch(ONE, [1], array=array_of_sizes(b"N" + number(3072))), "uint8"),
    ("a number of letters", pickled_batch(ONE, [1], array=array_of_sizes(string(b"ab") + number(3072))), "uint8"),
    ("another dtype", pickled_batch(ONE, [1], array=array_opcodes((1, 3072), ONE.tobytes(), b"i1")), "uint8"),
    ("another shape", pickled_batch(ONE, [1], array=array_opcodes((1, 3071), ONE.tobytes())), r"\(n, 3072\)"),
    ("a number of digits", pickled_batch(ONE, [1], array=array_of_sizes(HUGE + number(3072))), "got 0"),
    ("a huge shape", pickled_batch(ONE, [1], array=array_opcodes((2**31 - 1, 3072), ONE.tobytes())), "got 3072"),
    ("no samples", pickled_batch(ONE[:0], []), "got 0"),
    ("too few labels", pickled_batch(ONE, []), "a list of 1 labels"),
    ("label 10", pickled_batch(ONE, [10]), "labels from 0 to 9"),
    ("a label of text", pickled_batch(ONE, [], numbers=b"](" + string(b"1") + b"e"), "labels from 0 to 9"),
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


def test_records_do_not_multiply_what_a_file_holds(tmp_path):
    """Each of these two bytes once spread all of a string into a tuple."""
    content = b"\x80\x02" + string(b"x" * 20_000) + b"q\x00cnumpy\ndtype\nq\x01" + b"h\x01h\x00R" * 5_000 + b"."
    (tmp_path / "test_batch").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError, match="no tuple of at most three"):
        data.load("cifar10-pickle-test", path=tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(content)
