"""The versions and the machine that a result may depend on."""

from __future__ import annotations

import platform
from typing import Any


def cpu_model() -> str:
    """Name of the processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def environment() -> dict[str, Any]:
    """Versions and hardware that a result may depend on."""
    import numpy
    import scipy
    import torch

    import gatentk
    from gatentk import ops

    return {
        "gatentk": gatentk.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu_model(),
        "instruction_set": ops.isa(),
        "threads": torch.get_num_threads(),
    }
