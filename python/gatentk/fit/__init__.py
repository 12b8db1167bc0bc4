"""Regression and classification by kernels of wide networks: depth and ridge by leave-one-out, predictions, a report.

From Python, into a folder, as `gatentk fit` does:

    done = fit.run_fit(fit.FitConfig(data="csv:train.csv", test="csv:test.csv"), Path("result"))
    done.outcome.depth, done.left_out_score, done.test_score

The estimators themselves are those of `gatentk.kernel_machines`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatentk.errors import FitError
    from gatentk.fit.config import FitConfig
    from gatentk.fit.folder import run_fit
    from gatentk.fit.result import Fit
    from gatentk.fit.samples import prepare_fit

__all__ = ["Fit", "FitConfig", "FitError", "prepare_fit", "run_fit"]

# Loaded at first use: configurations are known without waiting for torch.
_PLACES = {
    "Fit": "gatentk.fit.result",
    "FitConfig": "gatentk.fit.config",
    "FitError": "gatentk.errors",
    "prepare_fit": "gatentk.fit.samples",
    "run_fit": "gatentk.fit.folder",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'gatentk.fit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
