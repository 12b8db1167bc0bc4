"""Nothing in these tests measures the machine, reads images, or needs neural-tangents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gatentk import data
from gatentk.data import Dataset

# Speaks the protocol of neural_tangents_peer.py; x decides what goes wrong.
FAKE = """
import json, pathlib, sys
import numpy as np
first = json.loads(sys.stdin.readline())
folder = pathlib.Path(first["folder"])
x = np.load(folder / "x.npy")
if x[0, 0] == -1:
    print("Segmentation fault (not really)", file=sys.stderr)
    sys.exit(3)
if x[0, 0] == -2:
    print(json.dumps({"error": "ModuleNotFoundError: No module named 'jax'"}), flush=True)
    sys.exit()
if x[0, 0] == -3:
    print("hello", flush=True)
    sys.exit()
np.save(folder / "result.npy", (first["depth"] + 1) * x @ x.T + (first["b_std"] or 0))
failed = {"quick": "AttributeError: not here"} if x[0, 0] == -4 else {}
print(json.dumps({"versions": {"fake": "1.0"}, "implementation": "fake", "failed": failed}), flush=True)
for count, line in enumerate(sys.stdin):
    assert json.loads(line) == {"command": "time"}
    if count == 3:
        sys.exit(4)
    print(json.dumps({"seconds": 0.5 + count}), flush=True)
"""


@pytest.fixture(autouse=True)
def quick_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak takes a tenth of a second to measure, and nothing here depends on it."""
    monkeypatch.setattr("gatentk.ops.fma_peak", lambda dtype: 1e11)


@pytest.fixture(autouse=True)
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for MNIST, which takes seconds to read: 784 features near a plane of ten dimensions."""

    given = data.load

    def load(name: str, n: int) -> Dataset:
        if name != "mnist":
            return given(name, n)
        generator = torch.Generator().manual_seed(0)
        codes, features, noise = (
            torch.randn(*size, generator=generator, dtype=torch.float64) for size in ((n, 10), (10, 784), (n, 784))
        )
        return Dataset(codes @ features + 0.1 * noise, None, name)

    monkeypatch.setattr("gatentk.data.load", load)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    path = tmp_path / "fake_peer.py"
    path.write_text(FAKE)
    return path
