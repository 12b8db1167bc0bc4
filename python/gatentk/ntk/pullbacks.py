"""Products with the Jacobian of a network's outputs by its trained parameters, from both sides."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from gatentk.ntk.calls import call, check_differentiable, left_as_it_was
from gatentk.ntk.jacobian import called_with, differing, first_line, gradients_of, tensors_of
from gatentk.ntk.outputs import Chosen


class Pullbacks(Protocol):
    """Products of the Jacobian J (rows * k, parameters); both leave grad mode and network to the caller.

    Attributes:
        parameters: how many numbers are trained.
    """

    parameters: int

    def back(self, rows: Tensor, cotangents: Tensor) -> list[Tensor]:
        """J^T of cotangents (columns, rows, k): for each trained tensor (columns, ...)."""

    def forth(self, rows: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """J of gradients (columns, ...): (columns, rows, k)."""


class _Trained:
    """A network, its trained parameters and the outputs that are asked for."""

    def __init__(self, net: nn.Module, chosen: Chosen) -> None:
        self.net, self.chosen = net, chosen
        self.trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.parameters = sum(p.numel() for p in self.trained.values())


class ByTransforms(_Trained):
    """By torch.func, all columns at once."""

    def _values(self, parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
        values = called_with(self.net, tensors_of(self.net), parameters, rows)
        return self.chosen.of(values.reshape(len(rows), -1))

    def _at(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.trained.items()}

    def back(self, rows: Tensor, cotangents: Tensor) -> list[Tensor]:
        """J^T."""
        pull = torch.func.vjp(lambda parameters: self._values(parameters, rows), self._at())[1]
        gradients = torch.func.vmap(lambda cotangent: pull(cotangent)[0])(cotangents)
        return list(gradients.values())

    def forth(self, rows: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """J."""
        parameters = self._at()

        def push(*tangents: Tensor) -> Tensor:
            named = dict(zip(parameters, tangents, strict=True))
            tangent: Tensor = torch.func.jvp(lambda p: self._values(p, rows), (parameters,), (named,))[1]
            return tangent

        with warnings.catch_warnings():
            # The first jvp of a process compiles rules by torch.jit, which torch itself warns of.
            warnings.filterwarnings("ignore", message=r"`torch\.jit", category=DeprecationWarning)
            result: Tensor = torch.func.vmap(push)(*gradients)
        return result


class ByBackward(_Trained):
    """By plain automatic differentiation of the network as it is called, a column after another."""

    def _recorded(self, rows: Tensor) -> Tensor:
        return self.chosen.of(call(self.net, rows).reshape(len(rows), -1))

    def _pulled(self, values: Tensor, cotangent: Tensor, create_graph: bool) -> list[Tensor]:
        return gradients_of(values, list(self.trained.values()), cotangent, create_graph)

    def back(self, rows: Tensor, cotangents: Tensor) -> list[Tensor]:
        """J^T."""
        with torch.enable_grad():
            values = self._recorded(rows)
        columns = [self._pulled(values, cotangent, False) for cotangent in cotangents]
        return [torch.stack(parts) for parts in zip(*columns, strict=True)]

    def forth(self, rows: Tensor, gradients: Sequence[Tensor]) -> Tensor:
        """J, as the gradient of <J^T w, u> by w, which is linear in w."""
        with torch.enable_grad():
            values = self._recorded(rows)
            w = torch.zeros_like(values, requires_grad=True)
            pulled = self._pulled(values, w, True)
            kept = [index for index, part in enumerate(pulled) if part.requires_grad]
        results = []
        for column in range(len(gradients[0])):
            if not kept:
                results.append(torch.zeros_like(values))
                continue
            tangents = [gradients[index][column] for index in kept]
            (found,) = torch.autograd.grad([pulled[index] for index in kept], [w], tangents, retain_graph=True)
            results.append(found)
        return torch.stack(results)


def pullbacks_of(net: nn.Module, rows: Tensor, chosen: Chosen) -> Pullbacks:
    """The products by torch.func where they agree with plain automatic differentiation on `rows`, else by the latter.

    Raises:
        ValueError: the outputs have no gradient at all, or no second one where that is needed.
    """
    fast, plain = ByTransforms(net, chosen), ByBackward(net, chosen)
    cotangents = torch.linspace(1.0, 2.0, len(rows) * chosen.number, dtype=rows.dtype, device=rows.device)
    cotangents = cotangents.view(1, len(rows), chosen.number)
    with left_as_it_was(net, rows):
        with torch.enable_grad():
            check_differentiable(call(net, rows))
        expected = plain.back(rows, cotangents)
        try:
            found = fast.back(rows, cotangents)
            images = fast.forth(rows, expected)
        except (MemoryError, torch.OutOfMemoryError, Warning):
            raise
        except Exception as error:
            reason = first_line(error)
        else:
            if differing(found, expected) is None and _adjoint(cotangents, images, expected):
                return fast
            reason = "its gradient is another one; a hook, or a parameter that is no attribute of its module"
        try:
            images = plain.forth(rows, expected)
        except (MemoryError, torch.OutOfMemoryError, Warning):
            raise
        except Exception as error:
            raise ValueError(
                f"net: neither torch.func ({reason}) nor a second backward pass ({str(error).strip()}) gives products "
                "with its Jacobian; use gatentk.ntk.empirical"
            ) from error
        if not _adjoint(cotangents, images, expected):
            raise ValueError(
                f"net: torch.func cannot look into it ({reason}), and its backward pass is not the gradient of its "
                "outputs twice; use gatentk.ntk.empirical"
            )
    warnings.warn(
        f"net: torch.func cannot make products with its Jacobian ({reason}); each column takes passes of its own, "
        "which is slower",
        UserWarning,
        stacklevel=4,
    )
    return plain


def _adjoint(cotangents: Tensor, images: Tensor, gradients: Sequence[Tensor]) -> bool:
    """Whether <w, J J^T w> = |J^T w|^2."""
    square = sum(float(g.square().sum()) for g in gradients)
    return abs(float((cotangents * images).sum()) - square) <= 0.1 * square
