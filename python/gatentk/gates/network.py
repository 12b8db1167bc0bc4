"""The network that draws the gates: fixed, Gaussian, and the same bits for a sample wherever it is computed."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import FLOATS, as_tensor, check_dtype, check_finite, check_integer, describe
from gatentk.gates.file import Header, write
from gatentk.gates.table import GateTable
from gatentk.gates.weights import beside, gaussian, has_values
from gatentk.runs.bar import progress_bar

_ACTIVATION_BYTES = 256_000_000  # of a batch, unless the batch size is given


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
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.

    Attributes:
        input_weight: buffer C, (width, d_in).
        psi_1 .. psi_depth: buffers Psi_k ~ N(0, 2/width), (width, width).

    Raises:
        TypeError, ValueError: sizes that are no positive integers, an unknown dtype, an input weight that does not fit.

    >>> GateNetwork(2, 3, 0, input_weight=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
    GateNetwork(d_in=2, width=3, depth=0)
    """

    input_weight: Tensor

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        *,
        input_weight: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 0)
        if input_weight is not None:
            dtype = getattr(input_weight, "dtype", None) if dtype is None else check_dtype(dtype)
            _check_input_weight(input_weight, (self.width, self.d_in), dtype)
        dtype = check_dtype(dtype)
        if input_weight is None:
            input_weight = gaussian(self.width, self.d_in, 2 / self.d_in, generator, dtype, device)
        elif device is not None and torch.empty(0, device=device).device != input_weight.device:
            raise ValueError(f"device: expected that of input_weight, {input_weight.device}, got {device}")
        self.register_buffer("input_weight", input_weight.detach().clone())
        for k in range(1, self.depth + 1):
            psi = gaussian(self.width, self.width, 2 / self.width, generator, dtype, device)
            self.register_buffer(f"psi_{k}", beside(psi, input_weight))
        self._known_fingerprint: tuple[tuple[object, ...], str] | None = None

    @property
    def weights(self) -> list[Tensor]:
        """Psi_1 .. Psi_depth."""
        return [cast(Tensor, getattr(self, f"psi_{k}")) for k in range(1, self.depth + 1)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of sizes, dtype and weights in hexadecimal; kept as long as their bytes stay the same.

        Each call reads the weights once, because an edit through `.data`, numpy or another process leaves no trace.
        """
        weights = [self.input_weight, *self.weights]
        # Before the digest: weights that change meanwhile are those of neither.
        state = (*(weight.dtype for weight in weights), ops.checksum(weights))
        if self._known_fingerprint is None or self._known_fingerprint[0] != state:
            self._known_fingerprint = state, _fingerprint(self.d_in, self.width, self.depth, weights)
        return self._known_fingerprint[1]

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

        Returns:
            The table, with the fingerprint of this network.

        Raises:
            TypeError, ValueError: `x` is no such array or not finite, or its activations overflow; a bad batch size.
            OSError: the file cannot be written.

        >>> net = GateNetwork(2, 3, 0, input_weight=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
        >>> net.table(torch.tensor([[2.0, 1.0], [-1.0, 3.0]])).to_bool()
        tensor([[[ True,  True,  True],
                 [False,  True, False]]])
        """
        if batch_size is None:
            of_row = self.input_weight.element_size() * (self.d_in + 2 * self.width) + self.width
            batch_size = max(1, _ACTIVATION_BYTES // of_row)
        batch_size = check_integer("batch_size", batch_size, 1)
        x = self._check_samples(x)
        n, layers, row_bytes = len(x), self.depth + 1, ops.row_bytes(self.width)
        with progress_bar("gates") if progress else nullcontext() as show:
            blocks = self._batches(x, batch_size, show)
            if path is not None:
                write(Path(path), Header(layers, n, self.width, self.fingerprint), blocks)
                return GateTable.load(path, verify=False)
            device = self.input_weight.device
            with torch.inference_mode(False):
                bits, start = torch.empty(layers, n, row_bytes, dtype=torch.uint8, device=device), 0
            for block in blocks:
                bits[:, start : start + block.shape[1]] = block
                start += block.shape[1]
        return GateTable(bits, self.width, self.fingerprint)

    def _check_samples(self, x: object) -> Tensor | np.ndarray[Any, Any]:
        """Shape, dtype and device, and that all of it is finite, before any work is done; x without a copy."""
        # Not yet a tensor: arrays that only a copy makes one are copied batch by batch.
        if type(x) is np.ndarray and x.ndim > 0:
            floats = x.dtype.kind == "f" and x.dtype.itemsize in (4, 8)
            as_tensor("x", x[:0] if floats else x)
        else:
            x = as_tensor("x", x, self.input_weight.dtype)
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
        return x

    def _batches(
        self, x: Tensor | np.ndarray[Any, Any], batch_size: int, show: Callable[[float, str], None] | None
    ) -> Iterator[Tensor]:
        """Gates of consecutive rows of x; how far they are goes to `show`."""
        for start in range(0, len(x), batch_size):
            rows = as_tensor("x", x[start : start + batch_size]).to(self.input_weight.dtype)
            _check_overflow("values", rows, start)
            patterns = []
            for k, z in enumerate(self._activations(rows)):
                _check_overflow(f"activations of layer {k}", z, start)
                patterns.append(ops.pack_bits(z > 0))
            yield torch.stack(patterns)
            if show is not None:
                show((start + len(rows)) / len(x), "gates")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GateNetwork:
        def keep_dtype(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(keep_dtype, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds out for itself what its weights are.
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
    if has_values(value):
        check_finite("input_weight", value.detach())


def _check_overflow(what: str, z: Tensor, start: int) -> None:
    """ValueError if an element of z, rows `start` and on, is not finite although x is."""
    # A finite sum proves that all elements are; an infinite one can be the sum's own.
    if not bool(torch.isfinite(z.sum())) and not bool(torch.isfinite(z).all()):
        row = start + int((~torch.isfinite(z)).any(1).nonzero()[0])
        raise ValueError(f"x: {what} exceed {z.dtype} at row {row}; scale x down")


def _fingerprint(d_in: int, width: int, depth: int, weights: Sequence[Tensor]) -> str:
    digest = hashlib.sha256(b"gatentk gate network 1\n")
    digest.update(struct.pack("<3Q", d_in, width, depth))
    digest.update(str(weights[0].dtype).removeprefix("torch.").encode() + b"\n")
    for weight in weights:
        values = weight.detach().cpu().contiguous().numpy()
        digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
    return digest.hexdigest()
