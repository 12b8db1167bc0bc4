"""Files of data sets as their publishers write them, and what a data set must be."""

import gzip
import io
import struct
import sys

import numpy as np
import scipy.io
import torch


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


def idx_bytes(values, shape=None, code=0x08):
    shape = values.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + values.astype(np.uint8).tobytes()


def write_split(folder, images, labels, split="train", zipped=False):
    for stem, values in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        content = idx_bytes(values)
        path = folder / f"{split}-{stem}{'.gz' if zipped else ''}"
        path.write_bytes(gzip.compress(content) if zipped else content)


class Bomb:
    def __reduce__(self):
        return sys.exit, ("unpickled",)


def random_bytes(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def matlab_bytes(compressed=False, **variables):
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables, do_compression=compressed)
    return buffer.getvalue()


X = random_bytes(32, 32, 3, 4)

Y = np.array([[10], [1], [9], [4]], dtype=np.uint8)


def write_cifar10(folder, counts=(3, 1, 2, 1, 1), seed=0):
    """The five files, and the records in their order."""
    records = random_bytes(sum(counts), 3073, seed=seed)
    records[:, 0] %= 10
    for batch, part in enumerate(np.split(records, np.cumsum(counts)[:-1]), 1):
        (folder / f"data_batch_{batch}.bin").write_bytes(part.tobytes())
    return records
