"""Gates that blocks of neurons share: products, training steps, inference, the lists of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from gatentk import gates, nn, ops
from gatentk.bench import torch_peers
from gatentk.bench.case import Case, Evaluation, Job, Shape, Work, gaussian, gaussian_samples, random_mask
from gatentk.bench.cases.networks import (
    BATCHES,
    CLASSES,
    DENSE_NETWORK,
    inference,
    network_work,
    relu_network,
    stable_rate,
)
from gatentk.bench.cases.products import SEED_IN, SEED_OUT, forward, input_gradient, weight_gradient
from gatentk.bench.training import Descent
from gatentk.ops.layouts import units


def _block_network(case: Case, block: int) -> nn.GReLUNetwork:
    """Shallow gates, which cost 1 / block of C."""
    shape, generator = case.shape, torch.Generator().manual_seed(1)
    sizes = shape.d, shape.width, shape.depth
    gate_net = gates.GateNetwork(*sizes, generator, case.dtype, block=block, kind="shallow")
    return nn.GReLUNetwork(*sizes, CLASSES, gate_net, generator, case.dtype).to(case.device)


class _Training:
    """Steps of a network with block gates and of a ReLU network of its size, on the same batches."""

    def __init__(self, case: Case, block: int, on_the_fly: bool = False) -> None:
        n = BATCHES * case.shape.n
        x = functional.normalize(gaussian(case, n, case.shape.d))
        targets = gaussian(case, n, CLASSES, seed=1)
        net, dense = _block_network(case, block), torch_peers.DenseReLUNetwork(relu_network(case))
        self.table = net.gate_table(x)

        def outputs(rows: Tensor) -> Tensor:
            result: Tensor = net(x[rows]) if on_the_fly else net(x[rows], gates=self.table[rows])
            return result

        rate = stable_rate(case)
        self.ours = Descent(outputs, net.weights, targets, case.shape.n, rate)
        self.peer = Descent(lambda rows: dense(x[rows]), dense.weights, targets, case.shape.n, rate)


def _training_step(case: Case, block: int, on_the_fly: bool) -> Job:
    training = _Training(case, block, on_the_fly)
    # The inputs of the first square weight need no gradient.
    work = network_work(case, 3 * case.shape.depth - 1, skipped=0.75)
    return Job(ours=training.ours, work=work, peers={"F.linear and relu": training.peer}, comparable=None)


def _inference(case: Case, block: int) -> Job:
    """Gates included: nothing is known of the samples."""
    x = gaussian_samples(case)
    dense = torch_peers.DenseReLUNetwork(relu_network(case))
    return Job(
        ours=inference(_block_network(case, block), x),
        work=network_work(case, case.shape.depth, skipped=0.75),
        peers={"F.linear and relu": inference(dense, x)},
        comparable=None,
    )


def _plan_building(case: Case, block: int) -> Job:
    training, width = _Training(case, block), case.shape.width
    batch = training.table[: case.shape.n].bits

    def build() -> Tensor:
        plans = [gates.GateLayer(bits, width, block).plans for bits in batch]
        return plans[-1][0]

    return Job(ours=build, work=Work(0, 0), peers={"training step": training.ours}, comparable=None)


def _product(
    name: str, prepare: Callable[..., Job], peer: str, block: int, n: int, width: int, asked: tuple[float, float]
) -> Case:
    return Case(
        name=f"block-{name}-{width}-g{block}-f32",
        family="block_matmul",
        ours=f"product with gates of {block} neurons, half of them on, lists cached",
        peer=peer,
        shape=Shape(n=n, width=width),
        quick=Shape(n=n // 8, width=width // 16 + 3),
        dtype=torch.float32,
        prepare=partial(prepare, block=block),
        at_least=asked[0],
        aim=asked[1],
    )


def _masked_peers(case: Case, prepare: Callable[..., Job], block: int, gates_of_result: int) -> Job:
    """The product beside whole ones, whose results then are masked by packed bits: those of this seed."""
    job, shape = prepare(case, block), case.shape
    bits = ops.pack_bits(random_mask(case, 0.5, shape.n, units(shape.width, block), seed=gates_of_result))

    def masked(peer: Evaluation) -> Evaluation:
        return lambda: ops.gate_rows(peer(), bits, block)

    return replace(
        job,
        peers={f"{name}, gate_rows": masked(peer) for name, peer in job.peers.items()},
        peer_comparable=lambda result: result,
    )


def _product_on_a_device(
    name: str, prepare: Callable[..., Job], peer: str, gates_of_result: int | None, block: int, n: int
) -> Case:
    width = 4096
    prepared = partial(prepare, block=block)
    if gates_of_result is not None:
        prepared = partial(_masked_peers, prepare=prepare, block=block, gates_of_result=gates_of_result)
    return Case(
        name=f"block-{name}-{n}x{width}-g{block}-f32",
        family="block_matmul",
        ours=f"product with gates of {block} neurons, half of them on, lists cached",
        peer=peer,
        shape=Shape(n=n, width=width),
        quick=Shape(n=n // 16, width=4 * block),
        dtype=torch.float32,
        prepare=prepared,
        device="cuda",
    )


def _network(
    name: str, prepare: Callable[..., Job], ours: str, n: int, asked: tuple[float, float] | None, **options: object
) -> Case:
    at_least, aim = asked or (None, None)
    return Case(
        name=name,
        family="block_matmul",
        ours=ours,
        peer=f"ReLU network, {DENSE_NETWORK}",
        shape=Shape(n=n, d=784, width=4096, depth=4),
        quick=Shape(n=min(n, 64), d=20, width=128, depth=2),
        dtype=torch.float32,
        prepare=partial(prepare, **options),
        at_least=at_least,
        aim=aim,
    )


# What fills a device, beside products and masks.
ON_A_DEVICE = tuple(
    _product_on_a_device(name, prepare, peer, gates_of_result, block, n)
    for name, prepare, peer, gates_of_result in (
        ("forward", forward, "F.linear and gate_rows", SEED_OUT),
        ("input-grad", input_gradient, "grad @ weight and gate_rows", SEED_IN),
        ("weight-grad", weight_gradient, "grad.T @ z, both masked", None),
    )
    for block in (64, 128)
    for n in (2048, 8192)
)

_SIZES = ((512, 3072), (512, 4096), (1024, 2048))

CASES = (
    *(
        _product("forward", forward, "F.linear", block, n, width, asked)
        for block, asked in ((64, (3.0, 3.6)), (32, (2.6, 3.2)), (16, (1.9, 2.4)))
        for n, width in _SIZES
    ),
    *(
        _product(name, prepare, peer, 64, n, width, (2.8, 3.5))
        for name, prepare, peer in (
            ("input-grad", input_gradient, "grad @ weight"),
            ("weight-grad", weight_gradient, "grad.T @ z"),
        )
        for n, width in _SIZES
    ),
    Case(
        name="block-forward-2048-g64-f64",
        family="block_matmul",
        ours="product with gates of 64 neurons, half of them on, lists cached",
        peer="F.linear",
        shape=Shape(n=512, width=2048),
        quick=Shape(n=70, width=130),
        dtype=torch.float64,
        prepare=partial(forward, block=64),
        at_least=2.8,
        aim=3.5,
    ),
    _network(
        "block-training-step-f32",
        _training_step,
        "GReLU training step, shallow gates of 64 neurons from a table",
        512,
        (2.6, 3.2),
        block=64,
        on_the_fly=False,
    ),
    _network(
        "block-training-step-on-the-fly-f32",
        _training_step,
        "the same with gates computed in it",
        512,
        (2.4, 3.0),
        block=64,
        on_the_fly=True,
    ),
    _network(
        "block-inference-f32",
        _inference,
        "GReLU network, shallow gates of 32 neurons computed in it",
        512,
        (2.4, 3.0),
        block=32,
    ),
    _network(
        "block-inference-one-sample-g64-f32",
        _inference,
        "one sample, shallow gates of 64 neurons computed in it",
        1,
        (2.2, 3.5),
        block=64,
    ),
    _network(
        "block-inference-one-sample-g32-f32",
        _inference,
        "one sample, shallow gates of 32 neurons computed in it",
        1,
        None,
        block=32,
    ),
    Case(
        name="block-plan-building",
        family="block_matmul",
        ours="lists of all layers of a batch, gates of 64 neurons",
        peer="whole GReLU training step",
        packages=("gatentk", "torch"),
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=torch.float32,
        prepare=partial(_plan_building, block=64),
        at_least=0.03,
        aim=0.01,
        better="lower",
    ),
)
