"""Layers of torch whose parameters' gradients are known from what goes in and what flows back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gatentk.nn.skipping import SkippingLinear

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d

LINEAR: tuple[type[nn.Module], ...] = (nn.Linear, SkippingLinear)
CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Of others the gradients are formed, by torch.func of the one layer.
OTHERS: tuple[type[nn.Module], ...] = (
    *(nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.PReLU),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
KNOWN = (*LINEAR, *CONVOLUTIONS, *OTHERS)


@dataclass
class Call:
    """One call of a layer.

    Attributes:
        layer: which.
        input: (n, ...).
        delta: (n, k, ...), the derivatives of k outputs of the network by the layer's.
    """

    layer: nn.Module
    input: Tensor
    delta: Tensor


@dataclass
class Positions:
    """Where a matrix acts: its gradient is the sum over T positions of the outer products of delta and act.

    Attributes:
        act: (n, groups, T, a).
        delta: (n, k, groups, T, b).
    """

    act: Tensor
    delta: Tensor

    def gradients(self) -> Tensor:
        """(n, k, groups * b * a)."""
        n, k, groups, count, b = self.delta.shape
        # Outputs and columns of delta together, as a product of batches would copy act for each output.
        backward = self.delta.permute(0, 2, 1, 4, 3).reshape(n, groups, k * b, count)
        formed = (backward @ self.act).view(n, groups, k, -1)
        return formed.transpose(1, 2).flatten(2)

    def gradient(self, weights: Tensor) -> Tensor:
        """(groups * b * a), of the sum of outputs (n, k) with these weights."""
        groups, b, a = self.delta.shape[2], self.delta.shape[4], self.act.shape[3]
        summed = torch.einsum("nk,nkgtb->gntb", weights, self.delta).reshape(groups, -1, b)
        return (summed.mT @ self.act.transpose(0, 1).reshape(groups, -1, a)).flatten()

    def bias_gradients(self) -> Tensor:
        """(n, k, groups * b), of a bias beside the matrix."""
        return self.delta.sum(3).flatten(2)

    @property
    def forming_pays(self) -> bool:
        """Whether the gradients take less work than products of all pairs of positions; per pair of samples."""
        (_, k, groups, count, b), a = self.delta.shape, self.act.shape[-1]
        return groups > 1 or (count > 1 and count**2 * (a + k * b) > k * a * b)


def fits(layer: nn.Module, taken: Tensor, given: Tensor, rows: int) -> bool:
    """Whether the first axis of what a layer takes and gives can be that of the samples, as its rule has it."""
    least = 2 + len(layer.kernel_size) if isinstance(layer, Conv) else 2
    return len(taken) == len(given) == rows and taken.dim() >= least


def positions(call: Call) -> Positions | None:
    """Of the weight of a Linear or convolution layer; None of others."""
    layer, delta = call.layer, call.delta
    if isinstance(layer, LINEAR):
        n, k = delta.shape[:2]
        a, b = call.input.shape[-1], delta.shape[-1]
        return Positions(call.input.reshape(n, 1, -1, a), delta.reshape(n, k, 1, -1, b))
    if isinstance(layer, Conv):
        n, k, out = delta.shape[:3]
        backward = delta.reshape(n, k, layer.groups, out // layer.groups, -1).mT
        return Positions(_patches(layer, call.input), backward)
    return None


def _patches(layer: Conv, x: Tensor) -> Tensor:
    """(n, groups, positions, channels / groups * kernel elements)."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = functional.pad(x, layer._reversed_padding_repeated_twice, mode)
    for axis, (size, stride, dilation) in enumerate(
        zip(layer.kernel_size, layer.stride, layer.dilation, strict=True), start=2
    ):
        x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    axes = len(layer.kernel_size)
    x = x.movedim(1, 1 + axes)  # (n, positions ..., channels, kernel ...)
    count = x.shape[1 : 1 + axes].numel()
    width = x.shape[1 + axes :].numel() // layer.groups
    return x.reshape(len(x), count, layer.groups, width).transpose(1, 2)


def _slope_gradients(layer: nn.PReLU, call: Call) -> Tensor:
    """(n, k, slopes): one slope for all, or one for each channel."""
    each = (call.delta * call.input.clamp(max=0).unsqueeze(1)).reshape(*call.delta.shape[:2], *call.input.shape[1:])
    if layer.num_parameters == 1:
        return each.flatten(2).sum(2, keepdim=True)
    return each.flatten(3).sum(3) if each.dim() > 3 else each


def formed(call: Call) -> dict[str, Tensor]:
    """Gradients (n, k, size) of each trained parameter of a layer of any kind, by its name in the layer."""
    layer = call.layer
    if isinstance(layer, nn.PReLU):  # whose gradient torch.func has only for one sample
        return {"weight": _slope_gradients(layer, call)}
    parameters = {name: p.detach() for name, p in layer.named_parameters(recurse=False) if p.requires_grad}

    def of_sample(row: Tensor, delta: Tensor) -> dict[str, Tensor]:
        def output(own: dict[str, Tensor]) -> Tensor:
            result: Tensor = torch.func.functional_call(layer, own, (row.unsqueeze(0),))
            return result[0]

        pull = torch.func.vjp(output, parameters)[1]
        result: dict[str, Tensor] = torch.func.vmap(lambda cotangent: pull(cotangent)[0])(delta)
        return result

    gradients = torch.func.vmap(of_sample)(call.input, call.delta)
    return {name: gradient.flatten(2) for name, gradient in gradients.items()}
