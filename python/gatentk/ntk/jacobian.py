"""The NTK of any module, from Jacobians of chunks of samples."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_integer
from gatentk.ntk.calls import call, check_differentiable, check_samples_apart, left_as_it_was
from gatentk.ntk.outputs import Chosen, block_of, chosen_outputs, mirror, transposed

Jacobian = Callable[[Tensor], dict[str, Tensor]]  # samples to (n, d_y, size) for each trained parameter


# What torch says of operations that it takes one by one inside a transform.
_SLOW_RULE = "There is a performance drop"


def from_jacobians(
    net: nn.Module,
    x: Tensor,
    z: Tensor | None,
    outputs: Any,
    components: bool,
    memory_limit: int,
    because: str | None = None,
) -> Tensor:
    """The kernel of any module, in chunks of samples; arguments and result as in `gatentk.ntk.empirical`.

    Where the caller did not ask for Jacobians, `because` says why they are taken, in a warning.
    """
    memory_limit = check_integer("memory_limit", memory_limit, 1)
    d_out = check_samples_apart(net, x)
    chosen = chosen_outputs(outputs, d_out, x)
    layout, d_out = chosen.layout, chosen.number
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    chunk = _chunk_size(trained, d_out, x, memory_limit)
    jacobian, first = _jacobian_of(net, trained, x[:chunk], chosen, because)
    columns = x if z is None else z
    kernel = x.new_zeros(len(trained), *chosen.shape(len(x), len(columns)))
    for i in range(0, len(x), chunk):
        left = first if i == 0 else jacobian(x[i : i + chunk])
        first = left
        for j in range(i if z is None else 0, len(columns), chunk):
            right = left if z is None and i == j else jacobian(columns[j : j + chunk])
            for layer, name in enumerate(trained):
                block = _contract(left[name], right[name], layout)
                block_of(kernel[layer], i, j, chunk, layout).copy_(block)
                if z is None and j > i:
                    block_of(kernel[layer], j, i, chunk, layout).copy_(transposed(block, layout))
            del right
    result = kernel if components else kernel.sum(0)
    return mirror(result, layout) if z is None else result


def _jacobian_of(
    net: nn.Module, trained: dict[str, nn.Parameter], rows: Tensor, chosen: Chosen, because: str | None
) -> tuple[Jacobian, dict[str, Tensor]]:
    """How Jacobians of this network are made, and those of `rows`.

    `torch.func` makes those of many samples at once, but cannot look into every forward, and reaches parameters only
    as attributes of their modules. So the gradient of one sample is compared with that of plain automatic
    differentiation, which takes over where it has to.
    """
    jacobian, plain = _by_transforms(net, trained, chosen), _by_backward(net, trained, chosen)
    taken = f"{because}: its kernel is made of Jacobians, which is slower"
    expected = _gradient(net, trained, rows, chosen)
    try:
        first = jacobian(rows)
    except (MemoryError, torch.OutOfMemoryError, Warning):
        raise
    except Exception as error:
        reason = first_line(error)
    else:
        other = differing([_weights(first[name][0]) @ first[name][0] for name in trained], expected)
        if other is None:
            if because is not None:
                warnings.warn(taken, UserWarning, stacklevel=4)
            return jacobian, first
        name = list(trained)[other]
        reason = f"its gradient by {name} is another one; a hook, or a parameter that is no attribute of its module"
    warnings.warn(
        f"{'net' if because is None else taken}{':' if because is None else ';'} torch.func cannot make its Jacobians "
        f"({reason}); they are made by one backward pass for each sample and output, which is slower",
        UserWarning,
        stacklevel=4,
    )
    return plain, plain(rows)


def _by_transforms(net: nn.Module, trained: dict[str, nn.Parameter], chosen: Chosen) -> Jacobian:
    """Jacobians of many samples at once."""
    tensors = tensors_of(net)

    def output(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        return chosen.of(called_with(net, tensors, parameters, sample.unsqueeze(0)).flatten())

    transformed = torch.func.vmap(torch.func.jacrev(output), in_dims=(None, 0))

    def jacobian(rows: Tensor) -> dict[str, Tensor]:
        with left_as_it_was(net, rows), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_SLOW_RULE, category=UserWarning)
            result: dict[str, Tensor] = transformed({name: p.detach() for name, p in trained.items()}, rows)
        # A scalar has an axis too.
        return {name: part.reshape(*part.shape[:2], -1) for name, part in result.items()}

    return jacobian


def _by_backward(net: nn.Module, trained: dict[str, nn.Parameter], chosen: Chosen) -> Jacobian:
    """Jacobians of the network as it is called, by one backward pass for each sample and output."""
    parameters = list(trained.values())

    def of_sample(sample: Tensor) -> list[list[Tensor]]:
        with left_as_it_was(net, sample), torch.enable_grad():
            values = chosen.of(call(net, sample.unsqueeze(0)).flatten())
            return [gradients_of(value, parameters) for value in values]

    def jacobian(rows: Tensor) -> dict[str, Tensor]:
        samples = [of_sample(sample) for sample in rows]
        return {
            name: torch.stack([torch.stack([gradients[index].flatten() for gradients in sample]) for sample in samples])
            for index, name in enumerate(trained)
        }

    return jacobian


def gradients_of(
    values: Tensor, parameters: list[nn.Parameter], cotangent: Tensor | None = None, create_graph: bool = False
) -> list[Tensor]:
    """By each parameter, zeros where there is none; the graph stays."""
    if not values.requires_grad:
        return [torch.zeros_like(p) for p in parameters]
    found = torch.autograd.grad(
        values, parameters, cotangent, retain_graph=True, create_graph=create_graph, allow_unused=True
    )
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def _gradient(net: nn.Module, trained: dict[str, nn.Parameter], rows: Tensor, chosen: Chosen) -> list[Tensor]:
    """Gradient of a weighted sum of the first sample's outputs, by one backward pass of the network as it is called.

    Raises:
        ValueError: the outputs have no gradient at all.
    """
    with left_as_it_was(net, rows), torch.enable_grad():
        values = chosen.of(call(net, rows[:1]).flatten())
        check_differentiable(values)
        total = (values * _weights(values)).sum()
        return gradients_of(total, list(trained.values()))


def _weights(values: Tensor) -> Tensor:
    """Weights of the outputs, all different, so that errors do not cancel."""
    return torch.linspace(1.0, 2.0, values.shape[0], dtype=values.dtype, device=values.device)


def differing(found: Sequence[Tensor], expected: Sequence[Tensor]) -> int | None:
    """The number of the first parameter by which a gradient, of any shape, is another one than expected.

    A neuron that rounding switches changes a wide layer's gradient by a few percent, which is not meant.
    """
    rounding = max(torch.finfo(g.dtype).eps ** 0.5 * float(g.norm()) for g in expected)
    for number, (own, gradient) in enumerate(zip(found, expected, strict=True)):
        difference = (own.flatten() - gradient.flatten()).norm()
        if float(difference) > 0.1 * float(gradient.norm()) + rounding:
            return number
    return None


def first_line(error: Exception) -> str:
    """What went wrong inside torch.func, in a few words."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


Tensors = tuple[dict[str, str], dict[str, Tensor]]


def tensors_of(net: nn.Module) -> Tensors:
    """Names of all trained tensors with the first name of each, and the tensors that stay as they are.

    Every place of a tensor is named once, whatever is shared: functional_call left to find the ties itself does not
    put a shared module back as it was.
    """
    first = {id(p): name for name, p in net.named_parameters()}
    aliases: dict[str, str] = {}
    fixed: dict[str, Tensor] = {}
    detached: dict[int, Tensor] = {}
    for prefix, module in net.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            name = f"{prefix}.{key}" if prefix else key
            if tensor.requires_grad and id(tensor) in first:
                aliases[name] = first[id(tensor)]
            else:
                fixed[name] = detached.setdefault(id(tensor), tensor.detach())
    return aliases, fixed


def called_with(net: nn.Module, tensors: Tensors, parameters: dict[str, Tensor], rows: Tensor) -> Tensor:
    """The outputs of some samples with these trained parameters, by first names; `tensors` are the network's.

    Every call has copies of all tensors to write to.
    """
    aliases, fixed = tensors
    own = {name: p.clone() for name, p in parameters.items()}
    copies = {id(tensor): tensor.clone() for tensor in fixed.values()}
    named = {name: copies[id(tensor)] for name, tensor in fixed.items()}
    named |= {name: own[first] for name, first in aliases.items()}
    result: Tensor = torch.func.functional_call(net, named, (rows.clone(),), tie_weights=False)
    return result


def _chunk_size(trained: dict[str, nn.Parameter], d_out: int, x: Tensor, memory_limit: int) -> int:
    """Samples at a time: two Jacobians, and as much again for what torch.func holds while it makes one."""
    sample = 4 * d_out * sum(p.numel() for p in trained.values()) * x.element_size()
    if sample > memory_limit:
        raise MemoryError(
            f"memory_limit: the Jacobian of one sample needs {sample / 2**20:.0f} MiB, the limit is "
            f"{memory_limit / 2**20:.0f} MiB"
        )
    return max(1, min(len(x), memory_limit // sample))


def _contract(left: Tensor, right: Tensor, layout: str) -> Tensor:
    """Jacobians (n, d_y, size) and (n_z, d_y, size) of one parameter to their block of the kernel."""
    if layout == "full":
        return torch.einsum("npk,mqk->npmq", left, right)
    if layout == "diag":
        return torch.einsum("npk,mpk->pnm", left, right)
    return left.flatten(1) @ right.flatten(1).T
