"""NTK of a given network at its current weights: layerwise on the compiled core, or from Jacobians."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_choice, describe, like_input
from gatentk.errors import UnsupportedModuleError
from gatentk.ntk.captured import of_layers
from gatentk.ntk.given import own_precision, recordable, samples_for
from gatentk.ntk.jacobian import from_jacobians
from gatentk.ntk.layerwise import of_chain
from gatentk.ntk.outputs import check_outputs
from gatentk.ntk.stages import stages_of

METHODS = ("auto", "layerwise", "jacobian")


def empirical(
    net: nn.Module,
    x: Any,
    z: Any = None,
    outputs: Any = "trace",
    components: bool = False,
    method: str = "auto",
    *,
    memory_limit: int = 2 << 30,
) -> Any:
    """K(x, z) = <grad f(x), grad f(z)> over the trainable parameters (those with requires_grad).

    Layerwise, exact and without any Jacobian ([S], Sec. 3): K = sum_l (A_{l-1} A_{l-1}^T) o (Delta_l Delta_l^T), with
    1 added to the first factor of a layer with a bias. Neurons that are off cost nothing. The derivative of ReLU at
    0 is 0. For a `GReLUNetwork` this is sum_k <G_{k-1} x, G_{k-1} z> <F_{k+1}, F_{k+1}> over W_1 .. W_depth ([G], Eq.
    9-10), with the gates that its gate network gives the samples.

    Args:
        net: any network whose trained parameters are those of Linear, convolution and normalisation layers and PReLU of
            torch, with whatever between them (activations, Flatten, pooling, sums of branches, Dropout in eval mode),
            or a `gatentk.nn.MLP`, `GReLUNetwork` or `ReLUNetwork`. A layer or parameter that occurs several times
            counts once, with the sum of its gradients. Zeros are skipped in the networks of `gatentk.nn` and in
            `nn.Sequential` of Linear, ReLU and Identity.
        x: samples (n, d), or (n, ...) for networks that take them, of the network's dtype, tensor or numpy array.
        z: samples (n_z, ...) for a rectangular kernel; x itself if left out.
        outputs: "trace" sums the kernels of all outputs, "diag" gives each output's kernel, "full" all pairs; an int
            gives the kernel of that output, a vector (d_y,) that of the combination of outputs with these weights,
            "sum" that of their sum.
        components: one kernel for each layer's parameters, in the order of the layers; by method="jacobian" one for
            each parameter tensor.
        method: "layerwise" uses the structure of the network and refuses parameters of layers it does not know, and
            layers whose computation was changed by hooks, replaced methods and the like; "jacobian" works for any
            module whose outputs for a sample depend on that sample alone, as it is called, with its hooks and changes;
            "auto" is layerwise where that is possible.
        memory_limit: bytes that Jacobians, or what layers take and give, may use beside the result and a copy of the
            network; both work in chunks of samples. Chains of Linear and ReLU layers take what they need at once.

    Returns:
        (n, n_z) for an int, a vector, "sum" and "trace", (d_y, n, n_z) for "diag", (n, d_y, n_z, d_y) for "full", with
        a leading axis of layers for `components`; the network's dtype, under autocast too, numpy unless `x` is a
        tensor. Without `z` it is symmetric to the bit. Network, samples and torch's random numbers are left as they
        were, whatever it writes.

    Raises:
        UnsupportedModuleError: by "layerwise", a part of `net` has no layerwise rule; the message names it.
        TypeError, ValueError: samples that do not fit the network, nothing to train, an unknown name; outputs that
            are drawn at random, depend on other samples (train mode) or have no row for each sample.
        MemoryError: not even one sample fits the memory limit.

    Warns:
        UserWarning: once, that "auto" takes Jacobians, with the reason, and that torch.func cannot look into the
            module, so that every sample and output takes a backward pass of its own.

    >>> import torch
    >>> import gatentk as gt
    >>> net, x = gt.nn.MLP(3, 50, 2, d_out=2, dtype=torch.float64), torch.eye(3, dtype=torch.float64)
    >>> gt.ntk.empirical(net, x, outputs="diag").shape
    torch.Size([2, 3, 3])
    >>> torch.allclose(gt.ntk.empirical(net, x), gt.ntk.empirical(net, x, method="jacobian"))
    True
    """
    check_choice("method", method, METHODS)
    outputs = check_outputs(outputs)
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a torch.nn.Module, got {describe(net)}")
    left = samples_for("x", x, net)
    right = None if z is None else samples_for("z", z, net)
    if right is not None and right.shape[-1:] != left.shape[-1:]:
        raise ValueError(f"z: expected {left.shape[-1]} features as in x, got {describe(right)}")
    with torch.inference_mode(False), torch.no_grad(), own_precision(left):
        left, right = recordable(left), None if right is None else recordable(right)
        reason = None
        if method != "jacobian":
            try:
                return like_input(_layerwise(net, left, right, outputs, components, memory_limit), x)
            except UnsupportedModuleError as error:
                if method == "layerwise":
                    raise
                reason = str(error).partition("; ")[0]
        return like_input(from_jacobians(net, left, right, outputs, components, memory_limit, reason), x)


def _layerwise(
    net: nn.Module, x: Tensor, z: Tensor | None, outputs: Any, components: bool, memory_limit: int
) -> Tensor:
    """By the chain of stages where the network is one, which skips zeros; else by what its layers take and give."""
    try:
        stages = stages_of(net)
    except UnsupportedModuleError:
        stages = []
    if not stages:
        return of_layers(net, x, z, outputs, components, memory_limit)
    return of_chain(net, stages, x, z, outputs, components)
