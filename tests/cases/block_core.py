"""The kernels for blocks as the compiled CUDA module has them, computed by torch from the addresses they are given.

Fast enough for sizes at which "auto" takes them, which the emulation is not; how these kernels compute is tested in
tests/cuda_emulation.
"""

import ctypes

import torch

from gatentk import reference
from gatentk.ops.layouts import row_bytes

DTYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16}


def at(address, rows, width, stride, dtype):
    """The matrix that lies there."""
    size = ((rows - 1) * stride + width) * dtype.itemsize
    memory = torch.frombuffer((ctypes.c_char * size).from_address(address), dtype=dtype)
    return memory.as_strided((rows, width), (stride, 1))


def stored(view, dtype):
    """The matrix of a view, as it lies in memory."""
    address, rows, width, stride, _, transposed = view
    assert address % 16 == 0, "rows start at 16 bytes"
    assert stride * dtype.itemsize % 16 == 0, "rows start at 16 bytes"
    rows, width = (width, rows) if transposed else (rows, width)
    assert width * dtype.itemsize % 16 == 0, "copies have 16 bytes"
    return at(address, rows, width, stride, dtype)


def mask_at(gates, rows, width):
    """The bools of packed bits; all true without any."""
    address, stride = gates
    if not address:
        return torch.ones(rows, width, dtype=torch.bool)
    assert address % 16 == stride % 16 == 0, "rows start at 16 bytes"
    return reference.unpack_bits(at(address, rows, row_bytes(width), stride, torch.uint8), width)


def of_columns(mask, block, width):
    return mask if block == 0 else mask.repeat_interleave(block, 1)[:, :width]


class BlockCore:
    """Another module with these kernels in the place of its own.

    Attributes:
        calls: names of the kernels that were called, with block sizes and what came with them.
    """

    def __init__(self, module):
        self._module = module
        self.calls = []
        for name, dtype in DTYPES.items():
            setattr(self, f"block_matmul_{name}", self._named(self._matmul, dtype))
            setattr(self, f"block_weight_gradient_{name}", self._named(self._weight_gradient, dtype))

    def __getattr__(self, name):
        return getattr(self._module, name)

    def _named(self, run, dtype):
        return lambda *arguments, **options: run(dtype, *arguments, **options)

    def block_lists(self, gates, units, n, out, device):
        self.calls.append(("block_lists", units, n))
        lists = at(out, units, n + 1, n + 1, torch.int32)
        for row, on in zip(lists, mask_at(gates, units, n), strict=True):
            row.copy_(torch.cat([on.sum()[None], on.nonzero()[:, 0], (~on).nonzero()[:, 0]]))

    def _matmul(self, dtype, left, right, out, out_stride, lists, block_out, block_left, precision, device):
        n, depth, columns = left[1], left[2], right[1]
        self.calls.append(("block_matmul", block_left, block_out if lists else 0))
        assert not left[5]
        assert bool(left[4][0]) == bool(block_left)
        gates = mask_at(left[4], n, -(-depth // block_left) if block_left else depth)
        z = torch.where(of_columns(gates, block_left, depth), stored(left, dtype), 0)
        weight = stored(right, dtype)
        product = z.double() @ (weight if right[5] else weight.T).double()
        on = torch.ones(n, columns, dtype=torch.bool)
        if lists:
            units = -(-columns // block_out)
            on = torch.zeros(n, units, dtype=torch.bool)
            for unit, (count, *samples) in enumerate(at(lists, units, n + 1, n + 1, torch.int32).tolist()):
                assert sorted(samples) == list(range(n))
                on[samples[:count], unit] = True
            on = of_columns(on, block_out, columns)
        assert columns * dtype.itemsize % 16 == 0, "stores have 16 bytes"
        at(out, n, columns, out_stride, dtype).copy_(torch.where(on, product, 0))

    def _weight_gradient(
        self,
        dtype,
        left,
        right,
        out,
        out_stride,
        gates_left,
        block_left,
        gates_right,
        block_right,
        precision,
        device,
    ):
        self.calls.append(("block_weight_gradient", block_left, block_right))
        factors = []
        for view, gates, block in ((left, gates_left, block_left), (right, gates_right, block_right)):
            width, n = view[1:3]
            assert n == left[2]
            assert view[5], "as stored, (n, width)"
            assert bool(gates[0]) == bool(block)
            on = mask_at(gates, -(-width // block), n).T if block else torch.ones(n, width, dtype=torch.bool)
            factors.append(torch.where(of_columns(on, block, width), stored(view, dtype), 0).double())
        result = factors[0].T @ factors[1]
        at(out, *result.shape, out_stride, dtype).copy_(result)
