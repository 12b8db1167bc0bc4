"""The table of activation patterns as bits, in memory or mapped from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatentk import ops
from gatentk.checks import check_block, check_integer, describe, of_dtype
from gatentk.errors import GateTableError
from gatentk.gates.blocks import block_rows, blocks, count_neurons, padding_is_set
from gatentk.gates.file import Header, MappedFile, check_sums, read_bits, read_header, write
from gatentk.gates.index import Index, rows_of
from gatentk.ops import GateLayer
from gatentk.ops.bits import expand_bits
from gatentk.ops.layouts import units

_ALIGNMENT = 64  # bytes, a cache line


class GateTable:
    """Activation patterns D_0 .. D_L of n samples as bits ([G], Sec. 2); they never change.

    A table that is mapped from a file is read as it is used, so it may be larger than the memory. It is pickled as
    the file's path, and the file must then stay as it is; other tables are pickled with their bits. A table in the
    memory of a CUDA device serves samples that lie there.

    Neighbouring neurons may share a gate: a unit of the table is a block of them, and the last one is shorter where
    the block does not divide the width.

    Args:
        bits: uint8, (layers, n, row_bytes(units)), as of `ops.pack_bits`; copied if not contiguous and aligned.
        width: neurons of a layer.
        fingerprint: of the gate network that drew the gates, if known.
        block: neighbouring neurons that share a gate, from 1 to the width.

    Attributes:
        bits: uint8, (layers, n, row_bytes(units)), contiguous, starting at a multiple of 64 bytes.
        width, fingerprint, block: as given.

    Raises:
        TypeError: bits that are no uint8 tensor, a fingerprint that is no string, a block that is no integer.
        ValueError: a shape that does not fit width and block, padding bits that are not zero, a tensor on a device
            other than the CPU or a CUDA one, a fingerprint that is not 64 hexadecimal digits, a block that is not from
            1 to the width.
    """

    def __init__(self, bits: Tensor, width: int, fingerprint: str | None = None, block: int = 1) -> None:
        width = check_integer("width", width, 0)
        block = check_block(block, width)
        _check_bits(bits, width, block)
        _check_fingerprint(fingerprint)
        aligned = bits.is_contiguous() and bits.data_ptr() % _ALIGNMENT == 0
        bits = bits if aligned else bits.clone(memory_format=torch.contiguous_format)
        self._set(bits, width, fingerprint, block)
        if any(padding_is_set(rows, self.units) for _, rows in blocks(self.bits)):
            raise ValueError(f"bits: expected zeros in the padding of rows of {_of_blocks(width, block)}")

    def _set(
        self, bits: Tensor, width: int, fingerprint: str | None, block: int, source: MappedFile | None = None
    ) -> GateTable:
        self._bits = _outside_inference_mode(bits)
        self.width = width
        self.fingerprint = fingerprint
        self.block = block
        self._source = source
        self._layers: dict[int, GateLayer] = {}
        return self

    def _like(self, bits: Tensor, source: MappedFile | None = None) -> GateTable:
        """A table of bits that need no check, all else as here."""
        return GateTable.__new__(GateTable)._set(bits, self.width, self.fingerprint, self.block, source)

    @staticmethod
    def from_bool(mask: Tensor | np.ndarray[Any, Any], block: int = 1, width: int | None = None) -> GateTable:
        """Table of a mask.

        Args:
            mask: bool, (layers, n, units), tensor or numpy array: a column for each block of neurons.
            block: neighbouring neurons that share a gate.
            width: neurons, of which the last block holds the rest; `units * block` if left out.

        Raises:
            TypeError, ValueError: another dtype or number of dimensions; a block below 1, a width of another number of
                blocks.

        >>> GateTable.from_bool(torch.tensor([[[True, False, True], [False, False, True]]]))
        GateTable(layers=1, n=2, width=3)
        >>> GateTable.from_bool(torch.tensor([[[True, False, True]]]), block=32, width=70)
        GateTable(layers=1, n=1, width=70, block=32)
        """
        gates = of_dtype("mask", mask, torch.bool)
        if not isinstance(gates, Tensor) or gates.dtype != torch.bool:
            raise TypeError(f"mask: expected a bool tensor or numpy array, got {describe(mask)}")
        if gates.dim() != 3:
            raise ValueError(f"mask: expected shape (layers, n, units), got {describe(mask)}")
        block, columns = check_integer("block", block, 1), gates.shape[-1]
        width = columns * block if width is None else check_integer("width", width, 0)
        if units(width, block) != columns:
            raise ValueError(
                f"width: expected {columns} blocks of {block} neurons as mask has columns, got {width}, which is "
                f"{units(width, block)}"
            )
        return GateTable(ops.pack_bits(gates), width, block=check_block(block, width))

    @property
    def bits(self) -> Tensor:
        """The gates, uint8 (layers, n, row_bytes(units)); GateTableError if they are of a file that has changed."""
        # A trace is of tensors and knows no files.
        if self._source is not None and not torch.compiler.is_compiling():
            self._source.check()
        return self._bits

    @property
    def layers(self) -> int:
        """Patterns of a sample: one more than the depth of the network."""
        return self._bits.shape[0]

    @property
    def n(self) -> int:
        """Samples."""
        return self._bits.shape[1]

    @property
    def units(self) -> int:
        """Gates of a sample in a layer, `ceil(width / block)`."""
        return units(self.width, self.block)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        origin = "" if self.fingerprint is None else f", fingerprint={self.fingerprint[:12]}..."
        return f"GateTable(layers={self.layers}, n={self.n}, {_sizes(self.width, self.block)}{origin})"

    def __getitem__(self, index: Index) -> GateTable:
        """The table of some samples, a copy in memory.

        Args:
            index: an integer (the table of one sample), integers (list, tensor, array or column of a data frame, in any
                order and repeated as they are; negative ones count from the end), n bools, or a slice.

        Raises:
            IndexError: an integer outside of -n .. n-1, or bools that are not n.
            TypeError, ValueError: anything else, masked or missing numbers among it.

        >>> table = GateTable.from_bool(torch.tensor([[[True, False], [False, False], [True, True]]]))
        >>> table[[-1, 0]].to_bool()
        tensor([[[ True,  True],
                 [ True, False]]])
        """
        rows = rows_of(index, self.n)
        if isinstance(rows, slice):
            bits = self.bits[:, rows].clone(memory_format=torch.contiguous_format)
        else:
            with torch.inference_mode(False):
                bits = self.bits.index_select(1, rows.to(self.bits.device))
        return self._like(bits)

    def expand(self) -> GateTable:
        """The same patterns with a gate for each neuron, `block` times the size in memory; itself if it has those.

        The fingerprint stays, because the same gate network drew them. A network takes tables of its gate network's
        block alone.

        >>> table = GateTable.from_bool(torch.tensor([[[True, False]]]), block=2, width=3)
        >>> table.expand().to_bool()
        tensor([[[ True,  True, False]]])
        """
        if self.block == 1:
            return self
        with torch.inference_mode(False):
            shape = self.layers, self.n, ops.row_bytes(self.width)
            bits = torch.empty(shape, dtype=torch.uint8, device=self._bits.device)
            for start, rows in self._neuron_rows():
                bits[:, start : start + rows.shape[1]] = rows
        return GateTable(bits, self.width, self.fingerprint)

    def _neuron_rows(self) -> Iterator[tuple[int, Tensor]]:
        """Consecutive rows of all layers, a bit for each neuron, and where they start."""
        bits = self.bits
        step = max(1, block_rows(bits) // self.block)
        for start in range(0, self.n if bits.numel() else 0, step):
            yield start, expand_bits(bits[:, start : start + step], self.width, self.block)

    def to(self, device: torch.device | str | int) -> GateTable:
        """The same table in the memory of a device; itself if it is there already."""
        bits = self.bits.to(device)
        return self if bits is self._bits else self._like(bits)

    def layer(self, k: int) -> GateLayer:
        """Gates D_k, always the same object, so that its plans are built once; IndexError unless 0 <= k < layers."""
        self._check_layer(k)
        bits = self.bits  # which is checked where the layer is known, too
        if k not in self._layers:
            self._layers[k] = GateLayer(bits[k], self.width, self.block)
        return self._layers[k]

    def neuron_major(self, k: int) -> Tensor:
        """Gates D_k with one row a neuron: uint8 (width, row_bytes(n)).

        >>> GateTable.from_bool(torch.tensor([[[True, False], [True, True]]])).neuron_major(0)[:, 0]
        tensor([3, 2], dtype=torch.uint8)
        """
        self._check_layer(k)
        rows = ops.transpose_bits(self.bits[k], self.units)
        return rows if self.block == 1 else rows.repeat_interleave(self.block, 0)[: self.width]

    def _check_layer(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
            raise TypeError(f"k: expected an integer, got {describe(k)}")
        if not 0 <= k < self.layers:
            raise IndexError(f"k: expected a layer from 0 to {self.layers - 1}, got {k}")

    def to_bool(self) -> Tensor:
        """The mask, as given to `from_bool`: bool (layers, n, units), eight times the size of the table."""
        return ops.unpack_bits(self.bits, self.units)

    def density(self) -> float:
        """Share of neurons whose gate is on, over all layers; ValueError if the table has no gates.

        >>> GateTable.from_bool(torch.tensor([[[True, False, True, True]]])).density()
        0.75
        """
        self._check_not_empty("density")
        ones = sum(count_neurons(rows, self.width, self.block) for _, rows in blocks(self.bits))
        return ones / (self.layers * self.n * self.width)

    def hamming(self, other: GateTable) -> Tensor:
        """Mean share of neurons of a sample whose gate differs, layer by layer.

        Args:
            other: table of the same layers, n and width; its block may be another.

        Returns:
            float64 (layers,), from 0 (the same patterns) to 1.

        Raises:
            TypeError, ValueError: `other` is no table, has other sizes or is on another device; the tables have no
                gates.

        >>> mask = torch.tensor([[[True, False, True, True]]])
        >>> GateTable.from_bool(mask).hamming(GateTable.from_bool(mask.flip(-1)))
        tensor([0.5000], dtype=torch.float64)
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
        if self.block != other.block:
            return self.expand().hamming(other.expand())
        differing = torch.zeros(self.layers, dtype=torch.float64)
        for (layer, rows), (_, other_rows) in zip(blocks(self.bits), blocks(other.bits), strict=True):
            differing[layer] += count_neurons(rows ^ other_rows, self.width, self.block)
        return differing / (self.n * self.width)

    def _check_not_empty(self, quantity: str) -> None:
        if 0 in (self.layers, self.n, self.width):
            raise ValueError(
                f"a table without gates has no {quantity}: layers={self.layers}, n={self.n}, width={self.width}"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to a file, which is there whole or not at all whatever happens meanwhile.

        Raises:
            OSError: the file cannot be written.
        """
        bits, header = self.bits, Header(self.layers, self.n, self.width, self.fingerprint, block=self.block)
        step = block_rows(bits)
        starts = range(0, self.n if bits.numel() else 0, step)
        write(Path(path), header, (bits[:, start : start + step] for start in starts))

    @staticmethod
    def load(path: str | os.PathLike[str], mmap: bool = True, verify: bool = True) -> GateTable:
        """Table of a file written by `save` or `GateNetwork.table`.

        Args:
            path: the file.
            mmap: map the file into memory instead of reading it. The file must not be changed in place while it is
                mapped; `save` never does that, it puts a new file in its place. Where another program does, the next
                use of the table raises GateTableError; only a file that is cut off while a kernel reads it ends the
                process.
            verify: read all of it once to check sum and padding, which takes 0.5 s for each GB where the file is in
                the page cache (AMD EPYC, one core). Header and sizes are checked in any case.

        Raises:
            OSError: the file cannot be read.
            GateTableError: it is no gate table, is damaged, or needs a newer version of this package.
        """
        path = Path(path)
        with path.open("rb") as file:
            header = read_header(path, file)
            with torch.inference_mode(False):
                source = MappedFile(path, file, header) if mmap else None
                bits = read_bits(path, file, header) if source is None else source.bits
        if verify:
            check_sums(path, bits, header)
        return GateTable.__new__(GateTable)._set(bits, header.width, header.fingerprint, header.block, source)

    def __reduce__(self) -> tuple[Callable[..., GateTable], tuple[Any, ...]]:
        if self._source is not None:
            self._source.check()
            return _reopen, (str(self._source.path), self._source.header.pack(), self._source.modified)
        whole = self.bits.untyped_storage().nbytes() == self.bits.numel()
        return GateTable, (self.bits if whole else self.bits.clone(), self.width, self.fingerprint, self.block)

    def __deepcopy__(self, memo: dict[int, Any]) -> GateTable:
        # Bits never change, so a copy of a mapped table may share them and needs no memory.
        bits = self.bits.clone() if self._source is None else self.bits
        return self._like(bits, self._source)


def _outside_inference_mode(bits: Tensor) -> Tensor:
    """Bits that a training step may save for its gradients, as torch allows of no tensor made in inference mode."""
    if not bits.is_inference():
        return bits
    with torch.inference_mode(False):
        return bits.clone()


def _sizes(width: int, block: int) -> str:
    return f"width={width}" + ("" if block == 1 else f", block={block}")


def _of_blocks(width: int, block: int) -> str:
    return f"width {width}" + ("" if block == 1 else f" in blocks of {block}")


def _check_bits(bits: object, width: int, block: int) -> None:
    if not isinstance(bits, Tensor) or bits.dtype != torch.uint8:
        raise TypeError(f"bits: expected packed bits (a uint8 tensor), got {describe(bits)}")
    if bits.device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"bits: expected a tensor in CPU memory or on a CUDA device, got {describe(bits)}; use bits.cpu()"
        )
    expected = ops.row_bytes(units(width, block))
    if bits.dim() != 3 or bits.shape[-1] != expected:
        raise ValueError(
            f"bits: expected shape (layers, n, {expected}) for {_of_blocks(width, block)}, got {describe(bits)}"
        )


def _check_fingerprint(fingerprint: object) -> None:
    if fingerprint is None:
        return
    if not isinstance(fingerprint, str):
        raise TypeError(f"fingerprint: expected a string or None, got {describe(fingerprint)}")
    if len(fingerprint) != 64 or not set(fingerprint) <= set("0123456789abcdef"):
        raise ValueError(f"fingerprint: expected 64 hexadecimal digits, got {fingerprint!r}")


def _reopen(path: str, header: bytes, modified: int | None = None) -> GateTable:
    """A table that was pickled as its file, at a time that the file may be known not to have changed since."""
    table = GateTable.load(path, verify=False)
    source = table._source
    assert source is not None
    if source.header.pack() != header:
        raise GateTableError(f"{path}: another table since this one was pickled; pickle it again")
    if source.modified != modified:
        check_sums(source.path, source.bits, source.header)
    return table
