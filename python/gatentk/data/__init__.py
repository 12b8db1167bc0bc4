"""Data sets by name or file: where each comes from, how it is scaled, and what its file must look like.

{table}

`NAME-test` is the test set of NAME. The modules of `gatentk.data.sets` say more of each: formulas, orders of features,
headers of files.

No sample is dropped: all-zero and repeated rows are returned like any other. Nothing that a file contains is run: of
pickles, which are read under the names above only, no class or function is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gatentk.data import registry

if TYPE_CHECKING:
    from gatentk.data.loading import Dataset, load

__all__ = ["Dataset", "load", "names"]
names = registry.names
__doc__ = __doc__ and __doc__.replace("{table}", registry.table())


def __getattr__(name: str) -> Any:
    """Loaded at first use: the names of the data sets are known without waiting for torch."""
    if name in ("Dataset", "load"):
        return getattr(importlib.import_module("gatentk.data.loading"), name)
    raise AttributeError(f"module 'gatentk.data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
