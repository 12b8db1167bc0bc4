"""Conversions that keep values: from GReLU to ReLU on the training set, from ReLU to GReLU everywhere."""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass
from typing import overload

import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import Samples, as_tensor, check_finite, check_samples, describe
from gatentk.convert.least_squares import fit_weight
from gatentk.convert.norms import frobenius_norm, ratio
from gatentk.convert.precise import check_as_built, check_precise
from gatentk.convert.sequences import check_plain
from gatentk.gates import GateNetwork, GateTable
from gatentk.nn import GReLUNetwork, GReLUSequential, ReLUNetwork
from gatentk.ops.autocast import without_autocast

# Above this relative error a conversion is not exact but a least squares fit, which is worth a warning.
_EXACT = {torch.float32: 1e-4, torch.float64: 1e-9}


@dataclass(frozen=True)
class LayerFit:
    """How one layer of a GReLU network was converted.

    Attributes:
        layer: k, from 1.
        residual: `|h_k - t_k|_F / |t_k|_F` on the samples, h_k as the ReLU network computes it.
        max_residual: `max|h_k - t_k| / max|t_k|`.
        rank: numerical rank of the layer's inputs relu(h_{k-1}); n if the fit is exact whatever t_k is. With a ridge
            the smaller number of their samples and neurons.
        norm: Frobenius norm of the new weight.
        change: Frobenius norm of its difference from the old one.
        method: "cholesky" of the Gram matrix, "qr", "svd" where the rank is not full, "ridge", "zero" without inputs.
    """

    layer: int
    residual: float
    max_residual: float
    rank: int
    norm: float
    change: float
    method: str


@dataclass(frozen=True)
class ConversionReport:
    """What `grelu_to_relu` did; printed as a table.

    Attributes:
        n, width: samples that were fitted and neurons of a layer.
        layers: one entry for each of W_1 .. W_depth.

    >>> report = ConversionReport(40, 100, (LayerFit(1, 2e-16, 3e-16, 40, 14.1, 9.8, "cholesky"),))
    >>> report.residual
    2e-16
    >>> print(report)
    GReLU to ReLU on n = 40 samples, width 100
    layer  residual  max residual   rank     |W~|_F  |W~ - W|_F  method
        1   2.0e-16       3.0e-16     40       14.1        9.8  cholesky
    """

    n: int
    width: int
    layers: tuple[LayerFit, ...]

    @property
    def residual(self) -> float:
        """The largest `residual` of a layer."""
        return max(fit.residual for fit in self.layers)

    def __str__(self) -> str:
        rows = [
            f"{fit.layer:5d}  {fit.residual:8.1e}  {fit.max_residual:12.1e}  {fit.rank:5d}  {fit.norm:9.4g}  "
            f"{fit.change:9.4g}  {fit.method}"
            for fit in self.layers
        ]
        title = f"GReLU to ReLU on n = {self.n} samples, width {self.width}"
        head = "layer  residual  max residual   rank     |W~|_F  |W~ - W|_F  method"
        return "\n".join([title, head, *rows])


def grelu_to_relu(
    gnet: GReLUNetwork, x: Samples, gates: GateTable | None = None, ridge: float = 0.0
) -> tuple[ReLUNetwork, ConversionReport]:
    """The ReLU network with the intermediate values and outputs of a GReLU network on its training set ([G], Thm 2).

    Each weight is the one of least norm with `W~_k relu(h_{k-1}) = t_k` on all samples, `W~_k = t_k R^+` with the
    columns of R = relu(h_{k-1}) ([G, Eq. 49] prints the factors swapped). That is exact if R has rank n, so n <= width
    is necessary; otherwise it is the least squares solution, and a warning says how far it is off. In exact arithmetic
    h_{k-1} = t_{k-1}; R is made of the ReLU network's own values because the weights amplify errors by up to
    cond(R). Measured in float32 at n = width = 400, where layer 2 is off by 3e-2: with t_{k-1} the errors grow to 0.6
    and 9 in layers 3 and 4, with h_{k-1} they stay at 4e-2 and 6e-2.

    The fitted weights are large, and what they give on other samples is far off. A ridge trades a little of the fit for
    smaller ones: 640 digits of a network of width 1024 and depth 4, with cross-entropy 4e-4 on these and 0.07 on other
    samples, 97.5% of which are classified as they should be. After the conversion, by ridge:

        ridge         0       1e-4    1e-3    1e-2    0.1
        train loss    4e-4    4e-4    4e-4    8e-4    0.011
        test loss     24      17      1.4     0.10    0.043
        test accuracy 31%     34%     82%     97.5%   98.7%

    Solved in float64 whatever the network's dtype, and without autocast. Besides the new network, memory is a few
    (n, width) arrays.

    Args:
        gnet: the network; it stays as it is, and the new one has copies of its C and B.
        x: (n, d_in) samples of the network's dtype, tensor or numpy array.
        gates: their gate table; computed if left out.
        ridge: penalty c of `|W~_k R - t_k|_F^2 + c s |W~_k|_F^2`, s the mean square norm of the samples in R (of the
            neurons, if they are fewer).

    Returns:
        A `ReLUNetwork` with `last_relu=False`, and a `ConversionReport`.

    Warns:
        UserWarning: without a ridge, n > width, or a layer that is not fitted to 1e-4 (float32) or 1e-9 (float64)
            because the rank of its inputs is too small for it or they are too ill-conditioned for the dtype.

    Raises:
        TypeError, ValueError: samples or gates that do not fit the network, values that are not finite.
        GateTableError: gates of another gate network.
        UnsupportedModuleError: hooks, replaced methods or the like change what the network computes.

    >>> import torch
    >>> import gatentk as gt
    >>> generator = torch.Generator().manual_seed(0)
    >>> gnet = gt.nn.GReLUNetwork(10, 80, 2, generator=generator, dtype=torch.float64)
    >>> x = torch.randn(20, 10, generator=generator, dtype=torch.float64)
    >>> rnet, report = gt.convert.grelu_to_relu(gnet, x)
    >>> torch.allclose(rnet(x), gnet(x)), report.residual < 1e-9
    (True, True)
    >>> [fit.rank for fit in report.layers]
    [20, 20]
    """
    if not isinstance(gnet, GReLUNetwork):
        raise TypeError(f"gnet: expected a GReLUNetwork, got {describe(gnet)}")
    check_precise("gnet", gnet)
    if not (isinstance(ridge, (int, float)) and 0 <= ridge < math.inf):
        raise ValueError(f"ridge: expected a number of at least 0, got {ridge!r}")
    x = as_tensor("x", x, gnet.input_weight.dtype)
    check_samples("x", x)
    with torch.no_grad(), without_autocast():
        patterns = gnet.gate_layers(x, gates)
        check_as_built("gnet", gnet, x, gates, patterns)
        rnet = ReLUNetwork(
            gnet.d_in,
            gnet.width,
            gnet.depth,
            gnet.d_out,
            False,
            torch.Generator(),
            gnet.input_weight.dtype,
            train_ends=gnet.train_ends,
        )
        rnet.to(x.device)
        _copy_ends(gnet, rnet)
        fits = []
        t = ops.masked_linear(x, gnet.input_weight, None, patterns[0], gnet.method)
        h = ops.masked_linear(x, rnet.input_weight, method=rnet.method)
        for k, (old, new) in enumerate(zip(gnet.weights, rnet.weights, strict=True), 1):
            t = ops.masked_linear(t, old, patterns[k - 1], patterns[k], gnet.method)
            check_finite(f"gnet: values of layer {k}", t)
            r = torch.relu(h)
            rank, method = fit_weight(new, r, t, ridge)
            h = ops.masked_linear(r, new, method=rnet.method)
            fits.append(_layer_fit(k, h - t, t, new, old, rank, method))
    report = ConversionReport(len(x), gnet.width, tuple(fits))
    if ridge == 0:
        _warn_unless_exact(report, x.dtype)
    return rnet, report


def _copy_ends(source: GReLUNetwork | ReLUNetwork, target: GReLUNetwork | ReLUNetwork) -> None:
    """C, B and the method of products."""
    target.input_weight.copy_(source.input_weight)
    target.output_weight.copy_(source.output_weight)
    target.method = source.method


def _layer_fit(layer: int, error: Tensor, t: Tensor, new: Tensor, old: Tensor, rank: int, method: str) -> LayerFit:
    return LayerFit(
        layer=layer,
        residual=ratio(frobenius_norm(error), frobenius_norm(t)),
        max_residual=ratio(float(error.abs().max()), float(t.abs().max())),
        rank=rank,
        norm=frobenius_norm(new),
        change=frobenius_norm(new - old),
        method=method,
    )


def _warn_unless_exact(report: ConversionReport, dtype: torch.dtype) -> None:
    worst = max(report.layers, key=lambda fit: fit.residual)
    least_squares = f"relative residual up to {worst.residual:.2g} (layer {worst.layer}, rank {worst.rank})"
    if report.n > report.width:
        message = (
            f"x: n = {report.n} samples are more than the width m = {report.width}, so the weights are a least "
            f"squares fit, {least_squares}"
        )
    elif max(worst.residual, worst.max_residual) > _EXACT[dtype]:
        message = (
            f"x: n = {report.n} samples are not fitted exactly at width m = {report.width}, {least_squares}: similar "
            f"samples or dead neurons leave inputs of too small a rank, or of too large a condition number for {dtype}"
        )
    else:
        return
    warnings.warn(message, UserWarning, stacklevel=3)


@overload
def relu_to_grelu(rnet: ReLUNetwork) -> GReLUNetwork: ...
@overload
def relu_to_grelu(rnet: nn.Sequential) -> GReLUSequential: ...
def relu_to_grelu(rnet: ReLUNetwork | nn.Sequential) -> GReLUNetwork | GReLUSequential:
    """The GReLU network whose gates are the activation patterns of a ReLU network as it is now: Psi_k = W_k.

    Both have the same W_k and C, so `t_k = relu(h_k)` for every input, up to rounding, until one of them is trained
    further. The outputs agree if the ReLU network has a ReLU before B. With `last_relu=False` its output is `B h_L`
    where the GReLU network's is `B relu(h_L)`: what negative values of the last layer contribute is missing.

    Of an `nn.Sequential` with layers of any widths and biases all parameters are trained, and outputs agree whatever
    follows its last ReLU: layers without a ReLU have no gates.

    Args:
        rnet: the network; it stays as it is, and the new one has copies of its weights. An `nn.Sequential` has Linear,
            ReLU right after a Linear or none, Dropout after these, Identity, Flatten before the first Linear, and
            sequences of these.

    Returns:
        A `GReLUNetwork`; of a sequence a `GReLUSequential`, whose `layers` are the trained ReLU network.

    Raises:
        TypeError, ValueError: no such network, weights that are not float32 or float64 or not finite.
        UnsupportedModuleError: hooks, replaced methods or the like change what the network computes, or a sequence has
            other modules; the message names them.

    >>> import torch
    >>> import gatentk as gt
    >>> rnet, x = gt.nn.ReLUNetwork(10, 80, 2, dtype=torch.float64), torch.eye(10, dtype=torch.float64)
    >>> torch.allclose(gt.convert.relu_to_grelu(rnet)(x), rnet(x))
    True
    """
    if isinstance(rnet, nn.Sequential):
        check_plain("rnet", rnet)
        return GReLUSequential(copy.deepcopy(rnet))
    if not isinstance(rnet, ReLUNetwork):
        raise TypeError(f"rnet: expected a ReLUNetwork or an nn.Sequential, got {describe(rnet)}")
    check_precise("rnet", rnet)
    sizes, unused = (rnet.d_in, rnet.width, rnet.depth), torch.Generator()
    gate_net = GateNetwork(*sizes, unused, input_weight=rnet.input_weight)
    with torch.no_grad(), without_autocast():
        check_as_built("rnet", rnet, _probes(rnet))
    gnet = GReLUNetwork(*sizes, rnet.d_out, gate_net, unused, rnet.input_weight.dtype, train_ends=rnet.train_ends)
    with torch.no_grad():
        _copy_ends(rnet, gnet)
        for weight, psi, source in zip(gnet.weights, gate_net.weights, rnet.weights, strict=True):
            weight.copy_(source)
            psi.copy_(source)
    return gnet


def _probes(rnet: ReLUNetwork) -> Tensor:
    """Samples that a network is tried on."""
    generator = torch.Generator().manual_seed(20210401)
    return torch.randn(4, rnet.d_in, generator=generator, dtype=rnet.input_weight.dtype).to(rnet.input_weight.device)
