"""Angles between samples, their embeddings and the gradients of the network at them; radians everywhere."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gatentk import ops
from gatentk.activations import WITH_ANGLES
from gatentk.checks import as_tensor, check_finite, describe, like_input
from gatentk.gates import GateNetwork
from gatentk.ntk.gate_kinds import DEFAULT
from gatentk.ntk.samples import Samples, check_depth, checked_activation

# Rows of a block of pairs in min_angle take at most this many bytes.
BLOCK_BYTES = 32 << 20


def embedding_angles(x: Any, depth: int) -> Any:
    """Angles between the embeddings alpha_depth of all pairs in an infinitely wide ReLU network ([S], Thm 4.1).

    Depth 0 gives the angles between the samples themselves.

    Args:
        x: samples (..., n, d) without zero rows, float32 or float64, tensor or numpy array.
        depth: layer of the embedding.

    Returns:
        (..., n, n), float64, zeros on the diagonal; relative accuracy 1e-12 for angles from 1e-12 to pi, whatever the
        norms; 0 between parallel samples.

    Raises:
        TypeError, ValueError: as `gatentk.ntk.infinite`.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.eye(2)
    >>> [round(float(gt.ntk.embedding_angles(x, depth)[0, 1].rad2deg()), 1) for depth in (0, 1, 10)]
    [90.0, 71.4, 29.4]
    """
    samples = Samples(x, None, "relu", [check_depth("depth", depth)])
    samples.rows.check_angles()
    return like_input(ops.infinite_ntk(samples.x, None, [depth], "embedding_angle")[0], x)


def gradient_angles(x: Any, depth: int, activation: str = "relu", *, gates: str | GateNetwork = DEFAULT) -> Any:
    """Angles phi between the gradients of an infinitely wide network at all pairs of samples ([S], Thm 4.4).

    ReLU: cos phi = S_L / (L + 1), as accurate as `embedding_angles`; linear: the angle of the samples at any depth;
    grelu (depth at least 1): the angle of its expected kernel.

    Args:
        x: samples (..., n, d) without zero rows, float32 or float64, tensor or numpy array.
        depth: number of hidden layers.
        activation: "relu", "linear" or "grelu".
        gates: of "grelu", as in `gatentk.ntk.infinite`. Differences from a center are rounded once, so that their
            angles are good to about 1e-16 absolute.

    Returns:
        (..., n, n), float64, zeros on the diagonal.

    Raises:
        TypeError, ValueError: as `gatentk.ntk.infinite`.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.1]])
    >>> [round(float(gt.ntk.gradient_angles(x, depth)[0, 1].rad2deg()), 1) for depth in (0, 1, 10)]
    [5.7, 11.7, 30.7]
    """
    gradients = _Gradients(x, depth, activation, gates)
    return like_input(gradients.between(gradients.own, None, gradients.seen, None), x)


def min_angle(x: Any, depth: int, activation: str = "relu", *, gates: str | GateNetwork = DEFAULT) -> float:
    """The smallest of `gradient_angles` between two different rows, without an n x n array.

    Returns:
        The angle in radians; 0.0 if two rows are parallel.

    Raises:
        TypeError, ValueError: as `gradient_angles`; fewer than two samples.

    >>> import torch
    >>> import gatentk as gt
    >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
    >>> round(gt.ntk.min_angle(x, depth=0, activation="linear"), 4)
    0.7854
    """
    gradients = _Gradients(x, depth, activation, gates)
    own, seen = gradients.own, gradients.seen
    if own.dim() != 2:
        raise ValueError(f"x: expected shape (n, d), got {describe(own)}")
    n = own.shape[0]
    if n < 2:
        raise ValueError(f"x: expected at least two samples, got {describe(own)}")
    step = max(1, BLOCK_BYTES // (8 * n))
    smallest = math.inf
    for start in range(0, n, step):
        block = slice(start, start + step)
        angles = gradients.between(own[block], own[start:], seen[block], seen[start:])
        angles.fill_diagonal_(math.inf)
        smallest = min(smallest, float(angles.min()))
    return smallest


def angles_from_kernel(K: Any) -> Any:
    """Angles arccos(K_ij / sqrt(K_ii K_jj)) from a kernel matrix, for finite width.

    A kernel stores cosines, so angles below about 1e-8 (float64) or 3e-4 (float32) are lost in its rounding: use
    `gradient_angles` where the width is infinite.

    Args:
        K: (..., n, n), float32 or float64, tensor or numpy array, with a positive diagonal.

    Returns:
        (..., n, n) of the same dtype, zeros on the diagonal.

    Raises:
        TypeError, ValueError: not square, not finite, or a diagonal entry that is not positive or no normal number.

    >>> import torch
    >>> import gatentk as gt
    >>> gt.ntk.angles_from_kernel(torch.tensor([[4.0, 1.0], [1.0, 1.0]])).rad2deg().round()
    tensor([[ 0., 60.],
            [60.,  0.]])
    """
    kernel = as_tensor("K", K)
    if kernel.dim() < 2 or kernel.shape[-1] != kernel.shape[-2]:
        raise ValueError(f"K: expected shape (..., n, n), got {describe(kernel)}")
    check_finite("K", kernel)
    diagonal = kernel.diagonal(dim1=-2, dim2=-1)
    if not bool((diagonal > 0).all()):
        index = tuple(int(i) for i in torch.nonzero(diagonal <= 0)[0])
        raise ValueError(f"K: expected a positive diagonal, got {diagonal[index].item()} at sample {index[-1]}")
    smallest = torch.finfo(kernel.dtype).smallest_normal
    if not bool((diagonal >= smallest).all()):
        raise ValueError(
            f"K: expected a diagonal of at least {smallest:.3g}, below which {kernel.dtype} loses digits, got "
            f"{float(diagonal.min()):.3g}"
        )
    norms = diagonal.sqrt()
    cosine = (kernel / norms.unsqueeze(-1) / norms.unsqueeze(-2)).clamp_(-1, 1)
    angles = torch.arccos(cosine)
    angles.diagonal(dim1=-2, dim2=-1).zero_()
    return like_input(angles, K)


class _Gradients:
    """Samples of one call and how the angles between their gradients follow.

    Attributes:
        own, seen: rows (..., n, d), as they are and as the gates see them.
    """

    def __init__(self, x: Any, depth: int, activation: str, gates: object) -> None:
        depth = check_depth("depth", depth)
        row = checked_activation(activation, depth, WITH_ANGLES)
        samples = Samples(x, None, activation, [depth], gates=gates)
        samples.rows.check_angles()
        self.own, self.seen = samples.x, samples.seen.x
        self._depth = 0 if row.kernel is None else depth
        assert row.angle is not None
        self._angle = row.angle
        self._deficit = samples.gates.kind.deficit

    def between(self, x: Tensor, z: Tensor | None, seen_x: Tensor, seen_z: Tensor | None) -> Tensor:
        """Angles between the gradients at rows of `own`, to which those of `seen` belong.

        Gates that share no matrix with the network: cos phi = cos theta prod (1 - theta_s/pi), theta the angle of the
        samples themselves; in complements, of which none is a difference of large numbers.
        """
        if self._deficit is None:
            return ops.infinite_ntk(x, z, [self._depth], self._angle)[0]
        theta = ops.infinite_ntk(x, z, [0], "embedding_angle")[0]
        eps = 2 * (theta / 2).sin_().square_()
        of_gates = ops.infinite_ntk(seen_x, seen_z, [self._depth], self._deficit)[0]
        deficit = eps + of_gates * (1 - eps)
        return 2 * (deficit / 2).clamp_(max=1).sqrt_().asin_()
