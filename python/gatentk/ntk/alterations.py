"""What makes a module compute something else than its class says, by torch's own means."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def alteration(part: nn.Module) -> str:
    """What was changed on this module, as words behind its name: " with hooks"; empty where nothing was.

    Looked at are hooks, those of all modules too, and attributes of the instance that hide those of its class (such
    as `forward`), its parameters, its buffers or its modules. `part.compile()` and `torch.compile(part)` compute the
    same.
    """
    if any(getattr(part, hooks) for hooks in _HOOKS):
        return " with hooks"
    if any(getattr(torch_modules, f"_global{hooks}") for hooks in _HOOKS):
        return " with global hooks"
    compiled = {"_compiled_call_impl"} if uncompiled(part) is part else {"_compiled_call_impl", "forward"}
    for name in vars(part):
        own = name in part._parameters or name in part._buffers or name in part._modules
        inherited = name not in compiled and any(name in vars(kind) for kind in type(part).__mro__)
        if own or inherited:
            return f" with {name} replaced on the instance"
    return ""


def parameter_alteration(part: nn.Module, name: str) -> str:
    """The same for the parameter `name` of a module: something else in its place, or hooks on its gradient."""
    parameter = part._parameters.get(name)
    if name not in part._parameters:
        return f" whose {name} is no parameter"
    if parameter is not None and type(parameter) is not nn.Parameter:
        return f" whose {name} is a {type(parameter).__name__}"
    if parameter is not None and parameter._backward_hooks:
        return f" with a hook on the gradient of {name}"
    return ""


def buffer_alteration(part: nn.Module, name: str) -> str:
    """The same for a buffer, which a parameter may have replaced."""
    if type(part._buffers.get(name)) is not Tensor:
        return f" whose {name} is no buffer"
    return ""


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that torch.compile made this one of; itself where it is none of those.

    >>> layer = nn.Linear(2, 3)
    >>> uncompiled(layer) is layer
    True
    """
    # By name: the class is in torch._dynamo, which takes seconds to load.
    inner = getattr(module, "_orig_mod", None) if type(module).__name__ == "OptimizedModule" else None
    return inner if isinstance(inner, nn.Module) else module
