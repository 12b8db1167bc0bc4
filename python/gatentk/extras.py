"""Packages that only some parts of gatentk need: what to install where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from gatentk.errors import GateNTKError, MissingExtraError

# By the extra of pyproject.toml: the modules, and the packages that they come with.
EXTRAS: dict[str, dict[str, str]] = {
    "cli": {"click": "click", "rich": "rich", "matplotlib": "matplotlib", "jinja2": "jinja2", "PIL": "pillow"},
    "data": {"sklearn": "scikit-learn", "mlxtend": "mlxtend"},
    "gpytorch": {"gpytorch": "gpytorch"},
    "onnx": {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"},
    "safetensors": {"safetensors": "safetensors"},
    "sklearn": {"sklearn": "scikit-learn"},
}


def require(extra: str, user: str) -> None:
    """Say before anything is computed what is missing of an extra; nothing is imported.

    Raises:
        MissingExtraError: with the command that installs it; `user` is what needs it.
    """
    missing = [package for module, package in EXTRAS[extra].items() if find_spec(module) is None]
    if missing:
        raise MissingExtraError(_advice(extra, user, " and ".join(missing)))


@contextmanager
def imports(extra: str, user: str, error: type[GateNTKError] = MissingExtraError) -> Iterator[None]:
    """Around imports of modules of an extra.

    Raises:
        MissingExtraError: or the given one, if a module is missing, with the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as failure:
        module = (failure.name or "").partition(".")[0]
        if module not in EXTRAS[extra]:
            raise
        raise error(_advice(extra, user, EXTRAS[extra][module])) from failure


def _advice(extra: str, user: str, packages: str) -> str:
    return f'{user}: needs {packages}; install it by: pip install "gatentk[{extra}]"'
