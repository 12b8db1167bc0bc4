"""Training by depth on tiny data."""

import numpy as np
import pytest
from cases.experiments import plain_numbers

from gatentk.papers.training_depth import EXPERIMENT


@pytest.fixture(scope="package")
def source(tmp_path_factory):
    """Sixty points on a circle in four dimensions, three classes."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 60)
    x = generator.standard_normal((60, 4)) + 3 * np.eye(4)[y]
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture(scope="package")
def settings(source):
    chosen = {"source": "npy", "path": str(source), "n": 60, "features": 4, "outputs": 3}
    return {
        "sets": {"blobs": chosen | {"epochs": 4}},
        "missing": {"fashion-mnist": "a file"},
        "depths": [1, 2, 3],
        "width": 32,
        "batch": 20,
        "factors": [1.0, 8.0, 1e6],
        "descent": {"rows": 6, "width": 512, "steps": 60},
        "target": 0.5,
    }


@pytest.fixture(scope="package")
def numbers(settings):
    return plain_numbers(EXPERIMENT, settings)
