"""The NTK of any network of known layers, whatever is between them, from what its layers take and what flows back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_integer
from gatentk.errors import UnsupportedModuleError
from gatentk.ntk.alterations import alteration, parameter_alteration
from gatentk.ntk.calls import call, check_samples_apart, left_as_it_was
from gatentk.ntk.contributions import Contribution, contributions_of, joined, kernel_of
from gatentk.ntk.layers import KNOWN, Call, fits
from gatentk.ntk.outputs import Chosen, chosen_outputs, mirror, place, transposed

PROBED = 3  # samples of which gradients are compared


def of_layers(net: nn.Module, x: Tensor, z: Tensor | None, outputs: Any, components: bool, memory_limit: int) -> Tensor:
    """The kernel of a network of known layers, in chunks of samples; arguments and result as in `empirical`.

    Raises:
        UnsupportedModuleError: a layer has no rule, or the layers' gradients are not the network's.
    """
    memory_limit = check_integer("memory_limit", memory_limit, 1)
    layers = _layers_of(net)
    d_out = check_samples_apart(net, x)
    chosen = chosen_outputs(outputs, d_out, x)
    layout, k = chosen.layout, chosen.number
    size = _check_gradients(net, layers, x[:PROBED], chosen)
    chunk = max(1, min(len(x), memory_limit // max(2 * size, 1)))
    columns = x if z is None else z
    shape = {"diag": (k, len(x), len(columns)), "full": (len(x), k, len(columns), k)}
    kernel: Tensor | None = None
    for i in range(0, len(x), chunk):
        left = _contributions(net, layers, x[i : i + chunk], chosen)
        for j in range(i if z is None else 0, len(columns), chunk):
            right = None
            if z is not None or j > i:
                right = _contributions(net, layers, columns[j : j + chunk], chosen)
            if kernel is None:
                kernel = x.new_zeros(len(left) if components else 1, *shape.get(layout, (len(x), len(columns))))
            for number, (key, group) in enumerate(left.items()):
                _add(kernel[number if components else 0], group, None if right is None else right[key], i, j, layout)
            if z is None and j > i:
                for matrix in kernel:
                    place(matrix, transposed(_block(matrix, i, j, chunk, layout), layout), j, i, layout)
    assert kernel is not None
    result = kernel if components else kernel[0]
    return mirror(result, layout) if z is None else result


def _add(
    kernel: Tensor, left: list[Contribution], right: list[Contribution] | None, i: int, j: int, layout: str
) -> None:
    """Add what a group of parameters contributes to the block of the samples from i and from j on."""
    for number, part in enumerate(left):
        other = None if right is None else right[number]
        block = kernel_of(part, other, layout)
        if block is not None:
            rows, columns = (block.shape[0], block.shape[2]) if layout == "full" else block.shape[-2:]
            if layout == "full":
                kernel[i : i + rows, :, j : j + columns] += block
            else:
                kernel[..., i : i + rows, j : j + columns] += block


def _block(kernel: Tensor, i: int, j: int, chunk: int, layout: str) -> Tensor:
    if layout == "full":
        return kernel[i : i + chunk, :, j : j + chunk]
    return kernel[..., i : i + chunk, j : j + chunk]


def _layers_of(net: nn.Module) -> dict[str, nn.Module]:
    """Layers that have something to train, by name.

    Raises:
        UnsupportedModuleError: there is no rule for one, or a module of torch was changed.
    """
    layers: dict[str, nn.Module] = {}
    for prefix, part in net.named_modules():
        name = prefix or "net"
        foreign = type(part).__module__.partition(".")[0] not in ("torch", "gatentk")
        changed = "" if foreign and not part._parameters else alteration(part)
        trained = [key for key, p in part._parameters.items() if p is not None and p.requires_grad]
        if changed or (trained and type(part) not in KNOWN):
            if isinstance(part, (nn.ParameterList, nn.ParameterDict)) and prefix:
                owner = prefix.rpartition(".")[0]
                name, part = owner or "net", net.get_submodule(owner)
            raise _unsupported(name, part, changed)
        if trained:
            for key in part._parameters:
                changed = changed or parameter_alteration(part, key)
            if changed:
                raise _unsupported(name, part, changed)
            layers[name] = part
    return layers


def _contributions(
    net: nn.Module, layers: dict[str, nn.Module], rows: Tensor, chosen: Chosen
) -> dict[int, list[Contribution]]:
    with left_as_it_was(net, rows), torch.enable_grad():
        calls = _with_deltas(*_recorded(net, layers, rows, chosen))
    return joined(contributions_of(layers, calls))


Taken = tuple[nn.Module, Tensor, Tensor]  # a layer, what it takes and gives


def _recorded(net: nn.Module, layers: dict[str, nn.Module], rows: Tensor, chosen: Chosen) -> tuple[Tensor, list[Taken]]:
    """The chosen outputs (n, k), with the graph that leads to them, and the calls of layers in it."""
    taken: list[Taken] = []
    with _listening(layers, taken):
        values = chosen.of(call(net, rows).reshape(len(rows), -1))
    for layer, before, after in taken:
        if not fits(layer, before, after, len(rows)):
            name = next(name for name, part in layers.items() if part is layer)
            raise _unsupported(name, layer, f" that takes a tensor of shape {tuple(before.shape)}, not a row a sample")
    return values, taken


@contextmanager
def _listening(layers: dict[str, nn.Module], taken: list[Taken]) -> Iterator[None]:
    def listener(layer: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> Any:
        if not isinstance(result, Tensor) or not result.requires_grad:
            return result
        given = [*arguments, *options.values()]
        if len(given) != 1 or not isinstance(given[0], Tensor):
            name = next(name for name, part in layers.items() if part is layer)
            raise _unsupported(name, layer, f" called with {len(given)} arguments")
        # Whatever comes next may write to the result, or to what the layer took.
        taken.append((layer, given[0].detach().clone(), result))
        return result.clone()

    handles = [part.register_forward_hook(listener, with_kwargs=True) for part in set(layers.values())]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_deltas(values: Tensor, taken: list[Taken]) -> list[Call]:
    results = [result for _, _, result in taken]
    if not values.requires_grad or not results:
        return []
    deltas: list[list[Tensor]] = [[] for _ in taken]
    for output in range(values.shape[1]):
        found = torch.autograd.grad(values[:, output].sum(), results, retain_graph=True, allow_unused=True)
        for delta, gradient, result in zip(deltas, found, results, strict=True):
            delta.append(torch.zeros_like(result) if gradient is None else gradient)
    return [
        Call(layer, before, torch.stack(delta, dim=1).detach())
        for (layer, before, _), delta in zip(taken, deltas, strict=True)
    ]


def _check_gradients(net: nn.Module, layers: dict[str, nn.Module], rows: Tensor, chosen: Chosen) -> int:
    """Compare the layers' gradients with the network's; bytes that a sample takes.

    A parameter may act elsewhere than in its layer, a layer may see samples along another axis, and a backward pass
    may be another one than of what was called. All show in the gradient of a sum of outputs, weighted differently.

    Raises:
        UnsupportedModuleError: they differ.
        ValueError: the outputs have no gradient.
    """
    parameters = {id(p): (name, p) for name, p in net.named_parameters() if p.requires_grad}
    with left_as_it_was(net, rows), torch.enable_grad():
        values, taken = _recorded(net, layers, rows, chosen)
        if not values.requires_grad:
            raise ValueError("net: its outputs have no gradient by its parameters; its forward cuts it off")
        weights = torch.linspace(1.0, 2.0, values.numel(), dtype=values.dtype, device=values.device).view_as(values)
        trained = [p for _, p in parameters.values()]
        expected = torch.autograd.grad((values * weights).sum(), trained, retain_graph=True, allow_unused=True)
        calls = _with_deltas(values, taken)
    try:
        groups = contributions_of(layers, calls)
    except (MemoryError, torch.OutOfMemoryError, Warning):
        raise
    except Exception as error:
        raise _unsupported("net", net, f" with a layer whose gradient fails ({type(error).__name__})") from error
    found = {part.parameter: part.gradient(weights) for group in groups.values() for part in group}
    largest = max((float(g.norm()) for g in expected if g is not None), default=0.0)
    for (key, (name, parameter)), gradient in zip(parameters.items(), expected, strict=True):
        own, right = found.get(key), torch.zeros_like(parameter) if gradient is None else gradient
        own = torch.zeros_like(right) if own is None else own.view_as(right)
        if float((own - right).norm()) > torch.finfo(right.dtype).eps ** 0.5 * largest:
            raise UnsupportedModuleError(
                f"net: the gradient by {name} is another one than its layer's, so it acts elsewhere too, or samples "
                'are not the first axis there; use method="jacobian"'
            )
    bytes_taken = sum(part.bytes for group in groups.values() for part in group)
    return (bytes_taken + sum(4 * result.nbytes for _, _, result in taken)) // len(rows)


def _unsupported(name: str, part: nn.Module, detail: str = "") -> UnsupportedModuleError:
    known = ", ".join(kind.__name__ for kind in KNOWN if kind.__module__.startswith("torch"))
    return UnsupportedModuleError(
        f"{name}: no layerwise NTK for {type(part).__name__}{detail}; parameters are known of the networks of "
        f'gatentk.nn and of {known}. Use method="jacobian" for any other module'
    )
