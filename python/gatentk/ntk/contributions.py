"""What each parameter of a network's layers contributes to its kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gatentk.ntk.layers import Call, Positions, formed, positions
from gatentk.ntk.memory import Term
from gatentk.ntk.uses import Use, gradients_kernel, uses_kernel


@dataclass
class Contribution:
    """Of one parameter: its gradients, or the places where it acts as a matrix, which take less; none if neither.

    Attributes:
        parameter: its id.
        gradients: (n, k, size).
        places: of a matrix; a bias beside it joins where `bias` is 1.
        bias: 0 or 1.
        is_bias: whether it is the bias beside a matrix.
    """

    parameter: int
    gradients: Tensor | None = None
    places: Positions | None = None
    bias: float = 0.0
    is_bias: bool = False

    def gradient(self, weights: Tensor) -> Tensor | None:
        """Of the sum of outputs (n, k) with these weights."""
        if self.places is not None:
            return self.places.gradient(weights)
        return None if self.gradients is None else torch.einsum("nk,nks->s", weights, self.gradients)

    @property
    def tensors(self) -> list[Tensor]:
        """What it holds."""
        if self.places is not None:
            return [self.places.act, self.places.delta]
        return [] if self.gradients is None else [self.gradients]

    def term(self, layout: str) -> Term | None:
        """What its products hold beside that; None where there are none."""
        if self.places is None:
            held = 0 if self.gradients is None else self.gradients.nbytes // len(self.gradients)
            return Term(held if layout == "diag" else 0, held, 1) if held else None
        act, delta = self.places.act, self.places.delta
        count, outputs = act.shape[2], delta.shape[1]
        each = (act[0, 0, 0].nbytes, delta[0, :, 0, 0].nbytes // (1 if layout == "trace" else outputs))
        copied = 0 if count == 1 else act[0].nbytes + delta[0].nbytes
        return Term(copied, sum(each), count * count)

    def uses(self) -> list[Use]:
        """The positions of a matrix, one by one."""
        assert self.places is not None
        act, delta = self.places.act, self.places.delta
        return [
            Use(act[:, 0, t].contiguous(), delta[:, :, 0, t].contiguous(), self.bias, None, None)
            for t in range(act.shape[2])
        ]


def contributions_of(layers: dict[str, nn.Module], calls: Sequence[Call]) -> dict[int, list[Contribution]]:
    """By group: the parameters of a layer, or each of them alone where another layer has one of them too."""
    owners: dict[int, int] = {}
    for layer in layers.values():
        for parameter in _trained(layer).values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    places: dict[int, list[Positions]] = {}
    gradients: dict[int, list[Tensor]] = {}
    biases: set[int] = set()
    for call in calls:
        own, found = _trained(call.layer), positions(call)
        if found is None:
            for name, gradient in formed(call).items():
                gradients.setdefault(id(own[name]), []).append(gradient)
            continue
        if "weight" in own:
            places.setdefault(id(own["weight"]), []).append(found)
        if "bias" in own:
            biases.add(id(own["bias"]))
            gradients.setdefault(id(own["bias"]), []).append(found.bias_gradients())
    groups: dict[int, list[Contribution]] = {}
    for layer in layers.values():
        own = _trained(layer)
        together = all(owners[id(p)] == 1 for p in own.values())
        for parameter in own.values():
            key, group = id(parameter), id(layer) if together else id(parameter)
            if together or group not in groups:
                parts = groups.setdefault(group, [])
                part = _contribution(key, places.get(key, []), gradients.get(key, []))
                parts.append(replace(part, is_bias=key in biases))
    return groups


def joined(groups: dict[int, list[Contribution]]) -> dict[int, list[Contribution]]:
    """The same with biases beside matrices that act once, which saves a product."""
    result: dict[int, list[Contribution]] = {}
    for key, group in groups.items():
        first, alone = group[0] if group else None, len(group) == 2
        if alone and first and first.places is not None and first.places.act.shape[2] == 1 and group[1].is_bias:
            group = [replace(first, bias=1.0)]
        result[key] = group
    return result


def kernel_of(left: Contribution, right: Contribution | None, layout: str) -> Tensor | None:
    """Of one parameter; None where it contributes nothing on one side."""
    if left.places is not None and (right is None or right.places is not None):
        return uses_kernel(left.uses(), None if right is None else right.uses(), layout)
    if left.gradients is None or (right is not None and right.gradients is None):
        return None
    return gradients_kernel(left.gradients, None if right is None else right.gradients, layout)


def _contribution(key: int, places: list[Positions], gradients: list[Tensor]) -> Contribution:
    if not places:
        return Contribution(key, gradients=_sum(gradients) if gradients else None)
    joined = places[0]
    if len(places) > 1:
        joined = Positions(
            torch.cat([part.act for part in places], dim=2), torch.cat([part.delta for part in places], dim=3)
        )
    if joined.forming_pays:
        return Contribution(key, gradients=joined.gradients())
    return Contribution(key, places=joined)


def _sum(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _trained(layer: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in layer.named_parameters(recurse=False) if p.requires_grad}
