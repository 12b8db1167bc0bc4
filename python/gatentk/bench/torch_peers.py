"""What an expert writes in torch instead: kernels from matrix products and arc cosines, packed bits, dense networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from gatentk.nn import MLP, ReLUNetwork

Layers = Sequence[Tensor]  # (n, width) each

ROWS = 512  # of a block: two blocks of 512 x 8000 float32 take 33 MB instead of 512 MB


def products(acts: Layers, deltas: Layers) -> Tensor:
    """K += (A A^T) o (Delta Delta^T), the formula as it is written."""
    n = acts[0].shape[0]
    kernel = acts[0].new_zeros(n, n)
    for act, delta in zip(acts, deltas, strict=True):
        kernel += (act @ act.T) * (delta @ delta.T)
    return kernel


def buffers(acts: Layers, deltas: Layers) -> Tensor:
    """The same with two n x n buffers for all layers; the first layer starts in the result."""
    n = acts[0].shape[0]
    kernel, left, right = (acts[0].new_empty(n, n) for _ in range(3))
    torch.mm(acts[0], acts[0].T, out=kernel)
    torch.mm(deltas[0], deltas[0].T, out=right)
    kernel.mul_(right)
    for act, delta in zip(acts[1:], deltas[1:], strict=True):
        torch.mm(act, act.T, out=left)
        torch.mm(delta, delta.T, out=right)
        kernel.addcmul_(left, right)
    return kernel


def row_blocks(acts: Layers, deltas: Layers) -> Tensor:
    """The same by blocks of rows, so that the buffers stay small."""
    n = acts[0].shape[0]
    kernel = acts[0].new_zeros(n, n)
    space = acts[0].new_empty(2, min(ROWS, n) * n)
    for i in range(0, n, ROWS):
        block = kernel[i : i + ROWS]
        left, right = (s[: block.numel()].view(block.shape) for s in space)
        for act, delta in zip(acts, deltas, strict=True):
            torch.mm(act[i : i + ROWS], act.T, out=left)
            torch.mm(delta[i : i + ROWS], delta.T, out=right)
            block.addcmul_(left, right)
    return kernel


def triangle_blocks(acts: Layers, deltas: Layers) -> Tensor:
    """Blocks of rows of one triangle, then mirrored: half of the products of the others."""
    n = acts[0].shape[0]
    kernel = acts[0].new_zeros(n, n)
    space = acts[0].new_empty(2, min(ROWS, n) * n)
    for i in range(0, n, ROWS):
        block = kernel[i : i + ROWS, i:]
        left, right = (s[: block.numel()].view(block.shape) for s in space)
        for act, delta in zip(acts, deltas, strict=True):
            torch.mm(act[i : i + ROWS], act[i:].T, out=left)
            torch.mm(delta[i : i + ROWS], delta[i:].T, out=right)
            block.addcmul_(left, right)
        kernel[i + ROWS :, i : i + ROWS] = kernel[i : i + ROWS, i + ROWS :].T
    return kernel


# Two products and a Hadamard product a layer, in the arrangements that one tries.
LAYERWISE: Mapping[str, Callable[[Layers, Layers], Tensor]] = {
    "products": products,
    "buffers": buffers,
    "row blocks": row_blocks,
}


def arc_cosines(x: Tensor, depth: int) -> Tensor:
    """Kernel of an infinitely wide ReLU network by the usual recursion over cosines, which loses close samples."""
    norms = x.norm(dim=-1)
    scale = torch.outer(norms, norms)
    cosine = (x @ x.T).div_(scale).clamp_(-1, 1)
    kernel = cosine.clone()
    for _ in range(depth):
        angle = torch.arccos(cosine)
        off = 1 - angle / math.pi
        cosine = (torch.sin(angle) / math.pi + off * cosine).clamp_(-1, 1)
        kernel = kernel.mul_(off).add_(cosine)
    return kernel.mul_(scale)


def arc_cosines_with_biases(x: Tensor, depth: int, w_std: float, b_std: float) -> Tensor:
    """The same of a network with weight and bias variances."""
    weight, bias = w_std * w_std, b_std * b_std
    covariance = (x @ x.T).mul_(weight / x.shape[-1]).add_(bias)
    kernel = covariance.clone()
    for _ in range(depth):
        deviations = covariance.diagonal().sqrt()
        scale = torch.outer(deviations, deviations)
        cosine = covariance.div_(scale).clamp_(-1, 1)
        angle = torch.arccos(cosine)
        off = 1 - angle / math.pi
        covariance = (torch.sin(angle) / math.pi + off * cosine).mul_(scale).mul_(weight / 2).add_(bias)
        kernel = kernel.mul_(off).mul_(weight / 2).add_(covariance)
    return kernel


def arc_cosines_gradient(x: Tensor, depth: int, cotangent: Tensor) -> Tensor:
    """Gradient of the sum of a kernel's entries times those of `cotangent`, by torch through the same recursion.

    The arc cosine has none at 1, so that the diagonal, (depth + 1) |x|^2, is left out and put in afterwards.
    """
    x = x.detach().requires_grad_()
    norms = x.norm(dim=-1)
    scale = torch.outer(norms, norms)
    cosine = ((x @ x.T) / scale).fill_diagonal_(0)
    kernel = cosine
    for _ in range(depth):
        angle = torch.arccos(cosine)
        off = 1 - angle / math.pi
        cosine = torch.sin(angle) / math.pi + off * cosine
        kernel = kernel * off + cosine
    kernel = (kernel * scale).fill_diagonal_(0) + torch.diag((depth + 1) * norms.square())
    (gradient,) = torch.autograd.grad((kernel * cotangent).sum(), x)
    return gradient


def pack_bits(mask: Tensor) -> Tensor:
    """Eight neurons a byte, least significant bit first; the width is a multiple of 8."""
    octets = mask.view(*mask.shape[:-1], -1, 8)
    weights = torch.tensor([1 << bit for bit in range(8)], dtype=torch.uint8, device=mask.device)
    return (octets * weights).sum(-1, dtype=torch.uint8)


def mlp_factors(net: MLP, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Activations A_0..A_L and derivatives Delta_1..Delta_{L+1} of a ReLU network with one output."""
    weights = [weight.detach() for weight in net.weights]
    acts, masks = [x], []
    for weight in weights[:-1]:
        preactivation = acts[-1] @ weight.T
        masks.append(preactivation > 0)
        acts.append(preactivation.relu_().mul_(net.scale))
    deltas = [x.new_ones(x.shape[0], 1)]
    for weight, mask in zip(weights[:0:-1], masks[::-1], strict=True):
        deltas.append((deltas[-1] @ weight).mul_(mask).mul_(net.scale))
    return acts, deltas[::-1]


class DenseReLUNetwork(nn.Module):
    """`y = B relu(W_L ... relu(W_1 relu(C x)))` from copies of the weights of `net`; only W_1 .. W_L are trained."""

    input_weight: Tensor
    output_weight: Tensor

    def __init__(self, net: ReLUNetwork) -> None:
        super().__init__()
        self.register_buffer("input_weight", net.input_weight.clone())
        self.register_buffer("output_weight", net.output_weight.clone())
        self.weights = nn.ParameterList(weight.detach().clone() for weight in net.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, d_out) of samples (n, d_in)."""
        # In place: no gradient needs what comes before a ReLU.
        z = nn.functional.linear(x, self.input_weight).relu_()
        for weight in self.weights:
            z = nn.functional.linear(z, weight).relu_()
        return nn.functional.linear(z, self.output_weight)
