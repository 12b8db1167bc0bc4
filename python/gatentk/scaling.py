"""Powers of two that bring numbers of extreme size to where their squares neither overflow nor vanish."""

from __future__ import annotations

import torch
from torch import Tensor

# Within 2^-SAFE..2^SAFE squares, their rounding errors and sums of 2^30 of them are normal numbers.
SAFE = {torch.float32: 24, torch.float64: 400}


def exponents(x: Tensor, dim: int) -> Tensor | None:
    """Powers of two that bring slices of x along `dim` to about 1, where a slice needs it.

    Args:
        x: float32 or float64.
        dim: along which the norm, mean or deviation of a slice is to be taken.

    Returns:
        Integers e of the shape of x with 1 at `dim`: `times_power_of_two(x, e)` has a peak in [1/2, 1) in slices whose
        squares would overflow or lose digits; 0 for the others, for zeros, and for what is not finite. None if all
        are 0.

    >>> exponents(torch.tensor([[3.0, 4.0], [3e-30, 4e-30]]), dim=1)
    tensor([[ 0],
            [97]], dtype=torch.int32)
    """
    if x.numel() == 0:
        return None
    low, high = torch.aminmax(x, dim=dim, keepdim=True)
    peak = torch.maximum(-low, high)
    exponent = torch.frexp(peak).exponent
    extreme = (exponent.abs() > SAFE[x.dtype]) & torch.isfinite(peak)
    return torch.where(extreme, -exponent, 0) if bool(extreme.any()) else None


def times_power_of_two(x: Tensor, exponent: Tensor | int) -> Tensor:
    """x * 2^exponent, exact unless the result is subnormal; unlike `torch.ldexp` also where 2^exponent overflows.

    >>> times_power_of_two(torch.tensor([2.0**-149, 0.75]), torch.tensor([149, -1]))
    tensor([1.0000, 0.3750])
    """
    left = torch.as_tensor(exponent, device=x.device)
    limit = 100 if x.dtype == torch.float32 else 1000
    for _ in range(3):  # from the smallest number to the largest, or back
        step = left.clamp(-limit, limit)
        x, left = x * _power_of_two(step, x.dtype), left - step
    return x


def _power_of_two(exponent: Tensor, dtype: torch.dtype) -> Tensor:
    """2^exponent as its bits; `exp2` and `pow` need not be exact."""
    if dtype == torch.float32:
        return (exponent.to(torch.int32) + 127 << 23).view(dtype)
    return (exponent.to(torch.int64) + 1023 << 52).view(dtype)


def in_range(x: Tensor, dim: int) -> Tensor:
    """x with those slices along `dim` scaled by powers of two that `exponents` says need it.

    >>> in_range(torch.tensor([[3.0, 4.0], [2.0**-100, 0.0]]), dim=1)
    tensor([[3.0000, 4.0000],
            [0.5000, 0.0000]])
    """
    scale = exponents(x, dim)
    return x if scale is None else times_power_of_two(x, scale)


def unit_rows(x: Tensor) -> Tensor:
    """Rows divided by their norms, at any size that x can hold.

    Args:
        x: (..., d), float32 or float64.

    Returns:
        The same shape and dtype; rows of zeros stay zeros.

    >>> unit_rows(torch.tensor([[3.0, 4.0], [3e30, 4e30], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    x = in_range(x, -1)
    norms = x.norm(dim=-1, keepdim=True)
    return x / torch.where(norms > 0, norms, 1)


def standard_columns(x: Tensor, rows: Tensor) -> Tensor:
    """Columns moved and scaled to mean 0 and deviation 1 over some rows, at any size that x can hold.

    Args:
        x: (n, d), float32 or float64.
        rows: indices of the rows whose mean and deviation are taken.

    Returns:
        (n, d) of the same dtype; columns that are constant over `rows` are only moved.

    >>> standard_columns(torch.tensor([[2.0**99, 5.0], [3 * 2.0**99, 5.0], [5 * 2.0**99, 6.0]]), torch.tensor([0, 1]))
    tensor([[-1.,  0.],
            [ 1.,  0.],
            [ 3.,  1.]])
    """
    chosen = x[rows]
    scale = exponents(chosen, 0)
    if scale is not None:
        x, chosen = times_power_of_two(x, scale), times_power_of_two(chosen, scale)
    spread = chosen.std(dim=0, correction=0)
    # The mean of equal numbers is rounded, by 16 for 1e17: a constant column is moved by its value instead.
    return (x - torch.where(spread > 0, chosen.mean(dim=0), chosen[0])) / torch.where(spread > 0, spread, 1)
