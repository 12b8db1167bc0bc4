"""Matrices as the kernels take them: stored by rows or by columns, aligned or not, with packed gates, or unreadable."""

import contextlib
import ctypes
import mmap

import torch
from cases.devices import made_up

from gatentk import reference

DEVICE = made_up(80, 108)
DTYPES = {"strict": torch.float32, "tf32x3": torch.float32, "tf32": torch.float32}
DTYPES |= {"f64": torch.float64, "bf16": torch.bfloat16}
SUFFIXES = {torch.float32: "f32", torch.float64: "f64", torch.bfloat16: "bf16"}
PRECISIONS = {"strict": 0, "tf32x3": 1, "tf32": 2, "f64": 0, "bf16": 0}


class Matrix:
    """A random matrix; where there are gates, what they switch off is NaN or infinite.

    With `padding` its stored rows lie that many elements further apart than they are long, with `offset` the first one
    begins at that element of an aligned buffer. `in_chunks`: rows start at multiples of 16 bytes, and zeros follow up
    to the next one. Elements are whole numbers of at most `largest`, or else Gaussian.
    """

    def __init__(
        self,
        generator,
        rows,
        width,
        dtype,
        gated=False,
        transposed=False,
        padding=0,
        offset=0,
        in_chunks=False,
        largest=None,
        density=0.5,
    ):
        if largest is None:
            values = torch.randn(rows, width, generator=generator, dtype=torch.float64).to(dtype)
        else:
            values = torch.randint(-largest, largest + 1, (rows, width), generator=generator).to(dtype)
        self.transposed = transposed
        self.mask = torch.rand(rows, width, generator=generator) < density if gated else None
        self.values = values if self.mask is None else torch.where(self.mask, values, 0)
        if self.mask is not None:
            behind = torch.where(torch.rand(rows, width, generator=generator) < 0.5, torch.nan, torch.inf).to(dtype)
            values = torch.where(self.mask, values, behind)
        stored = values.T if transposed else values
        lines, length = stored.shape
        zeros = -length % (16 // values.element_size()) if in_chunks else 0
        padding += zeros
        buffer = torch.full((offset + lines * (length + padding),), torch.nan, dtype=dtype)
        rows = buffer[offset:].view(lines, length + padding)
        rows[:, length : length + zeros] = 0
        self.stored = rows[:, :length]
        self.stored.copy_(stored)
        self.bits = None if self.mask is None else packed(self.mask.T if transposed else self.mask)

    def apply_gates(self):
        """Zeros where they are off, as kernels without gates want them."""
        self.stored.copy_(self.values.T if self.transposed else self.values)
        self.bits = None

    @property
    def view(self):
        return (
            self.stored.data_ptr(),
            *self.values.shape,
            self.stored.stride(0),
            (0, 0) if self.bits is None else (self.bits.data_ptr(), self.bits.stride(0)),
            self.transposed,
        )


def packed(mask):
    """Packed gates in memory aligned as torch's CUDA allocator aligns it."""
    bits = reference.pack_bits(mask.contiguous())
    buffer = torch.zeros(bits.numel() + 64, dtype=torch.uint8)
    aligned = buffer[-buffer.data_ptr() % 64 :][: bits.numel()].view(bits.shape)
    return aligned.copy_(bits)


def filled(rows, columns, dtype, padding=0):
    """Memory for a result that must be overwritten."""
    return torch.full((rows, columns + padding), torch.nan, dtype=dtype)[:, :columns]


def within_rule(result, torch_result, exact):
    """The accuracy rule of the kernels: at most twice the error of torch in the same dtype."""
    error, allowed = ((r.double() - exact).abs().max().item() for r in (result, torch_result))
    resolution = {torch.float32: 2e-38, torch.float64: 1e-300, torch.bfloat16: 1e-38}[result.dtype]
    return error <= 2 * allowed + resolution


@contextlib.contextmanager
def pages(count, dtype):
    """Zeroed memory of `count` pages, a page a row, and protect(first, last) that makes pages unreadable."""
    memory = mmap.mmap(-1, count * mmap.PAGESIZE)
    rows = torch.frombuffer(memory, dtype=dtype).view(count, -1)
    libc = ctypes.CDLL(None, use_errno=True)

    def switch(first, last, access):
        address, size = rows.data_ptr() + first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE
        assert libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), access) == 0

    try:
        yield rows, lambda first, last: switch(first, last, 0)
    finally:
        switch(0, count, mmap.PROT_READ | mmap.PROT_WRITE)
