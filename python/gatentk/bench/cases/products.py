"""Masked products: a layer forward, and both of its gradients."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gatentk import gates, ops
from gatentk.bench.case import Case, Evaluation, Job, Shape, Work, gaussian, random_mask


class _GatedLayer(NamedTuple):
    """A layer W with half of its inputs and outputs off at random, and what the layers around it pass to it."""

    z: Tensor  # (n, m), zero where the inputs are off
    weight: Tensor  # (m, m)
    grad: Tensor  # (n, m), zero where the outputs are off
    mask_in: Tensor
    mask_out: Tensor
    gate_in: list[Tensor]  # bits, and on the CPU both plans
    gate_out: list[Tensor]


def _gated_layer(case: Case) -> _GatedLayer:
    n, m = case.shape.n, case.shape.width
    mask_in, mask_out = (random_mask(case, 0.5, n, m, seed=seed) for seed in (0, 1))
    return _GatedLayer(
        z=gaussian(case, n, m, seed=2).mul_(mask_in),
        weight=gaussian(case, m, m, seed=3),
        grad=gaussian(case, n, m, seed=4).mul_(mask_out),
        mask_in=mask_in,
        mask_out=mask_out,
        gate_in=_packed(mask_in),
        gate_out=_packed(mask_out),
    )


def _packed(mask: Tensor) -> list[Tensor]:
    """Bits, and on the CPU both plans."""
    layer = gates.GateLayer(ops.pack_bits(mask), mask.shape[1])
    return [layer.bits] if mask.is_cuda else [layer.bits, *layer.plans]


def _masked_product(*arguments: object) -> Evaluation:
    return partial(torch.ops.gatentk.masked_matmul, *arguments, ops.METHODS.index("masked"))


def _layer_work(case: Case) -> Work:
    """Inputs of a product that are off are skipped; outputs that are off are computed, then zeroed."""
    n, m = case.shape.n, case.shape.width
    dense = 2 * n * m**2
    return Work(dense, dense / 2, case.dtype.itemsize * m * (2 * n + m) + n * m / 4)


def _forward(case: Case) -> Job:
    layer = _gated_layer(case)
    return Job(
        ours=_masked_product(layer.z, layer.weight, False, True, layer.gate_in, [], layer.gate_out),
        work=_layer_work(case),
        peers={"F.linear": lambda: functional.linear(layer.z, layer.weight)},
        peer_comparable=layer.mask_out.mul,
    )


def _input_gradient(case: Case) -> Job:
    layer = _gated_layer(case)
    return Job(
        ours=_masked_product(layer.grad, layer.weight, False, False, layer.gate_out, [], layer.gate_in),
        work=_layer_work(case),
        peers={"grad @ weight": lambda: layer.grad @ layer.weight},
        peer_comparable=layer.mask_in.mul,
    )


def _weight_gradient(case: Case) -> Job:
    layer = _gated_layer(case)
    return Job(
        ours=_masked_product(layer.grad, layer.z, True, False, layer.gate_out, layer.gate_in, []),
        work=_layer_work(case),
        peers={"grad.T @ z": lambda: layer.grad.T @ layer.z},
    )


_GATED = "masked product at 50%, plans cached"

# Name, peer, data, ratios asked for in float32.
_PRODUCTS = (
    ("forward", "F.linear", _forward, 1.9, 2.4),
    ("input-grad", "grad @ weight", _input_gradient, 1.8, 2.3),
    ("weight-grad", "grad.T @ z", _weight_gradient, 1.8, 2.3),
)

CASES = (
    *(
        Case(
            name=f"masked-linear-{product}-{width}-f32",
            family="masked_matmul",
            ours=_GATED,
            peer=peer,
            shape=Shape(n=n, width=width),
            quick=Shape(n=n // 8, width=width // 16),
            dtype=torch.float32,
            prepare=prepare,
            at_least=at_least,
            aim=aim,
        )
        for product, peer, prepare, at_least, aim in _PRODUCTS
        for n, width in ((512, 3072), (512, 4096), (1024, 2048))
    ),
    Case(
        name="masked-linear-forward-2048-f64",
        family="masked_matmul",
        ours=_GATED,
        peer="F.linear",
        shape=Shape(n=512, width=2048),
        quick=Shape(n=70, width=130),
        dtype=torch.float64,
        prepare=_forward,
        at_least=1.8,
        aim=2.3,
    ),
)
