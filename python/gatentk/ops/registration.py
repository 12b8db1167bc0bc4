"""How an operation comes to torch: one call of `register` says everything about it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree as pytree

from gatentk import _core
from gatentk.ops.autocast import DEVICES, Rule, autocast_is_on, under_autocast
from gatentk.ops.layouts import check_memory

Implementation = Callable[..., Tensor]

LIBRARY = torch.library.Library("gatentk", "DEF")

# What runs for tensors on a CUDA device, by the name of the operation.
CUDA: dict[str, Implementation] = {}


def register(
    schema: str,
    *,
    cpu: Implementation | None,
    cuda: Implementation | None,
    fake: Implementation,
    differentiable: Implementation | None = None,
    autocast: Rule | None = None,
) -> None:
    """Define an operation `torch.ops.gatentk.NAME`.

    Args:
        schema: its name, arguments and result.
        cpu, cuda: what computes it; None where there are no kernels.
        fake: the result's shape and dtype without its values.
        differentiable: the same result by a `torch.autograd.Function`, which knows gradients, tangents and batches;
            its forward calls the operation again through `below_autograd`. Without one there are no gradients, and
            `torch.func.vmap` runs the operation for one member of a batch after the other.
        autocast: the dtypes that it computes with and returns where autocast is on; without a rule it does not notice.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema)
    if cpu is not None:
        LIBRARY.impl(name, on_memory(cpu), "CPU")
    if cuda is not None:
        CUDA[name] = cuda
        LIBRARY.impl(name, on_memory(cuda), "CUDA")
    torch.library.register_fake(f"gatentk::{name}", fake, lib=LIBRARY)
    op = getattr(torch.ops.gatentk, name).default
    casting = {} if autocast is None else {device: under_autocast(op, autocast, device) for device in DEVICES}
    for device, run in casting.items():
        LIBRARY.impl(name, run, DEVICES[device])
    LIBRARY.impl(name, by_func_vmap(op), "Batched")
    if differentiable is None:
        torch.library.register_vmap(f"gatentk::{name}", sliced(op), lib=LIBRARY)
    else:
        LIBRARY.impl(name, _where_it_is_asked(name, differentiable), "Autograd")
        # Transforms of torch.func take an autograd.Function apart, but only if they meet it before the operation. It
        # must not meet autocast, which would change the dtype of what its gradients are computed from.
        LIBRARY.impl(name, _cast_before(differentiable, casting), "FuncTorchDynamicLayerFrontMode")


def _cast_before(differentiable: Implementation, casting: dict[str, Implementation]) -> Implementation:
    """The differentiable operation, of what autocast makes of its arguments."""

    def run(*arguments: Any) -> Tensor:
        device = next(value for value in pytree.tree_leaves(arguments) if isinstance(value, Tensor)).device
        if casting and autocast_is_on(device):
            return casting[device.type](*arguments)
        return differentiable(*arguments)

    return run


def on_memory(implementation: Implementation) -> Implementation:
    """An implementation that takes addresses, for tensors that hold memory and in a process that has its threads."""

    def run(*arguments: Any) -> Tensor:
        if _core.forked():
            _use_one_thread()
        for argument in arguments:
            if isinstance(argument, Tensor):
                check_memory(argument)
            elif isinstance(argument, list):
                for member in argument:
                    if isinstance(member, Tensor):
                        check_memory(member)
        return implementation(*arguments)

    return run


def _use_one_thread() -> None:
    """Threads stay behind in a fork, and OpenMP, torch's included, would wait for them for ever."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)
        warnings.warn(
            "this process was forked, and threads do not survive that: gatentk and torch use one thread from here on; "
            "start processes by multiprocessing's 'spawn' or 'forkserver' to use more",
            RuntimeWarning,
            stacklevel=2,
        )


def _where_it_is_asked(name: str, differentiable: Implementation) -> Implementation:
    """The differentiable operation, or the plain one where nobody differentiates: that saves 20 us a call."""

    def run(*arguments: Any) -> Tensor:
        tangents = forward_ad._current_level >= 0
        if tangents or (torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments)):
            return differentiable(*arguments)
        return below_autograd(getattr(torch.ops.gatentk, name), *arguments)

    return run


# Keys of tensors on the CPU that are nothing but values, in inference mode and outside.
_PLAIN_KEYS = {torch._C._dispatch_keys(torch.empty(0, device="cpu")).raw_repr()}
with torch.inference_mode():
    _PLAIN_KEYS.add(torch._C._dispatch_keys(torch.empty(0, device="cpu")).raw_repr())


def is_plain(*tensors: Tensor) -> bool:
    """Whether an operation on these tensors on the CPU is what its kernel does, and perhaps its gradients.

    Then it may be called without torch's dispatcher, which takes 10 us to find out the same: nobody batches, traces,
    compiles, casts, profiles, intercepts or asks for tangents.
    """
    if torch.compiler.is_compiling():  # which takes nothing that comes after this apart
        return False
    return (
        forward_ad._current_level < 0
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
        and not torch._C._autograd._profiler_enabled()
        and all(torch._C._dispatch_keys(tensor).raw_repr() in _PLAIN_KEYS for tensor in tensors)
    )


def below_autograd(op: Any, *arguments: Any) -> Tensor:
    """The result of an operation without a record of how it came about."""
    with torch._C._AutoDispatchBelowAutograd():
        result: Tensor = op(*arguments)
    return result


def bilinear_tangent(op: Any, problem: Any, tangents: dict[str, Tensor | None]) -> Tensor:
    """The tangent of an operation that is linear in each of some fields of its problem, a named tuple.

    Args:
        op: the operation.
        problem: its arguments.
        tangents: of the fields by name, of any dtype; None where a field has none, but for one of them at least.
    """
    parts = [
        op(*problem._replace(**{name: tangent.to(getattr(problem, name).dtype)}))
        for name, tangent in tangents.items()
        if tangent is not None
    ]
    total: Tensor = sum(parts[1:], start=parts[0])
    return total


def recordable(gates: Tensor) -> Tensor:
    """Gates that a gradient may be computed from later, which torch refuses of tensors made in inference mode."""
    return gates.clone() if gates.is_inference() else gates


def sliced(op: Any) -> Callable[..., tuple[Tensor, int]]:
    """A batching rule that runs an operation once for each member."""

    def rule(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        members = [
            op(*(member(value, dims, i) for value, dims in zip(inputs, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(members), 0

    return rule


def batch_dims(dims: Any, values: list[Tensor]) -> list[int | None]:
    """Batch dimensions of a list of tensors; vmap gives None for an empty or unbatched list."""
    return dims if isinstance(dims, list) else [dims] * len(values)


def member(value: Any, dims: Any, index: int) -> Any:
    """Member `index` of a batched argument, or of a list of them; what has no batch dimension as it is."""
    if isinstance(value, list):
        return [member(part, dim, index) for part, dim in zip(value, batch_dims(dims, value), strict=True)]
    return value if dims is None or not isinstance(value, Tensor) else value.select(dims, index)


# Of torch's first vmap: what its tensors are dispatched by, and its levels from the innermost.
_FIRST_VMAP: Any = torch._C._parse_dispatch_key("Batched")
_LEVELS = range(63, 0, -1)


def in_first_vmap(value: Tensor) -> bool:
    """Whether torch's first vmap has put a batch dimension on a tensor."""
    has: bool = torch._C._dispatch_keys(value).has(_FIRST_VMAP)
    return has


def by_func_vmap(op: Any) -> Callable[..., Any]:
    """The rule for torch's first vmap, which `is_grads_batched` and `jacobian(vectorize=True)` run: by the new one."""

    def rule(*arguments: Any) -> Any:
        values, spec = pytree.tree_flatten(list(arguments))
        batched = [v for v in values if isinstance(v, Tensor) and in_first_vmap(v)]
        level = next(level for level in _LEVELS if any(_has_level(value, level) for value in batched))
        dims = tuple(0 if any(v is b for b in batched) and _has_level(v, level) else None for v in values)
        whole = [v if dim is None else _batch_first(v, level) for v, dim in zip(values, dims, strict=True)]
        out = torch.func.vmap(lambda *leaves: op(*pytree.tree_unflatten(leaves, spec)), dims)(*whole)
        return pytree.tree_map(lambda value: torch._add_batch_dim(value, 0, level), out)

    return rule


def _has_level(value: Tensor, level: int) -> bool:
    """Whether a tensor has a batch dimension of that level: others are expanded to the size that is asked for."""
    return _batch_first(value, level, 0).shape[0] == _batch_first(value, level, 1).shape[0]


def _batch_first(value: Tensor, level: int, size: int = 1) -> Tensor:
    result: Tensor = torch._remove_batch_dim(value, level, size, 0)
    return result
