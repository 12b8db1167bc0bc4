"""What the compiled modules take and give: tensors as addresses, problems, room for the results of operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from gatentk.activations import ACTIVATIONS

if TYPE_CHECKING:
    from gatentk import _core

ROW_ALIGNMENT = 128  # bits; packed rows are padded with zeros to a multiple of this

# Quantities of infinite width that have an output for each trained matrix of one depth, not one for each depth.
COMPONENTS = {row.components for row in ACTIVATIONS.values() if row.components is not None}


def row_bytes(width: int) -> int:
    """Bytes of a packed row of `width` bits.

    >>> row_bytes(1), row_bytes(128), row_bytes(129)
    (16, 16, 32)
    """
    return -(-width // ROW_ALIGNMENT) * (ROW_ALIGNMENT // 8)


def units(width: int, block: int) -> int:
    """Bits of a row of `width` neurons of which `block` neighbours share one; the last block may be shorter.

    >>> units(130, 1), units(130, 64)
    (130, 3)
    """
    return -(-width // block)


def contiguous_rows(matrix: Tensor) -> Tensor:
    """The same values with elements of a row next to each other; copies only if they are not."""
    return matrix if matrix.stride(-1) == 1 or matrix.shape[-1] <= 1 else matrix.contiguous()


def check_memory(tensor: Tensor) -> None:
    """Refuse a tensor whose storage was freed or shortened: kernels would read or write beyond it.

    Raises:
        RuntimeError: as torch has it where it notices.
    """
    held = tensor.untyped_storage().nbytes()
    size, offset = tensor.element_size(), tensor.storage_offset()
    if held >= size * (offset + tensor.numel()) and tensor.is_contiguous():
        return
    last = sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.stride(), strict=True))
    needed = size * (offset + last + 1) if tensor.numel() else 0
    if held < needed:
        raise RuntimeError(
            f"a tensor of shape {tuple(tensor.shape)} and dtype {tensor.dtype} needs a storage of {needed} bytes, and "
            f"its has {held}: it was freed or resized"
        )


def view(matrix: Tensor, bits: Tensor | None = None, transposed: bool = False) -> _core.View:
    """A matrix with its gates; of a transposed one, `matrix` and `bits` are as stored."""
    rows, width = matrix.shape[::-1] if transposed else matrix.shape
    return matrix.data_ptr(), rows, width, matrix.stride(0), gate_view(bits), transposed


def gate_view(bits: Tensor | None) -> _core.Gates:
    """Packed gates, or none."""
    return (0, 0) if bits is None else (bits.data_ptr(), bits.stride(0))


def packed(mask: Tensor) -> Tensor:
    """Room for the bits of a mask (..., width)."""
    return mask.new_empty((*mask.shape[:-1], row_bytes(mask.shape[-1])), dtype=torch.uint8)


def unpacked(bits: Tensor, width: int) -> Tensor:
    """Room for the mask (..., width) of packed bits."""
    return bits.new_empty((*bits.shape[:-1], width), dtype=torch.bool)


def transposed(bits: Tensor, width: int) -> Tensor:
    """Room for the rows of `width` neurons of packed bits (n, row bytes)."""
    return bits.new_empty(width, row_bytes(bits.shape[0]))


def block_lists(unit_major: Tensor, n: int) -> Tensor:
    """Room for the lists of n samples of unit-major bits (units, row_bytes(n)): a count and n samples a unit."""
    return unit_major.new_empty((unit_major.shape[0], n + 1), dtype=torch.int32)


def ordered_product(x: Tensor, weight: Tensor, relu: bool = False) -> Tensor:
    """Room for x @ weight.T."""
    return x.new_empty(x.shape[0], weight.shape[0])


def counts(bits_a: Tensor, bits_b: Tensor | None) -> Tensor:
    """Room for the counts of common gates of the rows of two tables, or of one."""
    right = bits_a if bits_b is None else bits_b
    return bits_a.new_empty((bits_a.shape[0], right.shape[0]), dtype=torch.int32)


class MaskedProduct(NamedTuple):
    """A product of two matrices whose factors and result are masked where they have gates.

    Attributes:
        a, b: the factors as stored.
        transpose_a, transpose_b: whether a factor is the transpose of what is stored.
        gate_a, gate_b, gate_out: bits, perhaps followed by the plans of their `GateLayer`; empty where all is on.
            Those of a factor are as it is stored.
        method: index in `gatentk.ops.METHODS`.
        blocks: neighbouring columns that share a bit, of a, of b and of the result as they are stored.
        bias: added to each row of the result before it is masked, or None.
    """

    a: Tensor
    b: Tensor
    transpose_a: bool
    transpose_b: bool
    gate_a: list[Tensor]
    gate_b: list[Tensor]
    gate_out: list[Tensor]
    method: int
    blocks: Sequence[int] = (1, 1, 1)
    bias: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of the result."""
        return self.a.shape[1 if self.transpose_a else 0], self.b.shape[0 if self.transpose_b else 1]

    def result(self) -> Tensor:
        """Room for the result."""
        return self.a.new_empty(self.shape)

    @property
    def gates(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Of the factors and of the result."""
        return self.gate_a, self.gate_b, self.gate_out

    @property
    def bits(self) -> list[Tensor | None]:
        """Gates of the factors and of the result, without plans."""
        return [gate[0] if gate else None for gate in self.gates]


class GramProblem(NamedTuple):
    """A sum over layers of (A A^T + bias) o (Delta Delta^T), each member of a list one layer's.

    Attributes:
        acts, deltas: left factors (..., n, width).
        acts_b, deltas_b: right factors (..., n_b, width); both empty where they are the left ones.
        gates_act, gates_delta: packed bits of the left factors.
        bias: numbers added to A A^T.
        components: whether layers are kept apart instead of summed.
    """

    acts: list[Tensor]
    deltas: list[Tensor]
    acts_b: list[Tensor]
    deltas_b: list[Tensor]
    gates_act: list[Tensor | None]
    gates_delta: list[Tensor | None]
    bias: list[float]
    components: bool

    @property
    def symmetric(self) -> bool:
        """Whether the right factors are the left ones."""
        return not self.acts_b

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        right = self.acts[0] if self.symmetric else self.acts_b[0]
        shape = (*self.acts[0].shape[:-1], right.shape[-2])
        return (len(self.acts), *shape) if self.components else shape

    def result(self) -> Tensor:
        """Room for the result."""
        return self.acts[0].new_empty(self.shape)

    def members(self, out: Tensor) -> Iterator[tuple[list[_core.Term], Tensor]]:
        """Terms and the matrix (n, n_b) of `out` that their sum goes to, for each member of a batch.

        What the addresses point to lives as long as the generator.
        """
        batch = self.acts[0].shape[:-2].numel()
        matrices = out.view(len(self.acts) if self.components else 1, batch, *out.shape[-2:])

        def flat(tensors: list[Tensor]) -> list[Tensor]:
            return [contiguous_rows(tensor.reshape(batch, *tensor.shape[-2:])) for tensor in tensors]

        def flat_gates(gates: list[Tensor | None]) -> list[Tensor | None]:
            return [None if bits is None else flat([bits])[0] for bits in gates]

        left = flat(self.acts), flat(self.deltas)
        right = left if self.symmetric else (flat(self.acts_b), flat(self.deltas_b))
        masks = flat_gates(self.gates_act), flat_gates(self.gates_delta)
        for index in range(batch):
            terms: list[_core.Term] = []
            for a, d, a_b, d_b, bits_a, bits_d, bias in zip(*left, *right, *masks, self.bias, strict=True):
                gate_a = None if bits_a is None else bits_a[index]
                gate_d = None if bits_d is None else bits_d[index]
                # Without right factors of their own the columns are the masked rows.
                gate_a_b, gate_d_b = (gate_a, gate_d) if self.symmetric else (None, None)
                terms.append(
                    (
                        view(a[index], gate_a),
                        view(a_b[index], gate_a_b),
                        view(d[index], gate_d),
                        view(d_b[index], gate_d_b),
                        bias,
                    )
                )
            yield from zip([[t] for t in terms] if self.components else [terms], matrices[:, index], strict=True)


class InfiniteProblem(NamedTuple):
    """Kernels or angles of infinitely wide networks between the rows of x and of z, or of x alone.

    Attributes:
        x, z: samples (..., n, d) and (..., n_z, d).
        depths: rising.
        quantity: a name in `_core.Quantity`.
    """

    x: Tensor
    z: Tensor | None
    depths: list[int]
    quantity: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        outputs = self.depths[0] + 1 if self.quantity in COMPONENTS else len(self.depths)
        return (outputs, *self.x.shape[:-1], (self.x if self.z is None else self.z).shape[-2])

    def result(self) -> Tensor:
        """Room for the result."""
        return self.x.new_empty(self.shape)

    def members(self, out: Tensor) -> Iterator[tuple[_core.View, _core.View, Tensor]]:
        """Samples x and z, and the matrices (outputs, n, n_z) of `out`, for each member of a batch."""
        batch = self.x.shape[:-2].numel()
        rows = contiguous_rows(self.x.reshape(batch, *self.x.shape[-2:]))
        columns = rows if self.z is None else contiguous_rows(self.z.reshape(batch, *self.z.shape[-2:]))
        matrices = out.view(out.shape[0], batch, *out.shape[-2:])
        for index in range(batch):
            yield view(rows[index]), view(columns[index]), matrices[:, index]
