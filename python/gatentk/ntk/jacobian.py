"""The NTK of any module, from Jacobians of chunks of samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatentk.checks import check_integer, describe
from gatentk.ntk.outputs import check_index


def from_jacobians(
    net: nn.Module, x: Tensor, z: Tensor | None, outputs: int | str, components: bool, memory_limit: int
) -> Tensor:
    """The kernel of any module, in chunks of samples; arguments and result as in `gatentk.ntk.empirical`."""
    memory_limit = check_integer("memory_limit", memory_limit, 1)
    trained = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
    aliases, fixed = _tensors_of(net)

    def call(parameters: dict[str, Tensor], rows: Tensor) -> Any:
        tensors = fixed | {name: parameters[first] for name, first in aliases.items()}
        return torch.func.functional_call(net, tensors, (rows,), tie_weights=False)

    def output(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
        result = call(parameters, sample.unsqueeze(0))
        if not isinstance(result, Tensor) or result.shape[0] != 1:
            raise TypeError(f"net: expected one tensor with a row for each sample, got {describe(result)}")
        flat = result.flatten()
        return flat if isinstance(outputs, str) else flat[int(outputs)].unsqueeze(0)

    probe = call(trained, x[:1])
    if isinstance(probe, Tensor):
        check_index(outputs, probe[0].numel())
    d_out = output(trained, x[0]).numel()
    jacobian = torch.func.vmap(torch.func.jacrev(output), in_dims=(None, 0))
    chunk = _chunk_size(trained, d_out, x, memory_limit)
    columns = x if z is None else z
    shape = {"diag": (d_out, len(x), len(columns)), "full": (len(x), d_out, len(columns), d_out)}
    kernel = x.new_zeros(len(trained), *shape.get(str(outputs), (len(x), len(columns))))
    for i in range(0, len(x), chunk):
        left = jacobian(trained, x[i : i + chunk])
        for j in range(i if z is None else 0, len(columns), chunk):
            right = left if z is None and i == j else jacobian(trained, columns[j : j + chunk])
            for layer, name in enumerate(trained):
                block = _contract(left[name], right[name], outputs)
                _place(kernel[layer], block, i, j, outputs)
                if z is None and j > i:
                    _place(kernel[layer], _transposed(block, outputs), j, i, outputs)
            del right
    return kernel if components else kernel.sum(0)


def _tensors_of(net: nn.Module) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Names of all trained tensors with the first name of each, and the tensors that stay as they are.

    Every place of a tensor is named once, whatever is shared: functional_call left to find the ties itself does not
    put a shared module back as it was.
    """
    first = {id(p): name for name, p in net.named_parameters()}
    aliases: dict[str, str] = {}
    fixed: dict[str, Tensor] = {}
    for prefix, module in net.named_modules():
        for key, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is None:
                continue
            name = f"{prefix}.{key}" if prefix else key
            if tensor.requires_grad and id(tensor) in first:
                aliases[name] = first[id(tensor)]
            else:
                fixed[name] = tensor.detach()
    return aliases, fixed


def _chunk_size(trained: dict[str, Tensor], d_out: int, x: Tensor, memory_limit: int) -> int:
    """Samples at a time: two Jacobians, and as much again for what torch.func holds while it makes one."""
    sample = 4 * d_out * sum(p.numel() for p in trained.values()) * x.element_size()
    if sample > memory_limit:
        raise MemoryError(
            f"memory_limit: the Jacobian of one sample needs {sample / 2**20:.0f} MiB, the limit is "
            f"{memory_limit / 2**20:.0f} MiB"
        )
    return max(1, min(len(x), memory_limit // sample))


def _contract(left: Tensor, right: Tensor, outputs: int | str) -> Tensor:
    """Jacobians (n, d_y, ...) and (n_z, d_y, ...) of one parameter to their block of the kernel."""
    left, right = left.flatten(2), right.flatten(2)
    if outputs == "full":
        return torch.einsum("npk,mqk->npmq", left, right)
    if outputs == "diag":
        return torch.einsum("npk,mpk->pnm", left, right)
    return left.flatten(1) @ right.flatten(1).T


def _place(kernel: Tensor, block: Tensor, i: int, j: int, outputs: int | str) -> None:
    if outputs == "full":
        kernel[i : i + block.shape[0], :, j : j + block.shape[2]] = block
    else:
        kernel[..., i : i + block.shape[-2], j : j + block.shape[-1]] = block


def _transposed(block: Tensor, outputs: int | str) -> Tensor:
    return block.permute(2, 3, 0, 1) if outputs == "full" else block.mT
