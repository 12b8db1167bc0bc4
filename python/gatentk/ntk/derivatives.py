"""Derivatives of kernels of infinite width by samples and by the network's variances, in tiles of bounded memory.

Of each pair a kernel is a function of its covariance c = x.z and of the squared norms p = |x|^2, r = |z|^2, so that
gradients by samples are products of matrices: x_i gets sum_j (dK/dc)_ij z_j + 2 sum_j (dK/dp)_ij x_i. Where samples
nearly coincide, by an angle theta, the two sums of ReLU and its kind nearly cancel: what is left has lost a share of
the order of eps / theta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from gatentk import ops
from gatentk.ntk.networks import linear_coefficients
from gatentk.ntk.recursion import Direction, Entering, Layer, Pulled, Recursion, Tile
from gatentk.scaling import BalancedRows

# What the layers of a tile's pairs take at most, and its pairs: more do not make it faster.
TILE_BYTES = 64 << 20
LARGEST_TILE = 1 << 16

_FIELDS = 24  # numbers of a pair in each layer at the peak, about

Index = tuple[slice, slice]

Asking = list[tuple[Mapping[int, Tensor], Entering]]

# From gradients by the kernels of a tile (by depth), its angles and what computes x.z to gradients by what `Tile.pull`
# knows, and what it adds up.
Question = Callable[[Mapping[int, Tensor], Tensor, Callable[[], Tensor]], Asking]


class Side(NamedTuple):
    """Samples of one side of a kernel, float64.

    Attributes:
        given: (batch, n, d), as they are.
        directions: (batch, n, d), of which all have an angle.
        squares: (batch, n), squared norms as the network sees them: 1 where a kernel is computed of directions alone.
        sizes: (batch, n), by what the kernel of a sample is multiplied then.
        own: (batch, n, d), along which a sample moves when its squared norm grows by twice that.
        partners: (batch, n, d), along which samples of the other side move when the covariance grows, sizes included.
        scales: (batch, n, 1), by what gradients by directions are multiplied.
        kinks: (batch, n, 1), zero rows, where the kernel has a kink: their gradient is 0.
    """

    given: Tensor
    directions: Tensor
    squares: Tensor
    sizes: Tensor
    own: Tensor
    partners: Tensor
    scales: Tensor | None = None
    kinks: Tensor | None = None


def sides_with_norms(sides: Sequence[Tensor]) -> list[Side]:
    """Samples of networks for which their norms matter, float64, (batch, n, d)."""
    found = []
    for side, directions, _ in _rows(sides):
        squares = side.square().sum(-1)
        found.append(Side(side, directions, squares, torch.ones_like(squares), side, side))
    return found


def sides_of_size(sides: Sequence[Tensor]) -> list[Side]:
    """Samples of homogeneous networks, whose kernels are |x||z| times those of directions."""
    found = []
    for side, directions, norms in _rows(sides):
        units = _units(directions)
        kinks = (norms == 0).unsqueeze(-1)
        found.append(Side(side, units, torch.ones_like(norms), norms, units, side, kinks=kinks))
    return found


def sides_as_seen(sides: Sequence[Tensor], center: Tensor | None) -> list[Side]:
    """Samples whose gates see no more than their directions from a center."""
    seen = sides if center is None else [side - center.to(side) for side in sides]
    found = []
    for side, (_, directions, norms) in zip(sides, _rows(seen), strict=True):
        units, ones = _units(directions), torch.ones_like(norms)
        kinks = (norms == 0).unsqueeze(-1)
        scales = 1 / norms.unsqueeze(-1).masked_fill(kinks, 1)
        found.append(Side(side, units, ones, ones, units, units, scales, kinks))
    return found


def _rows(sides: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each side the samples, rows that have a direction, and norms."""
    rows = BalancedRows(sides[0], sides[1] if len(sides) == 2 else None, torch.float64)
    directions = [rows.x] if rows.z is None else [rows.x, rows.z]
    return list(zip(sides, directions, rows.norms(), strict=True))


def _units(directions: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(directions, dim=-1, keepdim=True)
    return directions / norms


def of_kernel(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """NTK: of all matrices and biases."""
    return [(asked, Entering([1.0] * (max(asked) + 1)))]


def of_covariance(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """NNGP."""
    return [(asked, Entering(None))]


def of_components(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """NTK of each matrix apart, by its number from 0: sums weighted with what they are asked with."""
    return [({max(asked): torch.ones_like(theta)}, Entering([asked[layer] for layer in range(max(asked) + 1)]))]


def of_paper_gates(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """GReLU by [G]: L times the NTK of a ReLU network's second matrix, with a layer more."""
    covariances = [float(layer == 1) for layer in range(max(asked) + 2)]
    return [({depth + 1: depth * values for depth, values in asked.items()}, Entering(covariances))]


def of_deep_gates(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """GReLU with deep gates: L x.z times the product over layers of 1 - theta / pi."""
    covariances = [0.0] * (max(asked) + 2)
    return [({depth + 1: depth * values for depth, values in asked.items()}, Entering(covariances, gram()))]


def of_shallow_gates(asked: Mapping[int, Tensor], theta: Tensor, gram: Callable[[], Tensor]) -> Asking:
    """GReLU with shallow gates: L x.z (1 - theta_0/pi)^(L+1), as one factor and its power."""
    share, inner = 1 - theta / torch.pi, gram()
    return [
        ({1: depth * share**depth * values}, Entering([0.0, 0.0], (depth + 1) * inner))
        for depth, values in asked.items()
    ]


class Gradients(NamedTuple):
    """Of a weighted sum of all entries of kernels.

    Attributes:
        sides: by the samples of each side that there is, (batch, n, d).
        first, weight, bias: by the network's variances.
    """

    sides: list[Tensor]
    first: float
    weight: float
    bias: float


class Pairs:
    """All pairs of samples, in tiles.

    Args:
        recursion: the network.
        sides: one, or two of a rectangular kernel.
        last: the last layer that is needed.
    """

    def __init__(self, recursion: Recursion, sides: Sequence[Side], last: int) -> None:
        self.recursion = recursion
        self.sides = list(sides)
        self.left, self.right = sides[0], sides[-1]
        self.last = last
        layers = [recursion.layers(side.squares, last) for side in sides]
        self.layers = layers[0], layers[-1]

    @property
    def is_square(self) -> bool:
        """Whether both sides are the same samples."""
        return len(self.sides) == 1

    def indices(self) -> Iterator[tuple[Index, Index]]:
        """Of tiles: the samples of both sides; of a square kernel one triangle, and all pairs of a tile's own rows."""
        batch, n = self.left.squares.shape
        n_z = self.right.squares.shape[1]
        most = max(1, min(LARGEST_TILE, TILE_BYTES // (8 * _FIELDS * (self.last + 2))))
        members = max(1, most // (n * n_z))
        for b in range(0, batch, members):
            some, i = slice(b, b + members), 0
            while i < n:
                first = i if self.is_square else 0
                columns = min(n_z - first, most)
                rows = slice(i, min(n, i + max(1, most // (columns * min(members, batch)))))
                for j in range(first, n_z, columns):
                    yield (some, rows), (some, slice(j, min(n_z, j + columns)))
                i = rows.stop

    def tile(self, left: Index, right: Index) -> Tile:
        """The pairs of some samples."""
        theta = ops.infinite_ntk(self.left.directions[left], self.right.directions[right], [0], "embedding_angle")[0]
        if self.is_square and left[1].start == right[1].start:
            theta.diagonal(0, -2, -1).zero_()
        own, other = (
            [layer.part(index, dim) for layer in layers]
            for layers, index, dim in zip(self.layers, (left, right), (-1, -2), strict=True)
        )
        return Tile(self.recursion, own, other, theta)

    def pull(self, cotangents: Mapping[int, Tensor], question: Question, variances: bool = True) -> Gradients:
        """Gradients of the sum of all kernels, by depth, times what they are multiplied with, (batch, n, n_z).

        `variances` are those of the network, whose gradients are only right if they are asked for.
        """
        sums = [_Sums(side, self.last) for side in self.sides]
        weight = bias = 0.0
        for left, right in self.indices():
            asked = {depth: self._of_tile(values, left, right) for depth, values in cotangents.items()}
            tile = self.tile(left, right)
            for wanted, entering in question(asked, tile.theta, partial(self._gram, left, right)):
                pulled = tile.pull(max(wanted), wanted, entering, variances)
                sums[0].add(left, self.right, right, pulled)
                sums[-1].add(right, self.left, left, pulled.turned())
                if not variances:
                    continue
                sizes = self.left.sizes[left].unsqueeze(-1), self.right.sizes[right].unsqueeze(-1)
                weight += sum(_weighted(part, *sizes) for part in pulled.weight)
                bias += sum(_weighted(part, *sizes) for part in pulled.bias)
        # Of a square kernel both samples of a pair have it.
        first = float((sums[0].covariance * self.left.partners).sum()) / (2 if self.is_square else 1)
        gradients = []
        for side, layers, total in zip(self.sides, self.layers, sums, strict=False):
            of_squares, by_weight, by_bias = self._through_samples(side, layers, total.variances)
            first += float((of_squares * side.squares * side.sizes).sum())
            weight, bias = weight + by_weight, bias + by_bias
            gradients.append(total.gradient(side, self.recursion.first, of_squares))
        return Gradients(gradients, first, weight, bias)

    def push(self, depth: int, question: Question, variances: Sequence[tuple[float, float, float]]) -> list[Tensor]:
        """Tangents (batch, n, n_z) of a kernel from some tangents of the network's variances: first, weight, bias."""
        rows = [
            [
                list(map(_relative, self.recursion.tangents(layers, first * side.squares + bias, weight, bias), layers))
                for layers, side in zip(self.layers, (self.left, self.right), strict=True)
            ]
            for first, weight, bias in variances
        ]
        batch, n = self.left.squares.shape
        found = [self.left.squares.new_empty(batch, n, self.right.squares.shape[1]) for _ in variances]
        for left, right in self.indices():
            tile = self.tile(left, right)
            ((_, entering),) = question({depth: tile.theta}, tile.theta, partial(self._gram, left, right))
            cosine = _outer(self.left.squares[left].sqrt(), self.right.squares[right].sqrt()) * tile.theta.cos()
            directions = [
                Direction(
                    first * cosine + bias,
                    [value[left].unsqueeze(-1) for value in sides[0]],
                    [value[right].unsqueeze(-2) for value in sides[1]],
                    weight,
                    bias,
                )
                for (first, weight, bias), sides in zip(variances, rows, strict=True)
            ]
            sizes = _outer(self.left.sizes[left], self.right.sizes[right])
            for result, tangent in zip(found, tile.push(depth, entering, directions), strict=True):
                tangent = sizes * tangent
                result[left[0], left[1], right[1]] = tangent
                if self.is_square:
                    result[left[0], right[1], left[1]] = tangent.mT
        return found

    def _gram(self, left: Index, right: Index) -> Tensor:
        return self.left.given[left] @ self.right.given[right].mT

    def _of_tile(self, values: Tensor, left: Index, right: Index) -> Tensor:
        """What kernels of a tile are multiplied with, other triangles of a square kernel included."""
        members, rows = left
        columns = right[1]
        part = values[members, rows, columns].to(torch.float64)
        if not self.is_square:
            return part
        mirrored = slice(max(rows.stop, columns.start), columns.stop)
        part = part.clone()
        part[..., mirrored.start - columns.start :] += values[members, mirrored, rows].mT
        return part

    def _through_samples(
        self, side: Side, layers: Sequence[Layer], found: Sequence[Tensor]
    ) -> tuple[Tensor, float, float]:
        """Gradients by squared norms, and by the variances of weights and biases on the way."""
        total = torch.zeros_like(side.squares)
        weight = bias = 0.0
        for layer, direct in zip(layers[-2::-1], found[::-1], strict=True):
            weight += float((total * layer.one.mean * side.sizes).sum())
            total = _relative(direct, layer) + self.recursion.weight * layer.one.rise * total
            bias += float(total.sum())
        return total, weight, bias


class _Sums:
    """Over the samples of the other side."""

    def __init__(self, side: Side, last: int) -> None:
        self.covariance, self.start = torch.zeros_like(side.given), torch.zeros_like(side.given)
        self.variances = [torch.zeros_like(side.squares) for _ in range(last)]

    def add(self, index: Index, other: Side, partners: Index, pulled: Pulled) -> None:
        """Of a tile."""
        self.covariance[index] += pulled.covariance @ other.partners[partners]
        if isinstance(pulled.start, Tensor):
            self.start[index] += pulled.start @ other.given[partners]
        sizes = other.sizes[partners].unsqueeze(-1)
        for total, part in zip(self.variances, pulled.left, strict=False):
            total[index] += (part @ sizes).squeeze(-1)

    def gradient(self, side: Side, first: float, of_squares: Tensor) -> Tensor:
        """By the samples."""
        found = first * (self.covariance + 2 * of_squares.unsqueeze(-1) * side.own)
        if side.scales is not None:
            found = side.scales * found + self.start
        return found if side.kinks is None else found.masked_fill(side.kinks, 0)


def _relative(values: Tensor, layer: Layer) -> Tensor:
    """Over variances; 0 for samples of zeros, which have none and keep none."""
    return torch.where(layer.one.variance > 0, values / layer.one.variance, 0)


def _outer(left: Tensor, right: Tensor) -> Tensor:
    return left.unsqueeze(-1) * right.unsqueeze(-2)


def _weighted(pairs: Tensor, left: Tensor, right: Tensor) -> float:
    return float((left * (pairs @ right)).sum())


def of_linear(
    sides: Sequence[Tensor], cotangents: Mapping[int, Tensor], variances: tuple[float, float, float], nngp: bool
) -> Gradients:
    """`Pairs.pull` of linear networks, whose kernels are a x.z + c with numbers a and c."""
    x, z = sides[0], sides[-1]
    gradients = [torch.zeros_like(side) for side in sides]
    numbers = [0.0, 0.0, 0.0]
    for depth, cotangent in cotangents.items():
        values = cotangent.to(torch.float64)
        (factor, _), by_variances = linear_derivatives(depth, variances, nngp)
        by_gram = values @ z
        gradients[0] += factor * by_gram
        gradients[-1] += factor * (values.mT @ x)
        of_factor, of_added = float((by_gram * x).sum()), float(values.sum())
        numbers = [
            number + of_factor * more + of_added * added
            for number, (more, added) in zip(numbers, by_variances, strict=True)
        ]
    return Gradients(gradients, *numbers)


Coefficients = tuple[float, float]


def linear_derivatives(
    depth: int, variances: tuple[float, float, float], nngp: bool
) -> tuple[Coefficients, list[Coefficients]]:
    """a and c of a linear network's kernel a x.z + c, and their derivatives by the variances: first, weight, bias.

    >>> linear_derivatives(1, (1.0, 2.0, 0.5), nngp=True)
    ((2.0, 1.5), [(2.0, 0.0), (1.0, 0.5), (0.0, 3.0)])
    """
    leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in variances]
    with torch.enable_grad():
        (found,) = linear_coefficients([depth], leaves[0], leaves[1], leaves[2], nngp)
    derivatives = [torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True) for value in found]
    columns = [[0.0 if value is None else float(value) for value in row] for row in derivatives]
    return (float(found[0].detach()), float(found[1].detach())), list(zip(*columns, strict=True))
