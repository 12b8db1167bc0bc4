"""Masks and gate tables by sizes and seed, and table files put together from their documentation."""

import hashlib
import struct
import zlib

import torch
from hypothesis import strategies as st

from gatentk import reference
from gatentk.gates import GateTable

PRINT = hashlib.sha256(b"some gate network").hexdigest()
SIZES = st.sampled_from([0, 1, 2, 5, 127, 128, 129, 256, 300])


def random_mask(layers, n, width, seed=0, density=0.5):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(layers, n, width, generator=generator) < density


def random_table(layers=3, n=11, width=130, seed=0, fingerprint=PRINT, block=1):
    mask = random_mask(layers, n, -(-width // block), seed)
    return GateTable(reference.pack_bits(mask), width, fingerprint, block)


def neurons(mask, width, block):
    """A mask of neurons of one of blocks of them, (..., units)."""
    return mask[..., torch.arange(width) // block]


def file_bytes(
    layers, n, width, data, fingerprint=bytes(32), magic=b"\x89GATES\r\n", version=1, offset=4096, block=None
):
    """A table file put together from its documentation."""
    size = len(data) // layers if layers else 0
    sums = [zlib.crc32(data[k * size : (k + 1) * size]) for k in range(min(layers, 1 << 20))]
    checksum = zlib.crc32(b"".join(struct.pack("<I", value) for value in sums))
    head = magic + struct.pack("<IIQQQ", version, offset, layers, n, width) + fingerprint + struct.pack("<I", checksum)
    head += b"" if block is None else bytes(4) + struct.pack("<Q", block)
    head += bytes(4092 - len(head))
    return head + struct.pack("<I", zlib.crc32(head)) + data


def same(table, other):
    assert torch.equal(table.bits, other.bits)
    assert (table.width, table.fingerprint, table.block) == (other.width, other.fingerprint, other.block)
    return True
