"""Which layers of a network are fed by a ReLU, found by torch.fx."""

from __future__ import annotations

import copy
import inspect
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError
from torch.nn import functional

from gatentk.errors import UnsupportedModuleError
from gatentk.nn.skipping import SkippingLinear, is_skippable

Network = TypeVar("Network", bound=nn.Module)

# What makes zeros.
_RELUS: frozenset[Any] = frozenset({torch.relu, torch.relu_, functional.relu, "relu", "relu_"})

# What keeps those of its first argument, because it moves values, or sets some of them to zero.
_KEEPING_MODULES = (nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KEEPING: frozenset[Any] = frozenset(
    {
        *(torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, torch.transpose, torch.permute, torch.clone),
        *(functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d, operator.getitem),
        *("flatten", "unflatten", "reshape", "view", "view_as", "squeeze", "unsqueeze", "transpose", "permute"),
        *("contiguous", "clone", "detach", "to", "float", "double", "type_as", "expand", "movedim", "t"),
    }
)


@dataclass(frozen=True)
class Found:
    """What there is to skip.

    Attributes:
        layers: names of the Linear layers that a ReLU feeds, in at least one of their calls.
        left: others that a ReLU feeds, in words.
    """

    layers: tuple[str, ...]
    left: tuple[str, ...]


def fed_by_relu(model: nn.Module) -> Found:
    """The layers of a network whose input comes from a ReLU.

    Raises:
        UnsupportedModuleError: torch.fx cannot trace it; the message names module and operation.
    """
    graph, modules = _traced(model)
    with_zeros: set[fx.Node] = set()
    layers: dict[str, None] = {}
    left: dict[str, None] = {}
    for node in graph.nodes:
        source = _first(node)
        fed = source in with_zeros
        part = modules.get(str(node.target)) if node.op == "call_module" else None
        if _makes_zeros(node, part) or (fed and _keeps_zeros(node, part)):
            with_zeros.add(node)
            if source is not None and _writes_in_place(node, part):
                with_zeros.add(source)  # whoever reads it later reads what was written
        elif fed and part is not None and isinstance(part, nn.Linear):
            name = str(node.target)
            if is_skippable(part):
                layers[name] = None
            elif not isinstance(part, SkippingLinear):
                what = "with its forward replaced" if "forward" in vars(part) else "a subclass of nn.Linear"
                left[f"{name} ({type(part).__name__}), {what}"] = None
        elif fed and node.op == "call_function" and node.target is functional.linear:
            left[f"{node.name}, a call of torch.nn.functional.linear instead of an nn.Linear"] = None
    return Found(tuple(layers), tuple(left))


def _first(node: fx.Node) -> fx.Node | None:
    """What a node computes with: its first argument."""
    value = next(iter((*node.args, *node.kwargs.values())), None)
    return value if isinstance(value, fx.Node) else None


def _makes_zeros(node: fx.Node, part: nn.Module | None) -> bool:
    if node.op == "call_module":
        return type(part) is nn.ReLU
    return node.op in ("call_function", "call_method") and node.target in _RELUS


def _keeps_zeros(node: fx.Node, part: nn.Module | None) -> bool:
    if node.op == "call_module":
        return type(part) in _KEEPING_MODULES
    return node.op in ("call_function", "call_method") and node.target in _KEEPING


def _writes_in_place(node: fx.Node, part: nn.Module | None) -> bool:
    in_place = getattr(part, "inplace", False) or node.kwargs.get("inplace", False) or True in node.args[1:2]
    return bool(in_place) or node.target in (torch.relu_, "relu_")


def copied(model: Network, memo: dict[int, Any] | None = None) -> Network:
    """A deep copy, also of tensors that hooks have computed from parameters, which torch refuses to copy."""
    computed = {
        id(value): value.detach().clone()
        for part in model.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, {**computed, **(memo or {})})


def _traced(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """The graph of a network, and its modules by name. The network sees nothing of it, nor does the random state."""
    # Whatever `forward` writes to goes to a copy. Parameters are proxies in a trace, so they need none.
    root = copied(model, {id(parameter): parameter for parameter in model.parameters()})
    tracer = _Tracer()
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = tracer.trace(root, _defaults(root))
    except Exception as error:
        raise UnsupportedModuleError(tracer.explanation(model, error)) from error
    return graph, dict(root.named_modules())


def _defaults(root: nn.Module) -> dict[str, Any]:
    """Arguments that `forward` has defaults for, which are no tensors: they are taken as they are."""
    parameters = inspect.signature(type(root).forward).parameters.values()
    plain = (bool, int, float, str, type(None))
    return {parameter.name: parameter.default for parameter in parameters if isinstance(parameter.default, plain)}


class _Tracer(fx.Tracer):
    """Traces through everything but layers, without hooks, and remembers where it was."""

    def __init__(self) -> None:
        super().__init__()
        self._path: list[tuple[str, str]] = []
        self._reason = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Layers of torch and of this package, and subclasses of Linear."""
        return (
            isinstance(m, nn.Linear)
            or type(m).__module__.startswith("gatentk.")
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """A node for a layer; what is in a module that is none. Hooks are for values, and would get none."""
        name = self.path_of_module(m)
        if self.is_leaf_module(m, name):
            return self.create_proxy("call_module", name, args, kwargs)
        self._path.append((name, type(m).__name__))
        result = m.forward(*args, **kwargs)
        self._path.pop()  # not after an error, which says where it was
        return result

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Not known in a trace."""
        raise TraceError(f"a condition on the value of {obj.node.name} ({_described(obj.node)})")

    def iter(self, obj: fx.Proxy) -> Any:
        """Not known in a trace, but how many names a result is unpacked to."""
        try:
            return super().iter(obj)
        except TraceError:
            raise TraceError(f"a loop over {obj.node.name} ({_described(obj.node)}) of unknown length") from None

    def explanation(self, model: nn.Module, error: Exception) -> str:
        """Where the trace ended, and why."""
        name, kind = self._path[-1] if self._path else ("", type(model).__name__)
        where = f"in the forward of {f'model.{name}' if name else 'model'} ({kind})"
        nodes = [node for node in self.graph.nodes if node.op != "placeholder"] if hasattr(self, "graph") else []
        after = f" after {nodes[-1].name} ({_described(nodes[-1])})" if nodes else ""
        return (
            f"model: torch.fx cannot trace it: {where}{after}: {type(error).__name__}: {error}. Convert the parts that "
            "it can trace, as in model.part = skip_zeros(model.part)"
        )


def _described(node: fx.Node) -> str:
    target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return f"{node.op} {target}"
