"""The operations of `gatentk.ops` in plain torch: slow and readable, any floating dtype; the oracle of the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

ROW_ALIGNMENT = 128  # bits

# sin t - t cos t = sum_k (-1)^(k+1) 2k t^(2k+1) / (2k+1)!: below 1 radian the difference itself would cancel.
_DROP_SERIES = [(-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 12)]

FactorGates = Tensor | tuple[Tensor | None, Tensor | None] | None


# Packed bits


def pack_bits(mask: Tensor) -> Tensor:
    """Bool (..., width) to uint8 (..., row bytes), least significant bit first, padded to a multiple of 128 bits."""
    padding = -mask.shape[-1] % ROW_ALIGNMENT
    padded = torch.nn.functional.pad(mask, (0, padding)).to(torch.uint8)
    octets = padded.reshape(*mask.shape[:-1], padded.shape[-1] // 8, 8)
    return (octets << torch.arange(8, dtype=torch.uint8)).sum(-1, dtype=torch.uint8)


def unpack_bits(bits: Tensor, width: int) -> Tensor:
    """The inverse of `pack_bits`: uint8 (..., row bytes) to bool (..., width)."""
    octets = bits.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8) & 1
    return octets.reshape(*bits.shape[:-1], 8 * bits.shape[-1])[..., :width].bool()


def expand_bits(bits: Tensor, width: int, block: int) -> Tensor:
    """Bits of `width` neurons of those of blocks of them, the last of which may be shorter."""
    units = unpack_bits(bits, -(-width // block))
    return pack_bits(units[..., torch.arange(width) // block])


# Hadamard products of Gram matrices


def gram_ntk(
    acts: Sequence[Tensor],
    deltas: Sequence[Tensor],
    acts_b: Sequence[Tensor] | None = None,
    deltas_b: Sequence[Tensor] | None = None,
    gates: Sequence[FactorGates] | None = None,
    components: bool = False,
    *,
    bias: Sequence[float] | None = None,
) -> Tensor:
    """Sum over layers of (A A^T + bias) o (Delta Delta^T), as `gatentk.ops.gram_ntk`."""
    layers = range(len(acts))
    symmetric = acts_b is None and deltas_b is None
    terms = []
    for layer in layers:
        entry = None if gates is None else gates[layer]
        gate_act, gate_delta = entry if isinstance(entry, tuple) else (entry, entry)
        a, d = _gated(acts[layer], gate_act), _gated(deltas[layer], gate_delta)
        a_b = a if symmetric else (acts if acts_b is None else acts_b)[layer]
        d_b = d if symmetric else (deltas if deltas_b is None else deltas_b)[layer]
        by_act = a @ a_b.mT + (0.0 if bias is None else bias[layer])
        terms.append(by_act * (d @ d_b.mT) if d.shape[-1] else by_act)
    stacked = torch.stack(terms)
    return stacked if components else stacked.sum(0)


def _gated(factor: Tensor, bits: Tensor | None) -> Tensor:
    return factor if bits is None else torch.where(unpack_bits(bits, factor.shape[-1]), factor, 0)


# Infinite width, in complements: eps_l = 1 - cos theta_l, T_l = (l + 1) - S_l


def infinite_ntk(x: Tensor, z: Tensor | None, depths: Sequence[int], quantity: str) -> Tensor:
    """Kernels and angles of infinitely wide networks, as `gatentk.ops.infinite_ntk`; depths in any order."""
    right = x if z is None else z
    thetas, deficits = _layers(_input_angles(x, right), max(depths))
    if quantity == "relu_components":
        values = _components(thetas, deficits, depths[0])
    else:
        values = [_value(thetas, deficits, depth, quantity) for depth in depths]
    result = torch.stack(values)
    if quantity.endswith(("angle", "deficit")):
        diagonal = torch.zeros_like(result[0])
    else:
        result = result * x.norm(dim=-1).unsqueeze(-1) * right.norm(dim=-1).unsqueeze(-2)
        diagonal = x.square().sum(-1).unsqueeze(-1).expand_as(result[0])
    if z is None:
        scales = [_diagonal_scale(quantity, depth) for depth in depths for _ in range(len(values) // len(depths))]
        own = torch.eye(x.shape[-2], dtype=torch.bool)
        result = torch.stack([torch.where(own, s * diagonal, v) for s, v in zip(scales, result, strict=True)])
    return result


def _input_angles(x: Tensor, z: Tensor) -> Tensor:
    """theta_0 from z = t x + w, t = x.z/|x|^2: tan theta = |w||x| / x.z; a second pass takes out the rounding of t."""
    x, z = x.unsqueeze(-2), z.unsqueeze(-3)
    squared, product = x.square().sum(-1, keepdim=True), (x * z).sum(-1, keepdim=True)
    w = _minus_product(z, product / squared, x)
    w = _minus_product(w, (x * w).sum(-1, keepdim=True) / squared, x)
    return torch.atan2(w.norm(dim=-1), (product / squared.sqrt()).squeeze(-1))


def _minus_product(z: Tensor, t: Tensor, x: Tensor) -> Tensor:
    """z - t x with errors relative to itself: t x as a sum of two numbers (Dekker 1971), of which the first cancels."""
    product = t * x
    t_high, x_high = _high_half(t), _high_half(x)
    t_low, x_low = t - t_high, x - x_high
    rest = t_low * x_low - (((product - t_high * x_high) - t_low * x_high) - t_high * x_low)
    return (z - product) - rest


def _high_half(x: Tensor) -> Tensor:
    """The upper half of the bits (Veltkamp 1968); those of float32 also on both sides of a product."""
    scaled = x * (2 ** (27 if x.dtype == torch.float64 else 12) + 1)
    return scaled - (scaled - x)


def _layers(theta: Tensor, depth: int) -> tuple[list[Tensor], list[Tensor]]:
    """theta_0 .. theta_{depth+1} and the deficits eps of the same layers."""
    eps = 2 * torch.sin(theta / 2).square()
    thetas, deficits = [theta], [eps]
    for _ in range(depth + 1):
        eps = eps - _drop(theta) / math.pi
        theta = 2 * torch.asin((eps / 2).sqrt())
        thetas.append(theta)
        deficits.append(eps)
    return thetas, deficits


def _drop(theta: Tensor) -> Tensor:
    """sin t - t cos t."""
    series = torch.zeros_like(theta)
    for coefficient in reversed(_DROP_SERIES):
        series = series * theta.square() + coefficient
    return torch.where(theta < 1, theta**3 * series, theta.sin() - theta * theta.cos())


def _value(thetas: list[Tensor], deficits: list[Tensor], depth: int, quantity: str) -> Tensor:
    """One depth of a quantity, between unit vectors."""
    if quantity == "embedding_angle" or (quantity == "relu_angle" and depth == 0):
        return thetas[depth]
    if quantity.startswith(("grelu_deep", "grelu_shallow")):
        gates = thetas[: depth + 1] if "deep" in quantity else [thetas[0]] * (depth + 1)
        start = torch.zeros_like(deficits[0]) if quantity.endswith("deficit") else deficits[0]
        deficit = _gate_deficit(start, gates)
        return deficit if quantity.endswith("deficit") else depth * (1 - deficit)
    if quantity.startswith("grelu"):
        layers, deficit = depth, _gate_deficit(deficits[1], thetas[1 : depth + 1])
    else:
        layers, deficit = depth + 1, _relu_deficit(thetas, deficits, depth) / (depth + 1)
    return 2 * torch.asin((deficit / 2).sqrt()) if quantity.endswith("angle") else layers * (1 - deficit)


def _relu_deficit(thetas: list[Tensor], deficits: list[Tensor], depth: int) -> Tensor:
    """T_L = (L + 1) - S_L; S_l = S_{l-1} (1 - theta_{l-1}/pi) + cos theta_l."""
    total = deficits[0]
    for layer in range(1, depth + 1):
        share = thetas[layer - 1] / math.pi
        total = total * (1 - share) + layer * share + deficits[layer]
    return total


def _gate_deficit(deficit: Tensor, thetas: list[Tensor]) -> Tensor:
    """1 - (1 - deficit) prod (1 - theta/pi) over layers of gates."""
    for theta in thetas:
        deficit = deficit + theta / math.pi * (1 - deficit)
    return deficit


def _components(thetas: list[Tensor], deficits: list[Tensor], depth: int) -> list[Tensor]:
    """cos(theta_{l-1}) prod_{l'=l-1..L-1} (1 - theta_{l'}/pi) for l = 1..L+1."""
    values = []
    for layer in range(depth + 1):
        value = torch.cos(thetas[0]) if layer == 0 else 1 - deficits[layer]
        for later in range(layer, depth):
            value = value * (1 - thetas[later] / math.pi)
        values.append(value)
    return values


def _diagonal_scale(quantity: str, depth: int) -> int:
    """K(x, x) / |x|^2."""
    return {"relu": depth + 1, "relu_components": 1}.get(quantity, depth)


# Gated networks


def masked_linear(z: Tensor, weight: Tensor, gate_in: Tensor | None = None, gate_out: Tensor | None = None) -> Tensor:
    """`gate_out o ((gate_in o z) @ weight.T)`, gates as packed bits; as `gatentk.ops.masked_linear`."""
    return _gated(_gated(z, gate_in) @ weight.mT, gate_out)


def ordered_linear(x: Tensor, weight: Tensor, relu: bool = False) -> Tensor:
    """`x @ weight.T`, columns added in rising order, with one rounding a step where float64 holds the product."""
    total = torch.zeros(x.shape[0], weight.shape[0], dtype=x.dtype)
    for k in range(x.shape[1]):
        total = torch.addcmul(total.double(), x[:, k : k + 1].double(), weight[:, k].double()).to(x.dtype)
    return total.clamp_min(0) if relu else total


def gate_gram(bits_a: Tensor, bits_b: Tensor | None = None) -> Tensor:
    """Neurons on in both: int32 (n_a, n_b) of packed bits (n_a, row bytes) and (n_b, row bytes)."""
    a = unpack_bits(bits_a, 8 * bits_a.shape[-1]).double()
    b = a if bits_b is None else unpack_bits(bits_b, 8 * bits_b.shape[-1]).double()
    return (a @ b.mT).to(torch.int32)


def gate_network(
    x: Tensor, weights: Sequence[Tensor], kind: str = "deep", center: Tensor | None = None
) -> list[Tensor]:
    """D_0, D_1, ...: bool (n, units) each, of C', Psi_1, ... ([G], Sec. 2; shallow: half-spaces of x - center)."""
    x = x if center is None else x - center
    z, gates = x, []
    for weight in weights:
        z = ordered_linear(z if kind == "deep" else x, weight, relu=True)
        gates.append(z > 0)
    return gates


def grelu_network(x: Tensor, gates: Sequence[Tensor], weights: Sequence[Tensor], c: Tensor, b: Tensor) -> Tensor:
    """t_0 = D_0 C x, t_k = D_k W_k t_{k-1}, y = B t_L ([G], Sec. 2); gates are bool (n, width), one a layer."""
    t = gates[0] * (x @ c.mT)
    for gate, weight in zip(gates[1:], weights, strict=True):
        t = gate * (t @ weight.mT)
    return t @ b.mT
