"""What kernels of wide networks predict: regression, classification, and ensembles of networks in training.

Estimators and `kernel` need scikit-learn, `GPyTorchKernel` needs GPyTorch, `training` and `max_learning_rate` neither:
names are loaded at first use.
"""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatentk.kernel_machines.ensembles import Ensemble, max_learning_rate, training
    from gatentk.kernel_machines.estimators import NTKClassifier, NTKRegressor
    from gatentk.kernel_machines.gpytorch_kernel import GPyTorchKernel as GPyTorchKernel
    from gatentk.kernel_machines.infinite_kernel import InfiniteKernel, kernel
    from gatentk.kernel_machines.selection import NTKClassifierCV, NTKRegressorCV

# Without GPyTorchKernel: `import *` must not ask for an extra that few have.
__all__ = [
    "Ensemble",
    "InfiniteKernel",
    "NTKClassifier",
    "NTKClassifierCV",
    "NTKRegressor",
    "NTKRegressorCV",
    "kernel",
    "max_learning_rate",
    "training",
]

_PLACES = {
    "ensembles": ("Ensemble", "max_learning_rate", "training"),
    "estimators": ("NTKClassifier", "NTKRegressor"),
    "gpytorch_kernel": ("GPyTorchKernel",),
    "infinite_kernel": ("InfiniteKernel", "kernel"),
    "selection": ("NTKClassifierCV", "NTKRegressorCV"),
}


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"gatentk.kernel_machines.{module}"), name)
    raise AttributeError(f"module 'gatentk.kernel_machines' has no attribute {name!r}")


def __dir__() -> list[str]:
    more = ["GPyTorchKernel"] if find_spec("gpytorch") else []
    return sorted({*globals(), *__all__, *more})
