"""Gated networks: training steps, the plans in them, inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from gatentk import convert, data, gates, nn
from gatentk.bench import torch_peers
from gatentk.bench.case import Case, Evaluation, Job, Shape, Work, gaussian, gaussian_samples
from gatentk.bench.training import Descent

CLASSES = 10  # outputs of networks
BATCHES = 4  # as many times the samples of a step are drawn from


def relu_network(case: Case) -> nn.ReLUNetwork:
    """With random weights."""
    shape, generator = case.shape, torch.Generator().manual_seed(1)
    net = nn.ReLUNetwork(shape.d, shape.width, shape.depth, CLASSES, generator=generator, dtype=case.dtype)
    return net.to(case.device)


def network_work(case: Case, products: int, skipped: float = 0.5) -> Work:
    """Some products with the square weights, and one with each of the fixed ends, which count as dense."""
    shape = case.shape
    ends = 2 * shape.n * shape.width * (shape.d + CLASSES)
    hidden = products * 2 * shape.n * shape.width**2
    return Work(hidden + ends, hidden * (1 - skipped) + ends)


class _Training(NamedTuple):
    ours: Descent
    peer: Descent
    table: gates.GateTable


def _training(case: Case) -> _Training:
    """The gates are the patterns of the ReLU network at the start, so that both sides begin as the same function."""
    shape = case.shape
    n = BATCHES * shape.n
    x = functional.normalize(gaussian(case, n, shape.d))
    targets = gaussian(case, n, CLASSES, seed=1)
    relu = relu_network(case)
    dense, grelu = torch_peers.DenseReLUNetwork(relu), convert.relu_to_grelu(relu)
    table = grelu.gate_table(x)
    rate = stable_rate(case)
    return _Training(
        ours=Descent(lambda rows: grelu(x[rows], gates=table[rows]), grelu.weights, targets, shape.n, rate),
        peer=Descent(lambda rows: dense(x[rows]), dense.weights, targets, shape.n, rate),
        table=table,
    )


def stable_rate(case: Case) -> float:
    """A learning rate for unit rows.

    Far on the stable side: the kernel's diagonal is depth width^2 / (d CLASSES), and the Hessian is at most
    2 / CLASSES times that.
    """
    return case.shape.d / (case.shape.depth * case.shape.width**2)


def _training_step(case: Case) -> Job:
    training = _training(case)
    # The inputs of the first square weight need no gradient.
    work = network_work(case, 3 * case.shape.depth - 1)
    return Job(ours=training.ours, work=work, peers={"F.linear and relu": training.peer})


def _plan_building(case: Case) -> Job:
    training, width = _training(case), case.shape.width
    batch = training.table[: case.shape.n].bits

    def build() -> Tensor:
        plans = [gates.GateLayer(bits, width).plans for bits in batch]
        return plans[-1][1]

    return Job(ours=build, work=Work(0, 0), peers={"training step": training.ours}, comparable=None)


def inference(network: Callable[[Tensor], Tensor], x: Tensor) -> Evaluation:
    """One call in inference mode."""

    def evaluate() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return evaluate


def _relu_inference(case: Case) -> Job:
    x, relu = gaussian_samples(case), relu_network(case)
    relu.method = "masked"
    return Job(
        ours=inference(relu, x),
        work=network_work(case, case.shape.depth),
        peers={"F.linear and relu": inference(torch_peers.DenseReLUNetwork(relu), x)},
    )


def _low_rank_inference(case: Case) -> Job:
    """Gates fitted on some images, then used on others."""
    n = case.shape.n
    images = data.load("mnist", n=(BATCHES + 1) * n).x.to(case.dtype)
    seen, x = images[n:], images[:n]
    relu = relu_network(case)
    relu.method = "masked"
    fast, report = convert.low_rank_gates(relu, seen)
    with torch.no_grad():
        exact = gates.GateTable.from_bool(torch.stack(relu.intermediate(x)) > 0)
        y, y_fast = relu(x), fast(x)
    predicted = fast.gate_table(x)
    agreements = ", ".join(f"{1 - share:.3f}" for share in exact.hamming(predicted)[1:].tolist())
    error = float(torch.linalg.norm(y_fast - y) / torch.linalg.norm(y))
    note = (
        f"gates of rank {report.rank}, fitted on {len(seen)} other images: agreement with the exact gates layer by "
        f"layer {agreements}, relative output error {error:.2g}"
    )
    return Job(
        ours=inference(fast, x),
        work=_low_rank_work(case, predicted, report.rank),
        peers={"F.linear and relu": inference(torch_peers.DenseReLUNetwork(relu), x)},
        notes=(note,),
    )


def _low_rank_work(case: Case, predicted: gates.GateTable, rank: int) -> Work:
    """Predictions, and products of inputs that are predicted on with neurons that are on for some sample."""
    shape, masks = case.shape, predicted.to_bool()
    dense, ends = network_work(case, shape.depth).dense, 2 * shape.n * shape.width * (shape.d + CLASSES)
    inputs, outputs = masks[:-1].sum((1, 2)), masks[1:].any(1).sum(1)
    hidden = 2 * int(inputs @ outputs) + shape.depth * 2 * shape.n * 2 * shape.width * rank
    return Work(dense, hidden + ends)


DENSE_NETWORK = "torch, F.linear and relu"

CASES = (
    Case(
        name="training-step-f32",
        family="masked_matmul",
        ours="GReLU training step, plans built in it",
        peer=f"ReLU training step, {DENSE_NETWORK}",
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=torch.float32,
        prepare=_training_step,
        at_least=1.7,
        aim=2.2,
    ),
    Case(
        name="relu-inference-exact-f32",
        family="masked_matmul",
        ours="nn.ReLUNetwork, zeros skipped",
        peer=DENSE_NETWORK,
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=torch.float32,
        prepare=_relu_inference,
        at_least=1.4,
        aim=1.8,
    ),
    Case(
        name="relu-inference-low-rank-f32",
        family="masked_matmul",
        ours="convert.low_rank_gates, MNIST",
        peer=DENSE_NETWORK,
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=784, width=128, depth=2),
        dtype=torch.float32,
        prepare=_low_rank_inference,
        at_least=1.5,
        aim=2.2,
    ),
)

PLAN_BUILDING = Case(
    name="plan-building",
    family="masked_matmul",
    ours="both plans of all layers of a batch",
    peer="whole GReLU training step",
    packages=("gatentk", "torch"),
    shape=Shape(n=256, d=784, width=2048, depth=4),
    quick=Shape(n=64, d=20, width=128, depth=2),
    dtype=torch.float32,
    prepare=_plan_building,
    at_least=0.05,
    aim=0.02,
    better="lower",
)
