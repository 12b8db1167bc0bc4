"""Whether tensors still hold the bytes of before: a checksum at the speed of memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from gatentk import _core
from gatentk.ops.layouts import check_memory

_WORDS = 1 << 21  # of a block on a device, whose products with the multipliers stay in its cache
_SEED = 0x6761


def checksum(tensors: Sequence[Tensor]) -> int:
    """64-bit checksum of the bytes of float32 or float64 tensors, one after the other.

    A change of a few bytes next to each other in one of them is noticed for certain, any other but for one in 2^64 (on
    a CUDA device in 2^33). It depends on nothing but values and order, and on whether a tensor lies on the CPU or not.

    Args:
        tensors: with values, on the CPU or a device that torch computes on (which is waited for).

    >>> weight = torch.ones(3, 4)
    >>> before = checksum([weight])
    >>> weight.data[1, 2] = 2.0
    >>> checksum([weight]) == before
    False
    """
    total = 0
    for tensor in tensors:
        check_memory(tensor)
        values = tensor
        # Nothing is done to weights as they mostly are: inside torch.func's transforms what is done has no memory.
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            plain = tensor.detach()
            values = (plain if plain.device.type == "cpu" else signature(plain).cpu()).contiguous()
        total = _core.checksum(values.data_ptr(), values.nbytes, total, torch.get_num_threads())
    return total


def signature(matrix: Tensor) -> Tensor:
    """What a few changed bytes of a matrix change for certain: int64, a number for each row, on the matrix's device.

    Sums of 32-bit words times odd 64-bit numbers, modulo 2^64: a word that differs differs by less than 2^32, and its
    product is not 0; two that change places meet different multipliers (Dietzfelbinger, "Universal hashing and k-wise
    independent random variables via integer arithmetic without primes", 1996).

    >>> weight = torch.tensor([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    >>> first, second, third = signature(weight).tolist()
    >>> first == second, first == third
    (True, False)
    """
    words = matrix.contiguous().reshape(-1, matrix.shape[-1]).view(torch.int32)
    multipliers = _multipliers(words.shape[1], words.device)
    step = max(1, _WORDS // max(1, words.shape[1]))
    return torch.cat([(block * multipliers).sum(1) for block in words.split(step)])


@lru_cache(maxsize=8)
def _multipliers(count: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    with torch.inference_mode(False):
        drawn = torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator, dtype=torch.int64)
        return (drawn | 1).to(device)
