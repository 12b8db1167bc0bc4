"""The one table of what is measured: shapes, sides, floating-point operations and the ratios asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

import gatentk
from gatentk import convert, data, gates, nn, ntk, ops

from . import torch_peers
from .process import Request
from .training import Descent


@dataclass(frozen=True)
class Shape:
    """Sizes of a case; 0 for those it does not have.

    `n` counts the samples of one evaluation; `depth` hidden layers, for Gram matrices terms, for networks with a fixed
    first and last layer the layers between.
    """

    n: int
    d: int = 0
    width: int = 0
    depth: int = 0

    def __str__(self) -> str:
        names = {"n": "n", "d": "d", "width": "m", "depth": "L"}
        return " ".join(f"{names[f.name]}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name))


@dataclass(frozen=True)
class Work:
    """What an evaluation takes.

    Attributes:
        dense: floating-point operations of the dense computation.
        performed: those that our side performs.
        moved: bytes of its arguments and results, which is what has to be read and written at least; 0 if not counted.
    """

    dense: float
    performed: float
    moved: float = 0


Evaluation = Callable[[], Tensor]


@dataclass(frozen=True)
class Job:
    """A case with its data.

    Attributes:
        ours: one evaluation by this package.
        peers: ways to do the same here; the fastest is the peer. Empty if the peer is another process.
        request: what to ask of neural-tangents.
        work: operations of one evaluation.
        comparable: the part of our result that the peer computes too; None where the two do different things.
        peer_comparable: the part of the peer's result that we compute too.
        notes: what a reader has to know of the results.
    """

    ours: Evaluation
    work: Work
    peers: Mapping[str, Evaluation] = field(default_factory=dict)
    request: Request | None = None
    comparable: Callable[[Tensor], Tensor] | None = lambda result: result
    peer_comparable: Callable[[Tensor], Tensor] = lambda result: result
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        name, family: of the case and of the kernel family it exercises.
        ours, peer: what the two sides do, in words.
        shape, quick: sizes for reports, and small ones for tests and smoke runs.
        dtype: of data and results.
        prepare: makes the data.
        at_least, aim: ratios asked for, None where nothing was.
        better: "higher" for a ratio peer / ours (a speed-up), "lower" for ours / peer (an overhead): there
            `at_least` and `aim` are upper bounds.
        most_repeats: a cap where one evaluation of the peer takes very long.
        device: where the data lie.
    """

    name: str
    family: str
    ours: str
    peer: str
    shape: Shape
    quick: Shape
    dtype: torch.dtype
    prepare: Callable[[Case], Job]
    at_least: float | None = None
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    most_repeats: int | None = None
    device: str = "cpu"

    def small(self) -> Case:
        """The same at its small shape, where speed means nothing and nothing is asked of it."""
        return replace(self, shape=self.quick, at_least=None, aim=None, most_repeats=None)


def _gaussian(case: Case, *size: int, seed: int = 0) -> Tensor:
    """The same numbers on every device."""
    values = torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=_drawn(case.dtype))
    return values.to(case.device, case.dtype)


def _drawn(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _share(case: Case, share: float, *size: int, seed: int = 0) -> Tensor:
    """A random mask."""
    return (torch.rand(*size, generator=torch.Generator().manual_seed(seed)) < share).to(case.device)


def _bytes(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


# Infinite width

# Operations per pair and layer, mean over ten layers: two multiply-adds for each degree of the two polynomials of
# csrc/include/gatentk/arc_polynomials.hpp and ten around them; a square root counts as one.
LAYER_OPERATIONS = {torch.float64: 58, torch.float32: 30}


def _infinite_work(case: Case) -> Work:
    n, pair = case.shape.n, 2 * case.shape.d + case.shape.depth * LAYER_OPERATIONS[case.dtype]
    return Work(n**2 * pair, n * (n + 1) / 2 * pair, case.dtype.itemsize * n * (n + case.shape.d))


def _infinite(case: Case, samples: Callable[[Case], Tensor]) -> Job:
    x = samples(case)
    job = Job(
        ours=lambda: _tensor(ntk.infinite(x, depth=case.shape.depth, dtype=case.dtype)),
        work=_infinite_work(case),
    )
    if case.device == "cuda":
        return replace(job, peers={"arc cosines": lambda: torch_peers.arc_cosines(x, case.shape.depth)})
    return replace(job, request=Request("infinite", {"x": x}, case.shape.depth))


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


def _gaussian_samples(case: Case) -> Tensor:
    return _gaussian(case, case.shape.n, case.shape.d)


def _pixel_samples(case: Case) -> Tensor:
    """Non-negative, four in five of them 0, as MNIST has them."""
    return (_gaussian_samples(case) - 0.84).relu_().clamp_(max=1)


def _sweep(case: Case) -> Job:
    x, depth, n = _gaussian_samples(case), case.shape.depth, case.shape.n

    def single_and_fill() -> Tensor:
        kernel = ntk.infinite(x, depth=depth, dtype=case.dtype)
        torch.empty(depth + 1, n, n, dtype=case.dtype, device=case.device).fill_(1.0)
        return _tensor(kernel)

    return Job(
        ours=lambda: _tensor(ntk.infinite_sweep(x, depths=range(depth + 1), dtype=case.dtype)),
        work=_infinite_work(case),
        peers={"single depth and fill": single_and_fill},
        comparable=lambda kernels: kernels[-1],
    )


# Layerwise Gram matrices


def _gram_work(case: Case, density: float) -> Work:
    shape = case.shape
    dense = shape.depth * 2 * shape.n**2 * (2 * shape.width + 1)
    moved = case.dtype.itemsize * shape.n * (2 * shape.depth * shape.width + shape.n)
    return Work(dense, dense * density * (shape.n + 1) / (2 * shape.n), moved)


def _gram(case: Case, density: float = 0.5, peers: Mapping[str, Callable[..., Tensor]] = torch_peers.LAYERWISE) -> Job:
    """Gaussian factors under random masks, one for A and Delta of a layer; our side finds the zeros itself."""
    shape = case.shape
    acts: list[Tensor] = []
    deltas: list[Tensor] = []
    for layer in range(shape.depth):
        mask = _share(case, density, shape.n, shape.width, seed=layer)
        for factors, seed in ((acts, 100 + layer), (deltas, 200 + layer)):
            factors.append(_gaussian(case, shape.n, shape.width, seed=seed).mul_(mask))
    return Job(
        ours=lambda: ops.gram_ntk(acts, deltas),
        work=_gram_work(case, density),
        peers={name: partial(peer, acts, deltas) for name, peer in peers.items()},
    )


def _network(case: Case) -> tuple[nn.MLP, Tensor]:
    shape = case.shape
    generator = torch.Generator().manual_seed(1)
    net = nn.MLP(shape.d, shape.width, shape.depth, generator=generator, dtype=case.dtype)
    return net.to(case.device), _gaussian_samples(case)


def _empirical_work(case: Case) -> Work:
    """Forward, backward and Gram products; half of the neurons are on for ReLU and Gaussian weights."""
    shape = case.shape
    widths = [shape.d, *[shape.width] * shape.depth, 1]
    inner = sum(a * b for a, b in pairwise(widths))
    passes = 2 * shape.n * (2 * inner - widths[0] * widths[1])  # no derivative by the samples
    hidden = 2 * shape.n**2 * 2 * shape.width * shape.depth
    ends = 2 * shape.n**2 * (shape.d + 1 + shape.depth + 1)
    half = (shape.n + 1) / (2 * shape.n)
    return Work(passes + hidden + ends, passes + half * (0.5 * hidden + ends))


def _empirical(case: Case) -> Job:
    net, x = _network(case)
    weights = {f"weight{layer}": weight for layer, weight in enumerate(net.weights)}
    return Job(
        ours=lambda: _tensor(ntk.empirical(net, x)),
        work=_empirical_work(case),
        request=Request("empirical", {"x": x, **weights}, case.shape.depth),
    )


def _empirical_layerwise(case: Case) -> Job:
    net, x = _network(case)

    def run(peer: Callable[..., Tensor]) -> Tensor:
        with torch.no_grad():
            return peer(*torch_peers.mlp_factors(net, x))

    return Job(
        ours=lambda: _tensor(ntk.empirical(net, x)),
        work=_empirical_work(case),
        peers={name: partial(run, peer) for name, peer in torch_peers.LAYERWISE.items()},
    )


# Spectra and bits


def _spectrum(case: Case) -> Job:
    """Ours counts its Cholesky factorisation alone, the peer the reduction to tridiagonal form."""
    n = case.shape.n
    kernel = _tensor(ntk.infinite(_gaussian_samples(case), depth=case.shape.depth, dtype=case.dtype))

    def ours() -> Tensor:
        result = gatentk.spectrum(kernel)
        return torch.tensor([result.lmin, result.lmax], dtype=torch.float64)

    return Job(
        ours=ours,
        work=Work(4 / 3 * n**3, n**3 / 3),
        peers={"eigvalsh": lambda: torch.linalg.eigvalsh(kernel)[[0, -1]].double()},
    )


def _pack_bits(case: Case) -> Job:
    import numpy as np

    mask = _share(case, 0.5, case.shape.n, case.shape.width)
    peers: dict[str, Evaluation] = {
        "packbits": lambda: torch.from_numpy(np.packbits(mask.numpy(), axis=-1, bitorder="little"))
    }
    if case.device == "cuda":
        peers = {"shifts and sums": lambda: torch_peers.pack_bits(mask)}
    return Job(ours=lambda: ops.pack_bits(mask), work=Work(0, 0, 9 / 8 * mask.numel()), peers=peers)


# Gates and gated networks

CLASSES = 10  # outputs of networks
BATCHES = 4  # as many times the samples of a step are drawn from


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
    mask_in, mask_out = (_share(case, 0.5, n, m, seed=seed) for seed in (0, 1))
    return _GatedLayer(
        z=_gaussian(case, n, m, seed=2).mul_(mask_in),
        weight=_gaussian(case, m, m, seed=3),
        grad=_gaussian(case, n, m, seed=4).mul_(mask_out),
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


def _gate_gram(case: Case) -> Job:
    mask = _share(case, 0.5, case.shape.n, case.shape.width)
    bits, ones = ops.pack_bits(mask), mask.float()
    return Job(
        ours=lambda: _tensor(ops.gate_gram(bits)),
        work=Work(2 * case.shape.n**2 * case.shape.width, 0, _bytes(bits) + 4 * case.shape.n**2),
        peers={"unpacked masks": lambda: ones @ ones.T},
    )


def _relu_network(case: Case) -> nn.ReLUNetwork:
    shape, generator = case.shape, torch.Generator().manual_seed(1)
    net = nn.ReLUNetwork(shape.d, shape.width, shape.depth, CLASSES, generator=generator, dtype=case.dtype)
    return net.to(case.device)


def _network_work(case: Case, products: int) -> Work:
    """Some products with the square weights, and one with each of the fixed ends, which count as dense."""
    shape = case.shape
    ends = 2 * shape.n * shape.width * (shape.d + CLASSES)
    hidden = products * 2 * shape.n * shape.width**2
    return Work(hidden + ends, hidden / 2 + ends)


class _Training(NamedTuple):
    ours: Descent
    peer: Descent
    table: gates.GateTable


def _training(case: Case) -> _Training:
    """The gates are the patterns of the ReLU network at the start, so that both sides begin as the same function."""
    shape = case.shape
    n = BATCHES * shape.n
    x = functional.normalize(_gaussian(case, n, shape.d))
    targets = _gaussian(case, n, CLASSES, seed=1)
    relu = _relu_network(case)
    dense, grelu = torch_peers.DenseReLUNetwork(relu), convert.relu_to_grelu(relu)
    table = grelu.gate_table(x)
    # Far on the stable side: on unit rows the kernel's diagonal is depth width^2 / (d CLASSES), and the Hessian is at
    # most 2 / CLASSES times that.
    rate = shape.d / (shape.depth * shape.width**2)
    return _Training(
        ours=Descent(lambda rows: grelu(x[rows], gates=table[rows]), grelu.weights, targets, shape.n, rate),
        peer=Descent(lambda rows: dense(x[rows]), dense.weights, targets, shape.n, rate),
        table=table,
    )


def _training_step(case: Case) -> Job:
    training = _training(case)
    # The inputs of the first square weight need no gradient.
    work = _network_work(case, 3 * case.shape.depth - 1)
    return Job(ours=training.ours, work=work, peers={"F.linear and relu": training.peer})


def _plan_building(case: Case) -> Job:
    training, width = _training(case), case.shape.width
    batch = training.table[: case.shape.n].bits

    def build() -> Tensor:
        plans = [gates.GateLayer(bits, width).plans for bits in batch]
        return plans[-1][1]

    return Job(ours=build, work=Work(0, 0), peers={"training step": training.ours}, comparable=None)


def _inference(network: Callable[[Tensor], Tensor], x: Tensor) -> Evaluation:
    def evaluate() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return evaluate


def _relu_inference(case: Case) -> Job:
    x, relu = _gaussian_samples(case), _relu_network(case)
    relu.method = "masked"
    return Job(
        ours=_inference(relu, x),
        work=_network_work(case, case.shape.depth),
        peers={"F.linear and relu": _inference(torch_peers.DenseReLUNetwork(relu), x)},
    )


def _low_rank_inference(case: Case) -> Job:
    """Gates fitted on some images, then used on others."""
    n = case.shape.n
    images = data.load("mnist", n=(BATCHES + 1) * n).x.to(case.dtype)
    seen, x = images[n:], images[:n]
    relu = _relu_network(case)
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
        ours=_inference(fast, x),
        work=_low_rank_work(case, predicted, report.rank),
        peers={"F.linear and relu": _inference(torch_peers.DenseReLUNetwork(relu), x)},
        notes=(note,),
    )


def _low_rank_work(case: Case, predicted: gates.GateTable, rank: int) -> Work:
    """Predictions, and products of inputs that are predicted on with neurons that are on for some sample."""
    shape, masks = case.shape, predicted.to_bool()
    dense, ends = _network_work(case, shape.depth).dense, 2 * shape.n * shape.width * (shape.d + CLASSES)
    inputs, outputs = masks[:-1].sum((1, 2)), masks[1:].any(1).sum(1)
    hidden = 2 * int(inputs @ outputs) + shape.depth * 2 * shape.n * 2 * shape.width * rank
    return Work(dense, hidden + ends)


F32, F64 = torch.float32, torch.float64
_INFINITE = "ntk.infinite, Gaussian data"
_NEURAL_TANGENTS = "neural-tangents, jit"
_LAYERWISE = "torch, layerwise"
_MASKED = "ops.gram_ntk, masks at 50%"
_GATED = "masked product at 50%, plans cached"
_DENSE_NETWORK = "torch, F.linear and relu"

# Name, peer, data, ratios asked for in float32.
_PRODUCTS = (
    ("forward", "F.linear", _forward, 1.9, 2.4),
    ("input-grad", "grad @ weight", _input_gradient, 1.8, 2.3),
    ("weight-grad", "grad.T @ z", _weight_gradient, 1.8, 2.3),
)

CASES = (
    Case(
        name="infinite-f64",
        family="infinite_ntk",
        ours=_INFINITE,
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=F64,
        prepare=partial(_infinite, samples=_gaussian_samples),
        at_least=25,
        aim=40,
    ),
    Case(
        name="infinite-f32",
        family="infinite_ntk",
        ours=_INFINITE,
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=F32,
        prepare=partial(_infinite, samples=_gaussian_samples),
    ),
    Case(
        name="infinite-pixels-f64",
        family="infinite_ntk",
        ours="ntk.infinite, data like MNIST",
        peer=_NEURAL_TANGENTS,
        shape=Shape(n=5000, d=784, depth=10),
        quick=Shape(n=120, d=784, depth=3),
        dtype=F64,
        prepare=partial(_infinite, samples=_pixel_samples),
    ),
    Case(
        name="sweep-f64",
        family="infinite_ntk",
        ours="ntk.infinite_sweep, depths 0..L",
        peer="our single depth L, and filling the output",
        shape=Shape(n=2000, d=5, depth=10),
        quick=Shape(n=150, d=5, depth=3),
        dtype=F64,
        prepare=_sweep,
        at_least=1.3,
        aim=1.1,
        better="lower",
    ),
    Case(
        name="gram-f32",
        family="gram",
        ours=_MASKED,
        peer=_LAYERWISE,
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=F32,
        prepare=_gram,
        at_least=3.5,
        aim=5,
    ),
    Case(
        name="gram-f64",
        family="gram",
        ours=_MASKED,
        peer=_LAYERWISE,
        shape=Shape(n=5000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=F64,
        prepare=_gram,
        at_least=3,
        aim=5,
    ),
    Case(
        name="gram-triangle-f32",
        family="gram",
        ours=_MASKED,
        peer="torch, layerwise, blocks of one triangle",
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=F32,
        prepare=partial(_gram, peers={"triangle blocks": torch_peers.triangle_blocks}),
    ),
    Case(
        name="gram-dense-f32",
        family="gram",
        ours="ops.gram_ntk, no zeros",
        peer=_LAYERWISE,
        shape=Shape(n=8000, width=512, depth=3),
        quick=Shape(n=530, width=70, depth=3),
        dtype=F32,
        prepare=partial(_gram, density=1.0),
    ),
    Case(
        name="empirical-f64",
        family="gram",
        ours="ntk.empirical, ReLU network",
        peer="neural-tangents, jit, its best implementation",
        shape=Shape(n=500, d=5, width=512, depth=10),
        quick=Shape(n=40, d=5, width=16, depth=3),
        dtype=F64,
        prepare=_empirical,
        at_least=150,
        aim=300,
        most_repeats=2,
    ),
    Case(
        name="empirical-layerwise-f64",
        family="gram",
        ours="ntk.empirical, ReLU network",
        peer=_LAYERWISE,
        shape=Shape(n=2000, d=5, width=512, depth=10),
        quick=Shape(n=40, d=5, width=16, depth=3),
        dtype=F64,
        prepare=_empirical_layerwise,
    ),
    Case(
        name="spectrum-f64",
        family="spectra",
        ours="spectrum, infinite-width kernel",
        peer="torch.linalg.eigvalsh",
        shape=Shape(n=4000, d=5, depth=3),
        quick=Shape(n=540, d=5, depth=3),
        dtype=F64,
        prepare=_spectrum,
        at_least=3,
        aim=5,
    ),
    Case(
        name="pack-bits",
        family="pack_bits",
        ours="ops.pack_bits",
        peer="numpy.packbits",
        shape=Shape(n=50000, width=4096),
        quick=Shape(n=300, width=256),
        dtype=torch.bool,
        prepare=_pack_bits,
    ),
    *(
        Case(
            name=f"masked-linear-{product}-{width}-f32",
            family="masked_matmul",
            ours=_GATED,
            peer=peer,
            shape=Shape(n=n, width=width),
            quick=Shape(n=n // 8, width=width // 16),
            dtype=F32,
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
        dtype=F64,
        prepare=_forward,
        at_least=1.8,
        aim=2.3,
    ),
    Case(
        name="training-step-f32",
        family="masked_matmul",
        ours="GReLU training step, plans built in it",
        peer=f"ReLU training step, {_DENSE_NETWORK}",
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=F32,
        prepare=_training_step,
        at_least=1.7,
        aim=2.2,
    ),
    Case(
        name="relu-inference-exact-f32",
        family="masked_matmul",
        ours="nn.ReLUNetwork, zeros skipped",
        peer=_DENSE_NETWORK,
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=F32,
        prepare=_relu_inference,
        at_least=1.4,
        aim=1.8,
    ),
    Case(
        name="relu-inference-low-rank-f32",
        family="masked_matmul",
        ours="convert.low_rank_gates, MNIST",
        peer=_DENSE_NETWORK,
        shape=Shape(n=512, d=784, width=4096, depth=4),
        quick=Shape(n=64, d=784, width=128, depth=2),
        dtype=F32,
        prepare=_low_rank_inference,
        at_least=1.5,
        aim=2.2,
    ),
    Case(
        name="gate-gram",
        family="gate_gram",
        ours="ops.gate_gram, gates at 50%",
        peer="float32 product of the unpacked masks",
        shape=Shape(n=4000, width=4096),
        quick=Shape(n=130, width=200),
        dtype=torch.uint8,
        prepare=_gate_gram,
        at_least=30,
        aim=60,
    ),
    Case(
        name="plan-building",
        family="masked_matmul",
        ours="both plans of all layers of a batch",
        peer="whole GReLU training step",
        shape=Shape(n=256, d=784, width=2048, depth=4),
        quick=Shape(n=64, d=20, width=128, depth=2),
        dtype=F32,
        prepare=_plan_building,
        at_least=0.05,
        aim=0.02,
        better="lower",
    ),
)
