r"""Activation patterns as bits: the gate network that draws them and the table that keeps them, in memory or a file.

A table file, little endian, is a header of 4096 bytes followed by the bits as they lie in memory, (layers, n, row
bytes) with zeros as padding of the rows:

    offset  bytes
         0      8  magic, 89 47 41 54 45 53 0D 0A ("\x89GATES\r\n": text transfers that damage it are noticed)
         8      4  version of the format, 1
        12      4  offset of the bits, 4096
        16      8  layers
        24      8  n
        32      8  width
        40     32  SHA-256 fingerprint of the gate network, zeros if it is not known
        72      4  checksum of the bits: CRC-32 of the layers' CRC-32, 4 bytes each
        76   4016  zeros
      4092      4  CRC-32 of the 4092 bytes above
"""

from __future__ import annotations

import hashlib
import math
import mmap as memory_map
import os
import platform
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import FLOATS, as_tensor, check_finite, check_integer, describe
from gatentk.errors import GateTableError
from gatentk.ops import GateLayer
from gatentk.runs.files import open_aside

_ALIGNMENT = 64  # bytes, a cache line
_BLOCK_BYTES = 1 << 20  # of bits at a time where a table is only read: stays in the cache
_ACTIVATION_BYTES = 256_000_000  # of a batch of the gate network, unless the batch size is given
_ONES_OF_BYTE = torch.tensor([byte.bit_count() for byte in range(256)])
_INDEX_DTYPES = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

__all__ = ["GateLayer", "GateNetwork", "GateTable", "Index"]

Index = int | slice | Sequence[int] | Sequence[bool] | Tensor | np.ndarray[Any, Any]


class GateTable:
    """Activation patterns D_0 .. D_L of n samples as bits ([G], Sec. 2); they never change.

    A table that is mapped from a file is read as it is used, so it may be larger than the memory. It is pickled as
    the file's path, and the file must then stay as it is; other tables are pickled with their bits. A table in the
    memory of a CUDA device serves samples that lie there.

    Args:
        bits: uint8, (layers, n, row_bytes(width)), as of `ops.pack_bits`; copied if not contiguous and aligned.
        width: neurons of a layer.
        fingerprint: of the gate network that drew the gates, if known.

    Attributes:
        bits: uint8, (layers, n, row_bytes(width)), contiguous, starting at a multiple of 64 bytes.
        width, fingerprint: as given.

    Raises:
        TypeError: bits that are no uint8 tensor, a fingerprint that is no string.
        ValueError: a shape that does not fit the width, padding bits that are not zero, a tensor on a device other
            than the CPU or a CUDA one, a fingerprint that is not 64 hexadecimal digits.
    """

    def __init__(self, bits: Tensor, width: int, fingerprint: str | None = None) -> None:
        width = check_integer("width", width, 0)
        _check_bits(bits, width)
        _check_fingerprint(fingerprint)
        aligned = bits.is_contiguous() and bits.data_ptr() % _ALIGNMENT == 0
        self._set(bits if aligned else bits.clone(memory_format=torch.contiguous_format), width, fingerprint)
        if any(_padding_is_set(block, width) for _, block in _blocks(self.bits)):
            raise ValueError(f"bits: expected zeros in the padding of rows of width {width}")

    def _set(
        self, bits: Tensor, width: int, fingerprint: str | None, source: tuple[str, bytes] | None = None
    ) -> GateTable:
        self.bits = bits
        self.width = width
        self.fingerprint = fingerprint
        self._source = source  # path and header of the file that is mapped
        self._layers: dict[int, GateLayer] = {}
        return self

    @staticmethod
    def _of(bits: Tensor, width: int, fingerprint: str | None, source: tuple[str, bytes] | None = None) -> GateTable:
        """A table of bits that need no check."""
        return GateTable.__new__(GateTable)._set(bits, width, fingerprint, source)

    @staticmethod
    def from_bool(mask: Tensor | np.ndarray[Any, Any]) -> GateTable:
        """Table of a mask.

        Args:
            mask: bool, (layers, n, width), tensor or numpy array.

        Raises:
            TypeError, ValueError: another dtype or number of dimensions.
        """
        if isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
            mask = torch.from_numpy(np.ascontiguousarray(mask) if mask.flags.writeable else mask.copy())
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            raise TypeError(f"mask: expected a bool tensor or numpy array, got {describe(mask)}")
        if mask.dim() != 3:
            raise ValueError(f"mask: expected shape (layers, n, width), got {describe(mask)}")
        return GateTable(ops.pack_bits(mask), mask.shape[-1])

    @property
    def layers(self) -> int:
        """Patterns of a sample: one more than the depth of the network."""
        return self.bits.shape[0]

    @property
    def n(self) -> int:
        """Samples."""
        return self.bits.shape[1]

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        origin = "" if self.fingerprint is None else f", fingerprint={self.fingerprint[:12]}..."
        return f"GateTable(layers={self.layers}, n={self.n}, width={self.width}{origin})"

    def __getitem__(self, index: Index) -> GateTable:
        """The table of some samples, a copy in memory.

        Args:
            index: an integer (the table of one sample), integers (list, tensor or array, in any order and repeated
                as they are; negative ones count from the end), n bools, or a slice.

        Raises:
            IndexError: an integer outside of -n .. n-1, or bools that are not n.
            TypeError: anything else.
        """
        rows = _rows(index, self.n)
        if isinstance(rows, slice):
            bits = self.bits[:, rows].clone(memory_format=torch.contiguous_format)
        else:
            bits = self.bits.index_select(1, rows.to(self.bits.device))
        return GateTable._of(bits, self.width, self.fingerprint)

    def to(self, device: torch.device | str | int) -> GateTable:
        """The same table in the memory of a device; itself if it is there already."""
        bits = self.bits.to(device)
        return self if bits is self.bits else GateTable._of(bits, self.width, self.fingerprint)

    def layer(self, k: int) -> GateLayer:
        """Gates D_k, always the same object, so that its plans are built once; IndexError unless 0 <= k < layers."""
        self._check_layer(k)
        if k not in self._layers:
            self._layers[k] = GateLayer(self.bits[k], self.width)
        return self._layers[k]

    def neuron_major(self, k: int) -> Tensor:
        """Gates D_k with one row a neuron: uint8 (width, row_bytes(n))."""
        self._check_layer(k)
        return ops.transpose_bits(self.bits[k], self.width)

    def _check_layer(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise TypeError(f"k: expected an integer, got {describe(k)}")
        if not 0 <= k < self.layers:
            raise IndexError(f"k: expected a layer from 0 to {self.layers - 1}, got {k}")

    def to_bool(self) -> Tensor:
        """The mask: bool (layers, n, width), eight times the size of the table."""
        return ops.unpack_bits(self.bits, self.width)

    def density(self) -> float:
        """Share of gates that are on, over all layers; ValueError if the table has no gates."""
        self._check_not_empty("density")
        ones = sum(_ones(block) for _, block in _blocks(self.bits))
        return ones / (self.layers * self.n * self.width)

    def hamming(self, other: GateTable) -> Tensor:
        """Mean share of neurons of a sample whose gate differs, layer by layer.

        Args:
            other: table of the same layers, n and width.

        Returns:
            float64 (layers,), from 0 (the same patterns) to 1.

        Raises:
            TypeError, ValueError: `other` is no table, has other sizes or is on another device; the tables have no
                gates.
        """
        if not isinstance(other, GateTable):
            raise TypeError(f"other: expected a GateTable, got {describe(other)}")
        if (other.layers, other.n, other.width) != (self.layers, self.n, self.width):
            raise ValueError(
                f"other: expected layers={self.layers}, n={self.n}, width={self.width}, got layers={other.layers}, "
                f"n={other.n}, width={other.width}"
            )
        if other.bits.device != self.bits.device:
            raise ValueError(f"other: expected a table on {self.bits.device}, got one on {other.bits.device}")
        self._check_not_empty("Hamming distance")
        differing = torch.zeros(self.layers, dtype=torch.float64)
        for (layer, block), (_, other_block) in zip(_blocks(self.bits), _blocks(other.bits), strict=True):
            differing[layer] += _ones(block ^ other_block)
        return differing / (self.n * self.width)

    def _check_not_empty(self, quantity: str) -> None:
        if 0 in (self.layers, self.n, self.width):
            raise ValueError(
                f"a table without gates has no {quantity}: layers={self.layers}, n={self.n}, width={self.width}"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a file, which is there whole or not at all whatever happens meanwhile."""
        step = _block_rows(self.bits)
        blocks = (self.bits[:, start : start + step] for start in range(0, self.n, step))
        _write(Path(path), self.layers, self.n, self.width, self.fingerprint, blocks)

    @staticmethod
    def load(path: str | os.PathLike[str], mmap: bool = True, verify: bool = True) -> GateTable:
        """Table of a file written by `save` or `GateNetwork.table`.

        Args:
            path: the file.
            mmap: map the file into memory instead of reading it. The file must not be changed in place while it is
                mapped; `save` never does that, it puts a new file in its place.
            verify: read all of it once to check sum and padding, which takes 0.5 s for each GB where the file is in
                the page cache (AMD EPYC, one core). Header and sizes are checked in any case.

        Raises:
            OSError: the file cannot be read.
            GateTableError: it is no gate table, is damaged, or needs a newer version of this package.
        """
        path = Path(path)
        with path.open("rb") as file:
            header = _read_header(path, file)
            shape = (header.layers, header.n, ops.row_bytes(header.width))
            bits = _map(file, shape) if mmap else _read(path, file, shape)
        if verify:
            _verify(path, bits, header)
        source = (str(path.absolute()), header.pack()) if mmap else None
        return GateTable._of(bits, header.width, header.fingerprint, source)

    def __reduce__(self) -> tuple[Callable[..., GateTable], tuple[Any, ...]]:
        if self._source is not None:
            return _reopen, self._source
        whole = self.bits.untyped_storage().nbytes() == self.bits.numel()
        return GateTable, (self.bits if whole else self.bits.clone(), self.width, self.fingerprint)

    def __deepcopy__(self, memo: dict[int, Any]) -> GateTable:
        # Bits never change, so a copy of a mapped table may share them and needs no memory.
        bits = self.bits.clone() if self._source is None else self.bits
        return GateTable._of(bits, self.width, self.fingerprint, self._source)


def _check_bits(bits: object, width: int) -> None:
    if not isinstance(bits, Tensor) or bits.dtype != torch.uint8:
        raise TypeError(f"bits: expected packed bits (a uint8 tensor), got {describe(bits)}")
    if bits.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"bits: expected a tensor in CPU memory or on a CUDA device, got {describe(bits)}; use bits.cpu()"
        )
    if bits.dim() != 3 or bits.shape[-1] != ops.row_bytes(width):
        raise ValueError(
            f"bits: expected shape (layers, n, {ops.row_bytes(width)}) for width {width}, got {describe(bits)}"
        )


def _check_fingerprint(fingerprint: object) -> None:
    if fingerprint is None:
        return
    if not isinstance(fingerprint, str):
        raise TypeError(f"fingerprint: expected a string or None, got {describe(fingerprint)}")
    if len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef"):
        raise ValueError(f"fingerprint: expected 64 hexadecimal digits, got {fingerprint!r}")


def _rows(index: object, n: int) -> Tensor | slice:
    """The samples that an index means: a slice or int64 numbers from 0 to n - 1."""
    if isinstance(index, slice):
        # torch has no negative steps.
        return torch.arange(*index.indices(n)) if index.step is not None and index.step < 0 else index
    if isinstance(index, int) and not isinstance(index, bool) and not -n <= index < n:
        raise IndexError(_out_of_range(index, n))  # also what int64 cannot hold
    numbers = _index_tensor(index)
    if numbers.dtype == torch.bool:
        if numbers.shape != (n,):
            raise IndexError(f"index: expected n = {n} bools, got {describe(numbers)}")
        return numbers.nonzero().squeeze(1)
    if numbers.dim() > 1:
        raise IndexError(f"index: expected one dimension, got {describe(numbers)}")
    numbers = numbers.reshape(-1).long()
    outside = (numbers < -n) | (numbers >= n)
    if bool(outside.any()):
        raise IndexError(_out_of_range(int(numbers[outside][0]), n))
    return torch.where(numbers < 0, numbers + n, numbers)


def _out_of_range(index: int, n: int) -> str:
    return f"index {index} is out of range for a table of n = {n} samples"


def _index_tensor(index: object) -> Tensor:
    """Bools or integers as a CPU tensor."""
    if isinstance(index, (list, range)) and len(index) == 0:
        return torch.empty(0, dtype=torch.int64)
    if isinstance(index, (int, np.integer, list, range, np.ndarray)) and not isinstance(index, bool):
        try:
            array = np.asarray(index)
        except ValueError:  # lists of unequal lengths
            array = np.empty(0)
        # 64 bits without sign would wrap around.
        if array.dtype.kind in "biu" and array.dtype != np.uint64:
            return torch.from_numpy(array.astype(bool if array.dtype.kind == "b" else np.int64))
    elif isinstance(index, Tensor) and index.dtype in _INDEX_DTYPES:
        return index.detach().cpu()
    raise TypeError(f"index: expected integers, bools or a slice, got {describe(index)}")


def _block_rows(bits: Tensor) -> int:
    return max(1, _BLOCK_BYTES // max(1, bits.shape[-1]))


def _blocks(bits: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows of one layer after the other, about a megabyte at a time, with the layer's number."""
    step = _block_rows(bits)
    for layer in range(bits.shape[0]):
        for start in range(0, bits.shape[1], step):
            yield layer, bits[layer, start : start + step]


def _ones(block: Tensor) -> int:
    # A histogram of the bytes reads 0.9 GB/s, a look-up of each byte 0.2, bit tricks in steps of torch 0.6.
    return int(torch.bincount(block.reshape(-1), minlength=256).cpu() @ _ONES_OF_BYTE)


def _padding_is_set(block: Tensor, width: int) -> bool:
    used = width % ops.ROW_ALIGNMENT
    if used == 0:
        return False
    padding = ops.pack_bits(torch.arange(ops.ROW_ALIGNMENT, device=block.device) >= used)
    return bool((block[:, -padding.numel() :] & padding).any())


# Files

_MAGIC = b"\x89GATES\r\n"
_VERSION = 1
_HEADER = struct.Struct("<8sIIQQQ32sI4016x")  # all but its own checksum
_DATA_OFFSET = _HEADER.size + 4
_LARGEST_SIZE = 1 << 62
_REMEDY = "compute the table again with GateNetwork.table(x, path)"


@dataclass(frozen=True)
class _Header:
    layers: int
    n: int
    width: int
    fingerprint: str | None
    checksum: int

    def pack(self) -> bytes:
        digest = bytes.fromhex(self.fingerprint) if self.fingerprint else bytes(32)
        sizes = (self.layers, self.n, self.width)
        head = _HEADER.pack(_MAGIC, _VERSION, _DATA_OFFSET, *sizes, digest, self.checksum)
        return head + struct.pack("<I", zlib.crc32(head))


def _read_header(path: Path, file: BinaryIO) -> _Header:
    """The header of a file whose size is what it says."""
    raw = file.read(_DATA_OFFSET)
    if raw[: len(_MAGIC)] != _MAGIC[: len(raw)] or not raw:
        raise GateTableError(f"{path}: not a gate table, it starts with {raw[:8]!r} instead of {_MAGIC!r}; {_REMEDY}")
    if len(raw) < _DATA_OFFSET:
        raise GateTableError(
            f"{path}: truncated, expected a header of {_DATA_OFFSET} bytes, got {len(raw)} in all; {_REMEDY}"
        )
    _, version, _, layers, n, width, digest, checksum = _HEADER.unpack(raw[:-4])
    if version != _VERSION:
        raise GateTableError(
            f"{path}: version {version} of the format, this gatentk reads version {_VERSION}; install the gatentk that "
            f"wrote it, or {_REMEDY}"
        )
    header = _Header(layers, n, width, digest.hex() if any(digest) else None, checksum)
    if raw != header.pack():
        raise GateTableError(f"{path}: damaged, the header does not fit its checksum; {_REMEDY}")
    row_bytes = ops.row_bytes(width)
    if max(layers, 1) * max(n, 1) * max(row_bytes, 1) > _LARGEST_SIZE:
        raise GateTableError(f"{path}: impossible sizes, layers={layers}, n={n}, width={width}; {_REMEDY}")
    expected, size = _DATA_OFFSET + layers * n * row_bytes, os.fstat(file.fileno()).st_size
    if size != expected:
        state = "truncated" if size < expected else "too long"
        raise GateTableError(
            f"{path}: {state}, expected {expected} bytes for layers={layers}, n={n}, width={width}, got {size}; "
            f"{_REMEDY}"
        )
    return header


def _verify(path: Path, bits: Tensor, header: _Header) -> None:
    """Check the checksum first: padding that is set in an otherwise whole file was written by another program."""
    checksums, padding = [0] * header.layers, False
    for layer, block in _blocks(bits):
        checksums[layer] = zlib.crc32(block.numpy().data, checksums[layer])
        padding = padding or _padding_is_set(block, header.width)
    if _checksum(checksums) != header.checksum:
        raise GateTableError(f"{path}: damaged, the bits do not fit their checksum; {_REMEDY}")
    if padding:
        raise GateTableError(f"{path}: bits beyond width {header.width} are set; {_REMEDY}")


def _checksum(layers: Sequence[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(layers)}I", *layers))


def _no_reserve() -> int:
    """Flag of mmap that does not set memory aside for pages that might be written.

    Without it Linux refuses a private mapping larger than memory and swap. Python names the flag from 3.13 on.
    """
    if hasattr(memory_map, "MAP_NORESERVE"):
        return int(memory_map.MAP_NORESERVE)
    return 0x4000 if sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64") else 0


def _map(file: BinaryIO, shape: tuple[int, int, int]) -> Tensor:
    count = math.prod(shape)
    if count == 0:
        return torch.empty(shape, dtype=torch.uint8)
    # Private and writable, because torch warns of memory that is not; what is written never reaches the file.
    flags, access = memory_map.MAP_PRIVATE | _no_reserve(), memory_map.PROT_READ | memory_map.PROT_WRITE
    mapped = memory_map.mmap(file.fileno(), _DATA_OFFSET + count, flags=flags, prot=access)
    return torch.frombuffer(mapped, dtype=torch.uint8, count=count, offset=_DATA_OFFSET).view(shape)


def _read(path: Path, file: BinaryIO, shape: tuple[int, int, int]) -> Tensor:
    bits = torch.empty(shape, dtype=torch.uint8)
    for _, block in _blocks(bits):
        got = file.readinto(block.numpy().data)  # type: ignore[attr-defined]
        if got != block.numel():
            raise GateTableError(f"{path}: truncated while it was read; {_REMEDY}")
    return bits


def _reopen(path: str, header: bytes) -> GateTable:
    """A table that was pickled as its file."""
    table = GateTable.load(path, verify=False)
    assert table._source is not None
    if table._source[1] != header:
        raise GateTableError(f"{path}: another table since this one was pickled; pickle it again")
    return table


def _write(path: Path, layers: int, n: int, width: int, fingerprint: str | None, blocks: Iterable[Tensor]) -> None:
    """Write a table of consecutive blocks of rows, (layers, rows, row bytes) each."""
    with open_aside(path) as file:
        checksums, start = [0] * layers, 0
        for block in blocks:
            for layer in range(layers):
                rows = block[layer].cpu().numpy().data
                file.seek(_DATA_OFFSET + (layer * n + start) * ops.row_bytes(width))
                file.write(rows)
                checksums[layer] = zlib.crc32(rows, checksums[layer])
            start += block.shape[1]
        file.seek(0)
        file.write(_Header(layers, n, width, fingerprint, _checksum(checksums)).pack())


# The network that draws the gates


class GateNetwork(nn.Module):
    """The fixed ReLU network whose activation patterns are the gates ([G], Sec. 2).

    `z_0 = relu(C x), z_k = relu(Psi_k z_{k-1}), D_k = [z_k > 0]`, k = 0 .. depth; an element that is exactly zero is
    off. Products add in a fixed order, so a sample's gates depend on nothing but the sample and the weights: not on
    the batch, the threads or the instruction set. Gates are a promise: `.to(dtype)` and the like leave the weights
    as they are and only move them.

    Args:
        d_in, width, depth: sizes; depth 0 has the gates D_0 alone.
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; that of `input_weight`, else torch's default, if left out.
        input_weight: C, (width, d_in), on whose device the other weights come to lie; drawn from N(0, 2/d_in) if left
            out.

    Attributes:
        input_weight: buffer C, (width, d_in).
        psi_1 .. psi_depth: buffers Psi_k ~ N(0, 2/width), (width, width).

    Raises:
        TypeError, ValueError: sizes that are no positive integers, an unknown dtype, an input weight that does not fit.
    """

    input_weight: Tensor

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        *,
        input_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 0)
        if dtype is None:
            dtype = torch.get_default_dtype() if input_weight is None else getattr(input_weight, "dtype", None)
        if input_weight is not None:
            _check_input_weight(input_weight, (self.width, self.d_in), dtype)
        if dtype not in FLOATS:
            raise TypeError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        if input_weight is None:
            input_weight = _gaussian(self.width, self.d_in, generator, dtype)
        self.register_buffer("input_weight", input_weight.detach().clone())
        for k in range(1, self.depth + 1):
            psi = _gaussian(self.width, self.width, generator, dtype)
            self.register_buffer(f"psi_{k}", psi.to(input_weight.device))
        self._known_fingerprint: tuple[list[tuple[Tensor, int, int]], str] | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Psi_1 .. Psi_depth."""
        return [cast(Tensor, getattr(self, f"psi_{k}")) for k in range(1, self.depth + 1)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of sizes, dtype and weights in hexadecimal; kept until a weight changes."""
        weights = [self.input_weight, *self.weights]
        # Tensors made in inference mode do not count their changes.
        counted = not any(weight.is_inference() for weight in weights)
        state = [(weight, weight.data_ptr(), weight._version) for weight in weights] if counted else []
        if counted and self._known_fingerprint is not None and _same_state(self._known_fingerprint[0], state):
            return self._known_fingerprint[1]
        value = _fingerprint(self.d_in, self.width, self.depth, weights)
        self._known_fingerprint = (state, value) if counted else None
        return value

    def gates(self, x: Tensor) -> Tensor:
        """Gates of one batch, without checks: (n, d_in) to uint8 (depth + 1, n, row_bytes(width)) on x's device."""
        return torch.stack([ops.pack_bits(z > 0) for z in self._activations(x)])

    def _activations(self, x: Tensor) -> Iterator[Tensor]:
        """z_0 .. z_depth, each (n, width)."""
        z = x.to(self.input_weight.dtype)
        for weight in (self.input_weight, *self.weights):
            z = ops.ordered_linear(z, weight, relu=True)
            yield z

    def table(
        self,
        x: Tensor | np.ndarray[Any, Any],
        path: str | os.PathLike[str] | None = None,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> GateTable:
        """Table of the gates of all rows of `x`, batch by batch.

        Args:
            x: (n, d_in), float32 or float64, tensor or numpy array; converted to the dtype of the weights. n may be 0.
                The table comes to lie on its device, unless there is a path.
            path: a file to write the table to; the result is then mapped from it, in CPU memory. The file is there
                whole or not at all, and the memory in use does not grow with n.
            batch_size: samples at a time, which changes nothing but memory and time; as many as 256 MB of activations
                hold if left out.
            progress: show a progress bar if standard output is a terminal.

        Raises:
            TypeError, ValueError: `x` is no such array or not finite, or its activations overflow; a bad batch size.
            OSError: the file cannot be written.
        """
        if batch_size is None:
            of_row = self.input_weight.element_size() * (self.d_in + 2 * self.width) + self.width
            batch_size = max(1, _ACTIVATION_BYTES // of_row)
        batch_size = check_integer("batch_size", batch_size, 1)
        self._check_samples(x)
        n, layers, row_bytes = len(x), self.depth + 1, ops.row_bytes(self.width)
        with _progress("gates", n, progress) as advance:
            blocks = self._batches(x, batch_size, advance)
            if path is not None:
                _write(Path(path), layers, n, self.width, self.fingerprint, blocks)
                return GateTable.load(path, verify=False)
            device = self.input_weight.device
            bits, start = torch.empty(layers, n, row_bytes, dtype=torch.uint8, device=device), 0
            for block in blocks:
                bits[:, start : start + block.shape[1]] = block
                start += block.shape[1]
        return GateTable(bits, self.width, self.fingerprint)

    def _check_samples(self, x: object) -> None:
        """Shape, dtype and device, and that all of it is finite, before any work is done."""
        if not isinstance(x, (Tensor, np.ndarray)):
            raise TypeError(f"x: expected a torch tensor or numpy array, got {describe(x)}")
        if x.ndim != 2 or x.shape[1] != self.d_in:
            raise ValueError(f"x: expected shape (n, {self.d_in}), got {describe(x)}")
        device = self.input_weight.device
        if (x.device if isinstance(x, Tensor) else torch.device("cpu")) != device:
            raise ValueError(f"x: expected a tensor on {device} as the gate network, got {describe(x)}")
        step = max(1, _ACTIVATION_BYTES // (8 * self.d_in))
        for start in range(0, max(1, len(x)), step):
            values = as_tensor("x", x[start : start + step])
            wrong = ~torch.isfinite(values)
            if bool(wrong.any()):
                row, column = (int(i) for i in wrong.nonzero()[0])
                raise ValueError(
                    f"x: expected finite values, got {values[row, column].item()} at index {(start + row, column)}"
                )

    def _batches(
        self, x: Tensor | np.ndarray[Any, Any], batch_size: int, advance: Callable[[int], None]
    ) -> Iterator[Tensor]:
        """Gates of consecutive rows of x."""
        for start in range(0, len(x), batch_size):
            rows = as_tensor("x", x[start : start + batch_size]).to(self.input_weight.dtype)
            _check_overflow("values", rows, start)
            patterns = []
            for k, z in enumerate(self._activations(rows)):
                _check_overflow(f"activations of layer {k}", z, start)
                patterns.append(ops.pack_bits(z > 0))
            yield torch.stack(patterns)
            advance(len(rows))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GateNetwork:
        def keep_dtype(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(keep_dtype, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Addresses and versions mean nothing in a copy.
        return {**self.__dict__, "_known_fingerprint": None}

    def extra_repr(self) -> str:
        """Sizes, as in the constructor."""
        return f"d_in={self.d_in}, width={self.width}, depth={self.depth}"


def _check_input_weight(value: object, shape: tuple[int, int], dtype: torch.dtype | None) -> None:
    if not isinstance(value, Tensor) or value.dtype not in FLOATS or (dtype in FLOATS and value.dtype != dtype):
        wanted = f"a {dtype} tensor" if dtype in FLOATS else "a float32 or float64 tensor"
        raise TypeError(f"input_weight: expected {wanted}, got {describe(value)}")
    if value.shape != shape:
        raise ValueError(f"input_weight: expected shape {shape}, got {describe(value)}")
    check_finite("input_weight", value.detach())


def _check_overflow(what: str, z: Tensor, start: int) -> None:
    """ValueError if an element of z, rows `start` and on, is not finite although x is."""
    # A finite sum proves that all elements are; an infinite one can be the sum's own.
    if not bool(torch.isfinite(z.sum())) and not bool(torch.isfinite(z).all()):
        row = start + int((~torch.isfinite(z)).any(1).nonzero()[0])
        raise ValueError(f"x: {what} exceed {z.dtype} at row {row}; scale x down")


def _gaussian(rows: int, columns: int, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    """N(0, 2/columns), which keeps the mean square of activations from layer to layer."""
    return torch.randn(rows, columns, generator=generator, dtype=dtype) * math.sqrt(2 / columns)


def _same_state(known: Sequence[tuple[Tensor, int, int]], now: Sequence[tuple[Tensor, int, int]]) -> bool:
    return len(known) == len(now) and all(
        a is b and (address, version) == (address_now, version_now)
        for (a, address, version), (b, address_now, version_now) in zip(known, now, strict=True)
    )


def _fingerprint(d_in: int, width: int, depth: int, weights: Sequence[Tensor]) -> str:
    digest = hashlib.sha256(b"gatentk gate network 1\n")
    digest.update(struct.pack("<3Q", d_in, width, depth))
    digest.update(str(weights[0].dtype).removeprefix("torch.").encode() + b"\n")
    for weight in weights:
        values = weight.detach().cpu().contiguous().numpy()
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()


@contextmanager
def _progress(description: str, total: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A function that takes the number of rows done, with a bar on a terminal if `show`."""
    if not show:
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda rows: bar.advance(task, rows)
