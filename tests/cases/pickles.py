"""Pickles by their opcodes, as Python 2 and numpy 1 wrote the batches of CIFAR-10."""

import struct


def string(value):
    return b"T" + struct.pack("<I", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def array_opcodes(shape, raw, kind=b"u1", order=b"\x89"):
    return array_of_sizes(b"".join(map(number, shape)), raw, kind, order)


def array_of_sizes(sizes, raw=b"", kind=b"u1", order=b"\x89"):
    rebuild = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + number(0) + b"\x85" + string(b"b") + b"tR"
    dtype = b"cnumpy\ndtype\n(" + string(kind) + number(0) + number(1) + b"tR(" + number(3) + string(b"|")
    dtype += b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
    return rebuild + b"(" + number(1) + b"(" + sizes + b"t" + dtype + order + string(raw) + b"tb"


def pickled_batch(images, labels, **changes):
    """A dict of data and labels; arguments replace parts of it by opcodes."""
    array = changes.pop("array", None) or array_opcodes(images.shape, images.tobytes())
    numbers = changes.pop("numbers", None) or b"](" + b"".join(map(number, labels)) + b"e"
    parts = [string(b"batch_label"), string(b"part"), string(b"labels"), numbers, string(b"data"), array]
    return b"\x80\x02}(" + b"".join(parts) + b"u."
