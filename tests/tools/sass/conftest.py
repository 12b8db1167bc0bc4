"""What was compiled, if anything was."""

import importlib.util

import pytest
from sass import reading


@pytest.fixture(scope="session")
def built():
    """The compiled module, if there is one and its code can be shown."""
    if importlib.util.find_spec("gatentk._cuda") is None:
        pytest.skip("gatentk was built without CUDA kernels (no nvcc)")
    if reading.cuobjdump() is None:
        pytest.skip("cuobjdump is not installed")
    return reading.built_module()


@pytest.fixture(scope="session")
def kernels(built):
    return reading.read_kernels(built)
