"""The NTK of any network of known layers, whatever is between them, from what its layers take and what flows back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_integer
from gatentk.errors import UnsupportedModuleError
from gatentk.ntk.alterations import alteration, parameter_alteration
from gatentk.ntk.calls import call, check_differentiable, check_samples_apart, depend_on_others, left_as_it_was
from gatentk.ntk.contributions import Contribution, contributions_of, joined, kernel_of
from gatentk.ntk.layers import KNOWN, Call, fits
from gatentk.ntk.memory import Footprint
from gatentk.ntk.outputs import Chosen, block_of, chosen_outputs, transposed

PROBED = 3  # samples of which gradients are compared


def of_layers(net: nn.Module, x: Tensor, z: Tensor | None, outputs: Any, components: bool, memory_limit: int) -> Tensor:
    """The kernel of a network of known layers, in chunks of samples; arguments and result as in `empirical`.

    Raises:
        UnsupportedModuleError: a layer has no rule, or the layers' gradients are not the network's.
    """
    memory_limit = check_integer("memory_limit", memory_limit, 1)
    layers = _layers_of(net)
    d_out = check_samples_apart(net, x)
    if depend_on_others(net, x):
        raise UnsupportedModuleError(
            "net: the outputs of a sample are others beside other samples, so layers cannot take them at once; use "
            'method="jacobian", which calls one sample at a time where it must'
        )
    chosen = chosen_outputs(outputs, d_out, x)
    layout = chosen.layout
    columns = x if z is None else z
    parts = _check_gradients(net, layers, x[:PROBED], chosen)
    chunk = _chunk_size(parts, len(x), 0 if z is None else len(z), memory_limit)
    kernel: Tensor | None = None
    for i in range(0, len(x), chunk):
        left = right = None  # freed before others are made
        left = _contributions(net, layers, x[i : i + chunk], chosen)
        for j in range(i if z is None else 0, len(columns), chunk):
            right = None
            if z is not None or j > i:
                right = _contributions(net, layers, columns[j : j + chunk], chosen)
            if kernel is None:
                kernel = x.new_zeros(len(left) if components else 1, *chosen.shape(len(x), len(columns)))
            for number, (key, group) in enumerate(left.items()):
                block = block_of(kernel[number if components else 0], i, j, chunk, layout)
                _add(block, group, None if right is None else right[key], layout)
            if z is None and j > i:
                for matrix in kernel:
                    turned = transposed(block_of(matrix, i, j, chunk, layout), layout)
                    block_of(matrix, j, i, chunk, layout).copy_(turned)
    assert kernel is not None
    return kernel if components else kernel[0]


def _chunk_size(parts: Footprint, rows: int, columns: int, memory_limit: int) -> int:
    """Samples at a time, of `rows` and, if not 0, other `columns`.

    Raises:
        MemoryError: not even one fits.
    """
    chunk = parts.chunk(rows, columns, memory_limit)
    if not chunk:
        least = parts.of_samples(1, 1 if columns or rows > 1 else 0)
        raise MemoryError(
            f"memory_limit: the layers of one sample at a time need {least / 2**20:.3g} MiB, the limit is "
            f"{memory_limit / 2**20:.3g} MiB"
        )
    return chunk


def _add(block: Tensor, left: list[Contribution], right: list[Contribution] | None, layout: str) -> None:
    """Add what a group of parameters contributes to a block of the kernel."""
    for number, part in enumerate(left):
        found = kernel_of(part, None if right is None else right[number], layout)
        if found is not None:
            block += found


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
            name = _name_of(layer, layers)
            raise _unsupported(name, layer, f" that takes a tensor of shape {tuple(before.shape)}, not a row a sample")
    return values, taken


def _name_of(layer: nn.Module, layers: dict[str, nn.Module]) -> str:
    return next(name for name, part in layers.items() if part is layer)


@contextmanager
def _listening(layers: dict[str, nn.Module], taken: list[Taken]) -> Iterator[None]:
    def listener(layer: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> Any:
        if not isinstance(result, Tensor) or not result.requires_grad:
            return result
        given = [*arguments, *options.values()]
        if len(given) != 1 or not isinstance(given[0], Tensor):
            raise _unsupported(_name_of(layer, layers), layer, f" called with {len(given)} arguments")
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
    outputs = values.shape[1]
    deltas: list[Tensor] = []
    for output in range(outputs):
        found = torch.autograd.grad(values[:, output].sum(), results, retain_graph=True, allow_unused=True)
        if outputs == 1:
            pairs = zip(found, results, strict=True)
            deltas = [(torch.zeros_like(r) if g is None else g).unsqueeze(1).detach() for g, r in pairs]
            continue
        deltas = deltas or [r.detach().new_zeros(len(r), outputs, *r.shape[1:]) for r in results]
        for delta, gradient in zip(deltas, found, strict=True):
            if gradient is not None:
                delta[:, output] = gradient.detach()
    return [Call(layer, before, delta) for (layer, before, _), delta in zip(taken, deltas, strict=True)]


def _check_gradients(net: nn.Module, layers: dict[str, nn.Module], rows: Tensor, chosen: Chosen) -> Footprint:
    """Compare the layers' gradients with the network's; what the kernel of more samples will take.

    A parameter may act elsewhere than in its layer, a layer may see samples along another axis, and a backward pass
    may be another one than of what was called. All show in the gradient of a sum of outputs, weighted differently.

    Raises:
        UnsupportedModuleError: they differ.
        ValueError: the outputs have no gradient.
    """
    parameters = {id(p): (name, p) for name, p in net.named_parameters() if p.requires_grad}
    kept: dict[int, int] = {}  # bytes by address of what automatic differentiation keeps

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with left_as_it_was(net, rows), torch.enable_grad():
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            values, taken = _recorded(net, layers, rows, chosen)
        check_differentiable(values)
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
    found = {part.parameter: part for group in groups.values() for part in group}
    largest = max((float(g.norm()) for g in expected if g is not None), default=0.0)
    for (key, (name, parameter)), gradient in zip(parameters.items(), expected, strict=True):
        right = torch.zeros_like(parameter) if gradient is None else gradient
        own = found[key].gradient(weights) if key in found else None
        own = torch.zeros_like(right) if own is None else own.view_as(right)
        if float((own - right).norm()) > torch.finfo(right.dtype).eps ** 0.5 * largest:
            raise UnsupportedModuleError(
                f"net: the gradient by {name} is another one than its layer's, so it acts elsewhere too, or samples "
                'are not the first axis there; use method="jacobian"'
            )
    return _footprint(net, taken, calls, joined(groups), kept, chosen)


def _footprint(
    net: nn.Module,
    taken: list[Taken],
    calls: list[Call],
    groups: dict[int, list[Contribution]],
    kept: dict[int, int],
    chosen: Chosen,
) -> Footprint:
    """Of what was recorded of some samples; `kept` has the bytes that automatic differentiation kept, by address."""
    parts = [part for group in groups.values() for part in group]
    rows, itemsize = len(calls[0].input), calls[0].input.element_size()
    own = [*net.parameters(), *net.buffers()]
    for tensor in (*own, *(before for _, before, _ in taken), *(result for _, _, result in taken)):
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    ways = sum(before.nbytes + 2 * result.nbytes for _, before, result in taken)  # what was given, and one gradient
    deltas = sum(call.delta.nbytes for call in calls)
    held = _storages(tensor for part in parts for tensor in part.tensors)
    given = _storages(tensor for call in calls for tensor in (call.input, call.delta))
    formed = max((part.gradients.nbytes for part in parts if part.gradients is not None), default=0)
    k, layout = chosen.number, chosen.layout
    terms = [part.term(layout) for part in parts]
    return Footprint(
        itemsize=itemsize,
        copies=sum(_storages(own).values()),
        trained=sum(p.nbytes for p in net.parameters() if p.requires_grad),
        recorded=(ways + sum(kept.values()) + (deltas if k > 1 else 0)) // rows,
        made=max(sum(given.values()), sum((given | held).values()) + formed) // rows,
        held=sum(held.values()) // rows,
        terms=tuple(term for term in terms if term is not None),
        pair=itemsize * {"diag": 2 * k, "full": k * k + 1}.get(layout, 1),
    )


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes by address, each memory once."""
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def _unsupported(name: str, part: nn.Module, detail: str = "") -> UnsupportedModuleError:
    known = ", ".join(kind.__name__ for kind in KNOWN if kind.__module__.startswith("torch"))
    return UnsupportedModuleError(
        f"{name}: no layerwise NTK for {type(part).__name__}{detail}; parameters are known of the networks of "
        f'gatentk.nn and of {known}. Use method="jacobian" for any other module'
    )
