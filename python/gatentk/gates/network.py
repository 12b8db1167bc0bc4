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
from gatentk.checks import (
    FLOATS,
    as_tensor,
    check_block,
    check_choice,
    check_dtype,
    check_finite,
    check_integer,
    describe,
)
from gatentk.gates.file import Header, write
from gatentk.gates.table import GateTable
from gatentk.gates.weights import beside, gaussian, has_values
from gatentk.ops.layouts import units
from gatentk.runs.bar import progress_bar

KINDS = ("deep", "shallow")
_ACTIVATION_BYTES = 256_000_000  # of a batch, unless the batch size is given


class GateNetwork(nn.Module):
    """The fixed network whose activation patterns are the gates ([G], Sec. 2).

    Deep: `z_0 = relu(C x), z_k = relu(Psi_k z_{k-1}), D_k = [z_k > 0]`, k = 0 .. depth, as in [G]. Shallow: every layer
    has half-spaces of the input of its own, `D_0 = [C x > 0], D_k = [Psi_k x > 0]`. An element that is exactly zero is
    off. Products add in a fixed order, so a sample's gates depend on nothing but the sample and the weights: not on
    the batch, the threads or the instruction set. Gates are a promise: `.to(dtype)` and the like leave the weights
    as they are and only move them.

    With a block, that many neighbouring neurons share a gate, and the gate network has one unit for them all; the last
    block is shorter where it does not divide the width.

    Args:
        d_in, width, depth: sizes; depth 0 has the gates D_0 alone.
        generator: source of the weights; torch's global one if left out.
        dtype: float32 or float64; that of `input_weight`, else torch's default, if left out.
        input_weight: C, (units, d_in), on whose device the other weights come to lie; drawn from N(0, 2/d_in) if left
            out.
        block: neighbouring neurons that share a gate, from 1 to the width.
        kind: "deep" or "shallow".
        center: (d_in,), such as `x.mean(0)`, subtracted from every sample and rounded to the weights' dtype; nothing is
            if left out. A sample that equals it has all gates off.
        device: where the weights are drawn and lie, "meta" for shapes alone; torch's default if left out.

    Attributes:
        input_weight: buffer C, (units, d_in).
        psi_1 .. psi_depth: buffers Psi_k, deep (units, units) ~ N(0, 2/units), shallow (units, d_in) ~ N(0, 2/d_in).
        center: buffer (d_in,) or None.
        block, kind: as given.
        units: `ceil(width / block)`, gates of a sample in a layer.

    Raises:
        TypeError, ValueError: sizes that are no positive integers, a block larger than the width, an unknown dtype or
            kind, an input weight or a center that does not fit or is not finite.

    >>> GateNetwork(2, 3, 0, input_weight=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
    GateNetwork(d_in=2, width=3, depth=0)
    >>> net = GateNetwork(2, 100, 3, block=32, kind="shallow", center=torch.tensor([0.5, 0.5]))
    >>> net
    GateNetwork(d_in=2, width=100, depth=3, block=32, kind='shallow', centred)
    >>> net.table(torch.rand(5, 2))[:2].to_bool().shape  # a gate for each of 4 units
    torch.Size([4, 2, 4])
    """

    input_weight: Tensor
    center: Tensor | None

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | str | None = None,
        *,
        input_weight: Tensor | None = None,
        block: int = 1,
        kind: str = "deep",
        center: Tensor | np.ndarray[Any, Any] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.d_in = check_integer("d_in", d_in, 1)
        self.width = check_integer("width", width, 1)
        self.depth = check_integer("depth", depth, 0)
        self.block = check_block(block, self.width)
        self.kind = check_choice("kind", kind, KINDS)
        if input_weight is not None:
            dtype = getattr(input_weight, "dtype", None) if dtype is None else check_dtype(dtype)
            _check_input_weight(input_weight, (self.units, self.d_in), dtype)
        dtype = check_dtype(dtype)
        if input_weight is None:
            input_weight = gaussian(self.units, self.d_in, 2 / self.d_in, generator, dtype, device)
        elif device is not None and torch.empty(0, device=device).device != input_weight.device:
            raise ValueError(f"device: expected that of input_weight, {input_weight.device}, got {device}")
        self.register_buffer("input_weight", input_weight.detach().clone())
        columns = self.units if self.kind == "deep" else self.d_in
        for k in range(1, self.depth + 1):
            psi = gaussian(self.units, columns, 2 / columns, generator, dtype, device)
            self.register_buffer(f"psi_{k}", beside(psi, input_weight))
        self.register_buffer("center", None if center is None else _checked_center(center, input_weight))
        self._known_fingerprint: tuple[tuple[object, ...], str] | None = None

    @property
    def units(self) -> int:
        """Gates of a sample in a layer, `ceil(width / block)`."""
        return units(self.width, self.block)

    @property
    def shares_input_weight(self) -> bool:
        """Whether C is the gated network's own, as in [G]: deep gates of x itself, one for each neuron."""
        return self.kind == "deep" and self.block == 1 and self.center is None

    @property
    def weights(self) -> list[Tensor]:
        """Psi_1 .. Psi_depth."""
        return [cast(Tensor, getattr(self, f"psi_{k}")) for k in range(1, self.depth + 1)]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides the gates, weights among it; kept as long as their bytes stay the same.

        Each call reads the weights once, because an edit through `.data`, numpy or another process leaves no trace.
        """
        tensors = [self.input_weight, *self.weights]
        if self.center is not None:
            tensors.append(self.center)
        # Before the digest: weights that change meanwhile are those of neither.
        state = (*(tensor.dtype for tensor in tensors), ops.checksum(tensors))
        if self._known_fingerprint is None or self._known_fingerprint[0] != state:
            self._known_fingerprint = state, self._digest(tensors)
        return self._known_fingerprint[1]

    def _digest(self, tensors: Sequence[Tensor]) -> str:
        own = not self.shares_input_weight
        digest = hashlib.sha256(b"gatentk gate network 2\n" if own else b"gatentk gate network 1\n")
        digest.update(struct.pack("<3Q", self.d_in, self.width, self.depth))
        if own:
            centred = "centred" if self.center is not None else "as it is"
            digest.update(struct.pack("<Q", self.block) + f"{self.kind}\n{centred}\n".encode())
        digest.update(str(tensors[0].dtype).removeprefix("torch.").encode() + b"\n")
        for tensor in tensors:
            values = tensor.detach().cpu().contiguous().numpy()
            digest.update(values.astype(values.dtype.newbyteorder("<"), copy=False).data)
        return digest.hexdigest()

    def gates(self, x: Tensor) -> Tensor:
        """Gates of one batch, without checks: (n, d_in) to uint8 (depth + 1, n, row_bytes(units)) on x's device."""
        # Not z > 0: a sample that is no number has its gates on and shows in the outputs.
        return torch.stack([ops.pack_bits(z != 0) for z in self.activations(x)])

    def activations(self, x: Tensor) -> Iterator[Tensor]:
        """z_0 .. z_depth of samples (n, d_in), without checks: each (n, units), positive where the gate is on.

        >>> net = GateNetwork(2, 4, 1, block=2, kind="shallow")
        >>> [tuple(z.shape) for z in net.activations(torch.eye(2))]
        [(2, 2), (2, 2)]
        """
        return self._activations(self.centred(x))

    def centred(self, x: Tensor) -> Tensor:
        """Samples (..., d_in) as the weights meet them: in their dtype, less the center if there is one.

        >>> GateNetwork(2, 4, 1, center=torch.tensor([1.0, 0.0])).centred(torch.eye(2))
        tensor([[ 0.,  0.],
                [-1.,  1.]])
        """
        x = x.to(self.input_weight.dtype)
        return x if self.center is None else x - self.center

    def _activations(self, x: Tensor) -> Iterator[Tensor]:
        """z_0 .. z_depth, each (n, units), of centred samples."""
        z = x
        for weight in (self.input_weight, *self.weights):
            z = ops.ordered_linear(z if self.kind == "deep" else x, weight, relu=True)
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
            of_row = self.input_weight.element_size() * (2 * self.d_in + 2 * self.units) + self.units
            batch_size = max(1, _ACTIVATION_BYTES // of_row)
        batch_size = check_integer("batch_size", batch_size, 1)
        x = self._check_samples(x)
        n, layers, row_bytes = len(x), self.depth + 1, ops.row_bytes(self.units)
        with progress_bar("gates") if progress else nullcontext() as show:
            blocks = self._batches(x, batch_size, show)
            if path is not None:
                write(Path(path), Header(layers, n, self.width, self.fingerprint, block=self.block), blocks)
                return GateTable.load(path, verify=False)
            device = self.input_weight.device
            with torch.inference_mode(False):
                bits, start = torch.empty(layers, n, row_bytes, dtype=torch.uint8, device=device), 0
            for block in blocks:
                bits[:, start : start + block.shape[1]] = block
                start += block.shape[1]
        return GateTable(bits, self.width, self.fingerprint, self.block)

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
            rows = self.centred(as_tensor("x", x[start : start + batch_size]))
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Networks that were pickled before there were blocks, kinds and centers.
        state = {"block": 1, "kind": "deep", **state}
        state["_buffers"].setdefault("center", None)
        super().__setstate__(state)  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # A copy finds out for itself what its weights are.
        return {**self.__dict__, "_known_fingerprint": None}

    def extra_repr(self) -> str:
        """Sizes and kind, as in the constructor; what is as in [G] is left out."""
        said = f"d_in={self.d_in}, width={self.width}, depth={self.depth}"
        said += "" if self.block == 1 else f", block={self.block}"
        said += "" if self.kind == "deep" else f", kind={self.kind!r}"
        return said + ("" if self.center is None else ", centred")


def _check_input_weight(value: object, shape: tuple[int, int], dtype: torch.dtype | None) -> None:
    if not isinstance(value, Tensor) or value.dtype not in FLOATS or (dtype in FLOATS and value.dtype != dtype):
        wanted = f"a {dtype} tensor" if dtype in FLOATS else "a float32 or float64 tensor"
        raise TypeError(f"input_weight: expected {wanted}, got {describe(value)}")
    if value.shape != shape:
        raise ValueError(f"input_weight: expected shape {shape}, got {describe(value)}")
    if has_values(value):
        check_finite("input_weight", value.detach())


def _checked_center(value: object, weight: Tensor) -> Tensor:
    """A copy of a center, of dtype and device of the input weight."""
    if isinstance(value, Tensor) and not has_values(value) and not has_values(weight):
        center = value.detach()  # shapes alone
    else:
        center = as_tensor("center", value, weight.dtype)
    if center.shape != weight.shape[1:]:
        raise ValueError(f"center: expected shape ({weight.shape[1]},), got {describe(value)}")
    if has_values(center):
        check_finite("center", center)
        center = center.to(weight.dtype)
        check_finite("center", center)  # what float32 cannot hold is infinite
    return beside(center.to(weight.dtype, copy=True), weight)


def _check_overflow(what: str, z: Tensor, start: int) -> None:
    """ValueError if an element of z, rows `start` and on, is not finite although x is."""
    # A finite sum proves that all elements are; an infinite one can be the sum's own.
    if not bool(torch.isfinite(z.sum())) and not bool(torch.isfinite(z).all()):
        row = start + int((~torch.isfinite(z)).any(1).nonzero()[0])
        raise ValueError(f"x: {what} exceed {z.dtype} at row {row}; scale x down")
