"""Gates predicted by low-rank factors: fitted on data, and measured on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast, overload

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import Samples, as_tensor, check_finite, check_integer, check_samples, describe
from gatentk.convert.factors import fit_factors
from gatentk.convert.norms import frobenius_norm, ratio
from gatentk.convert.precise import check_as_built, check_precise
from gatentk.convert.predicted_gates import LowRankGated, gate_activations, gate_block, gate_weights
from gatentk.convert.predicted_sequences import LowRankSequential, check_rows
from gatentk.convert.sequences import check_plain
from gatentk.gates import GateTable
from gatentk.nn import GReLUNetwork, ReLUNetwork
from gatentk.ops.autocast import without_autocast


@dataclass(frozen=True)
class GatePrediction:
    """How well the gates of one layer are predicted.

    Attributes:
        layer: k, from 1; the gates of layer 0 are exact.
        agreement: share of gates that equal the exact ones.
        energy: f, captured share of E|Psi_k z_{k-1}|^2.
        estimate: `1 - acos(sqrt f) / pi`, the agreement to expect of Gaussian values whose errors have the same
            relative size for all neurons, after exact layers; real ones are below it.
    """

    layer: int
    agreement: float
    energy: float
    estimate: float


@dataclass(frozen=True)
class LowRankReport:
    """What `low_rank_gates` predicts and what it costs in accuracy, measured on its samples; printed as a table.

    Attributes:
        rank: of the factors; layers of a sequence that are smaller have theirs.
        n, width: samples and neurons of a layer, of the widest one of a sequence.
        layers: one entry for each layer whose gates are predicted.
        output_error: `|y_fast - y|_F / |y|_F`.
    """

    rank: int
    n: int
    width: int
    layers: tuple[GatePrediction, ...]
    output_error: float

    def __str__(self) -> str:
        rows = [f"{p.layer:5d}  {p.agreement:9.4f}  {p.estimate:8.4f}  {p.energy:6.4f}" for p in self.layers]
        title = (
            f"gates of rank {self.rank} at width {self.width}, n = {self.n} samples: "
            f"relative output error {self.output_error:.2g}"
        )
        return "\n".join([title, "layer  agreement  estimate  energy", *rows])


@overload
def low_rank_gates(
    net: GReLUNetwork | ReLUNetwork, x: Samples, rank: int | None = None
) -> tuple[LowRankGated, LowRankReport]: ...
@overload
def low_rank_gates(
    net: nn.Sequential, x: Samples, rank: int | None = None
) -> tuple[LowRankSequential, LowRankReport]: ...
def low_rank_gates(
    net: GReLUNetwork | ReLUNetwork | nn.Sequential, x: Samples, rank: int | None = None
) -> tuple[LowRankGated | LowRankSequential, LowRankReport]:
    """Predict gates by low-rank factors fitted on data, for inference that knows a layer's gates before its product.

    Of all U V of the rank, the factors of layer k minimise the mean of `|Psi_k z - U V z|^2` over the samples,
    z = z_{k-1}: U is the leading left singular vectors of Psi_k M^{1/2}, M the second moment of z, and V = U^T Psi_k.
    A ReLU network is its own gate network: Psi = W, z = relu(h), layers with a ReLU only. Gates that neurons
    share are predicted by block, and the z of shallow gates are the centred samples. [G, Sec. 4.4] proposes a
    non-negative factorisation, which cannot represent Psi. What is predicted well depends on the data: the report has
    the agreement with the exact gates on x, which for isotropic data and a small rank is near one half. Wrong gates
    cost a ReLU network little, because its values are small where gates are easily mistaken; those of a GReLU network
    are not. On MNIST at width 2048, depth 3 and rank 23, with random weights, both have 86 to 88% of the gates, and
    output errors of 0.22 and 0.8.

    Args:
        net: the network; the result uses its weights, without a copy. Factors of a ReLU network are of its weights as
            they are now, and do not follow if it is trained further. Also an `nn.Sequential` with biases and layers of
            any widths, of the modules that `relu_to_grelu` takes: biases are added to what the factors predict.
        x: (n, d_in) samples of the network's dtype, tensor or numpy array, like those to come.
        rank: at least 1 and at most the rows and the columns of Psi_k, the width in a ReLU network;
            `sqrt(width) / 2` rounded, within these, if left out (of gates that blocks share their number is the width).
            Of a sequence the widest layer counts, and smaller ones get the rank that they can have.

    Returns:
        A `LowRankGated`, of a sequence a `LowRankSequential`, and a `LowRankReport` for x.

    Raises:
        TypeError, ValueError: samples that do not fit the network or are not finite, a rank out of range.
        UnsupportedModuleError: hooks, replaced methods or the like change what the network computes.

    >>> import torch
    >>> import gatentk as gt
    >>> net, x = gt.nn.ReLUNetwork(10, 64, 2, dtype=torch.float64), torch.eye(10, dtype=torch.float64)
    >>> fast, report = gt.convert.low_rank_gates(net, x, rank=64)
    >>> torch.allclose(fast(x), net(x)), [prediction.layer for prediction in report.layers]
    (True, [1, 2])
    >>> gt.convert.low_rank_gates(net, x)[1].rank
    4
    """
    if isinstance(net, nn.Sequential):
        return _of_sequence(net, x, rank)
    if not isinstance(net, (GReLUNetwork, ReLUNetwork)):
        raise TypeError(f"net: expected a GReLUNetwork, a ReLUNetwork or an nn.Sequential, got {describe(net)}")
    check_precise("net", net)
    rank = _checked_rank(net, rank)
    x = as_tensor("x", x, net.input_weight.dtype)
    check_samples("x", x)
    net.check_input(x)
    bits, factors, energies = [], [], []
    with torch.no_grad(), without_autocast():
        check_as_built("net", net, x)
        shallow = isinstance(net, GReLUNetwork) and net.gate_net.kind == "shallow"
        before = net.gate_net.centred(x) if isinstance(net, GReLUNetwork) else x
        for k, z in enumerate(gate_activations(net, x)):
            check_finite(f"net: activations of layer {k}", z)
            bits.append(ops.pack_bits(z > 0))
            if k > 0:
                u, v, energy = fit_factors(gate_weights(net)[k - 1], before, rank)
                factors.append((u, v))
                energies.append(energy)
            before = before if shallow else z
        block = gate_block(net)
        exact = GateTable(torch.stack(bits), net.width, block=block)
        y = net(x, gates=exact) if isinstance(net, GReLUNetwork) else net(x)
        fast = LowRankGated(net, factors)
        y_fast, predicted = fast.outputs_and_gates(x)
    agreements = 1 - exact.hamming(GateTable(torch.stack(predicted), net.width, block=block))
    layers = tuple(_prediction(k, float(agreements[k]), f) for k, f in enumerate(energies, 1))
    return fast, LowRankReport(rank, len(x), net.width, layers, _output_error(y_fast, y))


def _of_sequence(net: nn.Sequential, x: Samples, rank: int | None) -> tuple[LowRankSequential, LowRankReport]:
    flatten, steps = check_plain("net", net)
    linears = [cast(nn.Linear, net.get_submodule(step.name)) for step in steps]
    predicted = [k for k, step in enumerate(steps) if step.relu][1:]
    width = max(linear.out_features for linear in linears)
    rank = max(1, round(math.sqrt(width) / 2)) if rank is None else check_integer("rank", rank, 1)
    if rank > width:
        raise ValueError(f"rank: expected at most the width {width} of the widest layer, got {rank}")
    x = as_tensor("x", x, linears[0].weight.dtype)
    check_samples("x", x)
    z, factors, energies, bits = x.flatten(1) if flatten else x, {}, [], []
    check_rows(z, linears[0])
    with torch.no_grad(), without_autocast():
        for k, (linear, step) in enumerate(zip(linears, steps, strict=True)):
            if k in predicted:
                most = min(rank, linear.out_features, linear.in_features)
                u, v, energy = fit_factors(linear.weight.detach(), z, most)
                factors[k] = u, v
                energies.append(energy)
            z = nn.functional.linear(z, linear.weight, linear.bias)
            if step.relu:
                z = torch.relu(z)
                bits.append(ops.pack_bits(z > 0))
            check_finite(f"net: values of layer {step.name}", z)
        fast = LowRankSequential(net, factors)
        y_fast, found = fast.outputs_and_gates(x)
    widths = [linears[k].out_features for k, step in enumerate(steps) if step.relu]
    agreements = [
        1 - float(GateTable(a[None], w).hamming(GateTable(b[None], w)))
        for a, b, w in zip(bits, found, widths, strict=True)
    ]
    layers = tuple(_prediction(k, agreements[k], f) for k, f in enumerate(energies, 1))
    return fast, LowRankReport(rank, len(x), width, layers, _output_error(y_fast, z))


def _prediction(layer: int, agreement: float, energy: float) -> GatePrediction:
    return GatePrediction(layer, agreement, energy, 1 - math.acos(math.sqrt(energy)) / math.pi)


def _output_error(y_fast: Tensor, y: Tensor) -> float:
    return ratio(frobenius_norm(y_fast - y), frobenius_norm(y))


def _checked_rank(net: GReLUNetwork | ReLUNetwork, rank: int | None) -> int:
    """The rank of the factors: the one asked for, if Psi can have it, or one that suits its size."""
    rows, columns, what = net.width, net.width, "the width"
    if isinstance(net, GReLUNetwork) and not net.gate_net.shares_input_weight:
        rows, columns = net.gate_net.weights[0].shape
        what = f"the smaller side of its gate weights, {rows} x {columns},"
    most: int = min(rows, columns)
    if rank is None:
        return min(most, max(1, round(math.sqrt(rows) / 2)))
    rank = check_integer("rank", rank, 1)
    if rank > most:
        raise ValueError(f"rank: expected at most {what} {most}, got {rank}")
    return rank
