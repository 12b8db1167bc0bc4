"""NTK of a given network at its current weights: layerwise on the compiled core, or from Jacobians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatentk import ops
from gatentk.checks import as_tensor, check_choice, check_integer, check_samples, describe, like_input
from gatentk.errors import UnsupportedModuleError
from gatentk.nn import MLP, GReLUNetwork, ReLUNetwork

METHODS = ("auto", "layerwise", "jacobian")
OUTPUTS = ("trace", "diag", "full")


def empirical(
    net: nn.Module,
    x: Any,
    z: Any = None,
    outputs: int | str = "trace",
    components: bool = False,
    method: str = "auto",
    *,
    memory_limit: int = 2 << 30,
) -> Any:
    """K(x, z) = <grad f(x), grad f(z)> over the trainable parameters (those with requires_grad).

    Layerwise, exact and without any Jacobian ([S], Sec. 3): K = sum_l (A_{l-1} A_{l-1}^T) o (Delta_l Delta_l^T), with
    1 added to the first factor of a layer with a bias. Neurons that are off cost nothing. The derivative of ReLU at
    0 is 0. For a `GReLUNetwork` this is sum_k <G_{k-1} x, G_{k-1} z> <F_{k+1}, F_{k+1}> over W_1 .. W_depth ([G], Eq.
    9-10), with the gates that its gate network gives the samples.

    Args:
        net: `gatentk.nn.MLP`, `GReLUNetwork` or `ReLUNetwork`, or an `nn.Sequential` (nested ones too) of Linear, ReLU
            and Identity; a layer or parameter that occurs several times counts once, with the sum of its gradients.
            Any other module by method="jacobian".
        x: samples (n, d) of the network's dtype, tensor or numpy array.
        z: samples (n_z, d) for a rectangular kernel; x itself if left out.
        outputs: "trace" sums the kernels of all outputs, "diag" gives each output's kernel, "full" all pairs; an int
            gives the kernel of that output.
        components: one kernel for each layer's parameters, in the order of the layers; by method="jacobian" one for
            each parameter tensor.
        method: "auto" and "layerwise" use the structure of the network and refuse what they do not know;
            "jacobian" works for any module that torch.func.functional_call and vmap accept.
        memory_limit: bytes that the Jacobian method may use beside the result; it works in chunks of samples.

    Returns:
        (n, n_z) for an int and "trace", (d_y, n, n_z) for "diag", (n, d_y, n_z, d_y) for "full", with a leading
        axis of layers for `components`; the network's dtype, numpy if `x` is.

    Raises:
        UnsupportedModuleError: a part of `net` has no layerwise rule; the message names it.
        TypeError, ValueError: samples that do not fit the network, nothing to train, an unknown name.
        MemoryError: not even one sample fits the memory limit.
    """
    check_choice("method", method, METHODS)
    _check_outputs(outputs)
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected a torch.nn.Module, got {describe(net)}")
    left = _samples("x", x, net)
    right = None if z is None else _samples("z", z, net)
    if right is not None and right.shape[-1:] != left.shape[-1:]:
        raise ValueError(f"z: expected {left.shape[-1]} features as in x, got {describe(right)}")
    with torch.no_grad():
        if method == "jacobian":
            kernel = _from_jacobians(net, left, right, outputs, components, memory_limit)
        else:
            kernel = _layerwise(_stages(net), left, right, outputs, components)
    return like_input(kernel, x)


def _check_outputs(outputs: object) -> None:
    if isinstance(outputs, str):
        if outputs not in OUTPUTS:
            raise ValueError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {outputs!r}")
    elif isinstance(outputs, bool) or not isinstance(outputs, (int, np.integer)):
        raise TypeError(f"outputs: expected an int or one of {', '.join(map(repr, OUTPUTS))}, got {describe(outputs)}")


def _check_index(outputs: int | str, d_out: int) -> None:
    if not isinstance(outputs, str):
        check_integer("outputs", outputs, 0)
        if outputs >= d_out:
            raise ValueError(f"outputs: expected an output below {d_out}, got {outputs}")


def _samples(name: str, value: Any, net: nn.Module) -> Tensor:
    samples = as_tensor(name, value)
    check_samples(name, samples)
    trained = [p for p in net.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("net: expected trainable parameters (requires_grad), found none: its NTK is zero")
    for parameter in net.parameters():
        if parameter.dtype != samples.dtype or parameter.device != samples.device:
            raise TypeError(
                f"{name}: expected {parameter.dtype} on {parameter.device} as the network's parameters, "
                f"got {describe(samples)}"
            )
    return samples


# The layerwise method: a network is a chain of stages, each a matrix product or an elementwise map.


@dataclass
class LinearStage:
    """A -> A W^T + b."""

    weight: Tensor
    bias: Tensor | None


@dataclass
class ReluStage:
    """A -> scale relu(A), or scale A."""

    scale: float
    linear: bool = False


@dataclass
class GateStage:
    """A -> D_layer A, with the gates that the network's gate network gives the samples."""

    net: GReLUNetwork
    layer: int


Stage = LinearStage | ReluStage | GateStage


def _stages(net: nn.Module) -> list[Stage]:
    """The chain of stages of a network whose structure is known."""
    if type(net) in (MLP, GReLUNetwork, ReLUNetwork) and _hooked(net):
        raise _unsupported("net", net, " with hooks")
    if type(net) is MLP:
        stages: list[Stage] = []
        for weight in list(net.weights)[:-1]:
            stages += [LinearStage(weight, None), ReluStage(net.scale, net.activation == "linear")]
        return [*stages, LinearStage(net.weights[-1], None)]
    if type(net) is GReLUNetwork or type(net) is ReLUNetwork:
        return _fixed_ends_stages(net)
    if type(net) is nn.Sequential:
        return [stage for name, part in _parts(net, "") for stage in _part_stages(name, part)]
    raise _unsupported("net", net)


def _fixed_ends_stages(net: GReLUNetwork | ReLUNetwork) -> list[Stage]:
    """C, W_1 .. W_L, B with gates or ReLUs between them; C and B are no parameters and count for nothing."""
    matrices = [net.input_weight.detach(), *net.weights, net.output_weight.detach()]
    stages: list[Stage] = []
    for layer, weight in enumerate(matrices[:-1]):
        stages += [
            LinearStage(weight, None),
            GateStage(net, layer) if isinstance(net, GReLUNetwork) else ReluStage(1.0),
        ]
    if isinstance(net, ReLUNetwork) and not net.last_relu:
        stages.pop()
    return [*stages, LinearStage(matrices[-1], None)]


def _parts(net: nn.Sequential, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if _hooked(net):
        raise _unsupported(prefix.rstrip(".") or "net", net, " with hooks")
    for index, part in enumerate(net):
        name = f"{prefix}{index}"
        if type(part) is nn.Sequential:
            yield from _parts(part, f"{name}.")
        else:
            yield name, part


def _part_stages(name: str, part: nn.Module) -> list[Stage]:
    if _hooked(part):
        raise _unsupported(name, part, " with hooks")
    if type(part) is nn.Linear:
        return [LinearStage(part.weight, part.bias)]
    if type(part) is nn.ReLU:
        return [ReluStage(1.0)]
    if type(part) is nn.Identity:
        return []
    raise _unsupported(name, part)


def _hooked(part: nn.Module) -> bool:
    return bool(part._forward_hooks or part._forward_pre_hooks)


def _unsupported(name: str, part: nn.Module, detail: str = "") -> UnsupportedModuleError:
    return UnsupportedModuleError(
        f"{name}: no layerwise NTK for {type(part).__name__}{detail}; known are MLP, GReLUNetwork and ReLUNetwork of "
        'gatentk.nn and nn.Sequential of Linear, ReLU and Identity. Use method="jacobian" for any other module'
    )


@dataclass
class Pass:
    """What one forward pass keeps: inputs of linear stages, masks of ReLUs and gates, and the packed bits of gates."""

    inputs: dict[int, Tensor] = field(default_factory=dict)
    masks: dict[int, Tensor] = field(default_factory=dict)
    gates: dict[int, Tensor] = field(default_factory=dict)
    d_out: int = 0


# With fewer rows, packing the weight for a masked product costs more than skipping saves.
MASKED_ROWS = 64


def _product(left: Tensor, weight: Tensor, masked: bool, gate: Tensor | None = None) -> Tensor:
    """left @ weight.T; half of a factor that has passed a ReLU or a gate (or its mask) is zero and is skipped.

    On a CUDA device only gates are, because zeros are not looked for there.
    """
    if not masked or left.shape[0] < MASKED_ROWS or (left.is_cuda and gate is None):
        return left @ weight.mT
    return ops.gram_ntk([left], [left[:, :0]], [weight], [weight[:, :0]], gates=[(gate, None)])


def _forward(stages: Sequence[Stage], name: str, x: Tensor) -> Pass:
    if x.dim() != 2:
        raise ValueError(f"{name}: expected shape (n, d), got {describe(x)}")
    samples, table, kept = x, None, Pass()
    for index, stage in enumerate(stages):
        if isinstance(stage, LinearStage):
            if x.shape[-1] != stage.weight.shape[1]:
                what = name if not kept.inputs else f"net: stage {index}"
                raise ValueError(f"{what}: expected {stage.weight.shape[1]} features, got {describe(x)}")
            kept.inputs[index] = x
            x = _product(x, stage.weight, index - 1 in kept.masks, kept.gates.get(index - 1))
            if stage.bias is not None:
                x += stage.bias
        elif isinstance(stage, GateStage):
            if table is None:
                table = stage.net.gate_table(samples)
            kept.gates[index] = table.bits[stage.layer]
            kept.masks[index] = ops.unpack_bits(kept.gates[index], table.width)
            x = x * kept.masks[index]
        elif stage.linear:
            x = stage.scale * x
        else:
            kept.masks[index] = x > 0
            x = stage.scale * torch.relu(x)
    kept.d_out = x.shape[-1]
    return kept


def _deltas(stages: Sequence[Stage], kept: Pass, selected: range) -> Iterator[tuple[int, Tensor]]:
    """(stage, Delta) from the last linear stage to the first trained one; Delta is (n, selected outputs, width)."""
    n = next(iter(kept.inputs.values())).shape[0]
    model = next(iter(kept.inputs.values()))
    chosen = torch.eye(kept.d_out, dtype=model.dtype, device=model.device)[selected.start : selected.stop]
    delta = chosen.expand(n, *chosen.shape)
    first = min(index for index in kept.inputs if _trained(stages[index]))
    for index in range(len(stages) - 1, first - 1, -1):
        stage = stages[index]
        if isinstance(stage, LinearStage):
            yield index, delta
            if index > first:
                rows, gate = delta.reshape(-1, delta.shape[-1]), kept.gates.get(index + 1)
                gate = None if gate is None else gate.repeat_interleave(len(selected), 0)
                flat = _product(rows, stage.weight.mT, index + 1 in kept.masks, gate)
                delta = flat.view(*delta.shape[:-1], -1)
        elif isinstance(stage, GateStage):
            delta = delta * kept.masks[index].unsqueeze(1)
        elif stage.linear:
            delta = stage.scale * delta
        else:
            delta = stage.scale * delta * kept.masks[index].unsqueeze(1)


def _trained(stage: Stage) -> bool:
    return isinstance(stage, LinearStage) and any(p is not None and p.requires_grad for p in (stage.weight, stage.bias))


@dataclass
class Use:
    """One place where a parameter acts: its gradient there is the outer product of delta and act.

    An act of width 0 stands for the constant 1 that a bias multiplies; `bias` adds that constant to a weight's act.
    The gates are packed bits (n, row bytes) of an act and of each output's delta, where they were known beforehand.
    """

    act: Tensor
    delta: Tensor
    bias: float
    gate_act: Tensor | None
    gate_delta: Tensor | None

    @property
    def joined_delta(self) -> Tensor:
        """(n, outputs * width): products then sum over outputs."""
        return self.delta.reshape(self.delta.shape[0], -1)

    @property
    def joined_gates(self) -> tuple[Tensor | None, Tensor | None]:
        """Gates of the act and of the joined delta."""
        outputs, width = self.delta.shape[1:]
        if self.gate_delta is None or outputs == 1:
            return self.gate_act, self.gate_delta
        return self.gate_act, ops.pack_bits(ops.unpack_bits(self.gate_delta, width).repeat(1, outputs))


def _uses(stages: Sequence[Stage], kept: Pass, selected: range) -> dict[int, list[Use]]:
    """Uses by trained parameter (its id), in the order of the network's layers.

    A bias joins the weight beside it where both are used just once, which saves a product.
    """
    counts: dict[int, int] = {}
    for stage in stages:
        if isinstance(stage, LinearStage):
            for parameter in (stage.weight, stage.bias):
                if parameter is not None:
                    counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    uses: dict[int, list[Use]] = {}
    for index, delta in reversed(list(_deltas(stages, kept, selected))):
        stage = stages[index]
        assert isinstance(stage, LinearStage)
        act, weight, bias = kept.inputs[index], stage.weight, stage.bias
        gates = kept.gates.get(index - 1), kept.gates.get(index + 1)
        if not delta.shape[-1]:  # a layer without neurons; a delta of width 0 would count as ones
            delta = delta.new_zeros(*delta.shape[:-1], 1)
        trained_bias = bias is not None and bias.requires_grad
        joined = trained_bias and weight.requires_grad and counts[id(weight)] == counts[id(bias)] == 1
        if weight.requires_grad:
            uses.setdefault(id(weight), []).append(Use(act, delta, 1.0 if joined else 0.0, *gates))
        if trained_bias and not joined:
            uses.setdefault(id(bias), []).append(Use(act[:, :0], delta, 1.0, None, gates[1]))
    return uses


def _own_kernel(uses: Sequence[Use]) -> Tensor:
    """Kernel of the samples with themselves, summed over uses of different parameters."""
    return ops.gram_ntk(
        [use.act for use in uses],
        [use.joined_delta for use in uses],
        gates=[use.joined_gates for use in uses],
        bias=[use.bias for use in uses],
    )


def _group_kernel(left: Sequence[Use], right: Sequence[Use] | None) -> Tensor:
    """Kernel of one parameter: every use of it on the left meets every use on the right."""
    if right is None and len(left) == 1:
        return _own_kernel(left)
    pairs = [(a, b) for a in left for b in (left if right is None else right)]
    return ops.gram_ntk(
        [a.act for a, _ in pairs],
        [a.joined_delta for a, _ in pairs],
        [b.act for _, b in pairs],
        [b.joined_delta for _, b in pairs],
        gates=[a.joined_gates for a, _ in pairs],
        bias=[a.bias for a, _ in pairs],
    )


def _layerwise(stages: list[Stage], x: Tensor, z: Tensor | None, outputs: int | str, components: bool) -> Tensor:
    left = _forward(stages, "x", x)
    right = None if z is None else _forward(stages, "z", z)
    _check_index(outputs, left.d_out)
    if outputs == "full":
        return _all_pairs(stages, left, right, components)
    if outputs == "diag":
        kernels = [_summed(stages, left, right, range(p, p + 1), components) for p in range(left.d_out)]
        return torch.stack(kernels, dim=1 if components else 0)
    selected = range(left.d_out) if outputs == "trace" else range(int(outputs), int(outputs) + 1)
    return _summed(stages, left, right, selected, components)


def _summed(stages: list[Stage], left: Pass, right: Pass | None, selected: range, components: bool) -> Tensor:
    """Sum over the selected outputs: (n, n_z), with components (layers, n, n_z)."""
    uses = _uses(stages, left, selected)
    others = None if right is None else _uses(stages, right, selected)
    if others is None and not components and all(len(group) == 1 for group in uses.values()):
        return _own_kernel([group[0] for group in uses.values()])
    kernels = [_group_kernel(group, None if others is None else others[key]) for key, group in uses.items()]
    return torch.stack(kernels) if components else _total(kernels)


def _total(kernels: list[Tensor]) -> Tensor:
    total = kernels[0]
    for kernel in kernels[1:]:
        total += kernel
    return total


def _all_pairs(stages: list[Stage], left: Pass, right: Pass | None, components: bool) -> Tensor:
    """(n, d_y, n_z, d_y), with components (layers, n, d_y, n_z, d_y)."""
    uses = _uses(stages, left, range(left.d_out))
    others = uses if right is None else _uses(stages, right, range(left.d_out))
    n, n_z = (next(iter(group.values()))[0].act.shape[0] for group in (uses, others))
    act = next(iter(uses.values()))[0].act
    kernel = act.new_empty(len(uses), n, left.d_out, n_z, left.d_out)
    for layer, key in enumerate(uses):
        for p in range(left.d_out):
            for q in range(p if right is None else 0, left.d_out):
                block = ops.gram_ntk(
                    *_paired(uses[key], p, others[key], q),
                    gates=[(use.gate_act, use.gate_delta) for use in uses[key] for _ in others[key]],
                    bias=[use.bias for use in uses[key] for _ in others[key]],
                )
                kernel[layer, :, p, :, q] = block
                if right is None and q > p:
                    kernel[layer, :, q, :, p] = block.mT
    return kernel if components else kernel.sum(0)


def _paired(
    left: Sequence[Use], p: int, right: Sequence[Use], q: int
) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    pairs = [(a, b) for a in left for b in right]
    return (
        [a.act for a, _ in pairs],
        [a.delta[:, p] for a, _ in pairs],
        [b.act for _, b in pairs],
        [b.delta[:, q] for _, b in pairs],
    )


# The Jacobian method: any module, in chunks of samples.


def _from_jacobians(
    net: nn.Module, x: Tensor, z: Tensor | None, outputs: int | str, components: bool, memory_limit: int
) -> Tensor:
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
        _check_index(outputs, probe[0].numel())
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
