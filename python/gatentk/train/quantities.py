"""What happens inside a network while it trains: the quantities of [G], Sec. 4-6."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gatentk.gates import GateTable
from gatentk.nn import FixedEndsNetwork
from gatentk.train.losses import Loss
from gatentk.train.trainable import Trainable, outputs

_DENSE_NORM = 256  # below this size a full decomposition is as quick as Lanczos


def tau(weights: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """max_k |W_{t,k} - W_{1,k}|_2 ([G], Eq. 5)."""
    return max(spectral_norm(now.detach() - before) for now, before in zip(weights, reference, strict=True))


def spectral_norm(matrix: Tensor) -> float:
    """Largest singular value, by Lanczos from a fixed start where the matrix is large."""
    if not bool(matrix.any()):
        return 0.0
    if min(matrix.shape) <= _DENSE_NORM:
        return float(torch.linalg.matrix_norm(matrix, ord=2))
    from scipy.sparse.linalg import svds

    start = np.random.default_rng(0).standard_normal(min(matrix.shape))
    return float(svds(matrix.numpy(), k=1, v0=start, return_singular_vectors=False)[0])


def gradient(net: Trainable, x: Tensor, targets: Tensor, loss: Loss, gates: GateTable | None = None) -> Tensor:
    """Gradient of the mean loss by all trained weights, one vector; `loss` gives a sum over samples."""
    with torch.enable_grad():
        value = loss(outputs(net, x, gates), targets) / len(x)
    return torch.cat([part.flatten() for part in torch.autograd.grad(value, list(net.weights))])


def dead_neurons(table: GateTable) -> list[float]:
    """Share of neurons by layer that are off for every sample ([G], Remark 3)."""
    return [float((~layer.any(dim=0)).double().mean()) for layer in table.expand().to_bool()]


def mean_shift(values: Sequence[Tensor]) -> list[float]:
    """E[t_k] by layer, the mean over samples and neurons ([G], Remark 3)."""
    return [float(value.detach().double().mean()) for value in values]


def extreme_eigenvalues(
    net: FixedEndsNetwork, x: Tensor, gates: GateTable | None = None
) -> dict[str, list[list[float]]]:
    """[lambda_min, lambda_max] over samples of G_k^T G_k (d, d) and F_{k+1} F_{k+1}^T (d_out, d_out), k = 0..L.

    For a sample with patterns D_0 .. D_L, G_k = D_k W_k ... D_1 W_1 D_0 C and F_{k+1} = B D_L W_L ... W_{k+1} D_k,
    so that its output is F_{k+1} W_k G_{k-1} x ([G], Eq. 9-10). [G], Thm 5 places the eigenvalues of wide
    networks at their start in [m/(12 d), 27 m/(4 d)], m the width and d the number of inputs (for G) or outputs (F).

    Args:
        net: the network; D_k of a ReLU network is its own pattern, the identity where it has no ReLU.
        x: (n, d) samples; the cost is n products of (width, width) and (width, d) matrices a layer.
        gates: of x, for a GReLU network.

    Returns:
        "G" and "F", each a list of pairs by k.
    """
    patterns = masks(net, x, gates)
    with torch.no_grad():
        spans = [_sample_spans(net, [mask[row] for mask in patterns]) for row in range(len(x))]
    return {
        name: [
            [min(span[name][k][0] for span in spans), max(span[name][k][1] for span in spans)]
            for k in range(len(patterns))
        ]
        for name in ("G", "F")
    }


def _sample_spans(net: FixedEndsNetwork, patterns: list[Tensor]) -> dict[str, list[tuple[float, float]]]:
    """Extreme eigenvalues of one sample by k; patterns (width,), D_0 .. D_L."""
    G, F = patterns[0].unsqueeze(1) * net.input_weight, net.output_weight * patterns[-1]
    spans = {"G": [_extremes(G.T @ G)], "F": [_extremes(F @ F.T)]}
    for weight, mask in zip(net.weights, patterns[1:], strict=True):
        G = mask.unsqueeze(1) * (weight @ G)
        spans["G"].append(_extremes(G.T @ G))
    for weight, mask in zip(reversed(list(net.weights)), reversed(patterns[:-1]), strict=True):
        F = (F @ weight) * mask
        spans["F"].insert(0, _extremes(F @ F.T))
    return spans


def _extremes(gram: Tensor) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a positive semidefinite matrix; rounding does not make them negative."""
    values = torch.linalg.eigvalsh(gram.double())
    return max(0.0, float(values[0])), float(values[-1])


def kernel_drift(now: Tensor, reference: Tensor) -> float:
    """|K_t - K_1|_F / |K_1|_F ([G], Cor. 4)."""
    return float((now.double() - reference.double()).norm() / reference.double().norm())


def masks(net: FixedEndsNetwork, x: Tensor, gates: GateTable | None = None) -> list[Tensor]:
    """D_0 .. D_L as numbers, each (n, width); ones where a ReLU network ends without a ReLU."""
    patterns = list(net.patterns(x, gates).expand().to_bool().to(x.dtype))
    return patterns if len(patterns) == net.depth + 1 else [*patterns, torch.ones_like(patterns[0])]
