"""The table of devices on which configurations start."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_the_document(emulated):
    spec = importlib.util.spec_from_file_location("cuda_limits", ROOT / "tools" / "cuda_limits.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    lines = list(tool.table(emulated))
    assert "\n".join(lines) in (ROOT / "docs" / "cuda.md").read_text()
    # Every family has a configuration for the smallest of these devices.
    started = {line.split()[1] for line in lines[2:] if line.split("|")[3].strip() != "-"}
    assert started == set(tool.FAMILIES)
