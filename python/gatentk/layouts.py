"""What the compiled modules take and give: shapes of results, tensors as addresses, sizes and strides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from gatentk import _core

ROW_ALIGNMENT = 128  # bits; packed rows are padded with zeros to a multiple of this


def row_bytes(width: int) -> int:
    """Bytes of a packed row of `width` bits."""
    return -(-width // ROW_ALIGNMENT) * (ROW_ALIGNMENT // 8)


def contiguous_rows(matrix: Tensor) -> Tensor:
    """The same values with elements of a row next to each other; copies only if they are not."""
    return matrix if matrix.stride(-1) == 1 or matrix.shape[-1] <= 1 else matrix.contiguous()


def view(matrix: Tensor, bits: Tensor | None = None, transposed: bool = False) -> _core.View:
    """A matrix with its gates; of a transposed one, `matrix` and `bits` are as stored."""
    rows, width = matrix.shape[::-1] if transposed else matrix.shape
    return matrix.data_ptr(), rows, width, matrix.stride(0), gates(bits), transposed


def gates(bits: Tensor | None) -> _core.Gates:
    """Packed gates, or none."""
    return (0, 0) if bits is None else (bits.data_ptr(), bits.stride(0))


def product_shape(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> tuple[int, int]:
    """Shape of a product of two matrices."""
    return a.shape[1 if transpose_a else 0], b.shape[0 if transpose_b else 1]


def gram_shape(acts: Sequence[Tensor], acts_b: Sequence[Tensor], components: bool) -> tuple[int, ...]:
    """Shape of a sum of Gram products; `acts_b` is empty where the right factors are the left ones."""
    right = acts_b[0] if acts_b else acts[0]
    shape = (*acts[0].shape[:-1], right.shape[-2])
    return (len(acts), *shape) if components else shape


def gram_problems(
    acts: list[Tensor],
    deltas: list[Tensor],
    acts_b: list[Tensor],
    deltas_b: list[Tensor],
    gates_act: list[Tensor | None],
    gates_delta: list[Tensor | None],
    bias: list[float],
    out: Tensor,
    components: bool,
) -> Iterator[tuple[list[_core.Term], Tensor]]:
    """Terms and the matrix (n, n_b) of `out` that their sum goes to, for each member of a batch.

    What the addresses point to lives as long as the generator.
    """
    symmetric = not acts_b
    batch = acts[0].shape[:-2].numel()
    matrices = out.view(len(acts) if components else 1, batch, *out.shape[-2:])

    def flat(tensor: Tensor) -> Tensor:
        return contiguous_rows(tensor.reshape(batch, *tensor.shape[-2:]))

    rows = [(flat(a), flat(d)) for a, d in zip(acts, deltas, strict=True)]
    columns = rows if symmetric else [(flat(a), flat(d)) for a, d in zip(acts_b, deltas_b, strict=True)]
    masks = [
        tuple(flat(g) if g is not None else None for g in pair) for pair in zip(gates_act, gates_delta, strict=True)
    ]
    for index in range(batch):
        terms: list[_core.Term] = []
        for (a, d), (a_b, d_b), (gate_a, gate_d), offset in zip(rows, columns, masks, bias, strict=True):
            g_a = gate_a[index] if gate_a is not None else None
            g_d = gate_d[index] if gate_d is not None else None
            terms.append(
                (
                    view(a[index], g_a),
                    view(a_b[index], g_a if symmetric else None),
                    view(d[index], g_d),
                    view(d_b[index], g_d if symmetric else None),
                    offset,
                )
            )
        yield from zip([[t] for t in terms] if components else [terms], matrices[:, index], strict=True)


def infinite_shape(x: Tensor, z: Tensor | None, depths: Sequence[int], quantity: str) -> tuple[int, ...]:
    """Shape of kernels or angles of infinitely wide networks."""
    outputs = depths[0] + 1 if quantity == "relu_components" else len(depths)
    return (outputs, *x.shape[:-1], (x if z is None else z).shape[-2])


def infinite_problems(x: Tensor, z: Tensor | None, out: Tensor) -> Iterator[tuple[_core.View, _core.View, Tensor]]:
    """Samples x and z, and the matrices (outputs, n, n_z) of `out`, for each member of a batch."""
    batch = x.shape[:-2].numel()
    rows = contiguous_rows(x.reshape(batch, *x.shape[-2:]))
    columns = rows if z is None else contiguous_rows(z.reshape(batch, *z.shape[-2:]))
    matrices = out.view(out.shape[0], batch, *out.shape[-2:])
    for index in range(batch):
        yield view(rows[index]), view(columns[index]), matrices[:, index]
