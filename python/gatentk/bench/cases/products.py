"""Masked products: a layer forward, and both of its gradients."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gatentk import gates, ops
from gatentk.bench.case import Case, Evaluation, Job, Shape, Work, gaussian, random_mask
from gatentk.ops.layouts import units

SEED_IN, SEED_OUT = 0, 1  # of the gates of inputs and outputs
CALLS = 1000  # of an evaluation that measures what a call takes


class _GatedLayer(NamedTuple):
    """A layer W with half of its inputs and outputs off at random, and what the layers around it pass to it."""

    z: Tensor  # (n, m), zero where the inputs are off
    weight: Tensor  # (m, m)
    grad: Tensor  # (n, m), zero where the outputs are off
    mask_in: Tensor
    mask_out: Tensor
    gate_in: list[Tensor]  # bits and their plans
    gate_out: list[Tensor]


def _gated_layer(case: Case, block: int = 1) -> _GatedLayer:
    n, m = case.shape.n, case.shape.width
    gates_in, gates_out = (random_mask(case, 0.5, n, units(m, block), seed=seed) for seed in (SEED_IN, SEED_OUT))
    mask_in, mask_out = (
        mask if block == 1 else mask.unsqueeze(-1).expand(-1, -1, block).flatten(1).narrow(1, 0, m)
        for mask in (gates_in, gates_out)
    )
    return _GatedLayer(
        z=gaussian(case, n, m, seed=2).mul_(mask_in),
        weight=gaussian(case, m, m, seed=3),
        grad=gaussian(case, n, m, seed=4).mul_(mask_out),
        mask_in=mask_in,
        mask_out=mask_out,
        gate_in=_packed(gates_in, m, block),
        gate_out=_packed(gates_out, m, block),
    )


def _packed(gates_of_units: Tensor, width: int, block: int) -> list[Tensor]:
    """Bits and their plans, which single neurons have on the CPU only."""
    layer = gates.GateLayer(ops.pack_bits(gates_of_units), width, block)
    return [layer.bits] if layer.bits.is_cuda and block == 1 else [layer.bits, *layer.plans]


def _masked_product(*arguments: object, blocks: tuple[int, int, int]) -> Evaluation:
    return partial(torch.ops.gatentk.masked_matmul, *arguments, ops.METHODS.index("masked"), list(blocks))


def _layer_work(case: Case, block: int) -> Work:
    """Neuron by neuron, outputs that are off are computed, then zeroed; blocks are skipped on both sides."""
    n, m = case.shape.n, case.shape.width
    dense = 2 * n * m**2
    gate_bytes = 2 * n * units(m, block) / 8
    return Work(dense, dense / (2 if block == 1 else 4), case.dtype.itemsize * m * (2 * n + m) + gate_bytes)


def forward(case: Case, block: int = 1) -> Job:
    """`gate_out o ((gate_in o z) @ weight.T)`."""
    layer, blocks = _gated_layer(case, block), (block, 1, block)
    return Job(
        ours=_masked_product(layer.z, layer.weight, False, True, layer.gate_in, [], layer.gate_out, blocks=blocks),
        work=_layer_work(case, block),
        peers={"F.linear": lambda: functional.linear(layer.z, layer.weight)},
        peer_comparable=layer.mask_out.mul,
    )


def input_gradient(case: Case, block: int = 1) -> Job:
    """`gate_in o ((gate_out o grad) @ weight)`."""
    layer, blocks = _gated_layer(case, block), (block, 1, block)
    return Job(
        ours=_masked_product(layer.grad, layer.weight, False, False, layer.gate_out, [], layer.gate_in, blocks=blocks),
        work=_layer_work(case, block),
        peers={"grad @ weight": lambda: layer.grad @ layer.weight},
        peer_comparable=layer.mask_in.mul,
    )


def weight_gradient(case: Case, block: int = 1) -> Job:
    """`(gate_out o grad).T @ (gate_in o z)`."""
    layer, blocks = _gated_layer(case, block), (block, block, 1)
    return Job(
        ours=_masked_product(layer.grad, layer.z, True, False, layer.gate_out, layer.gate_in, [], blocks=blocks),
        work=_layer_work(case, block),
        peers={"grad.T @ z": lambda: layer.grad.T @ layer.z},
    )


def _overhead(case: Case) -> Job:
    """Products that take no time, so that what is around them shows: ms are us a call."""
    layer = _gated_layer(case)
    inside, outside = (gates.GateLayer(gate[0], case.shape.width) for gate in (layer.gate_in, layer.gate_out))

    def repeated(call: Evaluation) -> Evaluation:
        def run() -> Tensor:
            for _ in range(CALLS - 1):
                call()
            return call()

        return run

    job = Job(
        ours=repeated(lambda: ops.masked_linear(layer.z, layer.weight, inside, outside)),
        work=Work(0, 0),
        peers={"F.linear": repeated(lambda: functional.linear(layer.z, layer.weight))},
        peer_comparable=layer.mask_out.mul,
        notes=(f"{CALLS} calls an evaluation: a difference of 1 ms is 1 us a call",),
    )
    job.ours()  # builds the plans
    return job


_GATED = "masked product at 50%, plans cached"

# Name, peer, data, ratios asked for in float32.
_PRODUCTS = (
    ("forward", "F.linear", forward, 1.9, 2.4),
    ("input-grad", "grad @ weight", input_gradient, 1.8, 2.3),
    ("weight-grad", "grad.T @ z", weight_gradient, 1.8, 2.3),
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
        prepare=forward,
        at_least=1.8,
        aim=2.3,
    ),
    Case(
        name="masked-linear-overhead",
        family="masked_matmul",
        ours=f"{CALLS} calls of ops.masked_linear",
        peer=f"{CALLS} calls of F.linear",
        shape=Shape(n=4, width=16),
        quick=Shape(n=4, width=16),
        dtype=torch.float32,
        prepare=_overhead,
        better="lower",
    ),
)
