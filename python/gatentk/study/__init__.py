"""The main job: minimal gradient angles and condition numbers by depth, of infinite width and of finite networks.

From Python, into a folder, as `gatentk ntk` does:

    done = study.run_study(study.StudyConfig(data="digits", width=None), Path("digits"))
    done.series, done.records
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatentk.errors import StudyError
    from gatentk.study.config import StudyConfig
    from gatentk.study.folder import run_study
    from gatentk.study.result import Study
    from gatentk.study.samples import prepare_study

__all__ = ["Study", "StudyConfig", "StudyError", "prepare_study", "run_study"]

# Loaded at first use: configurations are known without waiting for torch.
_PLACES = {
    "Study": "gatentk.study.result",
    "StudyConfig": "gatentk.study.config",
    "StudyError": "gatentk.errors",
    "prepare_study": "gatentk.study.samples",
    "run_study": "gatentk.study.folder",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'gatentk.study' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
