"""Who may include whom in csrc: see csrc/README.md."""

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
FILES = sorted(path for path in CSRC.rglob("*") if path.suffix in (".cpp", ".hpp", ".cu", ".cuh"))
ALLOWED = {
    "include": ("gatentk/",),
    "cpu": ("cpu/", "gatentk/"),
    "cuda": ("cuda/", "gatentk/", "emulator/"),
    "bind": ("bind/", "cpu/", "cuda/", "gatentk/"),
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CSRC)))
def test_includes_go_down(path):
    included = re.findall(r'^#include "(.*)"', path.read_text(), re.MULTILINE)
    allowed = ALLOWED[path.relative_to(CSRC).parts[0]]
    assert [name for name in included if not name.startswith(allowed)] == []


def test_only_bindings_know_python():
    knowing = {path.relative_to(CSRC).parts[0] for path in FILES if "pybind11" in path.read_text()}
    assert knowing == {"bind"}


def test_the_emulator_is_included_by_device_alone():
    including = {path.parent.name for path in FILES if '#include "emulator/' in path.read_text()}
    assert including == {"device"}
