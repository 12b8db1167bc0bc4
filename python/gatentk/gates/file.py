r"""The file of a gate table: written in one go, read or mapped, with a checksum.

A table file, little endian, is a header of 4096 bytes followed by the bits as they lie in memory, (layers, n, row
bytes) with zeros as padding of the rows. A row has a bit for each block of neurons, the last of which may be shorter:

    offset  bytes
         0      8  magic, 89 47 41 54 45 53 0D 0A ("\x89GATES\r\n": text transfers that damage it are noticed)
         8      4  version of the format: 1 where every neuron has a gate of its own, 2 where blocks of them share one
        12      4  offset of the bits, 4096
        16      8  layers
        24      8  n
        32      8  width
        40     32  SHA-256 fingerprint of the gate network, zeros if it is not known
        72      4  checksum of the bits: CRC-32 of the layers' CRC-32, 4 bytes each
        76      4  zeros
        80      8  neurons of a block, at least 2 and at most the width; zeros in version 1
        88   4004  zeros
      4092      4  CRC-32 of the 4092 bytes above
"""

from __future__ import annotations

import math
import mmap as memory_map
import os
import platform
import struct
import sys
import weakref
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import torch
from torch import Tensor

from gatentk import ops
from gatentk.errors import GateTableError
from gatentk.gates.blocks import blocks, padding_is_set
from gatentk.ops.layouts import units
from gatentk.runs.files import open_atomically

_MAGIC = b"\x89GATES\r\n"
_VERSIONS = (1, 2)
_HEADER = struct.Struct("<8sIIQQQ32sI4xQ4004x")  # all but its own checksum
_DATA_OFFSET = _HEADER.size + 4
_LARGEST_SIZE = 1 << 62
# Each of the sizes on its own: where one of them is 0, the length of the file says nothing of the others.
_LARGEST = {"layers": 1 << 20, "n": 1 << 40, "width": 1 << 40}
_REMEDY = "compute the table again with GateNetwork.table(x, path)"


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say."""

    layers: int
    n: int
    width: int
    fingerprint: str | None
    checksum: int = 0
    block: int = 1

    @property
    def units(self) -> int:
        """Bits of a row."""
        return units(self.width, self.block)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the bits."""
        return self.layers, self.n, ops.row_bytes(self.units)

    def __str__(self) -> str:
        blocks_of = "" if self.block == 1 else f", block={self.block}"
        return f"layers={self.layers}, n={self.n}, width={self.width}{blocks_of}"

    def pack(self) -> bytes:
        """The header as it stands in the file."""
        digest = bytes.fromhex(self.fingerprint) if self.fingerprint else bytes(32)
        sizes = (self.layers, self.n, self.width)
        version, block = (1, 0) if self.block == 1 else (2, self.block)  # as version 1 always was
        head = _HEADER.pack(_MAGIC, version, _DATA_OFFSET, *sizes, digest, self.checksum, block)
        return head + struct.pack("<I", zlib.crc32(head))


def read_header(path: Path, file: BinaryIO) -> Header:
    """The header of a file whose size is what it says."""
    raw = file.read(_DATA_OFFSET)
    if raw[: len(_MAGIC)] != _MAGIC[: len(raw)] or not raw:
        raise GateTableError(f"{path}: not a gate table, it starts with {raw[:8]!r} instead of {_MAGIC!r}; {_REMEDY}")
    if len(raw) < _DATA_OFFSET:
        raise GateTableError(
            f"{path}: truncated, expected a header of {_DATA_OFFSET} bytes, got {len(raw)} in all; {_REMEDY}"
        )
    _, version, _, layers, n, width, digest, checksum, block = _HEADER.unpack(raw[:-4])
    if version not in _VERSIONS:
        raise GateTableError(
            f"{path}: version {version} of the format, this gatentk reads versions 1 and 2; install the gatentk that "
            f"wrote it, or {_REMEDY}"
        )
    header = Header(layers, n, width, digest.hex() if any(digest) else None, checksum, 1 if version == 1 else block)
    if raw != header.pack():
        raise GateTableError(f"{path}: damaged, the header does not fit its checksum; {_REMEDY}")
    wrong = version == 2 and not 2 <= block <= width
    wrong = wrong or any(getattr(header, name) > largest for name, largest in _LARGEST.items())
    if wrong or math.prod(max(size, 1) for size in header.shape) > _LARGEST_SIZE:
        raise GateTableError(f"{path}: impossible sizes, {header}; {_REMEDY}")
    expected, size = _DATA_OFFSET + math.prod(header.shape), os.fstat(file.fileno()).st_size
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise GateTableError(f"{path}: {state}, expected {expected} bytes for {header}, got {size}; {_REMEDY}")
    return header


def write(path: Path, header: Header, blocks_of_rows: Iterable[Tensor]) -> None:
    """Write the file of a table, which is there whole or not at all whatever happens meanwhile.

    Args:
        path: the file.
        header: all but its checksum.
        blocks_of_rows: consecutive ones, (layers, rows, row bytes) each.
    """
    with open_atomically(path) as file:
        checksums, start = [0] * header.layers, 0
        for block in blocks_of_rows:
            for layer in range(header.layers):
                rows = block[layer].cpu().numpy().data
                file.seek(_DATA_OFFSET + (layer * header.n + start) * header.shape[-1])
                file.write(rows)
                checksums[layer] = zlib.crc32(rows, checksums[layer])
            start += block.shape[1]
        file.seek(0)
        file.write(replace(header, checksum=_checksum(checksums)).pack())


def _no_reserve() -> int:
    """Flag of mmap that does not set memory aside for pages that might be written.

    Without it Linux refuses a private mapping larger than memory and swap. Python names the flag from 3.13 on.
    """
    if hasattr(memory_map, "MAP_NORESERVE"):
        return int(memory_map.MAP_NORESERVE)
    return 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0


def map_bits(file: BinaryIO, header: Header) -> Tensor:
    """The bits of an open file, in memory that is read as it is used and never written back."""
    shape = header.shape
    count = math.prod(shape)
    if count == 0:
        return torch.empty(shape, dtype=torch.uint8)
    # Private and writable, because torch warns of memory that is not; what is written never reaches the file.
    flags, access = memory_map.MAP_PRIVATE | _no_reserve(), memory_map.PROT_READ | memory_map.PROT_WRITE
    mapped = memory_map.mmap(file.fileno(), _DATA_OFFSET + count, flags=flags, prot=access)
    return torch.frombuffer(mapped, dtype=torch.uint8, count=count, offset=_DATA_OFFSET).view(shape)


class MappedFile:
    """A file that is mapped, which is checked before its bits are used.

    Another program may write to it or cut it off, and reading what is cut off ends the process. A file that was put in
    its place, or that is removed, changes nothing: the bits are those of the file that was opened.

    Args:
        path, file, header: of the open file.

    Attributes:
        path: absolute.
        header: as given.
        bits: as of `map_bits`.
    """

    def __init__(self, path: Path, file: BinaryIO, header: Header) -> None:
        self.path = path.absolute()
        self.header = header
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self._seen = _state(self._descriptor)
        self.bits = map_bits(file, header)

    @property
    def modified(self) -> int:
        """When the file was written to last, in nanoseconds."""
        return self._seen.modified

    def check(self) -> None:
        """Compare size and times with those of before, and the checksum where they differ.

        Raises:
            GateTableError: the file has changed.
        """
        now = _state(self._descriptor)
        if now == self._seen:
            return
        expected = _DATA_OFFSET + math.prod(self.header.shape)
        if now.size != expected:
            raise GateTableError(
                f"{self.path}: changed while it was mapped, expected {expected} bytes, got {now.size}; {_REMEDY}"
            )
        # A name more or less changes one of the times, too.
        if now.modified != self._seen.modified or now.names == self._seen.names:
            if os.pread(self._descriptor, _DATA_OFFSET, 0) != self.header.pack():
                raise GateTableError(f"{self.path}: changed while it was mapped, it has another header; {_REMEDY}")
            check_sums(self.path, self.bits, self.header)
        self._seen = now


class _State(NamedTuple):
    size: int
    modified: int
    changed: int
    names: int


def _state(descriptor: int) -> _State:
    now = os.fstat(descriptor)
    return _State(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_nlink)


def read_bits(path: Path, file: BinaryIO, header: Header) -> Tensor:
    """The bits of an open file."""
    bits = torch.empty(header.shape, dtype=torch.uint8)
    for _, block in blocks(bits):
        got = file.readinto(block.numpy().data)  # type: ignore[attr-defined]
        if got != block.numel():
            raise GateTableError(f"{path}: truncated while it was read; {_REMEDY}")
    return bits


def check_sums(path: Path, bits: Tensor, header: Header) -> None:
    """Check the checksum first: padding that is set in an otherwise whole file was written by another program."""
    checksums, padding = [0] * header.layers, False
    for layer, block in blocks(bits):
        checksums[layer] = zlib.crc32(block.numpy().data, checksums[layer])
        padding = padding or padding_is_set(block, header.units)
    if _checksum(checksums) != header.checksum:
        raise GateTableError(f"{path}: damaged, the bits do not fit their checksum; {_REMEDY}")
    if padding:
        what = f"width {header.width}" if header.block == 1 else f"the {header.units} blocks of width {header.width}"
        raise GateTableError(f"{path}: bits beyond {what} are set; {_REMEDY}")


def _checksum(layers: Sequence[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(layers)}I", *layers))
