"""Kernels of infinite width as a step of torch's graph: their values by the fused kernels, their gradients in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gatentk import ops
from gatentk.activations import ACTIVATIONS
from gatentk.checks import as_tensor
from gatentk.gates import GateNetwork
from gatentk.ntk import derivatives
from gatentk.ntk.derivatives import Pairs, Question, Side
from gatentk.ntk.gate_kinds import chosen_gates
from gatentk.ntk.moments import Erf, Gelu, Moments, PiecewiseLinear
from gatentk.ntk.networks import Network, chosen_network
from gatentk.ntk.recursion import Recursion
from gatentk.ntk.samples import Samples
from gatentk.ops.registration import by_func_vmap, in_first_vmap, member

_OF_GATES: dict[str, Question] = {
    "paper": derivatives.of_paper_gates,
    "deep": derivatives.of_deep_gates,
    "shallow": derivatives.of_shallow_gates,
}

# Activations that are not piecewise linear.
_SMOOTH: dict[str, Moments] = {"erf": Erf(), "gelu": Gelu()}


@dataclass(frozen=True)
class Asked:
    """Arguments of `gatentk.ntk.infinite` and `infinite_sweep` that have no gradients.

    Attributes:
        depths: in the order asked for; one if components are.
        activation, dtype, kernel, slope, gates, components: as there.
    """

    depths: tuple[int, ...]
    activation: str
    dtype: torch.dtype | str
    kernel: str
    slope: float | None
    gates: str | GateNetwork
    components: bool = False

    def kernels(self, x: Any, z: Any, w_std: Any, b_std: Any) -> Tensor:
        """(len(depths), ..., n, n_z), or with components one for each trained matrix; without a graph."""
        network = self._network(w_std, b_std)
        samples = Samples(x, z, self.activation, self.depths, self.dtype, self.gates)
        if network is not None:
            if self.components:
                raise ValueError(
                    "components: expected False with kernel, w_std or b_std and for activations other than relu, "
                    "linear and grelu, got True"
                )
            return network.kernels(samples, self.depths)
        if not self.components:
            return samples.kernels(self.depths)
        (depth,) = self.depths
        quantity = samples.activation.components
        if quantity is not None and depth > 0:
            return samples.rows.restore(ops.infinite_ntk(samples.x, samples.z, [depth], quantity))
        layers = samples.activation.trained(depth)
        one = samples.kernels([depth])[0] / layers
        return one.expand(layers, *one.shape).clone()

    def gradients(
        self, x: Tensor, z: Tensor | None, w_std: Any, b_std: Any, cotangent: Tensor
    ) -> tuple[Tensor, Tensor | None, float, float]:
        """Of the sum of all entries of the kernels times those of `cotangent`: by samples and deviations."""
        network = self._network(w_std, b_std)
        sides = _sides(x, z)
        by_depth = self._by_depth(cotangent)
        if self.activation == "linear":
            variances = self._variances(network, x.shape[-1])
            found = derivatives.of_linear(sides, by_depth, variances, self.kernel == "nngp")
        else:
            pairs, question = self._pairs(sides, network, max(by_depth))
            found = pairs.pull(by_depth, question, variances=network is not None and network.w_std is not None)
        by_w = by_b = 0.0
        if network is not None and network.w_std is not None:
            by_w = 2 * network.w_std * (found.first / x.shape[-1] + found.weight)
            by_b = 2 * network.b_std * found.bias
        by_x, by_z = found.sides[0].view_as(x), None if z is None else found.sides[1].view_as(z)
        return by_x, by_z, by_w, by_b

    def by_deviations(self, x: Tensor, z: Tensor | None, w_std: Any, b_std: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The kernel of the single depth that is asked for, and its derivatives by w_std and by b_std.

        Args:
            x, z: (n, d), (n_z, d) or None.
            w_std, b_std: as in `gatentk.ntk.infinite`, not both None.

        Returns:
            three float64 matrices (n, n_z).
        """
        (depth,) = self.depths
        (K,) = self.kernels(x, z, w_std, b_std)
        network = self._network(w_std, b_std)
        assert network is not None
        assert network.w_std is not None
        w, b = 2 * network.w_std, 2 * network.b_std
        directions = [(w / x.shape[-1], w, 0.0), (0.0, 0.0, b)]
        sides = _sides(x, z)
        if self.activation == "linear":
            variances = self._variances(network, x.shape[-1])
            _, by_variances = derivatives.linear_derivatives(depth, variances, self.kernel == "nngp")
            gram = sides[0][0] @ sides[-1][0].mT
            tangents = []
            for direction in directions:
                parts = list(zip(direction, by_variances, strict=True))
                factor, added = (sum(part * change[which] for part, change in parts) for which in (0, 1))
                tangents.append(factor * gram + added)
            return K, tangents[0], tangents[1]
        pairs, question = self._pairs(sides, network, depth)
        by_w, by_b = pairs.push(depth, question, directions)
        return K, by_w[0], by_b[0]

    def _variances(self, network: Network | None, features: int) -> tuple[float, float, float]:
        return (1.0, ACTIVATIONS[self.activation].gain, 0.0) if network is None else network.variances(features)

    def _pairs(self, sides: list[Tensor], network: Network | None, depth: int) -> tuple[Pairs, Question]:
        """All pairs of samples (batch, n, d) up to a depth, and what is asked of them."""
        samples, question = self._samples(sides, network)
        variances = self._variances(network, sides[0].shape[-1])
        return Pairs(
            Recursion(self._moments(network), *variances), samples, depth + (self.activation == "grelu")
        ), question

    def _network(self, w_std: Any, b_std: Any) -> Network | None:
        return chosen_network(self.kernel, self.activation, w_std, b_std, self.slope)

    def _moments(self, network: Network | None) -> Moments:
        slope = ACTIVATIONS[self.activation].slope if network is None else network.slope
        if self.activation == "grelu":
            slope = 0.0  # of the gates' networks
        return _SMOOTH[self.activation] if slope is None else PiecewiseLinear(slope)

    def _samples(self, sides: list[Tensor], network: Network | None) -> tuple[list[Side], Question]:
        """The samples as the network's layers see them, and what is asked of them."""
        if self.activation == "grelu":
            gates = chosen_gates(self.gates, self.activation, sides[0].shape[-1])
            question = _OF_GATES[gates.kind.name]
            if gates.kind.deficit is None:
                return derivatives.sides_of_size(sides), question
            return derivatives.sides_as_seen(sides, gates.center), question
        question = derivatives.of_covariance if self.kernel == "nngp" else derivatives.of_kernel
        if self.components:
            question = derivatives.of_components
        if network is None or network.is_homogeneous:
            return derivatives.sides_of_size(sides), question
        return derivatives.sides_with_norms(sides), question

    def _by_depth(self, cotangent: Tensor) -> Mapping[int, Tensor]:
        """What each depth's kernel is multiplied with, or each component of ReLU, (batch, n, n_z)."""
        values = [_batch(part) for part in cotangent]
        if self.components:
            (depth,) = self.depths
            if self.activation == "relu":
                return dict(enumerate(values))
            return {depth: torch.stack(values).mean(0)}
        found: dict[int, Tensor] = {}
        for depth, value in zip(self.depths, values, strict=True):
            found[depth] = found[depth] + value if depth in found else value
        return found


def kernels(x: Any, z: Any, w_std: Any, b_std: Any, asked: Asked) -> Tensor:
    """What is asked, with a graph if an argument asks for one.

    Raises:
        TypeError: samples that are a list of tensors which ask for gradients.
    """
    if not any(_has_graph(name, value) for name, value in zip(_NAMES, (x, z, w_std, b_std), strict=True)):
        return asked.kernels(x, z, w_std, b_std)
    sides = [
        value if isinstance(value, Tensor) or value is None else as_tensor(name, value)
        for name, value in (("x", x), ("z", z))
    ]
    result: Tensor = _Attached.apply(*sides, w_std, b_std, asked)  # type: ignore[no-untyped-call]
    return result


_NAMES = ("x", "z", "w_std", "b_std")


def _has_graph(name: str, value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        # Lists of numbers are passed by: there may be millions.
        nested = any(issubclass(kind, (list, tuple, Tensor)) for kind in set(map(type, value)))
        if nested and any(_has_graph(name, part) for part in value):
            raise TypeError(
                f"{name}: expected one tensor where gradients are asked for, got a list of tensors; use "
                f"torch.stack({name})"
            )
        return False
    if not isinstance(value, Tensor):
        return False
    if forward_ad._current_level >= 0:  # no value is computed twice for that
        return True
    return value.requires_grad and torch.is_grad_enabled()


def _sides(x: Tensor, z: Tensor | None) -> list[Tensor]:
    """Samples of the sides that there are, in float64, (batch, n, d), without a graph."""
    return [_batch(side.detach().to(torch.float64)) for side in (x, z) if side is not None]


def _batch(value: Tensor) -> Tensor:
    """(..., n, d) as (batch, n, d)."""
    return value.reshape(-1, *value.shape[-2:])


class _Attached(torch.autograd.Function):
    """The kernels."""

    @staticmethod
    def forward(x: Tensor, z: Tensor | None, w_std: Any, b_std: Any, asked: Asked) -> Tensor:
        return asked.kernels(x, z, w_std, b_std)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *given, ctx.asked = inputs
        ctx.plain = [None if isinstance(value, Tensor) else value for value in given]
        ctx.save_for_backward(*(value if isinstance(value, Tensor) else None for value in given))

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise NotImplementedError(
            "kernels of infinite width have gradients by backward passes only: expected torch.autograd.grad, backward "
            "or torch.func.grad, got tangents (forward mode)"
        )

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Any, ...]:
        given = [p if tensor is None else tensor for p, tensor in zip(ctx.plain, ctx.saved_tensors, strict=True)]
        needed = ctx.needs_input_grad[:4]
        compute = by_func_vmap(_Gradients.apply) if in_first_vmap(cotangent) else _Gradients.apply
        found = iter(compute(cotangent, *given, ctx.asked, needed))
        return *(next(found) if wanted else None for wanted in needed), None


class _Gradients(torch.autograd.Function):
    """Its gradients, which have none."""

    @staticmethod
    def forward(
        cotangent: Tensor, x: Tensor, z: Tensor | None, w_std: Any, b_std: Any, asked: Asked, needed: tuple[bool, ...]
    ) -> tuple[Tensor, ...]:
        found = []
        gradients = asked.gradients(x, z, w_std, b_std, cotangent)
        for value, gradient, wanted in zip((x, z, w_std, b_std), gradients, needed, strict=True):
            if wanted:
                found.append(torch.as_tensor(gradient, dtype=value.dtype, device=value.device))
        return tuple(found)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        raise NotImplementedError(
            "kernels of infinite width have first derivatives only: expected one backward pass, without a graph of its "
            "own (create_graph=True) that is differentiated again"
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """One after the other."""
        members = [
            _Gradients.apply(*(member(value, dims, i) for value, dims in zip(inputs, in_dims, strict=True)))  # type: ignore[no-untyped-call]
            for i in range(info.batch_size)
        ]
        found = tuple(torch.stack(parts) for parts in zip(*members, strict=True))
        return found, (0,) * len(found)
