"""Samples with their numbers, by which a training loop finds their gates in a table."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gatentk.checks import describe, plain
from gatentk.gates.index import Index, rows_of


class NumberedSamples(Dataset[tuple[Any, ...]]):
    """A dataset for `DataLoader` that yields `(i, x[i], y[i], ...)`: the loop takes `table[i]` of a batch.

    Samples are collated as torch does by default. With `sampler=BatchSampler(RandomSampler(samples), size, False)` and
    `batch_size=None` each batch is taken by one index, which is much faster than sample by sample.

    Args:
        arrays: tensors or numpy arrays with as many rows.

    Attributes:
        tensors: they, as tensors that share their memory where possible.

    Raises:
        TypeError, ValueError: no arrays, something else than arrays, or other numbers of rows.

    >>> import torch
    >>> from torch.utils.data import DataLoader
    >>> import gatentk as gt
    >>> x, y = torch.eye(4), torch.arange(4)
    >>> net = gt.nn.GReLUNetwork(4, 64, 2)
    >>> table = net.gate_table(x)
    >>> for i, rows, labels in DataLoader(gt.gates.NumberedSamples(x, y), batch_size=2):
    ...     print(i.tolist(), net(rows, gates=table[i]).shape, labels.tolist())
    [0, 1] torch.Size([2, 1]) [0, 1]
    [2, 3] torch.Size([2, 1]) [2, 3]
    """

    def __init__(self, *arrays: Tensor | np.ndarray[Any, Any]) -> None:
        if not arrays:
            raise TypeError("arrays: expected at least one tensor or numpy array, got none")
        tensors: list[Tensor] = []
        for position, array in enumerate(arrays):
            found = plain(f"arrays[{position}]", array)
            if found is None or found.ndim == 0:
                raise TypeError(f"arrays[{position}]: expected a tensor or numpy array of rows, got {describe(array)}")
            tensor = found if isinstance(found, Tensor) else torch.as_tensor(found)
            if tensors and len(tensor) != len(tensors[0]):
                raise ValueError(
                    f"arrays[{position}]: expected {len(tensors[0])} rows as arrays[0], got {describe(array)}"
                )
            tensors.append(tensor)
        self.tensors = tuple(tensors)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Index) -> tuple[Any, ...]:
        """The number and the rows of one sample, or those of several by a list, tensor or slice of numbers."""
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            (number,) = rows_of(index, len(self)).tolist()  # type: ignore[union-attr]
            return (number, *(tensor[number] for tensor in self.tensors))
        rows = rows_of(index, len(self))
        numbers = torch.arange(len(self))[rows]
        return (numbers, *(tensor[numbers.to(tensor.device)] for tensor in self.tensors))
