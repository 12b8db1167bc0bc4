"""Powers of two that bring numbers of extreme size to where their squares neither overflow nor vanish."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Within 2^-SAFE..2^SAFE squares, their rounding errors and sums of 2^30 of them are normal numbers.
SAFE = {torch.float32: 24, torch.float64: 400}

# Rows whose peaks differ by more are scaled each by itself in kernels of pairs, the others all alike.
LARGEST_RATIO = 2.0**10


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


class BalancedRows:
    """Two sides of a kernel K(x, z) whose rows have any size, and the way back: K(a x, b z) = a b K(x, z), a, b > 0.

    Rows that are all zero become ones, so that they have an angle; `restore` sets their kernel to 0.

    Attributes:
        x, z: rows (..., n, d) in the dtype of the kernel, all of a size at which it is accurate; z is None if it was.
    """

    def __init__(self, x: Tensor, z: Tensor | None, dtype: torch.dtype) -> None:
        sides = [x] if z is None else [x, z]
        peaks = [side.abs().amax(-1) if side.shape[-1] else side.new_zeros(side.shape[:-1]) for side in sides]
        self._zero = [peak == 0 for peak in peaks]
        self._powers = self._balancing(peaks, SAFE[dtype])
        if self._powers is not None:
            sides = [times_power_of_two(side, p.unsqueeze(-1)) for side, p in zip(sides, self._powers, strict=True)]
        sides = [side.to(dtype) for side in sides]
        if self._has_zeros:
            sides = [torch.where(zero.unsqueeze(-1), 1, s) for zero, s in zip(self._zero, sides, strict=True)]
        self.x, self.z = sides[0], None if z is None else sides[1]

    def _balancing(self, peaks: list[Tensor], safe: int) -> list[Tensor] | None:
        """The exponent for each row, one for all rows of similar size; None where no row needs one."""
        ends = [torch.aminmax(peak) for peak in peaks if peak.numel()]
        highest = max((float(high) for _, high in ends), default=1.0)
        lowest = min((float(low) for low, _ in ends), default=1.0)
        self._has_zeros = lowest == 0
        if self._has_zeros:
            lowest = min(float(torch.where(peak > 0, peak, math.inf).min()) for peak in peaks if peak.numel())
        if not 0 < highest < math.inf:
            return None
        if lowest < highest / LARGEST_RATIO:
            return [-torch.frexp(peak).exponent for peak in peaks]
        exponent = math.frexp(highest)[1]
        if abs(exponent) <= safe:
            return None
        return [torch.full_like(peak, -exponent, dtype=torch.int32) for peak in peaks]

    def norms(self) -> list[Tensor]:
        """Norms (..., n) of the rows of both sides as they were, 0 of those that are all zero."""
        sides = [self.x] if self.z is None else [self.x, self.z]
        found = [side.norm(dim=-1) for side in sides]
        if self._powers is not None:
            found = [times_power_of_two(norm, -power) for norm, power in zip(found, self._powers, strict=True)]
        return [norm.masked_fill(zero, 0) for norm, zero in zip(found, self._zero, strict=True)]

    def check_angles(self) -> None:
        """Refuse rows of zeros, which have no angle."""
        for name, zero in zip("xz", self._zero, strict=False):
            if self._has_zeros and bool(zero.any()):
                row = _row(torch.nonzero(zero)[0])
                raise ValueError(f"{name}: row {row} is all zero, so its angle to other rows is undefined")

    def restore(self, kernels: Tensor) -> Tensor:
        """The kernels (..., n, n_z) of the rows as they were.

        Raises:
            ValueError: they overflow the dtype, or rows are so small that they underflow.
        """
        zero = self._zero[0], self._zero[-1]
        if self._powers is not None:
            left, right = self._powers[0], self._powers[-1]
            kernels = times_power_of_two(kernels, -(left.unsqueeze(-1) + right.unsqueeze(-2)))
            if not bool(torch.isfinite(kernels).all()):
                raise ValueError(f"x: squared norms overflow {kernels.dtype}; rescale the samples")
            self._check_small(kernels.dtype)
        if self._has_zeros:
            kernels = kernels.masked_fill(zero[0].unsqueeze(-1) | zero[1].unsqueeze(-2), 0)
        return kernels

    def _check_small(self, dtype: torch.dtype) -> None:
        """Below the smallest normal number digits are lost: errors are no longer small beside |x||z|."""
        assert self._powers is not None
        sides = [self.x] if self.z is None else [self.x, self.z]
        sizes = [
            torch.where(zero, math.inf, side.norm(dim=-1).log2() - power)
            for side, power, zero in zip(sides, self._powers, self._zero, strict=True)
        ]
        smallest = [size.amin(-1) for size in sizes]
        if bool((smallest[0] + smallest[-1] < math.log2(torch.finfo(dtype).smallest_normal)).any()):
            name, size = min(zip("xz", sizes, strict=False), key=lambda side: float(side[1].min()))
            row = _row(torch.nonzero(size == size.min())[0])
            raise ValueError(
                f"{name}: row {row} is so small that kernels with it underflow {dtype}; rescale the samples"
            )


def _row(index: Tensor) -> int | tuple[int, ...]:
    """An index as a message has it."""
    numbers = tuple(int(i) for i in index)
    return numbers[0] if len(numbers) == 1 else numbers
