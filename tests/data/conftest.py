"""Files of data sets in a folder of the test."""

import numpy as np
import pytest
from cases.datasets import matlab_bytes, write_split


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (7, 3, 4), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.array([3, 1, 0, 9, 9, 2, 255], dtype=np.uint8)


@pytest.fixture
def fashion(tmp_path, images, labels):
    write_split(tmp_path, images, labels)
    return tmp_path


@pytest.fixture
def svhn_file(tmp_path):
    def write(content=None, compressed=True, **variables):
        path = tmp_path / "train_32x32.mat"
        path.write_bytes(matlab_bytes(compressed, **variables) if content is None else content)
        return path

    return write


@pytest.fixture
def csv_file(tmp_path):
    def write(content):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return f"csv:{path}"

    return write
